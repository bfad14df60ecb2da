/* tls.h - the handshake of one lane: TLS 1.3 over bytes in memory, until each side knows
 * the other and both hold the secrets of their sealed streams.
 *
 * TLS itself carries nothing but the handshake and, if one side refuses the other's
 * certificate, its alert.  The secrets are exported from the session (RFC 8446, 7.5):
 *
 *   Exporter("EXPORTER-petals-lane", purpose, 64) = dialer's secret | accepter's secret
 *
 *   from       to      by
 *   -          SHAKING tls_open()
 *   SHAKING    DONE    tls_hear() returned it: principal and secrets are there
 *   SHAKING    FAILED  tls_hear(): a sentence; an alert may be pending
 *   DONE       FAILED  tls_hear(): the other side refused us after all
 *
 * Threads    The transport's thread.
 * Ownership  tls_open() / tls_close(), which wipes the secrets.
 * Units      _bytes.
 * Errors     -EKEYREJECTED with a sentence and the kind to count; -ENOMEM.
 */
#ifndef PETALS_DATAPLANE_TLS_H
#define PETALS_DATAPLANE_TLS_H

#include "dataplane/identity.h"
#include "dataplane/seal.h"

enum tls_state { TLS_SHAKING, TLS_DONE, TLS_FAILED };

enum tls_purpose {              /* what a secret is for */
	TLS_FOR_LANE,           /* the records of this connection */
	TLS_FOR_FLOW,           /* datagrams beside it */
	TLS_PURPOSES
};

struct tls;

int tls_open(struct tls **out, struct identity *id, bool dialing, struct error *e);
void tls_close(struct tls *t);                          /* NULL is fine */
enum tls_state tls_state(const struct tls *t);

/* Takes what arrived and goes on; bytes may be 0, to begin.  *taken says how many were TLS's
 * own: the rest are records.  0, or -errno (*kind names what to count).
 */
int tls_hear(struct tls *t, const void *in, size_t bytes, size_t *taken, const char **kind,
	     struct error *e);
/* What is to be sent, at most `room` bytes of it; returns the bytes. */
size_t tls_say(struct tls *t, void *out, size_t room);

/* Once DONE. */
const struct principal *tls_principal(const struct tls *t);
void tls_secrets(const struct tls *t, enum tls_purpose purpose,
		 uint8_t sends[SEAL_SECRET_BYTES], uint8_t receives[SEAL_SECRET_BYTES]);

#endif
