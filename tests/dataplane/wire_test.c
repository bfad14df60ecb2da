/* wire_test.c - headers to and from bytes, and every check on the way. */
#include "dataplane/wire.h"

#include <errno.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

static const struct frame step = {
	.type = WIRE_STEP, .flags = WIRE_WANT_LAST, .payload_bytes = 48, .session = 7, .step = 1,
	.rows = 3, .width = 4, .encoding = WIRE_F32, .position = 5,
};

/* Puts a field straight into an encoded header and mends its checksum. */
static void poke(uint8_t header[WIRE_HEADER_BYTES], size_t at, uint32_t value, size_t bytes)
{
	le32 zero = le32_of(0), crc;

	memcpy(header + at, &value, bytes);
	memcpy(header + offsetof(struct wire_header, header_crc), &zero, 4);
	crc = le32_of(crc32c(0, header, WIRE_HEADER_BYTES));
	memcpy(header + offsetof(struct wire_header, header_crc), &crc, 4);
}

/* Goal: bytes stand where the picture in wire.h says. */
TEST(wire__header_layout)
{
	CHECK_EQ(offsetof(struct wire_header, version), 4);
	CHECK_EQ(offsetof(struct wire_header, payload_bytes), 8);
	CHECK_EQ(offsetof(struct wire_header, header_crc), 12);
	CHECK_EQ(offsetof(struct wire_header, session), 16);
	CHECK_EQ(offsetof(struct wire_header, step), 24);
	CHECK_EQ(offsetof(struct wire_header, position), 32);
	CHECK_EQ(offsetof(struct wire_header, encoding), 44);
	CHECK_EQ(offsetof(struct wire_header, deadline_us), 48);
	CHECK_EQ(offsetof(struct wire_header, queue_us), 56);
	CHECK_EQ(offsetof(struct wire_hello, name), 40);
}

/* Goal: what decodes is what was encoded, for random frames of every type. */
TEST(wire__round_trip)
{
	static uint8_t payload[1 << 16];
	uint8_t header[WIRE_HEADER_BYTES], again[WIRE_HEADER_BYTES];
	struct random r;
	struct error e;

	random_seed(&r, test_seed());
	for (int i = 0; i < 20000; i++) {
		enum wire_type type = 1 + random_below(&r, WIRE_TYPE_COUNT - 1);
		const struct wire_type_row *row = &wire_types[type];
		struct frame in = {
			.type = type, .flags = random_below(&r, 8), .session = random_u64(&r),
			.step = (uint32_t)random_u64(&r), .epoch = (uint32_t)random_u64(&r),
			.position = (uint32_t)random_u64(&r), .hop = (uint8_t)random_u64(&r),
			.credit_small = (uint8_t)random_u64(&r),
			.credit_large = (uint8_t)random_u64(&r),
			.deadline_us = (uint32_t)random_u64(&r),
			.queue_us = (uint32_t)random_u64(&r),
			.compute_us = (uint32_t)random_u64(&r),
			.rows = (uint32_t)random_u64(&r), .width = (uint32_t)random_u64(&r),
		}, out = { 0 };

		if (!row->served)
			continue;
		if (row->rows) {
			in.encoding = 1 + random_below(&r, WIRE_ENCODING_COUNT - 1);
			in.rows = 1 + (uint32_t)random_below(&r, 9);
			in.width = in.encoding == WIRE_TOKENS ? 1 :
				   1 + (uint32_t)random_below(&r, 900);
			in.payload_bytes = (uint32_t)wire_rows_bytes(in.encoding, in.rows,
								     in.width);
		} else {
			in.payload_bytes = row->least_bytes + (uint32_t)random_below(&r,
				MIN(row->most_bytes, 4096u) - row->least_bytes + 1);
		}
		payload[i % sizeof(payload)]++;
		wire_encode(&in, payload, header);
		CHECK_OK(wire_decode(header, &out, &e), &e);
		CHECK(out.session == in.session && out.step == in.step && out.epoch == in.epoch);
		CHECK(out.rows == in.rows && out.width == in.width && out.type == in.type);
		wire_encode(&out, payload, again);
		CHECK_BYTES(header, again, sizeof(header));
		CHECK(wire_payload_intact(header, crc32c(0, payload, in.payload_bytes)));
	}
}

/* Goal: each bad field is named, and is of the kind it is counted as. */
TEST(wire__bad_fields_are_named)
{
	static const struct {
		size_t at;
		uint32_t value;
		size_t bytes;
		enum wire_fault fault;
		const char *names;
	} cases[] = {
		{ 0, 0x20544547, 4, WIRE_FAULT_MAGIC, "magic" },
		{ 4, 2, 1, WIRE_FAULT_VERSION, "version" },
		{ 5, 0, 1, WIRE_FAULT_TYPE, "type" },
		{ 5, WIRE_TYPE_COUNT, 1, WIRE_FAULT_TYPE, "type" },
		{ 5, WIRE_KV_PAGES, 1, WIRE_FAULT_TYPE, "kv_pages" },
		{ 6, 8, 2, WIRE_FAULT_FLAGS, "flags" },
		{ 8, 49, 4, WIRE_FAULT_ROWS, "rows" },
		{ 8, WIRE_PAYLOAD_BYTES_MAX + 1, 4, WIRE_FAULT_BOUNDS, "payload_bytes" },
		{ 36, 4, 4, WIRE_FAULT_ROWS, "rows" },
		{ 36, 0, 4, WIRE_FAULT_ROWS, "rows" },
		{ 36, 0xffffffff, 4, WIRE_FAULT_ROWS, "rows" },
		{ 40, 0xffffffff, 4, WIRE_FAULT_ROWS, "rows" },
		{ 40, 0, 4, WIRE_FAULT_ROWS, "rows" },
		{ 44, WIRE_ENCODING_COUNT, 1, WIRE_FAULT_ENCODING, "encoding" },
		{ 44, WIRE_NONE, 1, WIRE_FAULT_ENCODING, "encoding" },
		{ 44, WIRE_F16, 1, WIRE_FAULT_ROWS, "rows" },
		{ 44, WIRE_TOKENS, 1, WIRE_FAULT_ROWS, "rows" },
	};
	uint8_t header[WIRE_HEADER_BYTES], payload[48] = { 1 };
	struct frame out;
	struct error e;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		wire_encode(&step, payload, header);
		poke(header, cases[i].at, cases[i].value, cases[i].bytes);
		CHECK_EQ(wire_inspect(header, &out, &e), cases[i].fault);
		CHECK_EQ(wire_decode(header, &out, &e), -EPROTO);
		if (!strstr(e.text, cases[i].names))
			fail_msg("'%s' does not name %s", e.text, cases[i].names);
	}
}

