/* identity_crl_test.c - who is in a revocation list, whose list it is, and how new. */
#include "tests/test.h"

#include <errno.h>

#include <openssl/x509.h>

#include "dataplane/base/memory.h"
#include "dataplane/identity_set.h"
#include "tests/support/test_ca.h"

#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

static struct principal principal_of(const char *cert, const struct test_ca *ca)
{
	struct error e = { 0 };
	struct principal p;
	X509 *c;

	CHECK_OK(certificate_from_pem(&c, cert, &e), &e);
	CHECK_OK(principal_read(&p, c, &e), &e);
	test_ca_fingerprint(ca, p.authority);
	X509_free(c);
	return p;
}

/* Goal: exactly those of a list are revoked, among many. */
TEST(identity_crl_revoked__exactly_those_listed)
{
	enum { COUNT = 12 };
	struct identity_pem pem[COUNT];
	struct identity_set *s;
	struct error e = { 0 };
	struct test_ca ca;

	test_ca_open(&ca, "test-CA", test_seed());
	for (int i = 0; i < COUNT; i++) {
		pem[i] = test_ca_issue(&ca, "server-1", SERVER);
		if (i % 3 == 0)
			test_ca_revoke(&ca, pem[i].cert);
	}
	pem[0].crl = test_ca_revocations(&ca);
	CHECK_OK(identity_set_build(&s, &pem[0], "", clock_real(), &e), &e);
	CHECK_EQ(s->revocations_number, 1);
	for (int i = 0; i < COUNT; i++) {
		struct principal p = principal_of(pem[i].cert, &ca);

		CHECK_EQ(identity_crl_revoked(s, &p), i % 3 == 0);
		/* Of another CA the same number means nobody. */
		p.authority[0] ^= 1;
		CHECK(!identity_crl_revoked(s, &p));
	}
	identity_set_put(s);
	for (int i = 0; i < COUNT; i++)
		identity_pem_release(&pem[i]);
	test_ca_close(&ca);
}

/* Goal: a set takes lists of all its CAs, and none of another's. */
TEST(identity_crl_read__lists_of_several_cas)
{
	struct test_ca a, b;
	struct identity_pem pem, theirs;
	struct buffer cas = { 0 }, lists = { 0 };
	struct identity_set *s;
	struct error e = { 0 };
	struct principal p;
	char *of_a, *of_b;

	test_ca_open(&a, "CA-a", test_seed());
	test_ca_open(&b, "CA-b", test_seed() + 1);
	pem = test_ca_issue(&a, "server-1", SERVER);
	theirs = test_ca_issue(&b, "server-2", SERVER);
	test_ca_revoke(&b, theirs.cert);
	b.list_number = 41;
	of_a = test_ca_revocations(&a);
	of_b = test_ca_revocations(&b);
	buffer_printf(&cas, "%s%s", a.pem, b.pem);
	buffer_printf(&lists, "%s%s", of_a, of_b);
	mem_free((char *)pem.ca);
	pem.ca = buffer_take(&cas);
	pem.crl = buffer_take(&lists);
	CHECK_OK(identity_set_build(&s, &pem, "", clock_real(), &e), &e);
	CHECK_EQ(s->revocations_number, 42);
	p = principal_of(theirs.cert, &b);
	CHECK(identity_crl_revoked(s, &p));
	identity_set_put(s);
	identity_pem_release(&pem);
	identity_pem_release(&theirs);
	mem_free(of_a);
	mem_free(of_b);
	test_ca_close(&a);
	test_ca_close(&b);
}
