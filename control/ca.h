/* ca.h - an operator's certificate authority, in a folder.
 *
 *	ca.pem          its certificate; everybody may have it
 *	ca.key          its key, 0600; whoever has it is the CA
 *	certificates    what it issued (ca_index.h)
 *	tokens          join tokens it gave out, without their secrets
 *	issued/SERIAL.pem
 *	crl.pem         what it revoked
 *	lock            held while one of them changes
 *
 * A directory that enrols and `petalsctl ca` may work on one folder at the same time: each
 * change takes the lock, reads the files, writes them whole.
 *
 *   a certificate:  issued  --revoke-->  revoked
 *                   issued  --time---->  expired
 *   a token:        given   --enrol--->  spent (the same key may fetch its certificate again)
 *                   given   --time---->  expired
 *
 * What ended CA_KEEP_S ago is forgotten.
 *
 * Threads    One at a time per struct ca.
 * Ownership  ca_open() / ca_close(); text handed out: mem_free().
 * Units      _s seconds, _unix_s since 1970.
 * Errors     -EEXIST, -ENOENT, -EACCES, -EBADMSG, -EINVAL, -EPERM (a token that is no good),
 *            with sentences.
 */
#ifndef PETALS_CONTROL_CA_H
#define PETALS_CONTROL_CA_H

#include "control/ca_index.h"
#include "control/join_token.h"
#include "dataplane/base/clock.h"

#define CA_KEEP_S (30LL * 86400)

struct ca;

/* Makes a new one in a folder where none is. */
int ca_init(const char *folder, const char *name, int64_t life_s, const struct clock *clock,
	    struct error *e);
int ca_open(struct ca **out, const char *folder, const struct clock *clock, struct error *e);
void ca_close(struct ca *ca);                            /* NULL is fine */
const char *ca_folder(const struct ca *ca);
const struct principal *ca_self(const struct ca *ca);    /* its name, fingerprint and dates */

/* Who is to get a certificate. */
struct ca_wish {
	const char *name;
	uint32_t roles;
	const char *hosts;              /* "a,b", or NULL */
	int64_t life_s;                 /* cut to the CA's own */
};

int ca_issue(struct ca *ca, const struct ca_wish *wish, EVP_PKEY *subject, char **cert,
	     struct error *e);
/* With a new key, as a credentials folder (identity.h), made if it is not there.  A folder
 * that holds credentials already is left alone: -EEXIST.
 */
int ca_issue_folder(struct ca *ca, const struct ca_wish *wish, const char *folder,
		    struct error *e);
/* The same name, roles, hosts and length of life for whoever has the certificate p, which must
 * be one of ours and not revoked; `request` is a certificate_request.
 */
int ca_renew(struct ca *ca, const struct principal *p, const char *request, size_t bytes,
	     char **cert, struct error *e);
/* ... for the certificate of a credentials folder, whose key stays. */
int ca_renew_folder(struct ca *ca, const char *folder, struct error *e);
/* By serial number or by name (all of that name); returns how many, -ENOENT: none. */
int ca_revoke(struct ca *ca, const char *which, struct error *e);

/* What is known, as it is now; ca_index_close() it. */
int ca_list(struct ca *ca, struct ca_index *out, struct error *e);
int ca_certificate_pem(struct ca *ca, char **pem, struct error *e);
int ca_revocations_pem(struct ca *ca, char **pem, struct error *e);

/* A token whose certificate will be as wished; wish->name NULL: the joiner chooses. */
int ca_token(struct ca *ca, const struct ca_wish *wish, int64_t ttl_s,
	     const struct address *directory, struct join_token *out, struct error *e);
/* Turns a token into a certificate.  host, where the request came from, stands in it beside the
 * wish's hosts; NULL: it does not.
 */
int ca_enrol(struct ca *ca, const uint8_t number[JOIN_TOKEN_NUMBER_BYTES],
	     const uint8_t secret[JOIN_TOKEN_SECRET_BYTES], const char *request, size_t bytes,
	     const char *host, char **cert, struct error *e);

#endif
