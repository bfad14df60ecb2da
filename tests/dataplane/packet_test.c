/* packet_test.c - headers and ACKs survive the trip; nonsense is named. */
#include "dataplane/packet.h"

#include "tests/test.h"

static const struct packet data_row = {
	.type = PACKET_DATA, .flags = PACKET_EAGER | 2 << PACKET_SIZE_SHIFT, .payload_bytes = 1408,
	.connection = 0xaabbccdd, .number = 0x1122334455667788, .message = 7, .segment = 1,
	.segments = 3, .back = 2,
};

static enum packet_fault judge(const struct packet *p, struct packet *out)
{
	static uint8_t datagram[PACKET_SEGMENT_BYTES_MAX + PACKET_EXTRA_BYTES];

	packet_encode(p, datagram);
	return packet_decode(datagram, p->payload_bytes + PACKET_EXTRA_BYTES, out);
}

static void check_equal(const struct packet *a, const struct packet *b)
{
	uint8_t bytes_a[PACKET_HEADER_BYTES], bytes_b[PACKET_HEADER_BYTES];

	packet_encode(a, bytes_a);
	packet_encode(b, bytes_b);
	CHECK_BYTES(bytes_a, bytes_b, sizeof(bytes_a));
	CHECK_EQ(a->payload_bytes, b->payload_bytes);
}

/* Goal: the bytes on the wire stay as they are. */
TEST(packet_encode__frozen)
{
	static const uint8_t expected[PACKET_HEADER_BYTES] = {
		0x10, 0x50, 0x80, 0x05, 0xdd, 0xcc, 0xbb, 0xaa,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		7, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0,
	};
	uint8_t header[PACKET_HEADER_BYTES];

	packet_encode(&data_row, header);
	CHECK_BYTES(header, expected, sizeof(expected));
}

/* Goal: every type comes back as it was sent. */
TEST(packet_decode__returns_what_was_encoded)
{
	static const struct packet rows[] = {
		{ .type = PACKET_DATA, .flags = PACKET_LAST | PACKET_AGAIN | PACKET_PHASE,
		  .payload_bytes = 65, .connection = 1, .number = 2, .message = 3, .segments = 1 },
		{ .type = PACKET_ACK, .payload_bytes = 32, .connection = 1, .number = 5 },
		{ .type = PACKET_RTS, .flags = 3 << PACKET_SIZE_SHIFT, .payload_bytes = 8,
		  .message = 9, .segments = 200000, .back = 4 },
		{ .type = PACKET_GRANT, .message = 9, .segment = 100, .segments = 200000 },
		{ .type = PACKET_PROBE, .flags = PACKET_ACK_NOW, .segment = 3,
		  .payload_bytes = 8192 },
		{ .type = PACKET_CLOSE, .message = 4 },
	};
	struct packet out;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		CHECK_EQ(judge(&rows[i], &out), PACKET_FAULT_NONE);
		check_equal(&out, &rows[i]);
	}
	CHECK_EQ(judge(&data_row, &out), PACKET_FAULT_NONE);
	check_equal(&out, &data_row);
}

