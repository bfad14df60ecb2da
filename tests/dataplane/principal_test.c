/* principal_test.c - names and roles, to and from certificates. */
#include "tests/test.h"

#include <errno.h>

#include <openssl/x509.h>

#include "dataplane/base/memory.h"
#include "dataplane/principal.h"
#include "tests/support/test_ca.h"

/* Goal: every set of roles comes out of a certificate as it went in. */
TEST(principal_read__every_set_of_roles)
{
	struct error e = { 0 };
	struct test_ca ca;

	test_ca_open(&ca, "test-CA", test_seed());
	for (uint32_t roles = 1; roles <= PRINCIPAL_ANY; roles++) {
		struct identity_pem pem = test_ca_issue(&ca, "gpu-17.rack@eu:1", roles);
		struct principal p;
		X509 *c;

		CHECK_OK(certificate_from_pem(&c, pem.cert, &e), &e);
		CHECK_OK(principal_read(&p, c, &e), &e);
		CHECK_TEXT(p.name, "gpu-17.rack@eu:1");
		CHECK_EQ(p.roles, roles);
		CHECK_EQ(p.not_before_unix_s, TEST_CA_FROM_UNIX_S);
		CHECK_EQ(p.not_after_unix_s, TEST_CA_UNTIL_UNIX_S);
		X509_free(c);
		identity_pem_release(&pem);
	}
	test_ca_close(&ca);
}

/* Goal: a certificate that gives no role, such as a CA's, is nobody's. */
TEST(principal_read__no_role_is_nobody)
{
	struct error e = { 0 };
	struct principal p;
	struct test_ca ca;

	test_ca_open(&ca, "test-CA", test_seed());
	CHECK_EQ(principal_read(&p, ca.certificate, &e), -EBADMSG);
	CHECK_TEXT(e.text, "the certificate of test-CA gives it no role");
	test_ca_close(&ca);
}

/* A certificate whose common name is these bytes, with a role. */
static X509 *named(const struct test_ca *ca, const uint8_t *name, int bytes)
{
	struct identity_pem pem = test_ca_issue((struct test_ca *)ca, "x",
						PRINCIPAL_BIT(PRINCIPAL_TENANT));
	X509_NAME *subject = X509_NAME_new();
	struct error e = { 0 };
	X509 *c;

	CHECK_OK(certificate_from_pem(&c, pem.cert, &e), &e);
	if (bytes)
		CHECK_EQ(
			X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, bytes, -1, 0),
			1);
	X509_set_subject_name(c, subject);
	X509_NAME_free(subject);
	identity_pem_release(&pem);
	return c;
}

/* Goal: names that could confuse people or logs are refused, and shown harmlessly. */
TEST(principal_read__odd_names_are_refused)
{
	static const struct { const char *name; int bytes; const char *shown; } cases[] = {
		{ "", 0, "somebody without a name" },
		{ "a\0b", 3, "somebody without a name" },
		{ "two words", 9, "two words" },
		{ "line\nbreak", 10, "line?break" },
		{ "a/b", 3, "a/b" },
		{ "0123456789012345678901234567890123456789012345678901234567890123", 64,
		  "012345678901234567890123456789012345678901234567890123456789012" },
	};
	struct test_ca ca;

	test_ca_open(&ca, "test-CA", test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		X509 *c = named(&ca, (const uint8_t *)cases[i].name, cases[i].bytes);
		char shown[PRINCIPAL_NAME_BYTES];
		struct error e = { 0 };
		struct principal p;

		CHECK_EQ(principal_read(&p, c, &e), -EBADMSG);
		CHECK_TEXT(e.text, "the certificate names nobody: its common name must be 1 to 63 "
			   "letters, digits and .-_:@");
		principal_name_of(c, shown);
		CHECK_TEXT(shown, cases[i].shown);
		X509_free(c);
	}
	test_ca_close(&ca);
}

/* Goal: roles are written as they are read. */
TEST(principal_roles__text_and_back)
{
	char text[PRINCIPAL_ROLES_TEXT_BYTES];
	struct error e = { 0 };
	uint32_t roles;

	CHECK_OK(principal_roles_parse(&roles, "server,gateway", &e), &e);
	CHECK_EQ(roles, PRINCIPAL_BIT(PRINCIPAL_SERVER) | PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	principal_roles_text(roles, text);
	CHECK_TEXT(text, "server, gateway");
	principal_roles_text(0, text);
	CHECK_TEXT(text, "no role");
	principal_roles_text(PRINCIPAL_ANY, text);
	CHECK_TEXT(text, "server, gateway, tenant, operator, directory");
	CHECK_EQ(principal_roles_parse(&roles, "server,boss", &e), -EINVAL);
	CHECK_TEXT(e.text, "\"boss\" is no role: there are server, gateway, tenant, operator and "
		   "directory, joined by commas");
	CHECK_EQ(principal_roles_parse(&roles, "", &e), -EINVAL);
	CHECK_EQ(principal_roles_parse(&roles, "server,", &e), -EINVAL);
	CHECK_TEXT(principal_role_name(PRINCIPAL_OPERATOR), "operator");
	CHECK_TEXT(principal_role_name(PRINCIPAL_ROLES), "unknown");
}
