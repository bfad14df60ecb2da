/* identity_set.c - reads CAs, certificate, key and revocations, and refuses what does not fit
 * together, in a sentence that names the file.
 *
 * Trust is flat: a certificate is signed by a CA of ca.pem itself, with nothing between them.
 * Whoever has a CA above theirs lists the one that issues.
 */
#include "dataplane/identity_set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

int64_t identity_set_now_unix_s(const struct identity_set *s)
{
	return (int64_t)(clock_unix_ms(s->clock) / 1000);
}

/* Nobody is asked for the password of a key. */
static int no_password(char *out, int bytes, int writing, void *ctx)
{
	bool *asked = ctx;

	if (asked)
		*asked = true;
	return -1;
}

static int read_authorities(struct identity_set *s, const char *where, struct error *e)
{
	BIO *in = BIO_new_mem_buf(s->pem.ca, -1);
	X509 *ca;
	int rc = 0;

	while (in && rc == 0 && (ca = PEM_read_bio_X509(in, NULL, no_password, NULL))) {
		char name[PRINCIPAL_NAME_BYTES];

		principal_name_of(ca, name);
		if (!X509_check_ca(ca))
			rc = error_set(e, -EKEYREJECTED, "%sca.pem: the certificate of %s is not a "
				       "CA's", where, name);
		else if (!X509_STORE_add_cert(s->store, ca) || !sk_X509_push(s->authorities, ca))
			rc = error_errno(e, -ENOMEM, "%sca.pem", where);
		else
			continue;
		X509_free(ca);
	}
	BIO_free(in);
	if (rc == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		rc = error_set(e, -EBADMSG, "%sca.pem is damaged: it holds something else than "
			       "certificates in PEM", where);
	else if (rc == 0 && sk_X509_num(s->authorities) == 0)
		rc = error_set(e, -EBADMSG, "%sca.pem holds no certificate in PEM", where);
	ERR_clear_error();
	return rc;
}

static int read_own(struct identity_set *s, const char *where, struct error *e)
{
	BIO *in = BIO_new_mem_buf(s->pem.cert, -1);
	int rc;

	s->own = in ? PEM_read_bio_X509(in, NULL, no_password, NULL) : NULL;
	BIO_free(in);
	ERR_clear_error();
	if (!s->own)
		return error_set(e, -EBADMSG, "%scert.pem %s", where,
				 strstr(s->pem.cert, "BEGIN CERTIFICATE") ?
				 "is damaged: its certificate cannot be read" :
				 "holds no certificate in PEM");
	rc = principal_read(&s->self, s->own, e);
	return rc < 0 ? error_wrap(e, "%scert.pem", where) : 0;
}

static int read_key(struct identity_set *s, const char *where, struct error *e)
{
	BIO *in = BIO_new_mem_buf(s->pem.key, -1);
	bool asked = false;

	s->key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, &asked) : NULL;
	BIO_free(in);
	ERR_clear_error();
	if (asked)
		return error_set(e, -EBADMSG, "%skey.pem is locked by a password; programs that "
				 "start by themselves cannot be asked for one", where);
	if (!s->key && strstr(s->pem.key, "PRIVATE KEY"))
		return error_set(e, -EBADMSG, "%skey.pem is damaged: its key cannot be read",
				 where);
	if (!s->key)
		return error_set(e, -EBADMSG, "%skey.pem holds no private key in PEM", where);
	if (EVP_PKEY_get_id(s->key) != EVP_PKEY_ED25519)
		return error_set(e, -EKEYREJECTED, "%skey.pem holds a key that is not Ed25519",
				 where);
	if (X509_check_private_key(s->own, s->key) == 1)
		return 0;
	ERR_clear_error();
	return error_set(e, -EKEYREJECTED,
			 "%skey.pem is not the key of %s's certificate in cert.pem", where,
			 s->self.name);
}

