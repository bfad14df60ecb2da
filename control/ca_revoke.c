/* ca_revoke.c - what a CA has revoked: marked in its index, written as a list that programs check.
 *
 * The list is numbered, and its number only rises: programs keep the newest they saw.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/ca_private.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { LIST_BYTES_MAX = 16 << 20 };

int ca_revocations_pem(struct ca *ca, char **pem, struct error *e)
{
	char *path = file_join(ca->folder, "crl.pem");
	int rc = path ? file_read(path, LIST_BYTES_MAX, pem, NULL, e) :
			error_errno(e, -ENOMEM, "reading %s", ca->folder);

	mem_free(path);
	return rc;
}

/* The list that is in the folder, or NULL. */
static X509_CRL *read_list(struct ca *ca)
{
	char *pem = NULL;
	X509_CRL *list = NULL;
	BIO *b;

	if (ca_revocations_pem(ca, &pem, NULL) < 0)
		return NULL;
	b = BIO_new_mem_buf(pem, -1);
	if (b)
		list = PEM_read_bio_X509_CRL(b, NULL, NULL, NULL);
	ERR_clear_error();
	BIO_free(b);
	mem_free(pem);
	return list;
}

static int64_t number_of(const X509_CRL *list)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	int64_t value = 0;

	if (number)
		ASN1_INTEGER_get_int64(&value, number);
	ASN1_INTEGER_free(number);
	return value;
}

static bool is_in(X509_CRL *list, const struct certificate_revoked *r)
{
	BIGNUM *number = BN_bin2bn(r->serial, (int)r->serial_bytes, NULL);
	ASN1_INTEGER *serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	X509_REVOKED *found;
	bool in = serial && X509_CRL_get0_by_serial(list, &found, serial) == 1;

	ASN1_INTEGER_free(serial);
	BN_free(number);
	return in;
}

static bool says_the_same(X509_CRL *list, const struct certificate_revoked *all, uint32_t count)
{
	if (sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list)) != (int)count && count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!is_in(list, &all[i]))
			return false;
	return count || sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list)) <= 0;
}

/* Whoever has expired need not be listed any longer. */
static uint32_t collect(const struct ca_index *x, int64_t now_unix_s,
			struct certificate_revoked *all)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < x->certificate_count; i++) {
		const struct ca_certificate *c = &x->certificates[i];

		if (!c->revoked_unix_s || c->not_after_unix_s < now_unix_s)
			continue;
		all[count].serial_bytes = (uint32_t)strlen(c->serial) / 2;
		certificate_unhex(all[count].serial, c->serial, all[count].serial_bytes);
		all[count++].unix_s = c->revoked_unix_s;
	}
	return count;
}

static int write_list(struct ca *ca, const struct certificate_revoked *all, uint32_t count,
		      int64_t number, struct error *e)
{
	char *path = file_join(ca->folder, "crl.pem"), *pem = NULL;
	X509_CRL *list = NULL;
	int rc = path ? 0 : error_errno(e, -ENOMEM, "writing %s", ca->folder);

	if (rc == 0)
		rc = certificate_revocations(&list, all, count, number, ca_now_unix_s(ca),
					     ca->certificate, ca->key, e);
	if (rc == 0)
		rc = certificate_revocations_to_pem(&pem, list, e);
	if (rc == 0)
		rc = file_write(path, pem, strlen(pem), 0644, e);
	X509_CRL_free(list);
	mem_free(pem);
	mem_free(path);
	return rc;
}

int ca_write_revocations(struct ca *ca, const struct ca_index *x, struct error *e)
{
	int64_t now_unix_s = ca_now_unix_s(ca);
	struct certificate_revoked *all = mem_calloc(MAX(x->certificate_count, 1u), sizeof(*all));
	X509_CRL *before;
	uint32_t count;
	int rc = 0;

	if (!all)
		return error_errno(e, -ENOMEM, "listing what is revoked");
	count = collect(x, now_unix_s, all);
	before = read_list(ca);
	/* A list that was lost had some number, but surely one below the milliseconds. */
	if (!before)
		rc = write_list(ca, all, count, x->certificate_count ?
				(int64_t)clock_unix_ms(ca->clock) : 1, e);
	else if (!says_the_same(before, all, count))
		rc = write_list(ca, all, count, number_of(before) + 1, e);
	X509_CRL_free(before);
	mem_free(all);
	return rc;
}

int ca_revoke(struct ca *ca, const char *which, struct error *e)
{
	int64_t now_unix_s = ca_now_unix_s(ca);
	struct ca_change c;
	int count = 0, rc = ca_change_begin(ca, &c, e);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < c.index.certificate_count; i++) {
		struct ca_certificate *entry = &c.index.certificates[i];

		if (entry->revoked_unix_s || entry->not_after_unix_s < now_unix_s ||
		    (strcmp(entry->name, which) && strcmp(entry->serial, which)))
			continue;
		entry->revoked_unix_s = now_unix_s;
		count++;
	}
	if (count == 0)
		rc = error_set(e, -ENOENT, "no valid certificate has the name or serial number %s; "
			       "`petalsctl ca show` lists them", which);
	if (rc == 0)
		rc = ca_index_save_certificates(&c.index, ca->folder, e);
	if (rc == 0)
		rc = ca_write_revocations(ca, &c.index, e);
	ca_change_end(&c);
	return rc < 0 ? rc : count;
}
