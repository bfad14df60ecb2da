/* seal.c - tickets, nonces and phases around gcm.h. */
#include "dataplane/seal.h"

#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

enum { LABEL_BYTES_MAX = 32, HASH_BYTES = 32 };

/* One phase's keys. */
struct phase {
	struct gcm *gcm;
	uint8_t secret[SEAL_SECRET_BYTES];
	uint8_t iv[GCM_IV_BYTES];
	bool ready;
};

struct seal {
	struct seal_policy policy;
	enum seal_side side;
	struct phase phases[3];
	struct phase *previous, *current, *next;
	uint64_t steps;
	uint64_t stepped_ns;            /* when current began to serve */
	uint64_t bytes;                 /* sent in it */
	uint64_t number;                /* sending: of the next ticket */
	bool ticket_out;                /* ... number - 1 was given and not used */
	bool followed;                  /* ... the receiver opened one of current */
	uint64_t first;                 /* of current: sending: given, receiving: verified */
	struct phase *working;          /* of the record in progress; NULL: none */
	uint64_t working_number;
};

void seal_policy_default(struct seal_policy *p)
{
	*p = (struct seal_policy){
		.gcm = gcm_best(), .rekey_bytes = 64 * GIB, .rekey_ns = 3600 * NS_PER_S,
		.keep_ns = 3 * NS_PER_S,
	};
}

/* HKDF-Expand of RFC 5869 for outputs of at most one hash: T(1), cut. */
static int expand(const uint8_t secret[SEAL_SECRET_BYTES], const char *label, uint8_t *out,
		  size_t bytes)
{
	size_t length = strlen(label);
	uint8_t info[LABEL_BYTES_MAX + 1], hash[HASH_BYTES];
	unsigned int hash_bytes = 0;

	assert(length <= LABEL_BYTES_MAX && bytes <= HASH_BYTES);
	memcpy(info, label, length);
	info[length] = 1;
	if (fault_here() || !HMAC(EVP_sha256(), secret, SEAL_SECRET_BYTES, info, length + 1, hash,
				  &hash_bytes))
		return -ENOMEM;
	memcpy(out, hash, bytes);
	OPENSSL_cleanse(hash, sizeof(hash));
	return 0;
}

int seal_derive(const uint8_t secret[SEAL_SECRET_BYTES], const char *label,
		uint8_t out[SEAL_SECRET_BYTES])
{
	return expand(secret, label, out, SEAL_SECRET_BYTES);
}

/* Keys from the phase's secret, which is in place. */
static int make_keys(struct seal *s, struct phase *p)
{
	uint8_t key[GCM_KEY_BYTES];
	int rc;

	rc = expand(p->secret, "petals seal key", key, sizeof(key));
	if (rc == 0)
		rc = expand(p->secret, "petals seal iv", p->iv, sizeof(p->iv));
	if (rc == 0)
		rc = s->policy.gcm->set(p->gcm, key);
	OPENSSL_cleanse(key, sizeof(key));
	p->ready = rc == 0;
	return rc;
}

static int make_next(struct seal *s)
{
	int rc = expand(s->current->secret, "petals seal next", s->next->secret,
			SEAL_SECRET_BYTES);

	return rc < 0 ? rc : make_keys(s, s->next);
}

static void wipe(struct seal *s, struct phase *p)
{
	p->ready = false;
	s->policy.gcm->wipe(p->gcm);
	OPENSSL_cleanse(p->secret, sizeof(p->secret));
	OPENSSL_cleanse(p->iv, sizeof(p->iv));
}

