/* inbound_test.c - what a receiver does with streams that no sender of ours
 * would send: broken, hostile, or not ours at all.
 */
#include <errno.h>
#include <unistd.h>

#include "tests/support/raw_peer.h"
#include "tests/test.h"

static const char large_slots[] = "petals_transport_slots_in_use{slot=\"large\"}";

struct scene {
	struct world world;
	struct world_node *node;        /* the one under attack */
	struct world_node *bystander;   /* must not notice */
	uint32_t to_node;
	struct raw_peer raw;
};

static struct scene *scene_open(void)
{
	struct scene *s = test_calloc(1, sizeof(*s));

	world_open(&s->world, "uring", NULL);
	s->node = world_add(&s->world, NULL);
	s->bystander = world_add(&s->world, NULL);
	s->to_node = world_join(s->bystander, s->node);
	raw_open(&s->raw, s->node);
	return s;
}

/* Whatever happened, everybody else goes on. */
static void scene_close(struct scene *s)
{
	int receipts = s->node->receipts;

	raw_close(&s->raw);
	CHECK_EQ(world_say(s->bystander, s->to_node, 3000, 77), 0);
	CHECK(world_wait_received(s->node, receipts + 1));
	CHECK(world_matches(s->node->received[s->node->kept - 1], 77));
	CHECK_EQ(s->bystander->losses, 0);
	world_close(&s->world);
	test_free(s);
}

/* Goal: a stranger's stream ends its connection quickly, is counted, and never
 * becomes a peer.
 */
TEST(inbound__strangers_are_shown_out)
{
	static const char *const streams[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/completions HTTP/1.1\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n", "\x16\x03\x01\x02\x01", "garbage", "\xff\xff\xff\xff",
	};

	for (size_t i = 0; i < ARRAY_LENGTH(streams); i++) {
		struct scene *s = scene_open();

		raw_send(&s->raw, streams[i], strlen(streams[i]));
		CHECK(raw_wait_end(&s->raw));
		CHECK_EQ((int)world_errors(s->node, "magic"), 1);
		CHECK_EQ(s->node->ups, 1);
		CHECK_EQ(s->node->losses, 0);
		scene_close(s);
	}
}

/* Goal: a stream cut into single bytes is read like any other. */
TEST(inbound__any_cut_of_the_stream_will_do)
{
	struct scene *s = scene_open();
	uint8_t out[1024], payload[300];
	size_t bytes = raw_hello(out);

	memset(payload, 9, sizeof(payload));
	bytes += raw_message(out + bytes, &(struct frame){ .type = WIRE_CALL, .session = 5,
							   .payload_bytes = 300 }, payload);
	bytes += raw_message(out + bytes, &(struct frame){ .type = WIRE_CALL, .session = 6 }, NULL);
	for (size_t i = 0; i < bytes; i++)
		raw_send(&s->raw, out + i, 1);
	CHECK(world_wait_received(s->node, 2));
	CHECK_EQ(s->node->received[0]->frame.session, 5);
	CHECK_BYTES(s->node->received[0]->payload, payload, 300);
	CHECK_EQ(s->node->received[1]->frame.session, 6);
	scene_close(s);
}

/* How each case is spoilt, after a proper hello. */
enum spoil { AS_IS, FLIP_HEADER, TWICE };

/* Goal: every kind of bad message ends its sender, names the field, is counted
 * under its kind, and its sender hears why.
 */
