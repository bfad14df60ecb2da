/* permission_test.c - the table cell by cell, and that nothing is missing from the others. */
#include "tests/test.h"

#include <errno.h>

#include "control/permission.h"

/* The table as people read it: stranger, server, gateway, tenant, operator, directory. */
static const struct {
	enum verb verb;
	const char *cells;
} expected[] = {
	{ VERB_NONE,       "------" },
	{ VERB_WATCH,      "-sg-od" },
	{ VERB_LEASE,      "-s----" },
	{ VERB_OPEN,       "--g---" },
	{ VERB_PUSH,       "-sg---" },
	{ VERB_ANSWER,     "-s----" },
	{ VERB_CALL,       "xsgtod" },
	{ VERB_TELL,       "-----d" },
	{ VERB_GENERATE,   "---to-" },
	{ VERB_TUNE,       "--gt--" },
	{ VERB_ADMINISTER, "----o-" },
	{ VERB_ENROL,      "xsgtod" },
	{ VERB_RENEW,      "-sgtod" },
	{ VERB_METRICS,    "----od" },
	{ VERB_PROBE,      "-sgtod" },
};
static_assert(ARRAY_LENGTH(expected) == VERB_COUNT, "every verb has its row");

static const uint32_t columns[] = {
	0, PRINCIPAL_BIT(PRINCIPAL_SERVER), PRINCIPAL_BIT(PRINCIPAL_GATEWAY),
	PRINCIPAL_BIT(PRINCIPAL_TENANT), PRINCIPAL_BIT(PRINCIPAL_OPERATOR),
	PRINCIPAL_BIT(PRINCIPAL_DIRECTORY),
};

/* Goal: each role may do exactly what its column says. */
TEST(permission__every_cell)
{
	for (size_t row = 0; row < ARRAY_LENGTH(expected); row++) {
		for (size_t i = 0; i < ARRAY_LENGTH(columns); i++) {
			struct principal p = { .name = "somebody", .roles = columns[i] };
			bool allowed = expected[row].cells[i] != '-';

			CHECK_EQ(permission_allows(columns[i], expected[row].verb), allowed);
			CHECK_EQ(permission_check(&p, expected[row].verb, NULL),
				 allowed ? 0 : -EPERM);
		}
	}
}

/* Goal: several roles may do what either may, and nothing more. */
TEST(permission__roles_add_up)
{
	for (uint32_t roles = 1; roles <= PRINCIPAL_ANY; roles++) {
		for (enum verb v = VERB_NONE; v < VERB_COUNT; v++) {
			bool either = false;

			for (uint32_t r = 0; r < PRINCIPAL_ROLES; r++)
				if (roles & PRINCIPAL_BIT(r))
					either |= permission_allows(PRINCIPAL_BIT(r), v);
			CHECK_EQ(permission_allows(roles, v), either);
		}
	}
}

/* Goal: every message type has a verb; what is not in a table is for nobody. */
TEST(permission__what_is_unknown_is_forbidden)
{
	for (uint32_t type = WIRE_HELLO; type < WIRE_TYPE_COUNT; type++)
		CHECK(permission_of_wire(type) != VERB_NONE);
	CHECK_EQ(permission_of_wire(0), VERB_NONE);
	CHECK_EQ(permission_of_wire(WIRE_TYPE_COUNT), VERB_NONE);
	CHECK_EQ(permission_of_call("join"), VERB_LEASE);
	CHECK_EQ(permission_of_call("joined"), VERB_NONE);
	CHECK_EQ(permission_of_call(""), VERB_NONE);
	CHECK_EQ(permission_of_http("POST", "/v1/completions"), VERB_GENERATE);
	CHECK_EQ(permission_of_http("GET", "/v1/completions"), VERB_NONE);
	CHECK_EQ(permission_of_http("GET", "/v1/models/tiny"), VERB_GENERATE);
	CHECK_EQ(permission_of_http("HEAD", "/metrics"), VERB_METRICS);
	CHECK_EQ(permission_of_http("GET", "/metrics/"), VERB_NONE);
	CHECK_EQ(permission_of_http("GET", ""), VERB_NONE);
	CHECK(!permission_allows(PRINCIPAL_ANY, VERB_COUNT));
}

/* Goal: a plain connection may do everything, as it is on loopback alone. */
TEST(permission__plain_connections_may_do_all)
{
	for (enum verb v = VERB_NONE; v < VERB_COUNT; v++)
		CHECK_EQ(permission_check(NULL, v, NULL), 0);
	CHECK_EQ(permission_wire_mask(NULL), (1ull << WIRE_TYPE_COUNT) - 2);
}

/* Goal: the mask of a role has just its messages. */
TEST(permission_wire_mask__is_the_tables)
{
	const struct principal gateway = { .name = "g", .roles = columns[2] },
			       stranger = { .name = "" };
	uint64_t mask = permission_wire_mask(&gateway);

	CHECK(mask & 1ull << WIRE_OPEN);
	CHECK(mask & 1ull << WIRE_STEP);
	CHECK(!(mask & 1ull << WIRE_RESULT));
	CHECK(!(mask & 1ull << WIRE_EVENT));
	mask = permission_wire_mask(&stranger);
	CHECK(mask & 1ull << WIRE_CALL);
	CHECK(!(mask & 1ull << WIRE_OPEN));
	CHECK(!(mask & 1ull << WIRE_STEP));
}

/* Goal: a refusal says who, as what, and may not do what. */
TEST(permission_check__says_who_and_what)
{
	struct principal p = { .name = "gpu-17", .roles = columns[1] | columns[3] };
	struct error e = { 0 };

	CHECK_EQ(permission_check(&p, VERB_ADMINISTER, &e), -EPERM);
	CHECK_TEXT(e.text, "gpu-17 (server, tenant by its certificate) may not administer");
	p.roles = 0;
	CHECK_EQ(permission_check(&p, VERB_LEASE, &e), -EPERM);
	CHECK_TEXT(e.text, "whoever has no certificate may not hold a lease");
}
