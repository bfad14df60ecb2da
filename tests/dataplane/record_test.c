/* record_test.c - record headers: what is written is read, what is wrong is named. */
#include "dataplane/record.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: what decodes is what was encoded, in both kinds and phases. */
TEST(record__round_trip)
{
	for (uint32_t i = 0; i < 64; i++) {
		const struct record in = {
			.kind = i & 1 ? RECORD_FRAMES : RECORD_PAYLOAD,
			.bytes = WIRE_HEADER_BYTES + i, .ticket = { i * 0x100000001ull, i & 2 },
		};
		uint8_t bytes[RECORD_HEADER_BYTES];
		struct record out;
		struct error e;

		record_encode(&in, bytes);
		CHECK(!record_is_tls(bytes[0]));
		CHECK_EQ(record_check(bytes, in.ticket.number,
				      in.kind == RECORD_PAYLOAD ? 1000 : 0, &out, &e),
			 WIRE_FAULT_NONE);
		CHECK(out.kind == in.kind && out.bytes == in.bytes &&
		      out.ticket.number == in.ticket.number && out.ticket.phase == in.ticket.phase);
	}
}

/* Goal: each field that is off has a fault and a sentence of its own. */
TEST(record__faults_are_told_apart)
{
	static const struct {
		struct record record;
		size_t spoil;           /* this byte, if not 0 */
		uint64_t expected;
		uint32_t payload_left;
		enum wire_fault fault;
		const char *names;
	} rows[] = {
		{ { RECORD_FRAMES, 64, { 3, false } }, 0, 3, 0, WIRE_FAULT_NONE, NULL },
		{ { RECORD_FRAMES, 64, { 3, false } }, 2, 3, 0, WIRE_FAULT_FLAGS, "flags" },
		{ { RECORD_FRAMES, 64, { 3, false } }, 31, 3, 0, WIRE_FAULT_FLAGS, "flags" },
		{ { RECORD_FRAMES, 64, { 3, false } }, 0, 4, 0, WIRE_FAULT_REPLAY, "number" },
		{ { RECORD_FRAMES, 64, { 3, false } }, 0, 2, 0, WIRE_FAULT_REPLAY, "number" },
		{ { RECORD_FRAMES, 63, { 0, false } }, 0, 0, 0, WIRE_FAULT_BOUNDS, "bytes" },
		{ { RECORD_FRAMES, RECORD_FRAMES_BYTES + 1, { 0, false } }, 0, 0, 0,
		  WIRE_FAULT_BOUNDS, "bytes" },
		{ { RECORD_FRAMES, 64, { 0, false } }, 0, 0, 10, WIRE_FAULT_ORDER, "kind" },
		{ { RECORD_PAYLOAD, 10, { 0, false } }, 0, 0, 0, WIRE_FAULT_ORDER, "kind" },
		{ { RECORD_PAYLOAD, 11, { 0, false } }, 0, 0, 10, WIRE_FAULT_BOUNDS, "bytes" },
		{ { RECORD_PAYLOAD, 0, { 0, false } }, 0, 0, 10, WIRE_FAULT_BOUNDS, "bytes" },
		{ { RECORD_PAYLOAD, RECORD_PAYLOAD_BYTES + 1, { 0, false } }, 0, 0, 1 << 20,
		  WIRE_FAULT_BOUNDS, "bytes" },
		{ { RECORD_PAYLOAD, RECORD_PAYLOAD_BYTES, { 0, false } }, 0, 0, 1 << 20,
		  WIRE_FAULT_NONE, NULL },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		uint8_t bytes[RECORD_HEADER_BYTES];
		struct record out;
		struct error e = { 0 };

		record_encode(&rows[i].record, bytes);
		bytes[rows[i].spoil] ^= rows[i].spoil ? 2 : 0;
		CHECK_EQ(record_check(bytes, rows[i].expected, rows[i].payload_left, &out, &e),
			 rows[i].fault);
		if (rows[i].names)
			CHECK(strncmp(e.text, rows[i].names, strlen(rows[i].names)) == 0);
	}
}

/* Goal: bytes that are no record at all are called so. */
TEST(record__magic)
{
	uint8_t bytes[RECORD_HEADER_BYTES] = "GET / HTTP/1.1";
	struct record out;
	struct error e;

	CHECK_EQ(record_check(bytes, 0, 0, &out, &e), WIRE_FAULT_MAGIC);
}
