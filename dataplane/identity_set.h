/* identity_set.h - one consistent set of CAs, certificate, key and revocations, and how a
 * certificate is judged by it.  Private to identity.c and its parts.
 *
 * Threads    A set does not change once built; any thread may use it while it holds it.
 * Ownership  Counted: identity_set_build() gives the first hold, identity_set_get() another,
 *            identity_set_put() drops one.
 * Units      _unix_s.
 * Errors     As identity.h.
 */
#ifndef PETALS_DATAPLANE_IDENTITY_SET_H
#define PETALS_DATAPLANE_IDENTITY_SET_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>

#include "dataplane/identity.h"

struct identity_set {
	atomic_uint holders;
	const struct clock *clock;
	struct identity_pem pem;        /* what it was built from, copied */
	STACK_OF(X509) *authorities;    /* trusted; empty for a stranger */
	X509_STORE *store;              /* the same, for OpenSSL */
	STACK_OF(X509_CRL) *revocations;
	int64_t revocations_number;     /* the highest of theirs, -1 without any */
	X509 *own;                      /* NULL for a stranger */
	EVP_PKEY *key;
	struct principal self;
	uint8_t pinned[PRINCIPAL_FINGERPRINT_BYTES];    /* a stranger's CA */
	SSL_CTX *ctx;                   /* made by identity.c */
};

/* Why a certificate is refused. */
struct verdict {
	enum identity_fault fault;
	char text[ERROR_TEXT_BYTES];
};

/* where: "FOLDER/" before each file's name in sentences, or "". */
int identity_set_build(struct identity_set **out, const struct identity_pem *pem,
		       const char *where, const struct clock *clock, struct error *e);
int identity_set_build_stranger(struct identity_set **out,
				const uint8_t pinned[PRINCIPAL_FINGERPRINT_BYTES],
				const struct clock *clock, struct error *e);
/* Copies; -ENOMEM leaves nothing. */
int identity_pem_copy(struct identity_pem *out, const struct identity_pem *from,
		      struct error *e);
struct identity_set *identity_set_get(struct identity_set *s);
void identity_set_put(struct identity_set *s);                  /* NULL is fine */
int64_t identity_set_now_unix_s(const struct identity_set *s);

/* identity_crl.c: revocation lists. */
/* Parses lists and checks that the set's CAs signed them. */
int identity_crl_read(const struct identity_set *s, const char *pem, const char *where,
		      STACK_OF(X509_CRL) **out, int64_t *number, struct error *e);
bool identity_crl_revoked(const struct identity_set *s, const struct principal *p);

/* identity_judge.c: */
/* On a context with a certificate and what came with it: 0 and the principal, or
 * -EKEYREJECTED and why; the context's error is set for the alert.
 */
int identity_judge(const struct identity_set *s, X509_STORE_CTX *c, uint32_t roles,
		   struct principal *out, struct verdict *why);
/* Whether a principal that was believed once is to be believed still. */
int identity_judge_again(const struct identity_set *s, const struct principal *p,
			 struct verdict *why);
/* "3 days" */
void identity_describe_span(int64_t seconds, char out[32]);

#endif
