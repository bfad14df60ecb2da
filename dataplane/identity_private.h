/* identity_private.h - what the parts of an identity share.  Private to identity.c,
 * identity_session.c and identity_fault.c.
 *
 * Threads    As identity.h.
 * Ownership  identity_set_in_use() gives a hold: identity_set_put() it.
 * Units      None.
 * Errors     As identity.h.
 */
#ifndef PETALS_DATAPLANE_IDENTITY_PRIVATE_H
#define PETALS_DATAPLANE_IDENTITY_PRIVATE_H

#include "dataplane/identity_set.h"

enum { IDENTITY_REFUSED, IDENTITY_RELOADS, IDENTITY_NOT_AFTER, IDENTITY_REVOCATIONS };

/* What an SSL carries with it. */
struct session {
	struct identity_set *set;       /* a hold */
	uint32_t roles;                 /* expected, 0: any */
	bool dialing;
	bool judged;                    /* a certificate was shown, and refused or believed */
	struct verdict why;             /* refused: why */
	struct principal principal;     /* believed: who */
};

/* identity.c */
struct identity_set *identity_set_in_use(struct identity *id);
bool identity_admits_strangers(const struct identity *id);
void identity_count_fault(struct identity *id, enum identity_fault f);

/* identity_session.c */
int identity_context_open(struct identity_set *s, struct error *e);     /* makes s->ctx */
struct session *identity_session_of(const SSL *s);

#endif
