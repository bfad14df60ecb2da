/* principal.h - who is at the other end of a connection, as its certificate says.
 *
 * A certificate names its holder (the subject's common name) and what the holder may be:
 * roles, each a URI among the subject's alternative names.
 *
 *	CN = gpu-17
 *	URI:urn:petals:role:server, URI:urn:petals:role:gateway
 *
 * Which role may do what is control/permission.h's business.
 *
 * Threads    Plain data and pure functions; safe anywhere.
 * Ownership  Plain storage.
 * Units      _unix_s: seconds since 1970.
 * Errors     -EINVAL, -EBADMSG with a sentence.
 */
#ifndef PETALS_DATAPLANE_PRINCIPAL_H
#define PETALS_DATAPLANE_PRINCIPAL_H

#include <openssl/types.h>

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

enum {
	PRINCIPAL_NAME_BYTES = 64,
	PRINCIPAL_SERIAL_BYTES = 20,        /* the most a certificate may have */
	PRINCIPAL_FINGERPRINT_BYTES = 32,   /* SHA-256 */
	PRINCIPAL_ROLES_TEXT_BYTES = 64,
};

#define PRINCIPAL_ROLE_URI "urn:petals:role:"

enum principal_role {
	PRINCIPAL_SERVER, PRINCIPAL_GATEWAY, PRINCIPAL_TENANT, PRINCIPAL_OPERATOR,
	PRINCIPAL_DIRECTORY, PRINCIPAL_ROLES
};

struct principal {
	char name[PRINCIPAL_NAME_BYTES];        /* "" for a stranger */
	uint32_t roles;                         /* bits PRINCIPAL_BIT(); 0 for a stranger */
	uint8_t serial[PRINCIPAL_SERIAL_BYTES]; /* big-endian */
	uint32_t serial_bytes;
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];       /* of the certificate's DER */
	uint8_t key[PRINCIPAL_FINGERPRINT_BYTES];               /* of the public key */
	uint8_t authority[PRINCIPAL_FINGERPRINT_BYTES];         /* of the CA that vouches */
	int64_t not_before_unix_s, not_after_unix_s;
};

#define PRINCIPAL_BIT(role) (1u << (role))
#define PRINCIPAL_ANY ((1u << PRINCIPAL_ROLES) - 1)

const char *principal_role_name(enum principal_role role);      /* "server" */
/* "server,gateway" to bits; at least one. */
int principal_roles_parse(uint32_t *out, const char *text, struct error *e);
/* Bits to "server, gateway"; "no role" when there is none. */
void principal_roles_text(uint32_t roles, char out[PRINCIPAL_ROLES_TEXT_BYTES]);
/* Letters, digits and .-_:@, 1 to PRINCIPAL_NAME_BYTES - 1 of them, no sign first. */
bool principal_name_ok(const char *name);

/* What a certificate says; authority stays zero.  It vouches for nothing by itself. */
int principal_read(struct principal *out, const X509 *certificate, struct error *e);
/* ... of one that need not give a role: a CA's. */
int principal_read_any(struct principal *out, const X509 *certificate, struct error *e);
/* SHA-256 of the certificate's DER. */
void principal_fingerprint(const X509 *certificate, uint8_t out[PRINCIPAL_FINGERPRINT_BYTES]);
/* The common name, or "somebody without a name"; what cannot be printed becomes '?'. */
void principal_name_of(const X509 *certificate, char out[PRINCIPAL_NAME_BYTES]);

#endif
