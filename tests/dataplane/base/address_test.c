/* address_test.c - what is an address, what is not, and why. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "dataplane/base/address.h"
#include "dataplane/base/fault.h"

/* Goal: every written form is taken, with its port. */
TEST(address_parse__takes_every_form)
{
	static const struct {
		const char *text;
		uint16_t port;
	} cases[] = {
		{ "10.0.0.1:7700", 7700 }, { "[::1]:7700", 7700 }, { "host-1.rack:0", 0 },
		{ "sim:3", 3 }, { "[fe80::1%eth0]:65535", 65535 }, { "0.0.0.0:80", 80 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct error e = { 0 };
		struct address a;

		CHECK_OK(address_parse(&a, cases[i].text, &e), &e);
		CHECK_TEXT(a.text, cases[i].text);
		CHECK_EQ(address_port(&a), cases[i].port);
	}
}

/* Goal: each wrong form is refused with its own reason and its own text. */
TEST(address_parse__says_what_is_wrong)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{ "", "the port is missing" },
		{ "host", "the port is missing" },
		{ "host:", "the port is missing" },
		{ "[::1]", "the port is missing" },
		{ "[::1]7700", "the port is missing" },
		{ ":7700", "the host is missing" },
		{ "[]:1", "the host is missing" },
		{ "::1:7700", "in brackets" },
		{ "[::1:7700", "']' is missing" },
		{ "[10.0.0.1]:1", "not an IPv6 address" },
		{ "host:http", "not a number" },
		{ "host:-1", "not a number" },
		{ "host:65536", "above 65535" },
		{ "host:99999999999999999999", "above 65535" },
		{ "ho st:1", "a character that no name has" },
		{ "http://host:1", "in brackets" },
	};
	char longer[ADDRESS_TEXT_BYTES + 1];
	struct address a;
	struct error e;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		e = (struct error){ 0 };
		CHECK_EQ(address_parse(&a, cases[i].text, &e), -EINVAL);
		if (!strstr(e.text, cases[i].reason) || !strstr(e.text, cases[i].text))
			fail_msg("%s: %s", cases[i].text, e.text);
	}
	memset(longer, 'h', sizeof(longer));
	memcpy(longer + sizeof(longer) - 3, ":1", 3);
	CHECK_EQ(address_parse(&a, longer, &e), -EINVAL);
	CHECK(strstr(e.text, "too long") != NULL);
}

/* Goal: numbers resolve without a name server and print as they were written. */
TEST(address_resolve__round_trips)
{
	static const struct {
		const char *text, *printed;
		bool loopback;
	} cases[] = {
		{ "127.0.0.1:7700", "127.0.0.1:7700", true },
		{ "127.9.9.9:1", "127.9.9.9:1", true },
		{ "[::1]:7700", "[::1]:7700", true },
		{ "[::ffff:127.0.0.1]:80", "127.0.0.1:80", true },
		{ "10.0.0.1:0", "10.0.0.1:0", false },
		{ "0.0.0.0:1", "0.0.0.0:1", false },
		{ "[2001:db8::1]:65535", "[2001:db8::1]:65535", false },
		{ "[::ffff:10.0.0.1]:80", "10.0.0.1:80", false },
		{ "[::]:80", "[::]:80", false },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct sockaddr_storage sa;
		struct error e = { 0 };
		struct address a, printed;
		socklen_t length;

		CHECK_OK(address_parse(&a, cases[i].text, &e), &e);
		CHECK_OK(address_resolve(&a, &sa, &length, &e), &e);
		CHECK_EQ(length, sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
							   sizeof(struct sockaddr_in6));
		address_of_sockaddr(&printed, (struct sockaddr *)&sa);
		CHECK_TEXT(printed.text, cases[i].printed);
		CHECK_EQ(address_is_loopback((struct sockaddr *)&sa), cases[i].loopback);
	}
}

/* Goal: a family we do not know is neither loopback nor a crash. */
TEST(address_of_sockaddr__unknown_family)
{
	struct sockaddr sa = { .sa_family = AF_UNIX };
	struct address a;

	address_of_sockaddr(&a, &sa);
	CHECK_TEXT(a.text, "unknown:0");
	CHECK(!address_is_loopback(&sa));
}

/* Goal: a name without an address is an error that names it. */
TEST(address_resolve__unknown_host)
{
	struct address a = { "nobody.invalid:1" };
	struct sockaddr_storage sa;
	struct error e = { 0 };
	socklen_t length;

#ifdef PETALS_FAULTS
	fault_arm(1);
	CHECK_EQ(address_resolve(&a, &sa, &length, &e), -EHOSTUNREACH);
	CHECK(fault_fired());
#endif
	CHECK_EQ(address_resolve(&a, &sa, &length, &e), -EHOSTUNREACH);
	CHECK(strstr(e.text, "nobody.invalid") != NULL);
	a = (struct address){ "no port" };
	CHECK_EQ(address_resolve(&a, &sa, &length, &e), -EINVAL);
}