/* Goal: no single bit of a header can turn over unnoticed. */
TEST(wire__any_flipped_bit_is_found)
{
	uint8_t header[WIRE_HEADER_BYTES], payload[48];
	struct frame out;

	memset(payload, 3, sizeof(payload));
	for (int bit = 0; bit < 8 * WIRE_HEADER_BYTES; bit++) {
		wire_encode(&step, payload, header);
		header[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_EQ(wire_decode(header, &out, NULL), -EPROTO);
	}
	for (int bit = 0; bit < 8 * 48; bit++) {
		wire_encode(&step, payload, header);
		payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(!wire_payload_intact(header, crc32c(0, payload, step.payload_bytes)));
		payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Goal: HELLO passes whatever version carries it; nothing else does. */
TEST(wire__hello_passes_any_version)
{
	uint8_t header[WIRE_HEADER_BYTES];
	struct wire_hello hello = { .name = "x" };
	struct frame f = { .type = WIRE_HELLO, .payload_bytes = sizeof(hello) }, out;
	struct error e;

	wire_encode(&f, &hello, header);
	poke(header, 4, 9, 1);
	CHECK_OK(wire_decode(header, &out, &e), &e);
}

/* Goal: sizes of rows, and none for what cannot be. */
TEST(wire_rows_bytes__sizes_and_overflow)
{
	CHECK_EQ(wire_rows_bytes(WIRE_F32, 2, 576), 4608);
	CHECK_EQ(wire_rows_bytes(WIRE_BF16, 2, 576), 2304);
	CHECK_EQ(wire_rows_bytes(WIRE_INT8, 1, 65), 73);
	CHECK_EQ(wire_rows_bytes(WIRE_TOKENS, 5, 1), 20);
	CHECK_EQ(wire_rows_bytes(WIRE_NONE, 5, 1), 0);
	CHECK_EQ(wire_rows_bytes(WIRE_F32, 1, WIRE_PAYLOAD_BYTES_MAX / 4), WIRE_PAYLOAD_BYTES_MAX);
	CHECK_EQ(wire_rows_bytes(WIRE_F32, 1, WIRE_PAYLOAD_BYTES_MAX / 4 + 1), 0);
	CHECK_EQ(wire_rows_bytes(WIRE_F32, UINT64_MAX, UINT64_MAX), 0);
	CHECK_EQ(wire_rows_bytes(WIRE_F32, (uint64_t)1 << 62, 4), 0);
	CHECK_EQ(wire_rows_bytes(WIRE_F32, 0, 4), 0);
	CHECK_EQ(wire_rows_bytes(WIRE_ENCODING_COUNT, 1, 1), 0);
}

/* Goal: every type has a row; free ones are small; names never are NULL. */
TEST(wire_types__rows_are_sound)
{
	for (int i = 1; i < WIRE_TYPE_COUNT; i++) {
		CHECK(wire_types[i].name != NULL);
		CHECK(wire_types[i].least_bytes <= wire_types[i].most_bytes);
		CHECK(wire_types[i].most_bytes <= WIRE_PAYLOAD_BYTES_MAX);
		if (wire_types[i].free)
			CHECK(wire_types[i].most_bytes <= 512);
	}
	for (uint32_t i = 0; i < 300; i++) {
		CHECK(wire_refusal_name(i) != NULL);
		CHECK(wire_role_name(i) != NULL);
		CHECK(wire_encoding_name(i) != NULL);
		CHECK(wire_fault_name(i) != NULL);
	}
	CHECK_TEXT(wire_refusal_name(REFUSED_BUSY), "busy");
	CHECK_TEXT(wire_refusal_name(0), "unknown");
	for (int i = 0; i < WIRE_FAULT_COUNT; i++)
		CHECK(strcmp(wire_fault_name(i), "unknown") != 0);
}

/* Goal: text fields always end, whatever is put in. */
TEST(wire_text__always_ends)
{
	char field[8];

	wire_text_set(field, sizeof(field), "abc");
	CHECK_BYTES(field, "abc\0\0\0\0", 8);
	wire_text_set(field, sizeof(field), "abcdefghij");
	CHECK_TEXT(field, "abcdefg");
	CHECK(wire_text_ok(field, sizeof(field)));
	memset(field, 'x', sizeof(field));
	CHECK(!wire_text_ok(field, sizeof(field)));
}
