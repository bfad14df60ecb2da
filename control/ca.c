/* ca.c - a CA's folder: made, opened, locked, listed.
 *
 * Leaves issuing to ca_issue.c, revoking to ca_revoke.c, tokens to ca_enrol.c, the two lists to
 * ca_index.c.
 */
#include "control/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/ca_private.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { PEM_BYTES_MAX = 1 << 16 };

int64_t ca_now_unix_s(const struct ca *ca)
{
	return (int64_t)(clock_unix_ms(ca->clock) / 1000);
}

const char *ca_folder(const struct ca *ca)
{
	return ca->folder;
}

const struct principal *ca_self(const struct ca *ca)
{
	return &ca->self;
}

static int write_in(const char *folder, const char *name, const char *text, unsigned mode,
		    struct error *e)
{
	char *path = file_join(folder, name);
	int rc = path ? file_write(path, text, strlen(text), mode, e) :
			error_errno(e, -ENOMEM, "writing %s", folder);

	mem_free(path);
	return rc;
}

static int read_in(const char *folder, const char *name, char **out, struct error *e)
{
	char *path = file_join(folder, name);
	int rc = path ? file_read(path, PEM_BYTES_MAX, out, NULL, e) :
			error_errno(e, -ENOMEM, "reading %s", folder);

	mem_free(path);
	return rc;
}

static bool is_there(const char *folder, const char *name)
{
	char *path = file_join(folder, name);
	bool there = path && file_exists(path);

	mem_free(path);
	return there;
}

/* Key first: a folder with ca.pem is a whole CA. */
static int write_new(const char *folder, EVP_PKEY *key, X509 *certificate, struct error *e)
{
	char *key_pem = NULL, *pem = NULL, *issued = file_join(folder, "issued");
	int rc = issued ? file_make_folder(issued, e) : error_errno(e, -ENOMEM, "%s", folder);

	if (rc == 0)
		rc = certificate_key_to_pem(&key_pem, key, e);
	if (rc == 0)
		rc = certificate_to_pem(&pem, certificate, e);
	if (rc == 0)
		rc = write_in(folder, "ca.key", key_pem, 0600, e);
	if (rc == 0)
		rc = write_in(folder, "ca.pem", pem, 0644, e);
	if (key_pem)
		OPENSSL_cleanse(key_pem, strlen(key_pem));
	mem_free(key_pem);
	mem_free(pem);
	mem_free(issued);
	return rc;
}

int ca_init(const char *folder, const char *name, int64_t life_s, const struct clock *clock,
	    struct error *e)
{
	int64_t now_unix_s = (int64_t)(clock_unix_ms(clock) / 1000);
	struct certificate_spec spec = {
		.name = name, .authority = true, .not_before_unix_s = now_unix_s - 60,
		.not_after_unix_s = now_unix_s + life_s,
	};
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	struct ca *ca;
	int rc;

	if (is_there(folder, "ca.pem") || is_there(folder, "ca.key"))
		return error_set(e, -EEXIST, "%s holds a CA already", folder);
	certificate_serial(spec.serial, NULL);
	rc = certificate_key(&key, NULL, e);
	if (rc == 0)
		rc = certificate_issue(&certificate, &spec, key, NULL, NULL, e);
	if (rc == 0)
		rc = write_new(folder, key, certificate, e);
	X509_free(certificate);
	EVP_PKEY_free(key);
	if (rc < 0)
		return rc;
	/* Opening it writes the first, empty list of revocations. */
	rc = ca_open(&ca, folder, clock, e);
	if (rc == 0)
		ca_close(ca);
	return rc;
}

static int check_key_mode(const char *folder, struct error *e)
{
	char *path = file_join(folder, "ca.key");
	struct stat st;
	int rc = !path ? error_errno(e, -ENOMEM, "opening %s", folder) :
		 stat(path, &st) < 0 ? error_errno(e, -errno, "cannot open %s", path) : 0;

	if (rc == 0 && st.st_mode & 077)
		rc = error_set(e, -EACCES, "%s is open to others (mode %03o): chmod 600 %s, and "
			       "think about whether it is still a secret", path,
			       st.st_mode & 0777u, path);
	mem_free(path);
	return rc;
}

