/* test_ca.c - keys and serial numbers from a seed, the rest from control/certificate.c. */
#include "tests/support/test_ca.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

static EVP_PKEY *new_key(struct test_ca *ca)
{
	uint8_t seed[CERTIFICATE_SEED_BYTES];
	struct error e = { 0 };
	EVP_PKEY *key;

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)random_u64(&ca->random);
	CHECK_OK(certificate_key(&key, seed, &e), &e);
	return key;
}

void test_ca_open(struct test_ca *ca, const char *name, uint64_t seed)
{
	struct certificate_spec spec = {
		.name = name, .authority = true, .not_before_unix_s = TEST_CA_FROM_UNIX_S,
		.not_after_unix_s = TEST_CA_UNTIL_UNIX_S,
	};
	struct error e = { 0 };

	memset(ca, 0, sizeof(*ca));
	random_seed(&ca->random, seed);
	certificate_serial(spec.serial, &ca->random);
	ca->key = new_key(ca);
	CHECK_OK(certificate_issue(&ca->certificate, &spec, ca->key, NULL, NULL, &e), &e);
	CHECK_OK(certificate_to_pem(&ca->pem, ca->certificate, &e), &e);
}

void test_ca_close(struct test_ca *ca)
{
	X509_free(ca->certificate);
	EVP_PKEY_free(ca->key);
	mem_free(ca->pem);
}

void test_ca_fingerprint(const struct test_ca *ca, uint8_t out[PRINCIPAL_FINGERPRINT_BYTES])
{
	principal_fingerprint(ca->certificate, out);
}

struct identity_pem test_ca_issue_spec(struct test_ca *ca, struct certificate_spec spec)
{
	EVP_PKEY *key = new_key(ca);
	char *cert, *key_text;
	struct error e = { 0 };
	X509 *c;

	certificate_serial(spec.serial, &ca->random);
	CHECK_OK(certificate_issue(&c, &spec, key, ca->certificate, ca->key, &e), &e);
	CHECK_OK(certificate_to_pem(&cert, c, &e), &e);
	CHECK_OK(certificate_key_to_pem(&key_text, key, &e), &e);
	X509_free(c);
	EVP_PKEY_free(key);
	return (struct identity_pem){ .ca = mem_strdup(ca->pem), .cert = cert, .key = key_text };
}

struct identity_pem test_ca_issue(struct test_ca *ca, const char *name, uint32_t roles)
{
	return test_ca_issue_spec(ca, (struct certificate_spec){
		.name = name, .roles = roles, .not_before_unix_s = TEST_CA_FROM_UNIX_S,
		.not_after_unix_s = TEST_CA_UNTIL_UNIX_S });
}

struct identity *test_identity(struct test_ca *ca, const char *name, uint32_t roles,
			       const struct clock *clock)
{
	struct identity_pem pem = test_ca_issue(ca, name, roles);
	struct error e = { 0 };
	struct identity *id;

	CHECK_OK(identity_open_pem(&id, &pem, clock, &e), &e);
	identity_pem_release(&pem);
	return id;
}

void test_ca_revoke(struct test_ca *ca, const char *cert)
{
	struct certificate_revoked *r = &ca->revoked[ca->revoked_count++];
	struct error e = { 0 };
	struct principal p;
	X509 *c;

	CHECK(ca->revoked_count <= ARRAY_LENGTH(ca->revoked));
	CHECK_OK(certificate_from_pem(&c, cert, &e), &e);
	CHECK_OK(principal_read(&p, c, &e), &e);
	memcpy(r->serial, p.serial, sizeof(r->serial));
	r->serial_bytes = p.serial_bytes;
	X509_free(c);
}

char *test_ca_revocations(struct test_ca *ca)
{
	struct error e = { 0 };
	X509_CRL *list;
	char *pem;

	CHECK_OK(certificate_revocations(&list, ca->revoked, ca->revoked_count, ++ca->list_number,
					 TEST_CA_FROM_UNIX_S, ca->certificate, ca->key, &e), &e);
	CHECK_OK(certificate_revocations_to_pem(&pem, list, &e), &e);
	X509_CRL_free(list);
	return pem;
}

static void write_file(const char *folder, const char *name, const char *text, unsigned mode)
{
	char *path = file_join(folder, name);
	struct error e = { 0 };

	if (text)
		CHECK_OK(file_write(path, text, strlen(text), mode, &e), &e);
	mem_free(path);
}

void test_write_credentials(const char *folder, const struct identity_pem *pem)
{
	write_file(folder, "ca.pem", pem->ca, 0644);
	write_file(folder, "key.pem", pem->key, 0600);
	write_file(folder, "cert.pem", pem->cert, 0644);
	write_file(folder, "crl.pem", pem->crl, 0644);
}

void test_region_open(struct test_region *r)
{
	simulated_clock_init(&r->clock, REGION_NOW_S * NS_PER_S);
	test_ca_open(&r->ca, "test-CA", test_seed());
	r->server = test_identity(&r->ca, "server-1", PRINCIPAL_BIT(PRINCIPAL_SERVER),
				  &r->clock.clock);
}

void test_region_close(struct test_region *r)
{
	identity_close(r->server);
	test_ca_close(&r->ca);
}