int seal_open(struct seal **out, enum seal_side side, const uint8_t secret[SEAL_SECRET_BYTES],
	      const struct seal_policy *p, uint64_t now_ns)
{
	struct seal *s = mem_calloc(1, sizeof(*s));
	int rc = 0;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->policy = *p;
	s->side = side;
	s->stepped_ns = now_ns;
	s->previous = &s->phases[0];
	s->current = &s->phases[1];
	s->next = &s->phases[2];
	for (size_t i = 0; i < ARRAY_LENGTH(s->phases) && rc == 0; i++)
		rc = p->gcm->open(&s->phases[i].gcm);
	memcpy(s->current->secret, secret, SEAL_SECRET_BYTES);
	if (rc == 0)
		rc = make_keys(s, s->current);
	if (rc == 0)
		rc = make_next(s);
	if (rc < 0) {
		seal_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void seal_close(struct seal *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_LENGTH(s->phases); i++)
		s->policy.gcm->close(s->phases[i].gcm);
	OPENSSL_cleanse(s, sizeof(*s));
	mem_free(s);
}

uint64_t seal_phase(const struct seal *s)
{
	return s->steps;
}

/* Only when next is ready.  That the one after it cannot be made now is no
 * failure yet: it is tried again when it is needed.
 */
static void step(struct seal *s, uint64_t now_ns)
{
	struct phase *oldest = s->previous;

	assert(s->next->ready);
	s->previous = s->current;
	s->current = s->next;
	s->next = oldest;
	s->steps++;
	s->stepped_ns = now_ns;
	s->bytes = 0;
	wipe(s, s->next);
	if (s->side == SEAL_SENDS)
		wipe(s, s->previous);
	(void)make_next(s);
}

static bool is_worn(const struct seal *s, size_t bytes, uint64_t now_ns)
{
	return s->bytes + bytes > s->policy.rekey_bytes ||
	       now_ns - s->stepped_ns >= s->policy.rekey_ns;
}

void seal_acknowledged(struct seal *s, uint64_t number)
{
	assert(s->side == SEAL_SENDS && number < s->number);
	s->followed = s->followed || number >= s->first;
}

int seal_reserve(struct seal *s, size_t bytes, uint64_t now_ns, struct seal_ticket *out)
{
	int rc;

	assert(s->side == SEAL_SENDS && !s->working);
	if (is_worn(s, bytes, now_ns) && (s->followed || !s->policy.lossy)) {
		rc = s->next->ready ? 0 : make_next(s);
		if (rc < 0)
			return rc;
		step(s, now_ns);
		s->first = s->number;
		s->followed = false;
	}
	s->bytes += bytes;
	s->ticket_out = true;
	*out = (struct seal_ticket){ s->number++, s->steps & 1 };
	return 0;
}

static void make_nonce(const struct phase *p, uint64_t number, uint8_t nonce[GCM_IV_BYTES])
{
	uint64_t last;

	memcpy(nonce, p->iv, GCM_IV_BYTES);
	memcpy(&last, nonce + GCM_IV_BYTES - sizeof(last), sizeof(last));
	last ^= __builtin_bswap64(number);
	memcpy(nonce + GCM_IV_BYTES - sizeof(last), &last, sizeof(last));
}

/* A sender's ticket is the last one given, and this is its only use. */
static struct phase *use_ticket(struct seal *s, const struct seal_ticket *t)
{
	assert(s->ticket_out && t->number == s->number - 1 && t->phase == (s->steps & 1));
	s->ticket_out = false;
	return s->current;
}

/* The phase that a record must be of, by its bit and number. */
static struct phase *phase_of(struct seal *s, const struct seal_ticket *t)
{
	if (t->phase == (s->steps & 1))
		return s->current;
	return t->number < s->first ? s->previous : s->next;
}

static void expire(struct seal *s, uint64_t now_ns)
{
	if (s->previous->ready && now_ns - s->stepped_ns >= s->policy.keep_ns)
		wipe(s, s->previous);
}

/* A record of this phase verified. */
static void verified(struct seal *s, const struct phase *p, uint64_t number, uint64_t now_ns)
{
	if (p == s->next) {
		step(s, now_ns);
		s->first = number;
	} else if (p == s->current) {
		s->first = MIN(s->first, number);
	}
	expire(s, now_ns);
}

void seal_encrypt(struct seal *s, const struct seal_ticket *t, const void *header,
		  const void *in, size_t bytes, void *out, uint8_t tag[SEAL_TAG_BYTES])
{
	const struct phase *p = use_ticket(s, t);
	uint8_t nonce[GCM_IV_BYTES];

	make_nonce(p, t->number, nonce);
	s->policy.gcm->encrypt(p->gcm, nonce, header, SEAL_HEADER_BYTES, in, bytes, out, tag);
}

bool seal_decrypt(struct seal *s, const struct seal_ticket *t, const void *header,
		  const void *in, size_t bytes, void *out, const uint8_t tag[SEAL_TAG_BYTES],
		  uint64_t now_ns)
{
	const struct phase *p = phase_of(s, t);
	uint8_t nonce[GCM_IV_BYTES];

	assert(s->side == SEAL_RECEIVES && !s->working);
	if (!p->ready)
		return false;
	make_nonce(p, t->number, nonce);
	if (!s->policy.gcm->decrypt(p->gcm, nonce, header, SEAL_HEADER_BYTES, in, bytes, out, tag))
		return false;
	verified(s, p, t->number, now_ns);
	return true;
}

void seal_begin(struct seal *s, const struct seal_ticket *t, const void *header)
{
	struct phase *p = s->side == SEAL_SENDS ? use_ticket(s, t) : phase_of(s, t);
	uint8_t nonce[GCM_IV_BYTES];

	assert(!s->working);
	s->working = p;
	s->working_number = t->number;
	if (!p->ready)
		return;
	make_nonce(p, t->number, nonce);
	s->policy.gcm->begin(p->gcm, nonce, header, SEAL_HEADER_BYTES, s->side == SEAL_SENDS);
}

void seal_update(struct seal *s, const void *in, size_t bytes, void *out)
{
	assert(s->working);
	if (s->working->ready)
		s->policy.gcm->update(s->working->gcm, in, bytes, out);
}

void seal_end(struct seal *s, uint8_t tag[SEAL_TAG_BYTES])
{
	assert(s->side == SEAL_SENDS && s->working);
	s->policy.gcm->end(s->working->gcm, tag);
	s->working = NULL;
}

bool seal_verify(struct seal *s, const uint8_t tag[SEAL_TAG_BYTES], uint64_t now_ns)
{
	struct phase *p = s->working;

	assert(s->side == SEAL_RECEIVES && p);
	s->working = NULL;
	if (!p->ready || !s->policy.gcm->end(p->gcm, (uint8_t *)tag))
		return false;
	verified(s, p, s->working_number, now_ns);
	return true;
}
