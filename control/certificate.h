/* certificate.h - makes keys, certificates, requests for certificates and revocation lists, all
 * in memory.
 *
 * A certificate names its holder, gives roles (dataplane/principal.h) and lists the hosts that
 * HTTPS clients may find it at.  Keys are Ed25519.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  What is handed out belongs to the caller: EVP_PKEY_free(), X509_free(),
 *            X509_REQ_free(), X509_CRL_free(), mem_free() for text.
 * Units      _unix_s: seconds since 1970.
 * Errors     -EINVAL (what was asked for), -EBADMSG (what was read), -ENOMEM, with a sentence.
 */
#ifndef PETALS_CONTROL_CERTIFICATE_H
#define PETALS_CONTROL_CERTIFICATE_H

#include <openssl/types.h>

#include "dataplane/principal.h"

enum {
	CERTIFICATE_SERIAL_BYTES = 16,
	CERTIFICATE_SEED_BYTES = 32,
	CERTIFICATE_HOSTS_BYTES = 512,
	CERTIFICATE_REQUEST_BYTES_MAX = 8192,   /* PEM */
};

struct certificate_spec {
	const char *name;
	uint32_t roles;                 /* bits; 0 for a CA */
	bool authority;                 /* may sign others */
	const char *hosts;              /* "gpu-17,10.0.0.17", or NULL */
	uint8_t serial[CERTIFICATE_SERIAL_BYTES];
	int64_t not_before_unix_s, not_after_unix_s;
};

/* A serial number of its full length; seed NULL: from the operating system. */
struct random;
void certificate_serial(uint8_t out[CERTIFICATE_SERIAL_BYTES], struct random *seed);

/* seed NULL: from the operating system. */
int certificate_key(EVP_PKEY **out, const uint8_t seed[CERTIFICATE_SEED_BYTES], struct error *e);
/* Signs with the CA's key; ca NULL: signs itself with `subject`, which has the private half. */
int certificate_issue(X509 **out, const struct certificate_spec *spec, EVP_PKEY *subject,
		      X509 *ca, EVP_PKEY *ca_key, struct error *e);

/* A request proves that who asks has the key; what it is to be called is a wish. */
int certificate_request_make(char **pem, const char *name, EVP_PKEY *key, struct error *e);
/* Foreign bytes: checks the signature, the kind of key, the name. */
int certificate_request_read(const char *pem, size_t bytes, EVP_PKEY **key,
			     char name[PRINCIPAL_NAME_BYTES], struct error *e);

struct certificate_revoked {
	uint8_t serial[PRINCIPAL_SERIAL_BYTES];
	uint32_t serial_bytes;
	int64_t unix_s;
};

int certificate_revocations(X509_CRL **out, const struct certificate_revoked *revoked,
			    uint32_t count, int64_t number, int64_t now_unix_s, X509 *ca,
			    EVP_PKEY *ca_key, struct error *e);

int certificate_to_pem(char **pem, X509 *certificate, struct error *e);
int certificate_key_to_pem(char **pem, EVP_PKEY *key, struct error *e);
int certificate_revocations_to_pem(char **pem, X509_CRL *list, struct error *e);
int certificate_from_pem(X509 **out, const char *pem, struct error *e);
int certificate_key_from_pem(EVP_PKEY **out, const char *pem, struct error *e);

/* "3fa0..." of bytes; out has 2 * bytes + 1. */
void certificate_hex(char *out, const uint8_t *data, size_t bytes);
/* Back: text has to have 2 * bytes lower-case digits, or more of them. */
bool certificate_unhex(uint8_t *out, const char *text, size_t bytes);

#endif
