/* ca_enrol.c - join tokens: given out, and turned into a certificate once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "control/ca_private.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { PEM_BYTES_MAX = 1 << 16 };

static void hash_text(char out[CA_DIGEST_TEXT_BYTES], const void *data, size_t bytes)
{
	uint8_t digest[PRINCIPAL_FINGERPRINT_BYTES] = { 0 };

	EVP_Digest(data, bytes, digest, NULL, EVP_sha256(), NULL);
	certificate_hex(out, digest, sizeof(digest));
}

/* Of the raw public key. */
static void hash_key(char out[CA_DIGEST_TEXT_BYTES], const EVP_PKEY *key)
{
	uint8_t raw[64];
	size_t bytes = sizeof(raw);

	if (EVP_PKEY_get_raw_public_key(key, raw, &bytes) != 1)
		bytes = 0;
	hash_text(out, raw, bytes);
}

int ca_token(struct ca *ca, const struct ca_wish *wish, int64_t ttl_s,
	     const struct address *directory, struct join_token *out, struct error *e)
{
	struct ca_token entry = { .roles = wish->roles, .life_s = wish->life_s,
				  .until_unix_s = ca_now_unix_s(ca) + ttl_s };
	struct ca_change c;
	int rc;

	if (!wish->roles)
		return error_set(e, -EINVAL, "a token without a role is good for nothing");
	if (wish->name && !principal_name_ok(wish->name))
		return error_set(e, -EINVAL, "\"%.64s\" is no name for a certificate", wish->name);
	*out = (struct join_token){ .directory = *directory };
	memcpy(out->authority, ca->self.fingerprint, sizeof(out->authority));
	if (RAND_bytes(out->number, sizeof(out->number)) != 1 ||
	    RAND_bytes(out->secret, sizeof(out->secret)) != 1)
		return error_set(e, -EIO, "the operating system gives no random numbers");
	certificate_hex(entry.number, out->number, sizeof(out->number));
	hash_text(entry.hash, out->secret, sizeof(out->secret));
	snprintf(entry.name, sizeof(entry.name), "%s", wish->name ? wish->name : "");
	snprintf(entry.hosts, sizeof(entry.hosts), "%s", wish->hosts ? wish->hosts : "");
	rc = ca_change_begin(ca, &c, e);
	if (rc < 0)
		return rc;
	if (ca_index_add_token(&c.index, &entry) < 0)
		rc = error_errno(e, -ENOMEM, "making a token");
	if (rc == 0)
		rc = ca_index_save_tokens(&c.index, ca->folder, e);
	ca_change_end(&c);
	return rc;
}

/* The token of that number, if the secret is its own: who does not have it learns nothing. */
static int find_token(struct ca_change *c, const uint8_t *number, const uint8_t *secret,
		      struct ca_token **out, struct error *e)
{
	char text[CA_NUMBER_TEXT_BYTES], hash[CA_DIGEST_TEXT_BYTES];

	certificate_hex(text, number, JOIN_TOKEN_NUMBER_BYTES);
	hash_text(hash, secret, JOIN_TOKEN_SECRET_BYTES);
	*out = ca_index_find_token(&c->index, text);
	if (!*out || CRYPTO_memcmp((*out)->hash, hash, sizeof(hash)))
		return error_set(e, -EPERM, "this CA has given out no such join token");
	return 0;
}

static int check_name(const struct ca *ca, struct ca_change *c, const struct ca_token *t,
		      const char *name, struct error *e)
{
	if (t->name[0] && strcmp(t->name, name))
		return error_set(e, -EPERM, "the join token is for %s, not for %s", t->name, name);
	/* Nobody takes the name of somebody who is there, unless the operator says so. */
	if (!t->name[0] && ca_index_find_valid(&c->index, name, ca_now_unix_s(ca)))
		return error_set(e, -EEXIST, "%s has a valid certificate already: choose another "
				 "--name, or revoke that one, or make a token with --name", name);
	return 0;
}

/* The certificate that this token was spent on, for whoever lost the answer. */
static int give_again(const struct ca *ca, const struct ca_token *t, const char *key, char **cert,
		      struct error *e)
{
	char *path;
	int rc;

