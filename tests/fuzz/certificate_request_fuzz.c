/* certificate_request_fuzz.c - any bytes as a request for a certificate, as PEM or as the DER
 * within: refused with a sentence, or a key and a name that may stand in a certificate.
 *
 * The first byte says which: odd is DER.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "control/certificate.h"
#include "dataplane/base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

static void try(const char *pem, size_t bytes)
{
	char name[PRINCIPAL_NAME_BYTES];
	struct error e = { 0 };
	EVP_PKEY *key;

	if (certificate_request_read(pem, bytes, &key, name, &e) < 0) {
		if (!e.text[0] || e.code >= 0 || key)
			abort();
		return;
	}
	if (!principal_name_ok(name) || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519)
		abort();
	EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BIO *b;
	char *pem;
	long bytes;

	if (size < 1)
		return 0;
	if (data[0] % 2 == 0) {
		try((const char *)data + 1, size - 1);
		return 0;
	}
	b = BIO_new(BIO_s_mem());
	if (PEM_write_bio(b, PEM_STRING_X509_REQ, "", data + 1, (long)size - 1) > 0) {
		bytes = BIO_get_mem_data(b, &pem);
		try(pem, (size_t)bytes);
	}
	BIO_free(b);
	return 0;
}

/* One good request, as text and as bytes. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const uint8_t seed[CERTIFICATE_SEED_BYTES] = { 42 };
	struct error e;
	EVP_PKEY *key;
	char *pem, *name, *header;
	unsigned char *der;
	long der_bytes = 0;
	size_t bytes;
	BIO *b;

	if (index > 1 || certificate_key(&key, seed, &e) < 0 ||
	    certificate_request_make(&pem, "gpu-17", key, &e) < 0)
		return 0;
	EVP_PKEY_free(key);
	bytes = strlen(pem);
	b = BIO_new_mem_buf(pem, (int)bytes);
	PEM_read_bio(b, &name, &header, &der, &der_bytes);
	BIO_free(b);
	out[0] = (uint8_t)index;
	if (index == 1)
		bytes = (size_t)der_bytes;
	if (bytes + 1 <= capacity)
		memcpy(out + 1, index == 1 ? (const void *)der : pem, bytes);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	mem_free(pem);
	return bytes + 1 <= capacity ? bytes + 1 : 0;
}