TEST(inbound__bad_messages_end_their_sender)
{
	static const struct {
		struct frame frame;
		enum spoil spoil;
		const char *kind, *names;
	} cases[] = {
		{ { .type = WIRE_CALL, .payload_bytes = 100 }, FLIP_HEADER, "header_checksum",
		  "header_crc" },
		{ { .type = WIRE_KV_PAGES }, AS_IS, "type", "kv_pages" },
		{ { .type = WIRE_CALL, .flags = 0x100 }, AS_IS, "flags", "flags" },
		{ { .type = WIRE_CLOSE, .payload_bytes = 5 }, AS_IS, "bounds", "payload_bytes" },
		{ { .type = WIRE_CALL, .encoding = WIRE_F32 }, AS_IS, "encoding", "encoding" },
		{ { .type = WIRE_STEP, .rows = 1, .width = 2, .encoding = WIRE_F32,
		    .payload_bytes = 4 }, AS_IS, "rows", "rows" },
		{ { .type = WIRE_CREDIT, .credit_small = 1 }, AS_IS, "credit", "credit_small" },
		{ { .type = WIRE_CREDIT, .credit_large = 1 }, AS_IS, "credit", "credit_large" },
		{ { .type = WIRE_STEP, .rows = 1, .width = 2 << 20, .encoding = WIRE_F32,
		    .payload_bytes = 8 << 20 }, AS_IS, "bounds", "our slots take 4194304" },
	};
	static uint8_t payload[8 << 20], out[(8 << 20) + WIRE_HEADER_BYTES];

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct scene *s = scene_open();
		size_t bytes = raw_message(out, &cases[i].frame, payload);
		uint8_t reason[512] = { 0 };
		struct frame f;

		raw_greet(&s->raw);
		if (cases[i].spoil == FLIP_HEADER)
			out[20] ^= 4;
		raw_send(&s->raw, out, MIN(bytes, 4096u));
		CHECK(world_wait_lost(s->node, 1));
		CHECK_EQ(s->node->lost[0].code, -EPROTO);
		if (!strstr(s->node->lost[0].reason, cases[i].names))
			fail_msg("'%s' does not name %s", s->node->lost[0].reason, cases[i].names);
		CHECK_EQ((int)world_errors(s->node, cases[i].kind), 1);
		CHECK(raw_hear(&s->raw, WIRE_GOODBYE, &f, reason));
		CHECK(strstr((char *)reason, cases[i].names));
		scene_close(s);
	}
}

/* Goal: a stream that loses step ends there. */
TEST(inbound__junk_between_messages)
{
	struct scene *s = scene_open();

	raw_greet(&s->raw);
	raw_send(&s->raw, "junk", 4);
	CHECK(world_wait_lost(s->node, 1));
	CHECK(strstr(s->node->lost[0].reason, "magic"));
	scene_close(s);
}

/* Goal: nothing is heard before hello, and hello is heard once. */
TEST(inbound__hello_comes_first_and_once)
{
	struct scene *s = scene_open();
	uint8_t out[512];

	raw_send(&s->raw, out, raw_message(out, &(struct frame){ .type = WIRE_CALL }, NULL));
	CHECK(raw_wait_end(&s->raw));
	CHECK_EQ((int)world_errors(s->node, "order"), 1);
	CHECK_EQ(s->node->ups, 1);
	raw_close(&s->raw);
	raw_open(&s->raw, s->node);
	raw_greet(&s->raw);
	raw_send(&s->raw, out, raw_hello(out));
	CHECK(world_wait_lost(s->node, 1));
	CHECK(strstr(s->node->lost[0].reason, "a second hello"));
	scene_close(s);
}

