/* certificate_test.c - what is issued can be read, what was not asked for properly is refused.
 *
 * Covers certificate.c, certificate_pem.c.
 */
#include "tests/test.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "control/certificate.h"
#include "dataplane/base/memory.h"
#include "tests/support/test_ca.h"

#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

/* Goal: hosts are there for HTTPS clients, as names or addresses, beside the roles. */
TEST(certificate_issue__lists_hosts)
{
	struct identity_pem pem;
	struct error e = { 0 };
	struct principal p;
	struct test_ca ca;
	X509 *c;

	test_ca_open(&ca, "test-CA", test_seed());
	pem = test_ca_issue_spec(&ca, (struct certificate_spec){
		.name = "gateway-1", .roles = PRINCIPAL_BIT(PRINCIPAL_GATEWAY),
		.hosts = "gw.example.org,10.0.0.17,fd00::1", .not_after_unix_s = 1000 });
	CHECK_OK(certificate_from_pem(&c, pem.cert, &e), &e);
	CHECK_EQ(X509_check_host(c, "gw.example.org", 0, 0, NULL), 1);
	CHECK_EQ(X509_check_host(c, "other.example.org", 0, 0, NULL), 0);
	CHECK_EQ(X509_check_ip_asc(c, "10.0.0.17", 0), 1);
	CHECK_EQ(X509_check_ip_asc(c, "fd00::1", 0), 1);
	CHECK_EQ(X509_check_ip_asc(c, "10.0.0.18", 0), 0);
	CHECK_OK(principal_read(&p, c, &e), &e);
	CHECK_EQ(p.roles, PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	X509_free(c);
	identity_pem_release(&pem);
	test_ca_close(&ca);
}

/* Goal: what cannot stand in a certificate is refused, with what would do. */
TEST(certificate_issue__refuses_odd_wishes)
{
	static const struct { struct certificate_spec spec; const char *sentence;
	} cases[] = {
		{ { .name = "a b", .roles = 1, .not_after_unix_s = 9 },
		  "\"a b\" is no name for a certificate: 1 to 63 letters, digits and .-_:@ make "
		  "one" },
		{ { .name = "", .roles = 1, .not_after_unix_s = 9 },
		  "\"\" is no name for a certificate: 1 to 63 letters, digits and .-_:@ make one" },
		{ { .name = "a", .roles = 1, .not_before_unix_s = 9, .not_after_unix_s = 9 },
		  "the certificate of a would end before it begins" },
		{ { .name = "a", .roles = 1, .not_after_unix_s = 9, .hosts = "x,URI=evil" },
		  "\"URI=evil\" is no name or address of a host" },
		{ { .name = "a", .roles = 1, .not_after_unix_s = 9, .hosts = "a:b" },
		  "\"a:b\" is no name or address of a host" },
		{ { .name = "a", .roles = 1, .not_after_unix_s = 9, .hosts = ",x" },
		  "\"\" is no name or address of a host" },
	};
	struct error e = { 0 };
	struct test_ca ca;
	X509 *c;

	test_ca_open(&ca, "test-CA", test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		CHECK_EQ(certificate_issue(&c, &cases[i].spec, ca.key, ca.certificate, ca.key, &e),
			 -EINVAL);
		CHECK_TEXT(e.text, cases[i].sentence);
		CHECK(!c);
	}
	test_ca_close(&ca);
}

/* Goal: certificates of one kind have one size, so that handshakes have. */
TEST(certificate_issue__one_size)
{
	struct test_ca ca;
	size_t bytes = 0;

	test_ca_open(&ca, "test-CA", test_seed());
	for (int i = 0; i < 50; i++) {
		struct identity_pem pem = test_ca_issue(&ca, "server-1", SERVER);

		CHECK(i == 0 || strlen(pem.cert) == bytes);
		bytes = strlen(pem.cert);
		identity_pem_release(&pem);
	}
	test_ca_close(&ca);
}

/* Goal: a request carries its name and key, and only its key's owner can make it. */
TEST(certificate_request__proves_its_key)
{
	char name[PRINCIPAL_NAME_BYTES], *pem;
	EVP_PKEY *key, *read;
	struct error e = { 0 };
	size_t bytes, refused = 0;

	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_OK(certificate_request_make(&pem, "gpu-17", key, &e), &e);
	bytes = strlen(pem);
	CHECK_OK(certificate_request_read(pem, bytes, &read, name, &e), &e);
	CHECK_TEXT(name, "gpu-17");
	CHECK_EQ(EVP_PKEY_eq(key, read), 1);
	EVP_PKEY_free(read);
	/* No changed letter gets through. */
	for (size_t i = 50; i < bytes - 40; i++) {
		char was = pem[i];

		if (was == '\n')
			continue;
		pem[i] = was == 'A' ? 'B' : 'A';
		if (certificate_request_read(pem, bytes, &read, name, &e) == -EBADMSG)
			refused++;
		else
			EVP_PKEY_free(read);
		pem[i] = was;
	}
	/* But for the unused bits of base64's last letter. */
	CHECK(refused + 4 >= bytes - 40 - 50 - bytes / 65);
	CHECK_EQ(certificate_request_read(pem, CERTIFICATE_REQUEST_BYTES_MAX + 1, &read, name, &e),
		 -EBADMSG);
	CHECK_EQ(certificate_request_read("", 0, &read, name, &e), -EBADMSG);
	CHECK_TEXT(e.text, "it is no readable request for a certificate in PEM");
	mem_free(pem);
	EVP_PKEY_free(key);
}

/* Goal: other kinds of keys and names that nobody may have are refused in requests. */
TEST(certificate_request__refuses_odd_wishes)
{
	EVP_PKEY *ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), *key, *read;
	char name[PRINCIPAL_NAME_BYTES], *pem;
	struct error e = { 0 };

	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_OK(certificate_request_make(&pem, "gpu 17", key, &e), &e);
	CHECK_EQ(certificate_request_read(pem, strlen(pem), &read, name, &e), -EBADMSG);
	CHECK_TEXT(e.text, "the request's name is not 1 to 63 letters, digits and .-_:@");
	mem_free(pem);
	CHECK_OK(certificate_request_make(&pem, "gpu-17", ec, &e), &e);
	CHECK_EQ(certificate_request_read(pem, strlen(pem), &read, name, &e), -EBADMSG);
	CHECK_TEXT(e.text, "the request's key is not an Ed25519 key");
	mem_free(pem);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(key);
}

/* Goal: keys survive their text, and a seed makes the same one each time. */
TEST(certificate_key__text_and_seed)
{
	static const uint8_t seed[CERTIFICATE_SEED_BYTES] = { 1, 2, 3 };
	EVP_PKEY *a, *b, *c;
	struct error e = { 0 };
	char *pem;

	CHECK_OK(certificate_key(&a, seed, &e), &e);
	CHECK_OK(certificate_key(&b, seed, &e), &e);
	CHECK_EQ(EVP_PKEY_eq(a, b), 1);
	CHECK_OK(certificate_key_to_pem(&pem, a, &e), &e);
	CHECK_OK(certificate_key_from_pem(&c, pem, &e), &e);
	CHECK_EQ(EVP_PKEY_eq(a, c), 1);
	EVP_PKEY_free(c);
	CHECK_EQ(certificate_key_from_pem(&c, "nothing", &e), -EBADMSG);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
	mem_free(pem);
}

/* Goal: hexadecimal is lower case and whole. */
TEST(certificate_hex__is_lower_case)
{
	char text[7];

	certificate_hex(text, (const uint8_t *)"\x00\xab\x7f", 3);
	CHECK_TEXT(text, "00ab7f");
}
