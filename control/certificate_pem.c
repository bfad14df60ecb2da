/* certificate_pem.c - certificates, keys, lists and requests as text and back. */
#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "control/certificate.h"
#include "dataplane/base/memory.h"

/* The text in a BIO, which is freed; wiped too, since it may be a key's. */
static int take_text(BIO *b, bool written, char **pem, struct error *e)
{
	char *data = NULL;
	long bytes = b ? BIO_get_mem_data(b, &data) : 0;

	*pem = written && bytes > 0 ? mem_strndup(data, (size_t)bytes) : NULL;
	if (data)
		OPENSSL_cleanse(data, (size_t)bytes);
	BIO_free(b);
	ERR_clear_error();
	return *pem ? 0 : error_errno(e, -ENOMEM, "writing PEM");
}

int certificate_to_pem(char **pem, X509 *certificate, struct error *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	return take_text(b, b && PEM_write_bio_X509(b, certificate) == 1, pem, e);
}

int certificate_key_to_pem(char **pem, EVP_PKEY *key, struct error *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	return take_text(b,
			 b && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1,
			 pem, e);
}

int certificate_revocations_to_pem(char **pem, X509_CRL *list, struct error *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	return take_text(b, b && PEM_write_bio_X509_CRL(b, list) == 1, pem, e);
}

/* Nobody is asked for a password. */
static int no_password(char *out, int bytes, int writing, void *ctx)
{
	return -1;
}

int certificate_from_pem(X509 **out, const char *pem, struct error *e)
{
	BIO *b = BIO_new_mem_buf(pem, -1);

	*out = b ? PEM_read_bio_X509(b, NULL, no_password, NULL) : NULL;
	BIO_free(b);
	ERR_clear_error();
	return *out ? 0 : error_set(e, -EBADMSG, "it holds no readable certificate in PEM");
}

int certificate_key_from_pem(EVP_PKEY **out, const char *pem, struct error *e)
{
	BIO *b = BIO_new_mem_buf(pem, -1);

	*out = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
	BIO_free(b);
	ERR_clear_error();
	return *out ? 0 : error_set(e, -EBADMSG, "it holds no readable private key in PEM");
}

static int make_request(X509_REQ *r, const char *name, EVP_PKEY *key)
{
	X509_NAME *subject = X509_REQ_get_subject_name(r);

	return X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1,
					  -1, 0) == 1 &&
	       X509_REQ_set_pubkey(r, key) == 1 && X509_REQ_sign(r, key, NULL) > 0;
}

int certificate_request_make(char **pem, const char *name, EVP_PKEY *key, struct error *e)
{
	X509_REQ *r = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	bool written = r && b && make_request(r, name, key) && PEM_write_bio_X509_REQ(b, r) == 1;

	X509_REQ_free(r);
	return take_text(b, written, pem, e);
}

static int read_request_name(X509_REQ *r, char name[PRINCIPAL_NAME_BYTES], struct error *e)
{
	X509_NAME *subject = X509_REQ_get_subject_name(r);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *text =
		at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	int length = text ? ASN1_STRING_length(text) : 0;

	memset(name, 0, PRINCIPAL_NAME_BYTES);
	if (length > 0 && length < PRINCIPAL_NAME_BYTES)
		memcpy(name, ASN1_STRING_get0_data(text), (size_t)length);
	if (length > 0 && strlen(name) == (size_t)length && principal_name_ok(name))
		return 0;
	return error_set(e, -EBADMSG, "the request's name is not 1 to %d letters, digits and .-_:@",
			 PRINCIPAL_NAME_BYTES - 1);
}

static int read_request_key(X509_REQ *r, EVP_PKEY **key, struct error *e)
{
	EVP_PKEY *public = X509_REQ_get_pubkey(r);

	if (!public || EVP_PKEY_get_id(public) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(public);
		return error_set(e, -EBADMSG, "the request's key is not an Ed25519 key");
	}
	if (X509_REQ_verify(r, public) != 1) {
		EVP_PKEY_free(public);
		return error_set(e, -EBADMSG, "the request is not signed by its own key");
	}
	*key = public;
	return 0;
}

int certificate_request_read(const char *pem, size_t bytes, EVP_PKEY **key,
			     char name[PRINCIPAL_NAME_BYTES], struct error *e)
{
	BIO *b = bytes <= CERTIFICATE_REQUEST_BYTES_MAX ? BIO_new_mem_buf(pem, (int)bytes) : NULL;
	X509_REQ *r = b ? PEM_read_bio_X509_REQ(b, NULL, no_password, NULL) : NULL;
	int rc = r ? read_request_name(r, name, e) :
		     error_set(e, -EBADMSG, "it is no readable request for a certificate in PEM");

	*key = NULL;
	if (rc == 0)
		rc = read_request_key(r, key, e);
	X509_REQ_free(r);
	BIO_free(b);
	ERR_clear_error();
	return rc;
}
