/* seal.h - seals what one direction of one connection carries, and opens it at
 * the other end: AES-128-GCM, a number per record that never comes again, and
 * keys that are replaced before they are worn.
 *
 * All keys follow from one 32-byte secret, exported from the TLS session:
 *
 *   key      = HKDF-Expand(secret, "petals seal key", 16)
 *   iv       = HKDF-Expand(secret, "petals seal iv", 12)
 *   secret'  = HKDF-Expand(secret, "petals seal next", 32)     of the next phase
 *   nonce    = iv XOR number, the number big-endian in the last 8 bytes
 *
 * A record's 32-byte header is authenticated with it and tells the receiver its
 * number and the phase bit (the parity of the phase).  The sender moves on to the
 * next phase after rekey_bytes or rekey_ns; where records may be lost, not before one
 * of the present phase was acknowledged, so that the receiver is never two phases
 * behind.  The receiver follows when a record
 * verifies under the next key, and keeps the old one for keep_ns.  Phases:
 *
 *   previous  <- keep_ns after the step, for numbers below the first of current
 *   current
 *   next      <- made in advance, so that a forged phase bit costs nothing extra
 *
 * Whether a number was seen before is not checked here: replay.h.
 *
 * Threads    A seal belongs to one thread at a time.
 * Ownership  seal_open() / seal_close(), which wipes the keys.  Nothing is
 *            allocated in between but by a step of the phase.
 * Units      _bytes, _ns.
 * Errors     -ENOMEM from seal_open(), seal_reserve().  false: forged, damaged or
 *            under a key that is gone; `out` is worthless then.  A caller of
 *            seal_update() must not act on what it gave before seal_verify().
 */
#ifndef PETALS_DATAPLANE_SEAL_H
#define PETALS_DATAPLANE_SEAL_H

#include "dataplane/gcm.h"

enum {
	SEAL_SECRET_BYTES = 32,
	SEAL_HEADER_BYTES = 32,         /* of the record, authenticated, in clear */
	SEAL_TAG_BYTES = GCM_TAG_BYTES,
};

enum { SEAL_LABEL_BYTES = 32 };         /* of a label, its NUL included */

/* Another secret from one: HKDF-Expand(secret, label, 32).  -ENOMEM. */
int seal_derive(const uint8_t secret[SEAL_SECRET_BYTES], const char *label,
		uint8_t out[SEAL_SECRET_BYTES]);

enum seal_side { SEAL_SENDS, SEAL_RECEIVES };

struct seal_policy {
	const struct gcm_ops *gcm;
	uint64_t rekey_bytes, rekey_ns;
	uint64_t keep_ns;
	bool lossy;                     /* a step waits for seal_acknowledged() */
};

struct seal_ticket {                    /* what a record's header has to say */
	uint64_t number;
	bool phase;
};

struct seal;

void seal_policy_default(struct seal_policy *p);    /* 64 GiB, 1 h, 3 s */

int seal_open(struct seal **out, enum seal_side side, const uint8_t secret[SEAL_SECRET_BYTES],
	      const struct seal_policy *p, uint64_t now_ns);
void seal_close(struct seal *s);                    /* NULL is fine */
uint64_t seal_phase(const struct seal *s);          /* steps so far */

/* Sending: a ticket for the next record, `bytes` long; then that record, whole or
 * in pieces.  A ticket serves once; one that is not used is lost, no harm done.
 */
int seal_reserve(struct seal *s, size_t bytes, uint64_t now_ns, struct seal_ticket *out);
void seal_encrypt(struct seal *s, const struct seal_ticket *t, const void *header,
		  const void *in, size_t bytes, void *out, uint8_t tag[SEAL_TAG_BYTES]);
void seal_begin(struct seal *s, const struct seal_ticket *t, const void *header);
void seal_update(struct seal *s, const void *in, size_t bytes, void *out);
void seal_end(struct seal *s, uint8_t tag[SEAL_TAG_BYTES]);

/* The receiver opened the record of this number. */
void seal_acknowledged(struct seal *s, uint64_t number);

/* Receiving: seal_begin() and seal_update() as well, then seal_verify(). */
bool seal_decrypt(struct seal *s, const struct seal_ticket *t, const void *header,
		  const void *in, size_t bytes, void *out, const uint8_t tag[SEAL_TAG_BYTES],
		  uint64_t now_ns);
bool seal_verify(struct seal *s, const uint8_t tag[SEAL_TAG_BYTES], uint64_t now_ns);

#endif
