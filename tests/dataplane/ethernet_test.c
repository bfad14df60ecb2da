/* ethernet_test.c - frames by bytes: written as others would, read as others write. */
#include "dataplane/ethernet.h"

#include "tests/test.h"

#define V4(d) { [10] = 0xff, 0xff, 10, 1, 1, d }

/* Of both families: index 0 is IPv4. */
static const struct ether_host a[2] = {
	{ { 2, 0, 0, 0, 0, 1 }, V4(1) }, { { 2, 0, 0, 0, 0, 1 }, { 0xfd, [13] = 7, 8, 1 } },
};
static const struct ether_host b[2] = {
	{ { 2, 0, 0, 0, 0, 2 }, V4(2) }, { { 2, 0, 0, 0, 0, 2 }, { 0xfd, [13] = 7, 8, 2 } },
};

enum { DATAGRAM = 100, ROOM = ETHER_HEAD_BYTES_MAX + DATAGRAM + 20 };

/* A frame from a to b in `out`, and its length. */
static uint32_t frame_of(uint8_t out[ROOM], int family)
{
	uint32_t head = ether_head_bytes(a[family].ip);

	memset(out, 0x5a, ROOM);
	ether_write_udp(out + head, DATAGRAM, &a[family], 7900, &b[family], 7901);
	return head + DATAGRAM;
}

/* Goal: the headers stand as RFC 791 and 768 say, checksum included. */
TEST(ether_write_udp__v4_bytes)
{
	static const uint8_t expected[] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
		0x45, 0x02, 0x00, 0x80, 0, 0, 0x40, 0, 64, 17, 0x24, 0x67,
		10, 1, 1, 1, 10, 1, 1, 2,
		0x1e, 0xdc, 0x1e, 0xdd, 0x00, 0x6c, 0, 0,
	};
	uint8_t out[ROOM];

	CHECK_EQ(frame_of(out, 0), sizeof(expected) + DATAGRAM);
	CHECK_BYTES(out, expected, sizeof(expected));
}

/* Goal: the same of RFC 8200, whose UDP checksum covers the datagram. */
TEST(ether_write_udp__v6_bytes)
{
	static const uint8_t expected[] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd,
		0x60, 0x20, 0, 0, 0x00, 0x6c, 17, 64,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 1,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 2,
		0x1e, 0xdc, 0x1e, 0xdd, 0x00, 0x6c, 0x11, 0xa5,
	};
	uint8_t out[ROOM];

	CHECK_EQ(frame_of(out, 1), sizeof(expected) + DATAGRAM);
	CHECK_BYTES(out, expected, sizeof(expected));
}

/* Goal: what is written is read back, padding at the end is not taken for payload. */
TEST(ether_parse__udp)
{
	for (int family = 0; family < 2; family++) {
		uint8_t bytes[ROOM];
		uint32_t length = frame_of(bytes, family);
		struct ether_frame f;

		ether_parse(bytes, length, &f);
		CHECK_EQ(f.kind, ETHER_UDP);
		CHECK_BYTES(&f.from, &a[family], sizeof(f.from));
		CHECK_BYTES(f.to_ip, b[family].ip, ETHER_IP_BYTES);
		CHECK_EQ(f.from_port, 7900);
		CHECK_EQ(f.to_port, 7901);
		CHECK(!f.marked);
		CHECK(f.datagram == bytes + length - DATAGRAM);
		CHECK_EQ(f.datagram_bytes, DATAGRAM);
		ether_parse(bytes, length + 20, &f);
		CHECK_EQ(f.datagram_bytes, DATAGRAM);
		for (uint32_t cut = 0; cut < length; cut++) {
			ether_parse(bytes, cut, &f);
			CHECK_EQ(f.kind, ETHER_OTHER);
		}
	}
}

