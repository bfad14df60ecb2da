/* permission.h - who may do what: one table of roles and verbs, and one each that says which
 * verb a message, a call and a page need.
 *
 * Roles come from certificates (dataplane/principal.h).  A peer on a plain connection, which
 * there is on loopback alone, has no principal (NULL) and may do everything; a stranger, let
 * in by a directory that enrols, has a principal without roles.
 *
 * Threads    Pure functions on constant tables; safe anywhere.
 * Ownership  None.
 * Units      None.
 * Errors     permission_check(): -EPERM with a sentence that names both.
 */
#ifndef PETALS_CONTROL_PERMISSION_H
#define PETALS_CONTROL_PERMISSION_H

#include "dataplane/base/error.h"
#include "dataplane/principal.h"
#include "dataplane/wire.h"

enum verb {
	VERB_NONE,              /* nobody may: what is in no table */
	VERB_WATCH,             /* see and watch the view */
	VERB_LEASE,             /* join, renew, leave: hold a lease */
	VERB_OPEN,              /* open, reroute and close sessions at a server */
	VERB_PUSH,              /* push steps: from client or server to a server */
	VERB_ANSWER,            /* tell a client what became of its session */
	VERB_CALL,              /* ask and answer at all; each call has a verb of its own */
	VERB_TELL,              /* send events to those who watch */
	VERB_GENERATE,          /* generate, and what belongs to it, over HTTP */
	VERB_TUNE,              /* fine-tune */
	VERB_ADMINISTER,        /* drain, reclaim, revoke: change what others do */
	VERB_ENROL,             /* turn a join token into a certificate */
	VERB_RENEW,             /* turn a certificate into a fresh one */
	VERB_METRICS,           /* read metrics */
	VERB_PROBE,             /* ask whether a program is well */
	VERB_COUNT
};

const char *verb_name(enum verb v);                     /* "watch the swarm" */
bool permission_allows(uint32_t roles, enum verb v);    /* roles 0: a stranger */
int permission_check(const struct principal *p, enum verb v, struct error *e);

/* What the sender of a message, the maker of a call, the reader of a page needs. */
enum verb permission_of_wire(enum wire_type type);
enum verb permission_of_call(const char *method);
enum verb permission_of_http(const char *method, const char *path);
/* Bits 1 << type of the messages that a peer may send. */
uint64_t permission_wire_mask(const struct principal *p);

#endif
