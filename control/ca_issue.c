/* ca_issue.c - new certificates and renewed ones, into the index and into folders. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/ca_private.h"
#include "control/credentials.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

/* A certificate begins a little in the past: not every host's clock is right.  Less for one that
 * lives shortly, or it would be due for renewal when it is born.
 */
enum { EARLY_MOST_S = 60, PEM_BYTES_MAX = 1 << 16 };

char *ca_issued_path(const struct ca *ca, const char *serial)
{
	char name[CA_SERIAL_TEXT_BYTES + 16];

	snprintf(name, sizeof(name), "issued/%s.pem", serial);
	return file_join(ca->folder, name);
}

static int keep_copy(const struct ca *ca, const char *serial, const char *cert, struct error *e)
{
	char *path = ca_issued_path(ca, serial);
	int rc;

	assert(cert);
	rc = path ? file_write(path, cert, strlen(cert), 0644, e) :
		    error_errno(e, -ENOMEM, "keeping a certificate");
	mem_free(path);
	return rc;
}

static int sign(struct ca *ca, const struct ca_wish *wish, EVP_PKEY *subject,
		struct ca_certificate *entry, char **cert, struct error *e)
{
	int64_t now_unix_s = ca_now_unix_s(ca);
	struct certificate_spec spec = {
		.name = wish->name, .roles = wish->roles, .hosts = wish->hosts,
		.not_before_unix_s = now_unix_s - MIN(EARLY_MOST_S, wish->life_s / 10),
		.not_after_unix_s = MIN(now_unix_s + wish->life_s, ca->self.not_after_unix_s),
	};
	struct principal p;
	X509 *c;
	int rc;

	if (!wish->roles)
		return error_set(e, -EINVAL, "a certificate without a role is good for nothing");
	if (now_unix_s >= ca->self.not_after_unix_s)
		return error_set(e, -EKEYEXPIRED, "the CA %s has expired itself: make a new one",
				 ca->self.name);
	certificate_serial(spec.serial, NULL);
	rc = certificate_issue(&c, &spec, subject, ca->certificate, ca->key, e);
	if (rc < 0)
		return rc;
	rc = principal_read(&p, c, e);
	if (rc == 0)
		rc = certificate_to_pem(cert, c, e);
	X509_free(c);
	if (rc < 0)
		return rc;
	*entry = (struct ca_certificate){ .roles = p.roles, .life_s = wish->life_s,
					  .not_before_unix_s = p.not_before_unix_s,
					  .not_after_unix_s = p.not_after_unix_s };
	memcpy(entry->name, p.name, sizeof(entry->name));
	snprintf(entry->hosts, sizeof(entry->hosts), "%s", wish->hosts ? wish->hosts : "");
	certificate_hex(entry->serial, p.serial, p.serial_bytes);
	certificate_hex(entry->fingerprint, p.fingerprint, sizeof(p.fingerprint));
	return 0;
}

int ca_issue_within(struct ca *ca, struct ca_change *c, const struct ca_wish *wish,
		    EVP_PKEY *subject, char **cert, struct ca_certificate *entry,
		    struct error *e)
{
	int rc;

	*cert = NULL;
	if (wish->hosts && strlen(wish->hosts) >= CERTIFICATE_HOSTS_BYTES)
		return error_set(e, -EINVAL, "the hosts of %s take more than %d letters",
				 wish->name, CERTIFICATE_HOSTS_BYTES - 1);
	rc = sign(ca, wish, subject, entry, cert, e);
	/* The copy first: the index decides what was issued. */
	if (rc == 0)
		rc = keep_copy(ca, entry->serial, *cert, e);
	if (rc == 0 && ca_index_add_certificate(&c->index, entry) < 0)
		rc = error_errno(e, -ENOMEM, "issuing a certificate");
	if (rc == 0)
		rc = ca_index_save_certificates(&c->index, ca->folder, e);
	if (rc < 0) {
		mem_free(*cert);
		*cert = NULL;
	}
	return rc;
}

int ca_issue(struct ca *ca, const struct ca_wish *wish, EVP_PKEY *subject, char **cert,
	     struct error *e)
{
	struct ca_certificate entry;
	struct ca_change c;
	int rc = ca_change_begin(ca, &c, e);

	*cert = NULL;
	if (rc < 0)
		return rc;
	rc = ca_issue_within(ca, &c, wish, subject, cert, &entry, e);
	ca_change_end(&c);
	return rc;
}

static int write_folder(struct ca *ca, const char *folder, EVP_PKEY *key, const char *cert,
			struct error *e)
{
	char *authority = NULL, *revocations = NULL, *key_pem = NULL;
	int rc = ca_certificate_pem(ca, &authority, e);