/* Goal: a damaged, fragmented or foreign frame is nothing. */
TEST(ether_parse__other)
{
	static const struct { int family; uint32_t at; uint8_t value; } spoilt[] = {
		{ 0, 12, 0x86 }, { 0, 14, 0x65 }, { 0, 14, 0x44 }, { 0, 14, 0x4f }, { 0, 16, 0xff },
		{ 0, 20, 0x20 }, { 0, 21, 1 }, { 0, 23, 6 }, { 0, 24, 0 }, { 0, 38, 0xff },
		{ 0, 39, 3 }, { 1, 12, 0x08 }, { 1, 14, 0x40 }, { 1, 18, 0x10 }, { 1, 20, 6 },
		{ 1, 20, 58 }, { 1, 58, 0xff }, { 1, 59, 3 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(spoilt); i++) {
		uint8_t bytes[ROOM];
		uint32_t length = frame_of(bytes, spoilt[i].family);
		struct ether_frame f;

		bytes[spoilt[i].at] = spoilt[i].value;
		ether_parse(bytes, length, &f);
		CHECK_EQ(f.kind, ETHER_OTHER);
	}
}

/* Goal: a switch's mark is seen; IPv4's header stays sound with it. */
TEST(ether_parse__marked)
{
	uint8_t bytes[ROOM];
	struct ether_frame f;
	uint32_t length = frame_of(bytes, 0);

	bytes[15] |= 3;
	bytes[25]--;                    /* of the checksum, as a switch would */
	ether_parse(bytes, length, &f);
	CHECK_EQ(f.kind, ETHER_UDP);
	CHECK(f.marked);
	length = frame_of(bytes, 1);
	bytes[15] |= 3 << 4;
	ether_parse(bytes, length, &f);
	CHECK_EQ(f.kind, ETHER_UDP);
	CHECK(f.marked);
}

/* Goal: questions and answers about hardware addresses, both ways, both families. */
TEST(ether_neighbours__round_trip)
{
	for (int family = 0; family < 2; family++) {
		uint8_t bytes[ETHER_NEIGHBOUR_BYTES_MAX];
		uint32_t length = ether_write_ask(bytes, &a[family], b[family].ip);
		struct ether_frame f;

		CHECK(bytes[0] & 1);                     /* to a group */
		ether_parse(bytes, length, &f);
		CHECK_EQ(f.kind, ETHER_ASKS);
		CHECK_BYTES(&f.from, &a[family], sizeof(f.from));
		CHECK_BYTES(f.to_ip, b[family].ip, ETHER_IP_BYTES);
		length = ether_write_tell(bytes, &b[family], &a[family]);
		CHECK_BYTES(bytes, a[family].mac, ETHER_MAC_BYTES);
		ether_parse(bytes, length, &f);
		CHECK_EQ(f.kind, ETHER_TELLS);
		CHECK_BYTES(&f.from, &b[family], sizeof(f.from));
		for (uint32_t cut = 0; cut < 42; cut++) {
			ether_parse(bytes, cut, &f);
			CHECK_EQ(f.kind, ETHER_OTHER);
		}
	}
}

/* Goal: neighbour discovery is believed from the link only, and with a right sum. */
TEST(ether_neighbours__forged)
{
	static const struct { uint32_t at; uint8_t value; } spoilt[] = {
		{ 21, 64 }, { 54, 133 }, { 55, 1 }, { 56, 0 }, { 70, 1 },
	};
	uint8_t bytes[ETHER_NEIGHBOUR_BYTES_MAX];
	struct ether_frame f;

	for (size_t i = 0; i < ARRAY_LENGTH(spoilt); i++) {
		uint32_t length = ether_write_ask(bytes, &a[1], b[1].ip);

		bytes[spoilt[i].at] = spoilt[i].value;
		ether_parse(bytes, length, &f);
		CHECK_EQ(f.kind, ETHER_OTHER);
	}
}

/* Goal: addresses with and without a prefix, and nothing else. */
TEST(ether_parse_ip__texts)
{
	static const char *const bad[] = {
		"", "10.1.1", "10.1.1.256", "10.1.1.1/33", "10.1.1.1/", "10.1.1.1x", "10.1.1.1/8x",
		"host", "10.1.1.1:80", "fd00::1/129", "fd00::1/-1", "::ffff:10.1.1.1", "[fd00::1]",
	};
	static const uint8_t v6[ETHER_IP_BYTES] = { 0xfd, [15] = 1 };
	uint8_t ip[ETHER_IP_BYTES], other[ETHER_IP_BYTES];
	uint32_t prefix;

	CHECK(ether_parse_ip("10.1.1.2", ip, &prefix));
	CHECK_BYTES(ip, b[0].ip, ETHER_IP_BYTES);
	CHECK_EQ(prefix, 128);
	CHECK(ether_parse_ip("fd00::1/64", ip, &prefix));
	CHECK_BYTES(ip, v6, ETHER_IP_BYTES);
	CHECK_EQ(prefix, 64);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		CHECK(!ether_parse_ip(bad[i], ip, &prefix));
	CHECK(ether_parse_ip("192.168.5.9/23", ip, &prefix));
	CHECK_EQ(prefix, 96 + 23);
	CHECK(ether_parse_ip("192.168.4.1", other, &prefix));
	CHECK(ether_same_net(ip, other, 96 + 23));
	CHECK(!ether_same_net(ip, other, 96 + 24));
	CHECK(!ether_same_net(ip, v6, 96));
}