/* Goal: each check refuses what it is for. */
TEST(packet_decode__names_the_fault)
{
	uint8_t bytes[PACKET_EXTRA_BYTES + 2000] = { 0 };
	struct packet p, out;

	packet_encode(&data_row, bytes);
	CHECK_EQ(packet_decode(bytes, PACKET_EXTRA_BYTES - 1, &out), PACKET_FAULT_SHORT);
	CHECK_EQ(packet_decode(bytes, PACKET_EXTRA_BYTES + 1407, &out), PACKET_FAULT_LENGTH);
	CHECK_EQ(packet_decode(bytes, PACKET_EXTRA_BYTES + 1409, &out), PACKET_FAULT_LENGTH);
	bytes[0] = 0x20;
	CHECK_EQ(packet_decode(bytes, PACKET_EXTRA_BYTES + 1408, &out), PACKET_FAULT_VERSION);
	bytes[0] = 0x10 | PACKET_TYPES;
	CHECK_EQ(packet_decode(bytes, PACKET_EXTRA_BYTES + 1408, &out), PACKET_FAULT_TYPE);

#define FAULT(change, fault)                             \
	do {                                             \
		p = data_row;                            \
		change;                                  \
		CHECK_EQ(judge(&p, &out), fault);        \
	} while (0)
	FAULT(p.segment = 3, PACKET_FAULT_FIELDS);
	FAULT(p.segment = 2, PACKET_FAULT_FIELDS);                /* last without its flag */
	FAULT(p.flags |= PACKET_LAST, PACKET_FAULT_FIELDS);
	FAULT(p.flags |= 7 << PACKET_SIZE_SHIFT, PACKET_FAULT_FIELDS);
	FAULT(p.payload_bytes = 1400, PACKET_FAULT_FIELDS);
	FAULT(p.payload_bytes = 0, PACKET_FAULT_LENGTH);
	FAULT((p.segments = 1 << 20, p.segment = 5), PACKET_FAULT_FIELDS);
	FAULT(p.segments = 0, PACKET_FAULT_FIELDS);
	FAULT((p.type = PACKET_ACK, p.payload_bytes = 32), PACKET_FAULT_FLAGS);
	FAULT((p.type = PACKET_PROBE, p.flags = 0), PACKET_FAULT_FIELDS);
	FAULT((p.type = PACKET_GRANT, p.flags = 0, p.payload_bytes = 0), PACKET_FAULT_FIELDS);
#undef FAULT
}

/* Goal: an ACK comes back as it was sent; its words agree with its numbers. */
TEST(packet_ack__round_trip_and_faults)
{
	struct packet_state s = { .largest = 130, .hold_us = 9, .unseen_us = 8, .ce = 3, .done = 17,
				  .ack_words = 3, .done_words = 1, .ack = { 7, 5, 9 },
				  .messages = { 11 } }, out;
	uint8_t bytes[PACKET_ACK_BYTES_MAX];
	size_t count = packet_ack_encode(&s, bytes);

	CHECK_EQ(count, 32 + 8 * 4);
	CHECK_EQ(packet_ack_decode(bytes, count, &out), PACKET_FAULT_NONE);
	CHECK_BYTES(&out, &s, sizeof(s));
	CHECK_EQ(packet_ack_decode(bytes, count - 8, &out), PACKET_FAULT_ACK);
	s.ack[0] = 3;                   /* the largest did not arrive */
	count = packet_ack_encode(&s, bytes);
	CHECK_EQ(packet_ack_decode(bytes, count, &out), PACKET_FAULT_ACK);
	s.ack[0] = 15;                  /* a larger one did */
	count = packet_ack_encode(&s, bytes);
	CHECK_EQ(packet_ack_decode(bytes, count, &out), PACKET_FAULT_ACK);
	s.ack[0] = 7;
	s.ack_words = 4;                /* of numbers below 0 */
	count = packet_ack_encode(&s, bytes);
	CHECK_EQ(packet_ack_decode(bytes, count, &out), PACKET_FAULT_ACK);
}

/* Goal: the largest segment that fits is chosen, and none when none does. */
TEST(packet_size_for__fits)
{
	CHECK_EQ(packet_segment_bytes[packet_size_for(1500 - 28)], 1408);
	CHECK_EQ(packet_segment_bytes[packet_size_for(1500 - 48)], 1344);
	CHECK_EQ(packet_segment_bytes[packet_size_for(1280 - 48)], 1152);
	CHECK_EQ(packet_segment_bytes[packet_size_for(9000 - 28)], 8192);
	CHECK(packet_size_for(1000) < 0);
	CHECK_TEXT(packet_type_name(PACKET_RTS), "rts");
	CHECK_TEXT(packet_type_name(99), "unknown");
	CHECK_TEXT(packet_fault_name(PACKET_FAULT_TAG), "tag");
	for (int i = 0; i < PACKET_FAULT_COUNT; i++)
		CHECK(strcmp(packet_fault_name((enum packet_fault)i), "unknown") != 0);
}
