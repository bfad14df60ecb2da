/* ca_index.h - what a CA remembers: the certificates it issued, and the join tokens it gave
 * out.  Two text files of one line each, fields separated by tabs, for people to read as well.
 *
 *	certificates   serial  name  roles  hosts  life  from  until  fingerprint  revoked
 *	tokens         number  hash  roles  name  hosts  life  until  spent  serial  key
 *
 * Times are seconds since 1970, 0: not yet; "-" stands for nothing.
 *
 * Threads    Plain data; whoever loads it holds the CA's lock (ca.c).
 * Ownership  ca_index_load() / ca_index_close().
 * Units      _unix_s, _s.
 * Errors     -EBADMSG naming the file and line; as file.h; -ENOMEM.
 */
#ifndef PETALS_CONTROL_CA_INDEX_H
#define PETALS_CONTROL_CA_INDEX_H

#include "control/certificate.h"

enum {
	CA_SERIAL_TEXT_BYTES = 2 * PRINCIPAL_SERIAL_BYTES + 1,
	CA_DIGEST_TEXT_BYTES = 2 * PRINCIPAL_FINGERPRINT_BYTES + 1,
	CA_NUMBER_TEXT_BYTES = 2 * 8 + 1,
};

struct ca_certificate {
	char serial[CA_SERIAL_TEXT_BYTES];
	char name[PRINCIPAL_NAME_BYTES];
	uint32_t roles;
	char hosts[CERTIFICATE_HOSTS_BYTES];            /* "" for none */
	int64_t life_s;                                 /* as wished */
	int64_t not_before_unix_s, not_after_unix_s;
	char fingerprint[CA_DIGEST_TEXT_BYTES];
	int64_t revoked_unix_s;                         /* 0: it is not */
};

struct ca_token {
	char number[CA_NUMBER_TEXT_BYTES];
	char hash[CA_DIGEST_TEXT_BYTES];                /* SHA-256 of the secret */
	uint32_t roles;
	char name[PRINCIPAL_NAME_BYTES];                /* "": the joiner chooses */
	char hosts[CERTIFICATE_HOSTS_BYTES];
	int64_t life_s;                                 /* of the certificate */
	int64_t until_unix_s, spent_unix_s;
	char serial[CA_SERIAL_TEXT_BYTES];              /* of what it was spent on */
	char key[CA_DIGEST_TEXT_BYTES];                 /* SHA-256 of whose key that is */
};

struct ca_index {
	struct ca_certificate *certificates;
	uint32_t certificate_count;
	struct ca_token *tokens;
	uint32_t token_count;
};

int ca_index_load(struct ca_index *out, const char *folder, struct error *e);
void ca_index_close(struct ca_index *x);                /* safe when zeroed */
/* Each writes its own file, whole. */
int ca_index_save_certificates(const struct ca_index *x, const char *folder, struct error *e);
int ca_index_save_tokens(const struct ca_index *x, const char *folder, struct error *e);

int ca_index_add_certificate(struct ca_index *x, const struct ca_certificate *c);  /* -ENOMEM */
int ca_index_add_token(struct ca_index *x, const struct ca_token *t);
/* Leaves out certificates and tokens that ended before then; tells of each certificate. */
void ca_index_prune(struct ca_index *x, int64_t before_unix_s,
		    void (*gone)(void *ctx, const char *serial), void *ctx);
struct ca_certificate *ca_index_find_serial(struct ca_index *x, const char *serial);
/* The latest of that name that is neither revoked nor expired, or NULL. */
struct ca_certificate *ca_index_find_valid(struct ca_index *x, const char *name,
					   int64_t now_unix_s);
struct ca_token *ca_index_find_token(struct ca_index *x, const char *number);

#endif
