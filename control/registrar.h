/* registrar.h - the directory's side of certificates: lets new programs in by join tokens, renews
 * certificates, and tells everybody what was revoked.
 *
 * Methods (JSON over rpc.h):
 *   enrol              {number, secret, request} -> {certificate, authority, revocations}
 *                      for whoever has no certificate yet; request is PEM, see certificate.h
 *   renew_certificate  {request} -> {certificate}    for the holder of a certificate of this CA
 *   revocations        {}        -> {revocations}    PEM, "" when there is none; from then on
 *                      events "revocations" with the same, at each new list
 *
 * Programs without a certificate are let in to enrol, few at a time and not for long.
 *
 * Without a CA the first two are refused, and the list is the one in the directory's own
 * credentials folder.  With one, `petalsctl ca revoke` on its folder is noticed within a second.
 *
 * Threads    The node's core thread.
 * Ownership  registrar_open() / registrar_close(); everything in the options is borrowed.
 * Units      _ns.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_REGISTRAR_H
#define PETALS_CONTROL_REGISTRAR_H

#include "control/ca.h"
#include "control/rpc.h"
#include "dataplane/identity.h"

enum { REGISTRAR_LISTENERS_MAX = 4096, REGISTRAR_STRANGERS_MAX = 64 };
#define REGISTRAR_POLL_NS     NS_PER_S
#define REGISTRAR_STRANGER_NS (30 * NS_PER_S)

struct registrar;

struct registrar_options {
	struct node *node;
	struct rpc *rpc;
	struct identity *identity;      /* the directory's own */
	struct ca *ca;                  /* or NULL */
};

/* With a CA, the identity lets strangers in from here on. */
int registrar_open(struct registrar **out, const struct registrar_options *o, struct error *e);
void registrar_close(struct registrar *r);               /* NULL is fine */
struct counters *registrar_counters(struct registrar *r);

#endif
