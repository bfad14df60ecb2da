/* directory_request_test.c - defaults, bounds and contradictions of the parameters. */
#include "control/directory_request.h"

#include <errno.h>

#include "tests/test.h"

static json_t *member_json(uint32_t first, uint32_t end)
{
	struct member m = {
		.id = 7, .name = "h", .address = { "sim:1" }, .fingerprint = 3, .blocks = 24,
		.first = first, .end = end,
	};

	return member_to_json(&m);
}

static int read_join(struct join_request *j, json_t *params, struct error *e)
{
	int rc = join_request_read(j, params, 3 * NS_PER_S, e);

	json_decref(params);
	return rc;
}

/* Goal: what is left out gets its default; what is said counts. */
TEST(join_request_read__defaults)
{
	struct join_request j;
	struct error e;

	CHECK_OK(read_join(&j, json_pack("{s:o}", "member", member_json(0, 8)), &e), &e);
	CHECK_EQ(j.ttl_ns, 3 * NS_PER_S);
	CHECK(!j.want_blocks);
	CHECK_EQ(j.member.end, 8);
	CHECK_OK(read_join(&j, json_pack("{s:o, s:i, s:i}", "member", member_json(0, 0),
					 "capacity", 6, "ttl_ms", 500), &e), &e);
	CHECK_EQ(j.ttl_ns, NS_PER_S / 2);
	CHECK(j.want_blocks);
	CHECK_EQ(j.capacity, 6);
	CHECK_OK(read_join(&j, json_pack("{s:o, s:i, s:b}", "member", member_json(0, 8),
					 "capacity", 6, "want_blocks", 1), &e), &e);
	CHECK(j.want_blocks);
}

/* Goal: what contradicts itself is refused. */
TEST(join_request_read__refuses)
{
	struct join_request j;
	struct error e;

	CHECK_EQ(read_join(&j, NULL, &e), -EINVAL);
	CHECK_EQ(read_join(&j, json_pack("{s:o}", "member", member_json(4, 4)), &e), -EINVAL);
	CHECK(strstr(e.text, "params.capacity"));
	CHECK_EQ(read_join(&j, json_pack("{s:o, s:b}", "member", member_json(0, 8),
					 "want_blocks", 1), &e), -EINVAL);
	CHECK_EQ(read_join(&j, json_pack("{s:o, s:i}", "member", member_json(0, 8),
					 "ttl_ms", 700000), &e), -EINVAL);
	CHECK(strstr(e.text, "params.ttl_ms"));
}

/* Goal: a renewal says id, state and load; the lease length may be left out. */
TEST(renew_request_read__reads)
{
	struct member_load load = { .sessions = 2, .pages = 9, .pages_free = 4 };
	json_t *params = json_pack("{s:o, s:s, s:o}", "id", json_id(7), "state", "draining",
				   "load", member_load_to_json(&load));
	struct renew_request n;
	struct error e;

	CHECK_OK(renew_request_read(&n, params, &e), &e);
	CHECK_EQ(n.id, 7);
	CHECK_EQ(n.ttl_ns, 0);
	CHECK_EQ(n.state, MEMBER_DRAINING);
	CHECK_BYTES(&n.load, &load, sizeof(load));
	json_object_set_new(params, "ttl_ms", json_integer(1000));
	CHECK_OK(renew_request_read(&n, params, &e), &e);
	CHECK_EQ(n.ttl_ns, NS_PER_S);
	json_object_set_new(params, "state", json_string("offline"));
	CHECK_EQ(renew_request_read(&n, params, &e), -EINVAL);
	CHECK(strstr(e.text, "params.state must not be offline"));
	json_decref(params);
}
