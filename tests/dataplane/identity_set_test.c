/* identity_set_test.c - credentials that are damaged or do not fit together, each with its
 * sentence; nothing is left of a set that could not be built.
 */
#include "tests/test.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/identity_set.h"
#include "tests/support/test_ca.h"

#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

/* The text with one character of its middle line changed. */
static char *damaged(const char *text)
{
	char *copy = mem_strdup(text);
	char *at = copy + strlen(copy) / 2;

	while (*at == '\n')
		at++;
	*at = '!';
	return copy;
}

static char *locked_key(void)
{
	EVP_PKEY *key;
	BIO *b = BIO_new(BIO_s_mem());
	struct error e = { 0 };
	char *data, *copy;
	long bytes;

	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_EQ(PEM_write_bio_PKCS8PrivateKey(b, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL),
		 1);
	bytes = BIO_get_mem_data(b, &data);
	copy = mem_strndup(data, (size_t)bytes);
	BIO_free(b);
	EVP_PKEY_free(key);
	return copy;
}

static char *other_kind_of_key(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	struct error e = { 0 };
	char *pem;

	CHECK_OK(certificate_key_to_pem(&pem, key, &e), &e);
	EVP_PKEY_free(key);
	return pem;
}

static void check_build(const struct identity_pem *pem, int code, const char *sentence)
{
	struct identity_set *s;
	struct error e = { 0 };

	CHECK_EQ(identity_set_build(&s, pem, "here/", clock_real(), &e), code);
	CHECK_TEXT(e.text, sentence);
	CHECK(!s);
}

/* Goal: each fault of a file names the file and what is wrong with it. */
TEST(identity_set_build__names_the_fault)
{
	struct test_ca ca, other;
	struct identity_pem good, foreign;
	char *bad_ca, *bad_cert, *bad_key, *locked, *ec, *bad_list, *list;

	test_ca_open(&ca, "test-CA", test_seed());
	test_ca_open(&other, "test-CA", test_seed() + 1);
	good = test_ca_issue(&ca, "server-1", SERVER);
	foreign = test_ca_issue(&other, "server-2", SERVER);
	bad_ca = damaged(good.ca);
	bad_cert = damaged(good.cert);
	bad_key = damaged(good.key);
	locked = locked_key();
	ec = other_kind_of_key();
	list = test_ca_revocations(&ca);
	bad_list = damaged(list);

	const struct {
		struct identity_pem pem;
		int code;
		const char *sentence;
	} cases[] = {
		{ { "", good.cert, good.key, NULL }, -EBADMSG,
		  "here/ca.pem holds no certificate in PEM" },
		{ { bad_ca, good.cert, good.key, NULL }, -EBADMSG,
		  "here/ca.pem is damaged: it holds something else than certificates in PEM" },
		{ { good.cert, good.cert, good.key, NULL }, -EKEYREJECTED,
		  "here/ca.pem: the certificate of server-1 is not a CA's" },
		{ { good.ca, "hello", good.key, NULL }, -EBADMSG,
		  "here/cert.pem holds no certificate in PEM" },
		{ { good.ca, bad_cert, good.key, NULL }, -EBADMSG,
		  "here/cert.pem is damaged: its certificate cannot be read" },
		{ { good.ca, good.cert, good.cert, NULL }, -EBADMSG,
		  "here/key.pem holds no private key in PEM" },
		{ { good.ca, good.cert, bad_key, NULL }, -EBADMSG,
		  "here/key.pem is damaged: its key cannot be read" },
		{ { good.ca, good.cert, locked, NULL }, -EBADMSG,
		  "here/key.pem is locked by a password; programs that start by themselves cannot "
		  "be asked for one" },
		{ { good.ca, good.cert, ec, NULL }, -EKEYREJECTED,
		  "here/key.pem holds a key that is not Ed25519" },
		{ { good.ca, good.cert, foreign.key, NULL }, -EKEYREJECTED,
		  "here/key.pem is not the key of server-1's certificate in cert.pem" },
		{ { good.ca, foreign.cert, foreign.key, NULL }, -EKEYREJECTED,
		  "here/cert.pem: the certificate of server-2 was not signed by a CA in ca.pem" },
		{ { foreign.ca, foreign.cert, foreign.key, list }, -EKEYREJECTED,
		  "here/crl.pem is not signed by a CA in ca.pem" },
		{ { good.ca, good.cert, good.key, bad_list }, -EBADMSG,
		  "here/crl.pem is damaged: it holds something else than revocation lists in PEM" },
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		check_build(&cases[i].pem, cases[i].code, cases[i].sentence);
	mem_free(bad_ca);
	mem_free(bad_cert);
	mem_free(bad_key);
	mem_free(locked);
	mem_free(ec);
	mem_free(list);
	mem_free(bad_list);
	identity_pem_release(&good);
	identity_pem_release(&foreign);
	test_ca_close(&ca);
	test_ca_close(&other);
}

/* Goal: a set knows itself and lives until its last holder is gone. */
TEST(identity_set_build__knows_itself)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];
	struct identity_set *s, *held;
	struct identity_pem pem;
	struct error e = { 0 };
	struct test_ca ca;

	test_ca_open(&ca, "test-CA", test_seed());
	pem = test_ca_issue(&ca, "server-1", SERVER);
	CHECK_OK(identity_set_build(&s, &pem, "", clock_real(), &e), &e);
	held = identity_set_get(s);
	identity_set_put(s);
	CHECK_TEXT(held->self.name, "server-1");
	test_ca_fingerprint(&ca, fingerprint);
	CHECK_BYTES(held->self.authority, fingerprint, sizeof(fingerprint));
	CHECK_EQ(held->revocations_number, -1);
	identity_set_put(held);
	identity_set_put(NULL);
	identity_pem_release(&pem);
	test_ca_close(&ca);
}

#ifdef PETALS_FAULTS
/* Goal: whatever fails, nothing of the set is left. */
TEST(identity_set_build__unwinds_every_failure)
{
	struct identity_set *s = NULL;
	struct identity_pem pem;
	struct error e = { 0 };
	struct test_ca ca;
	uint64_t before;
	int nth;

	test_ca_open(&ca, "test-CA", test_seed());
	pem = test_ca_issue(&ca, "server-1", SERVER);
	pem.crl = test_ca_revocations(&ca);
	before = mem_live_blocks();
	for (nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = identity_set_build(&s, &pem, "", clock_real(), &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0 && e.code == rc && !s);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
	CHECK(nth > 6);
	identity_set_put(s);
	identity_pem_release(&pem);
	test_ca_close(&ca);
}
#endif