	if (strcmp(t->key, key))
		return error_set(e, -EPERM, "the join token was used before: ask for a new one");
	path = ca_issued_path(ca, t->serial);
	rc = path ? file_read(path, PEM_BYTES_MAX, cert, NULL, e) :
		    error_errno(e, -ENOMEM, "enrolling");
	mem_free(path);
	return rc;
}

static void add_host(char out[CERTIFICATE_HOSTS_BYTES], size_t *length, const char *host)
{
	if (!host[0])
		return;
	snprintf(out + MIN(*length, (size_t)CERTIFICATE_HOSTS_BYTES - 1),
		 CERTIFICATE_HOSTS_BYTES - MIN(*length, (size_t)CERTIFICATE_HOSTS_BYTES - 1),
		 "%s%s", *length ? "," : "", host);
	*length += strlen(host) + (*length > 0);
}

/* Where it may be found: as the operator said, by its name if that can be a host's, and at the
 * address that it really came from.
 */
static int join_hosts(char out[CERTIFICATE_HOSTS_BYTES], const struct ca_token *t,
		      const char *name, const char *host, struct error *e)
{
	size_t length = 0;

	out[0] = '\0';
	add_host(out, &length, t->hosts);
	if (!strpbrk(name, ":@_"))
		add_host(out, &length, name);
	add_host(out, &length, host ? host : "");
	if (length < CERTIFICATE_HOSTS_BYTES)
		return 0;
	return error_set(e, -EINVAL, "the hosts of %s take more than %d letters", name,
			 CERTIFICATE_HOSTS_BYTES - 1);
}

static int spend(struct ca *ca, struct ca_change *c, struct ca_token *t, const char *name,
		 const char *host, EVP_PKEY *key, const char *key_text, char **cert,
		 struct error *e)
{
	struct ca_certificate entry;
	char hosts[CERTIFICATE_HOSTS_BYTES];
	struct ca_wish wish = { .name = name, .roles = t->roles, .life_s = t->life_s };
	int rc = check_name(ca, c, t, name, e);

	if (rc == 0)
		rc = join_hosts(hosts, t, name, host, e);
	wish.hosts = rc == 0 && hosts[0] ? hosts : NULL;
	if (rc == 0)
		rc = ca_issue_within(ca, c, &wish, key, cert, &entry, e);
	if (rc < 0)
		return rc;
	t->spent_unix_s = ca_now_unix_s(ca);
	memcpy(t->serial, entry.serial, sizeof(t->serial));
	memcpy(t->key, key_text, sizeof(t->key));
	rc = ca_index_save_tokens(&c->index, ca->folder, e);
	if (rc < 0) {
		mem_free(*cert);
		*cert = NULL;
	}
	return rc;
}

static int redeem(struct ca *ca, struct ca_change *c, struct ca_token *t, const char *name,
		  const char *host, EVP_PKEY *key, char **cert, struct error *e)
{
	int64_t late_s = ca_now_unix_s(ca) - t->until_unix_s;
	char key_text[CA_DIGEST_TEXT_BYTES];

	hash_key(key_text, key);
	if (t->spent_unix_s)
		return give_again(ca, t, key_text, cert, e);
	if (late_s > 0)
		return error_set(e, -EPERM,
				 "the join token expired %" PRId64 " s ago: ask for a new "
				 "one",
				 late_s);
	return spend(ca, c, t, name, host, key, key_text, cert, e);
}

int ca_enrol(struct ca *ca, const uint8_t number[JOIN_TOKEN_NUMBER_BYTES],
	     const uint8_t secret[JOIN_TOKEN_SECRET_BYTES], const char *request, size_t bytes,
	     const char *host, char **cert, struct error *e)
{
	char name[PRINCIPAL_NAME_BYTES];
	EVP_PKEY *key = NULL;
	struct ca_token *t;
	struct ca_change c;
	int rc = certificate_request_read(request, bytes, &key, name, e);

	*cert = NULL;
	if (rc < 0)
		return rc;
	rc = ca_change_begin(ca, &c, e);
	if (rc == 0) {
		rc = find_token(&c, number, secret, &t, e);
		if (rc == 0)
			rc = redeem(ca, &c, t, name, host, key, cert, e);
		ca_change_end(&c);
	}
	EVP_PKEY_free(key);
	return rc;
}
