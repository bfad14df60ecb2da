/* frame_test.c - frames by bytes: written as others would, read as others write. */
#include "dataplane/frame.h"

#include "tests/test.h"

static const struct frame_host a = { { 2, 0, 0, 0, 0, 1 }, 0x0a010101 };
static const struct frame_host b = { { 2, 0, 0, 0, 0, 2 }, 0x0a010102 };

/* Goal: the headers stand as RFC 791 and 768 say; the checksum is the one that
 * Python's struct and a hand sum give for these fields.
 */
TEST(frame_write_udp__bytes)
{
	static const uint8_t expected[FRAME_UDP_BYTES] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
		0x45, 0x02, 0x00, 0x80, 0, 0, 0x40, 0, 64, 17, 0x24, 0x67,
		10, 1, 1, 1, 10, 1, 1, 2,
		0x1e, 0xdc, 0x1e, 0xdd, 0x00, 0x6c, 0, 0,
	};
	uint8_t out[FRAME_UDP_BYTES];

	frame_write_udp(out, &a, 7900, &b, 7901, 100);
	CHECK_BYTES(out, expected, sizeof(expected));
}

/* Goal: what is written is read back, padding at the end is not taken for payload. */
TEST(frame_parse__udp)
{
	uint8_t bytes[200] = { 0 };
	struct frame f;

	frame_write_udp(bytes, &a, 7900, &b, 7901, 100);
	frame_parse(bytes, FRAME_UDP_BYTES + 100, &f);
	CHECK_EQ(f.kind, FRAME_UDP);
	CHECK_EQ(f.from.ip, a.ip);
	CHECK_EQ(f.to_ip, b.ip);
	CHECK_EQ(f.from_port, 7900);
	CHECK_EQ(f.to_port, 7901);
	CHECK(!f.marked);
	CHECK(f.datagram == bytes + FRAME_UDP_BYTES);
	CHECK_EQ(f.datagram_bytes, 100);
	CHECK_BYTES(f.from.mac, a.mac, FRAME_MAC_BYTES);
	frame_parse(bytes, sizeof(bytes), &f);
	CHECK_EQ(f.datagram_bytes, 100);
}

/* Goal: a short, damaged, fragmented or foreign frame is nothing. */
TEST(frame_parse__other)
{
	static const struct { uint32_t at; uint8_t value; } spoilt[] = {
		{ 12, 0x86 }, { 14, 0x65 }, { 14, 0x44 }, { 14, 0x4f }, { 16, 0xff },
		{ 20, 0x20 }, { 21, 1 }, { 23, 6 }, { 24, 0 }, { 38, 0xff }, { 39, 3 },
	};
	uint8_t bytes[FRAME_UDP_BYTES + 100];
	struct frame f;

	for (size_t i = 0; i < ARRAY_LENGTH(spoilt); i++) {
		memset(bytes, 0, sizeof(bytes));
		frame_write_udp(bytes, &a, 7900, &b, 7901, 100);
		bytes[spoilt[i].at] = spoilt[i].value;
		frame_parse(bytes, sizeof(bytes), &f);
		CHECK_EQ(f.kind, FRAME_OTHER);
	}
	frame_write_udp(bytes, &a, 7900, &b, 7901, 100);
	for (size_t length = 0; length < sizeof(bytes); length++) {
		frame_parse(bytes, length, &f);
		CHECK_EQ(f.kind, FRAME_OTHER);
	}
}

/* Goal: a switch's mark is seen; the header stays sound with it. */
TEST(frame_parse__marked)
{
	uint8_t bytes[FRAME_UDP_BYTES + 100] = { 0 };
	struct frame f;

	frame_write_udp(bytes, &a, 7900, &b, 7901, 100);
	bytes[15] |= 3;
	bytes[25]--;                    /* of the checksum, as a switch would */
	frame_parse(bytes, sizeof(bytes), &f);
	CHECK_EQ(f.kind, FRAME_UDP);
	CHECK(f.marked);
}

/* Goal: questions and answers about hardware addresses, both ways. */
TEST(frame_arp__round_trip)
{
	uint8_t bytes[FRAME_LEAST_BYTES];
	struct frame_host to = { { 0 }, b.ip };
	struct frame f;

	memcpy(to.mac, frame_broadcast, FRAME_MAC_BYTES);
	frame_write_arp(bytes, FRAME_ARP_REQUEST, &a, &to);
	CHECK_BYTES(bytes, frame_broadcast, FRAME_MAC_BYTES);
	frame_parse(bytes, sizeof(bytes), &f);
	CHECK_EQ(f.kind, FRAME_ARP_REQUEST);
	CHECK_EQ(f.from.ip, a.ip);
	CHECK_EQ(f.to_ip, b.ip);
	CHECK_BYTES(f.from.mac, a.mac, FRAME_MAC_BYTES);
	frame_write_arp(bytes, FRAME_ARP_REPLY, &b, &a);
	frame_parse(bytes, FRAME_ARP_BYTES, &f);
	CHECK_EQ(f.kind, FRAME_ARP_REPLY);
	CHECK_EQ(f.from.ip, b.ip);
	frame_parse(bytes, FRAME_ARP_BYTES - 1, &f);
	CHECK_EQ(f.kind, FRAME_OTHER);
	bytes[21] = 3;
	frame_parse(bytes, FRAME_ARP_BYTES, &f);
	CHECK_EQ(f.kind, FRAME_OTHER);
}

/* Goal: addresses with and without a prefix, and nothing else. */
TEST(frame_parse_ip__texts)
{
	static const char *const bad[] = {
		"", "10.1.1", "10.1.1.256", "10.1.1.1/33", "10.1.1.1/", "10.1.1.1x", "10.1.1.1/8x",
		"host", "10.1.1.1:80", "::1",
	};
	uint32_t ip, prefix;

	CHECK(frame_parse_ip("10.1.2.3", &ip, &prefix));
	CHECK_EQ(ip, 0x0a010203);
	CHECK_EQ(prefix, 32);
	CHECK(frame_parse_ip("192.168.0.9/24", &ip, &prefix));
	CHECK_EQ(ip, 0xc0a80009);
	CHECK_EQ(prefix, 24);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		CHECK(!frame_parse_ip(bad[i], &ip, &prefix));
}
