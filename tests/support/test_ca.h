/* test_ca.h - a CA for tests, the same in every run: its keys and serial numbers come from a
 * seed, so that what it signs has the same bytes.
 *
 * Threads    The test's.
 * Ownership  test_ca_open() / test_ca_close(); test_pem_release() what it issued.
 * Units      _unix_s.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_TEST_CA_H
#define PETALS_TESTS_TEST_CA_H

#include "control/certificate.h"
#include "dataplane/base/random.h"
#include "dataplane/identity.h"

struct test_ca {
	struct random random;
	X509 *certificate;
	EVP_PKEY *key;
	char *pem;                      /* of the certificate */
	struct certificate_revoked revoked[16];
	uint32_t revoked_count;
	int64_t list_number;
};

#define TEST_CA_FROM_UNIX_S 0                           /* as simulated clocks begin */
#define TEST_CA_UNTIL_UNIX_S (100LL * 365 * 86400)

void test_ca_open(struct test_ca *ca, const char *name, uint64_t seed);
void test_ca_close(struct test_ca *ca);
void test_ca_fingerprint(const struct test_ca *ca, uint8_t out[PRINCIPAL_FINGERPRINT_BYTES]);

/* Valid for as long as the CA. */
struct identity_pem test_ca_issue(struct test_ca *ca, const char *name, uint32_t roles);
struct identity_pem test_ca_issue_spec(struct test_ca *ca, struct certificate_spec spec);
/* An identity of it at once. */
struct identity *test_identity(struct test_ca *ca, const char *name, uint32_t roles,
			       const struct clock *clock);
/* Revokes a certificate (PEM); the next list has it. */
void test_ca_revoke(struct test_ca *ca, const char *cert);
char *test_ca_revocations(struct test_ca *ca);          /* PEM; mem_free() */
/* Writes a credentials folder; its files are of this mode, the key 0600. */
void test_write_credentials(const char *folder, const struct identity_pem *pem);

#define REGION_NOW_S (1000 * 86400)

/* A CA, a clock that stands at REGION_NOW_S, and a server. */
struct test_region {
	struct simulated_clock clock;
	struct test_ca ca;
	struct identity *server;
};

void test_region_open(struct test_region *r);
void test_region_close(struct test_region *r);

#endif