	if (rc == 0)
		rc = ca_revocations_pem(ca, &revocations, e);
	if (rc == 0)
		rc = certificate_key_to_pem(&key_pem, key, e);
	if (rc == 0)
		rc = credentials_write(folder, &(struct identity_pem){ authority, cert, key_pem,
								       revocations }, e);
	if (key_pem)
		OPENSSL_cleanse(key_pem, strlen(key_pem));
	mem_free(key_pem);
	mem_free(revocations);
	mem_free(authority);
	return rc;
}

int ca_issue_folder(struct ca *ca, const struct ca_wish *wish, const char *folder,
		    struct error *e)
{
	char *there = file_join(folder, "cert.pem"), *cert = NULL;
	EVP_PKEY *key = NULL;
	int rc = there ? 0 : error_errno(e, -ENOMEM, "issuing into %s", folder);

	if (rc == 0 && file_exists(there))
		rc = error_set(e, -EEXIST,
			       "%s holds a certificate already: name another folder, or "
			       "renew this one",
			       folder);
	if (rc == 0)
		rc = certificate_key(&key, NULL, e);
	if (rc == 0)
		rc = ca_issue(ca, wish, key, &cert, e);
	if (rc == 0)
		rc = write_folder(ca, folder, key, cert, e);
	EVP_PKEY_free(key);
	mem_free(cert);
	mem_free(there);
	return rc;
}

/* Our own record of a certificate, if it may still be renewed. */
static int find_renewable(struct ca *ca, struct ca_change *c, const struct principal *p,
			  struct ca_certificate *out, struct error *e)
{
	char serial[CA_SERIAL_TEXT_BYTES];
	const struct ca_certificate *entry;

	certificate_hex(serial, p->serial, p->serial_bytes);
	entry = ca_index_find_serial(&c->index, serial);
	if (!entry || strcmp(entry->name, p->name))
		return error_set(e, -ENOENT,
				 "the CA in %s has not issued the certificate of %s (%s)",
				 ca->folder, p->name, serial);
	if (entry->revoked_unix_s)
		return error_set(e, -EPERM, "the certificate of %s was revoked", p->name);
	*out = *entry;
	return 0;
}

static int renew(struct ca *ca, const struct principal *p, EVP_PKEY *key, char **cert,
		 struct error *e)
{
	struct ca_certificate old, entry;
	struct ca_change c;
	int rc = ca_change_begin(ca, &c, e);

	*cert = NULL;
	if (rc < 0)
		return rc;
	rc = find_renewable(ca, &c, p, &old, e);
	if (rc == 0) {
		const struct ca_wish wish = {
			.name = old.name, .roles = old.roles,
			.hosts = old.hosts[0] ? old.hosts : NULL,
			.life_s = old.life_s,
		};
		rc = ca_issue_within(ca, &c, &wish, key, cert, &entry, e);
	}
	ca_change_end(&c);
	return rc;
}

int ca_renew(struct ca *ca, const struct principal *p, const char *request, size_t bytes,
	     char **cert, struct error *e)
{
	char name[PRINCIPAL_NAME_BYTES];
	EVP_PKEY *key = NULL;
	int rc = certificate_request_read(request, bytes, &key, name, e);

	*cert = NULL;
	if (rc == 0 && strcmp(name, p->name))
		rc = error_set(e, -EPERM, "%s asks for a certificate of %s", p->name, name);
	if (rc == 0)
		rc = renew(ca, p, key, cert, e);
	EVP_PKEY_free(key);
	return rc;
}

int ca_renew_folder(struct ca *ca, const char *folder, struct error *e)
{
	char *path = file_join(folder, "cert.pem"), *old = NULL, *cert = NULL;
	struct principal p;
	X509 *c = NULL;
	int rc = path ? file_read(path, PEM_BYTES_MAX, &old, NULL, e) :
			error_errno(e, -ENOMEM, "renewing %s", folder);

	if (rc == 0 && certificate_from_pem(&c, old, e) < 0)
		rc = error_wrap(e, "%s", path);
	if (rc == 0)
		rc = principal_read(&p, c, e);
	/* Same key, so that one rename puts the new certificate in place. */
	if (rc == 0)
		rc = renew(ca, &p, X509_get0_pubkey(c), &cert, e);
	if (rc == 0)
		rc = file_write(path, cert, strlen(cert), 0644, e);
	X509_free(c);
	mem_free(cert);
	mem_free(old);
	mem_free(path);
	return rc;
}