/* Finds the CA that signed our own certificate. */
static int find_issuer(struct identity_set *s, const char *where, struct error *e)
{
	for (int i = 0; i < sk_X509_num(s->authorities); i++) {
		X509 *ca = sk_X509_value(s->authorities, i);

		if (X509_check_issued(ca, s->own) == X509_V_OK &&
		    X509_verify(s->own, X509_get0_pubkey(ca)) == 1) {
			principal_fingerprint(ca, s->self.authority);
			return 0;
		}
	}
	ERR_clear_error();
	return error_set(e, -EKEYREJECTED,
			 "%scert.pem: the certificate of %s was not signed by a CA "
			 "in ca.pem",
			 where, s->self.name);
}

void identity_pem_release(struct identity_pem *pem)
{
	if (pem->key)
		OPENSSL_cleanse((char *)pem->key, strlen(pem->key));
	mem_free((char *)pem->ca);
	mem_free((char *)pem->cert);
	mem_free((char *)pem->key);
	mem_free((char *)pem->crl);
	*pem = (struct identity_pem){ 0 };
}

static int copy_text(const char **to, const char *from)
{
	*to = from ? mem_strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int identity_pem_copy(struct identity_pem *out, const struct identity_pem *from,
		      struct error *e)
{
	int rc = copy_text(&out->ca, from->ca);

	rc = copy_text(&out->cert, from->cert) < 0 ? -ENOMEM : rc;
	rc = copy_text(&out->key, from->key) < 0 ? -ENOMEM : rc;
	rc = copy_text(&out->crl, from->crl) < 0 ? -ENOMEM : rc;
	if (rc == 0)
		return 0;
	identity_pem_release(out);
	return error_errno(e, rc, "copying credentials");
}

static struct identity_set *new_set(const struct clock *clock)
{
	struct identity_set *s = mem_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	atomic_init(&s->holders, 1);
	s->clock = clock;
	s->revocations_number = -1;
	s->authorities = fault_here() ? NULL : sk_X509_new_null();
	s->store = fault_here() ? NULL : X509_STORE_new();
	if (s->authorities && s->store &&
	    X509_STORE_set_flags(s->store, X509_V_FLAG_PARTIAL_CHAIN) &&
	    X509_STORE_set_depth(s->store, 0))
		return s;
	identity_set_put(s);
	return NULL;
}

static int read_all(struct identity_set *s, const char *where, struct error *e)
{
	int rc = read_authorities(s, where, e);

	if (rc == 0)
		rc = read_own(s, where, e);
	if (rc == 0)
		rc = read_key(s, where, e);
	if (rc == 0)
		rc = find_issuer(s, where, e);
	if (rc == 0 && s->pem.crl)
		rc = identity_crl_read(s, s->pem.crl, where, &s->revocations,
				       &s->revocations_number, e);
	return rc;
}

int identity_set_build(struct identity_set **out, const struct identity_pem *pem,
		       const char *where, const struct clock *clock, struct error *e)
{
	struct identity_set *s = new_set(clock);
	int rc = s ? 0 : error_errno(e, -ENOMEM, "reading credentials");

	*out = NULL;
	ERR_clear_error();
	if (rc == 0)
		rc = identity_pem_copy(&s->pem, pem, e);
	if (rc == 0)
		rc = read_all(s, where, e);
	if (rc < 0)
		identity_set_put(s);
	else
		*out = s;
	return rc;
}

int identity_set_build_stranger(struct identity_set **out,
				const uint8_t pinned[PRINCIPAL_FINGERPRINT_BYTES],
				const struct clock *clock, struct error *e)
{
	struct identity_set *s = new_set(clock);

	*out = s;
	if (!s)
		return error_errno(e, -ENOMEM, "opening an identity");
	memcpy(s->pinned, pinned, sizeof(s->pinned));
	return 0;
}

struct identity_set *identity_set_get(struct identity_set *s)
{
	atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
	return s;
}

void identity_set_put(struct identity_set *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) > 1)
		return;
	SSL_CTX_free(s->ctx);
	EVP_PKEY_free(s->key);
	X509_free(s->own);
	sk_X509_CRL_pop_free(s->revocations, X509_CRL_free);
	X509_STORE_free(s->store);
	sk_X509_pop_free(s->authorities, X509_free);
	identity_pem_release(&s->pem);
	mem_free(s);
}
