/* identity_crl.c - revocation lists: whose they are, how new, and who is in them.
 *
 * A list must be signed by one of our CAs.  That its time of renewal has passed is no reason to
 * believe those in it, nor to cut off everybody else: it holds until a newer one comes.
 */
#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "dataplane/identity_set.h"

static X509 *issuer_of(const struct identity_set *s, X509_CRL *list)
{
	for (int i = 0; i < sk_X509_num(s->authorities); i++) {
		X509 *ca = sk_X509_value(s->authorities, i);

		if (!X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(list)) &&
		    X509_CRL_verify(list, X509_get0_pubkey(ca)) == 1)
			return ca;
	}
	return NULL;
}

/* The list's own number, 0 when it has none. */
static int64_t number_of(const X509_CRL *list)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	int64_t value = 0;

	if (number && (!ASN1_INTEGER_get_int64(&value, number) || value < 0))
		value = 0;
	ASN1_INTEGER_free(number);
	return value;
}

/* OpenSSL sorts a list when it is first asked; now it does so before others may look. */
static void sort_list(X509_CRL *list)
{
	ASN1_INTEGER *none = ASN1_INTEGER_new();
	X509_REVOKED *found;

	if (none)
		X509_CRL_get0_by_serial(list, &found, none);
	ASN1_INTEGER_free(none);
}

static int take_list(const struct identity_set *s, const char *where, X509_CRL *list,
		     STACK_OF(X509_CRL) *lists, struct error *e)
{
	if (!issuer_of(s, list))
		return error_set(e, -EKEYREJECTED, "%scrl.pem is not signed by a CA in ca.pem",
				 where);
	sort_list(list);
	return sk_X509_CRL_push(lists, list) ? 0 : error_errno(e, -ENOMEM, "%scrl.pem", where);
}

int identity_crl_read(const struct identity_set *s, const char *pem, const char *where,
		      STACK_OF(X509_CRL) **out, int64_t *number, struct error *e)
{
	STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
	BIO *in = BIO_new_mem_buf(pem, -1);
	X509_CRL *list;
	int rc = lists && in ? 0 : error_errno(e, -ENOMEM, "%scrl.pem", where);

	*out = NULL;
	*number = -1;
	ERR_clear_error();
	while (rc == 0 && (list = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL))) {
		rc = take_list(s, where, list, lists, e);
		if (rc < 0)
			X509_CRL_free(list);
		else
			*number = MAX(*number, number_of(list));
	}
	if (rc == 0 && (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE ||
			sk_X509_CRL_num(lists) == 0))
		rc = error_set(e, -EBADMSG, "%scrl.pem is damaged: it holds something else than "
			       "revocation lists in PEM", where);
	ERR_clear_error();
	BIO_free(in);
	if (rc < 0)
		sk_X509_CRL_pop_free(lists, X509_CRL_free);
	else
		*out = lists;
	return rc;
}

static X509 *authority_of(const struct identity_set *s, const struct principal *p)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];

	for (int i = 0; i < sk_X509_num(s->authorities); i++) {
		principal_fingerprint(sk_X509_value(s->authorities, i), fingerprint);
		if (!memcmp(fingerprint, p->authority, sizeof(fingerprint)))
			return sk_X509_value(s->authorities, i);
	}
	return NULL;
}

bool identity_crl_revoked(const struct identity_set *s, const struct principal *p)
{
	X509 *ca = authority_of(s, p);
	BIGNUM *number = BN_bin2bn(p->serial, (int)p->serial_bytes, NULL);
	ASN1_INTEGER *serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	bool revoked = !serial;         /* no memory to look: better once too often */

	for (int i = 0; serial && ca && i < sk_X509_CRL_num(s->revocations); i++) {
		X509_CRL *list = sk_X509_CRL_value(s->revocations, i);
		X509_REVOKED *found;

		if (!X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(list)) &&
		    X509_CRL_get0_by_serial(list, &found, serial) == 1)
			revoked = true;
	}
	ASN1_INTEGER_free(serial);
	BN_free(number);
	return revoked;
}
