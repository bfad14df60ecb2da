/* view_test.c - views hold members, know what is covered, and survive JSON. */
#include "control/view.h"

#include <errno.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

static struct member member(uint64_t id, uint32_t first, uint32_t end)
{
	struct member m = {
		.id = id, .kind = "cpu-f32", .model = "tiny", .fingerprint = 0xf1,
		.blocks = 32,
		.first = first, .end = end, .state = MEMBER_SERVING,
		.load = { 3, 2, 10, 20, 1500, 70, 1, { { { "127.0.0.1:7099" }, 85 } } },
		.expires_unix_ms = 1700000000123,
		.version = "0.1.0",
		.metrics = "http://127.0.0.1:7801/metrics",
	};

	snprintf(m.name, sizeof(m.name), "host-%u", (unsigned int)id);
	snprintf(m.address.text, sizeof(m.address.text), "127.0.0.1:%u", 7000 + (unsigned int)id);
	return m;
}

/* Goal: put adds or replaces, remove keeps the order of the rest, full is refused. */
TEST(view_put__adds_and_replaces)
{
	struct view *v;
	struct member m;
	uint64_t id;

	CHECK_EQ(view_open(&v), 0);
	for (id = 1; id <= VIEW_MEMBERS_MAX; id++) {
		m = member(id, 0, 8);
		CHECK_EQ(view_put(v, &m), 0);
	}
	m = member(5, 8, 16);
	CHECK_EQ(view_put(v, &m), 0);
	CHECK_EQ(v->count, VIEW_MEMBERS_MAX);
	CHECK_EQ(view_find(v, 5)->first, 8);
	m = member(5000, 0, 8);
	CHECK_EQ(view_put(v, &m), -ENOSPC);
	CHECK(view_remove(v, 2));
	CHECK(!view_remove(v, 2));
	CHECK_EQ(v->members[0].id, 1);
	CHECK_EQ(v->members[1].id, 3);
	CHECK_EQ(v->members[v->count - 1].id, VIEW_MEMBERS_MAX);
	CHECK_EQ(view_put(v, &m), 0);
	view_close(v);
}

/* Goal: models and kinds are told apart. */
TEST(view_identity__tells_kinds_apart)
{
	CHECK(view_identity(1, "cpu/f32/f32") == view_identity(1, "cpu/f32/f32"));
	CHECK(view_identity(1, "cpu/f32/f32") != view_identity(2, "cpu/f32/f32"));
	CHECK(view_identity(1, "cpu/int8/f32") != view_identity(1, "cpu/int8/int8/f32"));
	CHECK(view_identity(1, "cpu/int8/int8/f32") != view_identity(1, "cpu/int4/int8/f32"));
}

/* Goal: only serving members of the model and kind count; what is missing is named. */
TEST(view_missing__names_the_gaps)
{
	uint32_t counts[32];
	struct view *v;
	struct member m;
	char text[64];

	CHECK_EQ(view_open(&v), 0);
	view_missing(v, 0xf1, NULL, 32, text, sizeof(text));
	CHECK_TEXT(text, "[0,32)");
	m = member(1, 0, 8), view_put(v, &m);
	m = member(2, 4, 10), view_put(v, &m);
	m = member(3, 16, 24), view_put(v, &m);
	m = member(4, 10, 16), m.state = MEMBER_DRAINING, view_put(v, &m);
	m = member(5, 10, 16), m.fingerprint = 0xf2, view_put(v, &m);
	m = member(6, 10, 12), memcpy(m.kind, "cuda", 5), view_put(v, &m);
	view_missing(v, 0xf1, "cpu-f32", 32, text, sizeof(text));
	CHECK_TEXT(text, "[10,16), [24,32)");
	view_missing(v, 0xf1, NULL, 32, text, sizeof(text));
	CHECK_TEXT(text, "[12,16), [24,32)");
	view_coverage(v, 0xf1, "cpu-f32", counts, 32);
	CHECK_EQ(counts[0], 1);
	CHECK_EQ(counts[5], 2);
	CHECK_EQ(counts[9], 1);
	CHECK_EQ(counts[10], 0);
	m = member(7, 8, 32), view_put(v, &m);
	view_missing(v, 0xf1, "cpu-f32", 32, text, sizeof(text));
	CHECK_TEXT(text, "");
	view_missing(v, 0xf9, NULL, 32, text, 5);
	CHECK_TEXT(text, "[0,3");
	view_close(v);
}