static int read_ca(struct ca *ca, struct error *e)
{
	char *pem = NULL, *key = NULL;
	int rc = check_key_mode(ca->folder, e);

	if (rc == 0)
		rc = read_in(ca->folder, "ca.pem", &pem, e);
	if (rc == 0)
		rc = read_in(ca->folder, "ca.key", &key, e);
	if (rc == 0 && certificate_from_pem(&ca->certificate, pem, e) < 0)
		rc = error_wrap(e, "%s/ca.pem", ca->folder);
	if (rc == 0 && certificate_key_from_pem(&ca->key, key, e) < 0)
		rc = error_wrap(e, "%s/ca.key", ca->folder);
	if (rc == 0 && X509_check_private_key(ca->certificate, ca->key) != 1)
		rc = error_set(e, -EBADMSG, "%s/ca.key is not the key of the certificate in ca.pem",
			       ca->folder);
	if (key)
		OPENSSL_cleanse(key, strlen(key));
	mem_free(pem);
	mem_free(key);
	if (rc == 0)
		rc = principal_read_any(&ca->self, ca->certificate, e);
	return rc;
}

static void forget_copy(void *ctx, const char *serial)
{
	char *path = ca_issued_path(ctx, serial);

	if (path)
		unlink(path);
	mem_free(path);
}

int ca_change_begin(struct ca *ca, struct ca_change *c, struct error *e)
{
	char *path = file_join(ca->folder, "lock");
	int rc = path ? 0 : error_errno(e, -ENOMEM, "locking %s", ca->folder);

	c->index = (struct ca_index){ 0 };
	c->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (path && (c->lock_fd < 0 || flock(c->lock_fd, LOCK_EX) < 0))
		rc = error_errno(e, -errno, "cannot lock %s", path);
	mem_free(path);
	if (rc == 0)
		rc = ca_index_load(&c->index, ca->folder, e);
	if (rc < 0)
		ca_change_end(c);
	else
		ca_index_prune(&c->index, ca_now_unix_s(ca) - CA_KEEP_S, forget_copy, ca);
	return rc;
}

void ca_change_end(struct ca_change *c)
{
	ca_index_close(&c->index);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	c->lock_fd = -1;
}

int ca_open(struct ca **out, const char *folder, const struct clock *clock, struct error *e)
{
	struct ca *ca = mem_calloc(1, sizeof(*ca));
	struct ca_change c;
	int rc;

	*out = NULL;
	if (ca)
		ca->folder = mem_strdup(folder);
	if (!ca || !ca->folder) {
		ca_close(ca);
		return error_errno(e, -ENOMEM, "opening the CA in %s", folder);
	}
	ca->clock = clock;
	if (!is_there(folder, "ca.pem"))
		rc = error_set(e, -ENOENT, "there is no CA in %s: `petalsctl ca init` makes one",
			       folder);
	else
		rc = read_ca(ca, e);
	if (rc == 0)
		rc = ca_change_begin(ca, &c, e);
	if (rc < 0) {
		ca_close(ca);
		return rc;
	}
	/* Also after a revocation that was cut short. */
	rc = ca_write_revocations(ca, &c.index, e);
	ca_change_end(&c);
	if (rc < 0)
		ca_close(ca);
	else
		*out = ca;
	return rc;
}

void ca_close(struct ca *ca)
{
	if (!ca)
		return;
	X509_free(ca->certificate);
	EVP_PKEY_free(ca->key);
	mem_free(ca->folder);
	mem_free(ca);
}

int ca_list(struct ca *ca, struct ca_index *out, struct error *e)
{
	struct ca_change c;
	int rc = ca_change_begin(ca, &c, e);

	*out = (struct ca_index){ 0 };
	if (rc < 0)
		return rc;
	*out = c.index;
	c.index = (struct ca_index){ 0 };
	ca_change_end(&c);
	return 0;
}

int ca_certificate_pem(struct ca *ca, char **pem, struct error *e)
{
	return certificate_to_pem(pem, ca->certificate, e);
}