/* Goal: hellos that make no sense are refused with a sentence for both sides. */
TEST(inbound__absurd_hellos_are_refused)
{
	static const struct {
		size_t at;
		uint8_t bytes[4];
		size_t count;
		const char *names;
	} cases[] = {
		{ offsetof(struct wire_hello, role), { ROLE_KINDS }, 1, "role" },
		{ offsetof(struct wire_hello, version_least), { 2, 3 }, 2, "versions 2 to 3" },
		{ offsetof(struct wire_hello, version_least), { 3, 2 }, 2, "version_least" },
		{ offsetof(struct wire_hello, credit_small), { 0, 0, 0, 1 }, 4, "credit_small" },
		{ offsetof(struct wire_hello, credit_large), { 0, 0, 0, 1 }, 4, "credit_large" },
		{ offsetof(struct wire_hello, slot_large_bytes), { 0, 0, 0, 32 }, 4,
		  "slot_large_bytes" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct scene *s = scene_open();
		uint8_t out[512], reason[512] = { 0 };
		struct frame f = { .type = WIRE_HELLO, .payload_bytes = sizeof(struct wire_hello) };
		uint8_t hello[sizeof(struct wire_hello)];

		raw_hello(out);
		memcpy(hello, out + WIRE_HEADER_BYTES, sizeof(hello));
		memcpy(hello + cases[i].at, cases[i].bytes, cases[i].count);
		raw_send(&s->raw, out, raw_message(out, &f, hello));
		CHECK(raw_hear(&s->raw, WIRE_GOODBYE, &f, reason));
		if (!strstr((char *)reason, cases[i].names))
			fail_msg("'%s' does not name %s", (char *)reason, cases[i].names);
		CHECK_EQ(s->node->ups, 1);
		scene_close(s);
	}
}

/* Goal: a version range that holds ours is welcome: rolling upgrades. */
TEST(inbound__overlapping_versions_agree)
{
	struct scene *s = scene_open();
	uint8_t out[512], hello[sizeof(struct wire_hello)];
	struct frame f = { .type = WIRE_HELLO, .payload_bytes = sizeof(hello) };
	int ups = s->node->ups;

	raw_hello(out);
	memcpy(hello, out + WIRE_HEADER_BYTES, sizeof(hello));
	hello[offsetof(struct wire_hello, version_most)] = WIRE_VERSION + 1;
	raw_greet_with(&s->raw, out, raw_message(out, &f, hello));
	CHECK_EQ(s->node->ups, ups + 1);
	scene_close(s);
}

/* Goal: a sender that ignores its credit is cut off, after as many messages as
 * it was granted.
 */
TEST(inbound__more_than_granted)
{
	struct scene *s = scene_open();
	const struct frame call = { .type = WIRE_CALL };
	uint8_t out[512];

	raw_greet(&s->raw);
	for (int i = 0; i < 9; i++)
		raw_send(&s->raw, out, raw_message(out, &call, NULL));
	CHECK(world_wait_lost(s->node, 1));
	CHECK_EQ(s->node->lost[0].code, -EPROTO);
	CHECK(strstr(s->node->lost[0].reason, "without credit"));
	CHECK_EQ((int)world_errors(s->node, "credit"), 1);
	CHECK_EQ(s->node->receipts, 8);
	scene_close(s);
}

/* Goal: PING is answered with the same bytes, by the layer alone. */
TEST(inbound__ping_is_answered)
{
	struct scene *s = scene_open();
	uint8_t out[512], stamp[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, payload[512];
	struct frame f;

	raw_greet(&s->raw);
	raw_send(&s->raw, out, raw_message(out, &(struct frame){ .type = WIRE_PING,
								 .payload_bytes = 8 }, stamp));
	CHECK(raw_hear(&s->raw, WIRE_PONG, &f, payload));
	CHECK_BYTES(payload, stamp, 8);
	CHECK_EQ(s->node->receipts, 0);
	scene_close(s);
}

/* Goal: a connection that ends, in the middle of a message or not, is a reset;
 * the slot under way is free again.
 */
TEST(inbound__ends_in_the_middle_of_a_message)
{
	struct scene *s = scene_open();
	static uint8_t payload[100000], out[100100];
	struct frame f = { .type = WIRE_CALL, .payload_bytes = sizeof(payload) };

	raw_greet(&s->raw);
	raw_message(out, &f, payload);
	raw_send(&s->raw, out, 70000);
	CHECK(world_wait_counter(s->node, large_slots, 1));
	shutdown(s->raw.fd, SHUT_WR);
	CHECK(world_wait_lost(s->node, 1));
	CHECK_EQ(s->node->lost[0].code, -ECONNRESET);
	CHECK(world_wait_counter(s->node, large_slots, 0));
	scene_close(s);
}

/* Goal: a connection that says nothing at all does not stay. */
TEST(inbound__silence_before_hello)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	struct transport_options o;

	world_open(w, "uring", NULL);
	world_options(w, &o);
	o.connect_ns = 30 * NS_PER_MS;
	raw_open(raw, world_add(w, &o));
	CHECK(raw_wait_end(raw));
	CHECK_EQ(w->nodes[0].losses, 0);
	raw_close(raw);
	world_close(w);
	test_free(raw);
	test_free(w);
}