/* Goal: a view comes back from JSON as it was, to the last field. */
TEST(view_from_json__round_trip)
{
	struct view *v, *back;
	struct member m;
	struct error e;
	json_t *j;

	CHECK_EQ(view_open(&v), 0);
	CHECK_EQ(view_open(&back), 0);
	for (uint64_t id = 1; id <= VIEW_MEMBERS_MAX; id++) {
		m = member(id << 54 | id, (uint32_t)id % 32, 32);
		m.state = id % 4;
		CHECK_EQ(view_put(v, &m), 0);
	}
	v->epoch = 77;
	j = view_to_json(v);
	CHECK(j != NULL);
	CHECK_OK(view_from_json(back, j, &e), &e);
	CHECK_EQ(back->epoch, 77);
	CHECK_EQ(back->count, v->count);
	CHECK_BYTES(back->members, v->members, v->count * sizeof(*v->members));
	json_decref(j);
	view_close(v);
	view_close(back);
}

/* Goal: a member that makes no sense is refused by the path of its key. */
TEST(member_from_json__refuses)
{
	static const struct { const char *key; const char *value; const char *sentence; } bad[] = {
		{ "id", "17", "member.id must be an id" },
		{ "name", "\"\"", "member.name must not be empty" },
		{ "name", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
		  "member.name is 64 bytes long" },
		{ "address", "\"nowhere\"", "member.address is no address" },
		{ "blocks", "0", "member.blocks must be a whole number from 1 to 4096" },
		{ "blocks", "5000", "member.blocks must be a whole number from 1 to 4096" },
		{ "end", "33", "member.end must be a whole number from 0 to 32" },
		{ "first", "9", "member.first must be a whole number from 0 to 8" },
		{ "state", "\"asleep\"", "member.state must be one of: joining, serving" },
		{ "fingerprint", "null", "member.fingerprint must be an id" },
		{ "load", "[]", "member.load must be an object" },
		{ "load", "{\"sessions\":1,\"waiting\":0,\"pages\":4,\"pages_free\":5,"
			  "\"step_us\":1,\"stalled_us\":0,\"links\":[]}",
		  "member.load.pages_free must be a whole number from 0 to 4" },
		{ "load", "{\"sessions\":1,\"waiting\":0,\"pages\":4,\"pages_free\":4,"
			  "\"step_us\":1,\"stalled_us\":0,\"links\":[{\"to\":\"x\",\"rtt_us\":1}]}",
		  "member.load.links[0].to is no address" },
		{ "load", "{\"sessions\":1,\"waiting\":0,\"pages\":4,\"pages_free\":4,"
			  "\"step_us\":1,\"stalled_us\":0,"
			  "\"links\":[{\"to\":\"127.0.0.1:1\",\"rtt_us\":0}]}",
		  "member.load.links[0].rtt_us must be a whole number from 1" },
		{ "load", "{\"sessions\":1e300}", "member.load.sessions must be a whole number" },
		{ "version", "7", "member.version must be text" },
	};
	struct member m = member(9, 0, 8), out;
	struct error e;
	size_t i;

	for (i = 0; i < ARRAY_LENGTH(bad); i++) {
		json_t *j = member_to_json(&m);

		json_object_set_new(j, bad[i].key,
				    json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
		CHECK_EQ(member_from_json(&out, j, &e), -EINVAL);
		if (strncmp(e.text, bad[i].sentence, strlen(bad[i].sentence)))
			fail_msg("\"%s\" is not \"%s\"", e.text, bad[i].sentence);
		json_decref(j);
	}
}

/* Goal: a broken view leaves the old one as it was. */
TEST(view_from_json__keeps_the_old_on_error)
{
	struct member m = member(1, 0, 8);
	struct view *v;
	struct error e;
	json_t *j;

	CHECK_EQ(view_open(&v), 0);
	CHECK_EQ(view_put(v, &m), 0);
	v->epoch = 3;
	j = json_pack("{s:i, s:[o, o]}", "epoch", 4, "members", member_to_json(&m),
		      member_to_json(&m));
	CHECK_EQ(view_from_json(v, j, &e), -EINVAL);
	CHECK_TEXT(e.text, "view.members[1].id stands in the view twice");
	json_decref(j);
	j = json_pack("{s:i, s:[o, {}]}", "epoch", 4, "members", member_to_json(&m));
	CHECK_EQ(view_from_json(v, j, &e), -EINVAL);
	CHECK_TEXT(e.text, "view.members[1].id is missing");
	json_decref(j);
	CHECK_EQ(v->epoch, 3);
	CHECK_EQ(v->count, 1);
	view_close(v);
}
