/* gcm.h - AES-128-GCM under one key, by whichever library is fastest here.
 *
 * Two back ends: the direct calls of libipsec-mb, which have a path for each
 * generation of vector units, and OpenSSL's EVP where the CPU lacks what those
 * need.  Both give the same bytes, and tests run every case through both.  A key
 * works on one message at a time: whole by encrypt() and decrypt(), or in pieces
 * of any size by begin(), update()... and end().
 *
 * Which number a message has, and when a key has served its time, is seal.h's.
 *
 * Threads    A key belongs to one thread at a time; the table is safe anywhere.
 * Ownership  open() / close(); close() wipes the key.
 * Units      _bytes.
 * Errors     open(), set(): -ENOMEM.  false: the tag does not fit; what was
 *            written to `out` is worthless then.
 */
#ifndef PETALS_DATAPLANE_GCM_H
#define PETALS_DATAPLANE_GCM_H

#include "dataplane/base/types.h"

enum { GCM_KEY_BYTES = 16, GCM_IV_BYTES = 12, GCM_TAG_BYTES = 16 };

struct gcm;

struct gcm_ops {
	const char *name;
	bool (*usable)(void);           /* on this CPU; ask before open() */
	int (*open)(struct gcm **out);
	void (*close)(struct gcm *g);   /* NULL is fine */
	int (*set)(struct gcm *g, const uint8_t key[GCM_KEY_BYTES]);
	void (*wipe)(struct gcm *g);    /* forgets the key; set() before the next use */

	/* in and out are the same or do not overlap. */
	void (*encrypt)(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
			size_t aad_bytes, const void *in, size_t bytes, void *out,
			uint8_t tag[GCM_TAG_BYTES]);
	bool (*decrypt)(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
			size_t aad_bytes, const void *in, size_t bytes, void *out,
			const uint8_t tag[GCM_TAG_BYTES]);

	void (*begin)(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
		      size_t aad_bytes, bool encrypts);
	void (*update)(struct gcm *g, const void *in, size_t bytes, void *out);
	/* Writes the tag if the message was encrypted, else compares it. */
	bool (*end)(struct gcm *g, uint8_t tag[GCM_TAG_BYTES]);
};

extern const struct gcm_ops gcm_mb, gcm_evp;

/* The first usable one of the table; NULL ends the table. */
extern const struct gcm_ops *const gcm_backends[];
const struct gcm_ops *gcm_best(void);

#endif
