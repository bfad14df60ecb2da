/* ethernet.c - Ethernet, IPv4, IPv6, UDP, ARP and neighbour discovery by their offsets. */
#include "dataplane/ethernet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From RFC 791, 768, 826, 8200, 4861. */
enum {
	V4_BYTES = 20, V6_BYTES = 40, UDP_BYTES = 8,
	AT_TYPE = 12, AT_IP = ETHER_ALONE_BYTES,

	AT_V4_TOS = AT_IP + 1, AT_V4_LENGTH = AT_IP + 2, AT_V4_FRAGMENT = AT_IP + 6,
	AT_V4_TTL = AT_IP + 8, AT_V4_PROTOCOL = AT_IP + 9, AT_V4_CHECKSUM = AT_IP + 10,
	AT_V4_FROM = AT_IP + 12, AT_V4_TO = AT_IP + 16,

	AT_V6_LENGTH = AT_IP + 4, AT_V6_PROTOCOL = AT_IP + 6, AT_V6_HOPS = AT_IP + 7,
	AT_V6_FROM = AT_IP + 8, AT_V6_TO = AT_IP + 24,

	ARP_BYTES = 42, LEAST_BYTES = 60,
	AT_ARP_OPERATION = AT_IP + 6, AT_ARP_FROM_MAC = AT_IP + 8, AT_ARP_FROM_IP = AT_IP + 14,
	AT_ARP_TO_MAC = AT_IP + 18, AT_ARP_TO_IP = AT_IP + 24,
	ARP_ASKS = 1, ARP_TELLS = 2,

	AT_ND = AT_IP + V6_BYTES, ND_BYTES = 32,        /* with one option */
	AT_ND_CHECKSUM = AT_ND + 2, AT_ND_FLAGS = AT_ND + 4, AT_ND_TARGET = AT_ND + 8,
	AT_ND_OPTION = AT_ND + 24, ND_OPTION_BYTES = 8,
	ND_ASKS = 135, ND_TELLS = 136, ND_HOPS = 255,
	ND_SOLICITED_OVERRIDE = 0x60,
	ND_OPTION_FROM = 1, ND_OPTION_TARGET = 2,       /* whose hardware address follows */

	TYPE_V4 = 0x0800, TYPE_ARP = 0x0806, TYPE_V6 = 0x86dd,
	PROTOCOL_UDP = 17, PROTOCOL_ICMP6 = 58,
	ECN_CAPABLE = 2, ECN_MARKED = 3, ECN_MASK = 3,
	DO_NOT_FRAGMENT = 0x4000, FRAGMENT_MASK = 0xbfff,
	TTL = 64,
	V4_PREFIX = 96,
};
static_assert(AT_ND + ND_BYTES == ETHER_NEIGHBOUR_BYTES_MAX, "the longest of the four");

/* Ethernet, IPv4, address lengths 6 and 4. */
static const uint8_t arp_head[6] = { 0, 1, 8, 0, 6, 4 };
static const uint8_t broadcast[ETHER_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t v4_prefix[V4_PREFIX / 8] = { [10] = 0xff, [11] = 0xff };
/* Whom a question goes to: the last three bytes are the address's. */
static const uint8_t solicited[ETHER_IP_BYTES] = { 0xff, 2, [11] = 1, [12] = 0xff };

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

bool ether_is_v4(const uint8_t ip[ETHER_IP_BYTES])
{
	return memcmp(ip, v4_prefix, sizeof(v4_prefix)) == 0;
}

uint32_t ether_head_bytes(const uint8_t ip[ETHER_IP_BYTES])
{
	return ETHER_ALONE_BYTES + (ether_is_v4(ip) ? V4_BYTES : V6_BYTES) + UDP_BYTES;
}

static const uint8_t *v4_of(const uint8_t ip[ETHER_IP_BYTES])
{
	return ip + sizeof(v4_prefix);
}

static void set_v4(uint8_t ip[ETHER_IP_BYTES], const uint8_t *v4)
{
	memcpy(ip, v4_prefix, sizeof(v4_prefix));
	memcpy(ip + sizeof(v4_prefix), v4, 4);
}

/* The ones' complement sum of RFC 1071, to be gone on with. */
static uint64_t sum(uint64_t so_far, const uint8_t *bytes, size_t count)
{
	for (; count >= 2; count -= 2, bytes += 2)
		so_far += get16(bytes);
	return count ? so_far + ((uint32_t)bytes[0] << 8) : so_far;
}

/* 0 over what carries its own checksum. */
static uint16_t fold(uint64_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return (uint16_t)~value;
}

/* Over IPv6's addresses, the protocol and what stands behind the header. */
static uint16_t v6_checksum(const uint8_t *frame, uint32_t protocol, uint32_t bytes)
{
	uint64_t so_far = sum(protocol + bytes, frame + AT_V6_FROM, 2 * ETHER_IP_BYTES);

	return fold(sum(so_far, frame + AT_IP + V6_BYTES, bytes));
}

static void write_ethernet(uint8_t *out, const uint8_t *to, const uint8_t *from, uint32_t type)
{
	memcpy(out, to, ETHER_MAC_BYTES);
	memcpy(out + ETHER_MAC_BYTES, from, ETHER_MAC_BYTES);
	put16(out + AT_TYPE, type);
}

static void write_v4(uint8_t *out, const uint8_t *from, const uint8_t *to, uint32_t bytes)
{
	out[AT_IP] = 4 << 4 | V4_BYTES / 4;
	out[AT_V4_TOS] = ECN_CAPABLE;
	put16(out + AT_V4_LENGTH, V4_BYTES + bytes);
	put16(out + AT_V4_FRAGMENT, DO_NOT_FRAGMENT);
	out[AT_V4_TTL] = TTL;
	out[AT_V4_PROTOCOL] = PROTOCOL_UDP;
	memcpy(out + AT_V4_FROM, v4_of(from), 4);
	memcpy(out + AT_V4_TO, v4_of(to), 4);
	put16(out + AT_V4_CHECKSUM, fold(sum(0, out + AT_IP, V4_BYTES)));
}

static void write_v6(uint8_t *out, const uint8_t *from, const uint8_t *to, uint32_t protocol,
		     uint32_t hops, uint32_t bytes)
{
	out[AT_IP] = 6 << 4;
	if (protocol == PROTOCOL_UDP)
		out[AT_IP + 1] = ECN_CAPABLE << 4;
	put16(out + AT_V6_LENGTH, bytes);
	out[AT_V6_PROTOCOL] = (uint8_t)protocol;
	out[AT_V6_HOPS] = (uint8_t)hops;
	memcpy(out + AT_V6_FROM, from, ETHER_IP_BYTES);
	memcpy(out + AT_V6_TO, to, ETHER_IP_BYTES);
}

void ether_write_udp(uint8_t *datagram, uint32_t datagram_bytes, const struct ether_host *from,
		     uint16_t from_port, const struct ether_host *to, uint16_t to_port)
{
	uint32_t head = ether_head_bytes(to->ip), bytes = UDP_BYTES + datagram_bytes;
	uint8_t *out = datagram - head, *udp = datagram - UDP_BYTES;
	bool v4 = ether_is_v4(to->ip);
	uint16_t checksum;

	assert(ether_is_v4(from->ip) == v4);
	memset(out, 0, head);
	write_ethernet(out, to->mac, from->mac, v4 ? TYPE_V4 : TYPE_V6);
	put16(udp, from_port);
	put16(udp + 2, to_port);
	put16(udp + 4, bytes);
	if (v4) {
		write_v4(out, from->ip, to->ip, bytes);
		return;
	}
	write_v6(out, from->ip, to->ip, PROTOCOL_UDP, TTL, bytes);
	checksum = v6_checksum(out, PROTOCOL_UDP, bytes);
	put16(udp + 6, checksum ? checksum : 0xffff);
}

static uint32_t write_arp(uint8_t *out, uint32_t operation, const struct ether_host *from,
			  const uint8_t *to_mac, const uint8_t *to_ip)
{
	memset(out, 0, LEAST_BYTES);
	write_ethernet(out, to_mac, from->mac, TYPE_ARP);
	memcpy(out + AT_IP, arp_head, sizeof(arp_head));
	put16(out + AT_ARP_OPERATION, operation);
	memcpy(out + AT_ARP_FROM_MAC, from->mac, ETHER_MAC_BYTES);
	memcpy(out + AT_ARP_FROM_IP, v4_of(from->ip), 4);
	if (operation == ARP_TELLS)
		memcpy(out + AT_ARP_TO_MAC, to_mac, ETHER_MAC_BYTES);
	memcpy(out + AT_ARP_TO_IP, v4_of(to_ip), 4);
	return LEAST_BYTES;
}

static uint32_t write_nd(uint8_t *out, uint32_t type, const struct ether_host *from,
			 const uint8_t *to_mac, const uint8_t *to_ip, const uint8_t *target)
{
	memset(out, 0, ETHER_NEIGHBOUR_BYTES_MAX);
	write_ethernet(out, to_mac, from->mac, TYPE_V6);
	write_v6(out, from->ip, to_ip, PROTOCOL_ICMP6, ND_HOPS, ND_BYTES);
	out[AT_ND] = (uint8_t)type;
	out[AT_ND_FLAGS] = type == ND_TELLS ? ND_SOLICITED_OVERRIDE : 0;
	memcpy(out + AT_ND_TARGET, target, ETHER_IP_BYTES);
	out[AT_ND_OPTION] = type == ND_TELLS ? ND_OPTION_TARGET : ND_OPTION_FROM;
	out[AT_ND_OPTION + 1] = ND_OPTION_BYTES / 8;
	memcpy(out + AT_ND_OPTION + 2, from->mac, ETHER_MAC_BYTES);
	put16(out + AT_ND_CHECKSUM, v6_checksum(out, PROTOCOL_ICMP6, ND_BYTES));
	return ETHER_NEIGHBOUR_BYTES_MAX;
}

uint32_t ether_write_ask(uint8_t out[ETHER_NEIGHBOUR_BYTES_MAX], const struct ether_host *from,
			 const uint8_t ip[ETHER_IP_BYTES])
{
	uint8_t group[ETHER_IP_BYTES], mac[ETHER_MAC_BYTES] = { 0x33, 0x33 };

	if (ether_is_v4(ip))
		return write_arp(out, ARP_ASKS, from, broadcast, ip);
	memcpy(group, solicited, sizeof(group));
	memcpy(group + 13, ip + 13, 3);
	memcpy(mac + 2, group + 12, 4);
	return write_nd(out, ND_ASKS, from, mac, group, ip);
}

uint32_t ether_write_tell(uint8_t out[ETHER_NEIGHBOUR_BYTES_MAX], const struct ether_host *from,
			  const struct ether_host *to)
{
	if (ether_is_v4(to->ip))
		return write_arp(out, ARP_TELLS, from, to->mac, to->ip);
	return write_nd(out, ND_TELLS, from, to->mac, to->ip, from->ip);
}

static void parse_arp(const uint8_t *bytes, size_t length, struct ether_frame *out)
{
	uint32_t operation;

	if (length < ARP_BYTES || memcmp(bytes + AT_IP, arp_head, sizeof(arp_head)) != 0)
		return;
	operation = get16(bytes + AT_ARP_OPERATION);
	if (operation != ARP_ASKS && operation != ARP_TELLS)
		return;
	out->kind = operation == ARP_ASKS ? ETHER_ASKS : ETHER_TELLS;
	memcpy(out->from.mac, bytes + AT_ARP_FROM_MAC, ETHER_MAC_BYTES);
	set_v4(out->from.ip, bytes + AT_ARP_FROM_IP);
	set_v4(out->to_ip, bytes + AT_ARP_TO_IP);
}

static void parse_udp(const uint8_t *bytes, uint32_t at, uint32_t room, struct ether_frame *out)
{
	const uint8_t *udp = bytes + at;
	uint32_t udp_bytes = room < UDP_BYTES ? 0 : get16(udp + 4);

	if (udp_bytes < UDP_BYTES || udp_bytes > room)
		return;
	out->kind = ETHER_UDP;
	memcpy(out->from.mac, bytes + ETHER_MAC_BYTES, ETHER_MAC_BYTES);
	out->from_port = (uint16_t)get16(udp);
	out->to_port = (uint16_t)get16(udp + 2);
	out->datagram = udp + UDP_BYTES;
	out->datagram_bytes = udp_bytes - UDP_BYTES;
}

/* Whole, unfragmented; options are stepped over. */
static void parse_v4(const uint8_t *bytes, size_t length, struct ether_frame *out)
{
	uint32_t head, total;

	if (length < AT_IP + V4_BYTES || bytes[AT_IP] >> 4 != 4)
		return;
	head = (bytes[AT_IP] & 15) * 4u;
	total = get16(bytes + AT_V4_LENGTH);
	if (head < V4_BYTES || total < head || AT_IP + total > length ||
	    fold(sum(0, bytes + AT_IP, head)) != 0 ||
	    (get16(bytes + AT_V4_FRAGMENT) & FRAGMENT_MASK) ||
	    bytes[AT_V4_PROTOCOL] != PROTOCOL_UDP)
		return;
	set_v4(out->from.ip, bytes + AT_V4_FROM);
	set_v4(out->to_ip, bytes + AT_V4_TO);
	out->marked = (bytes[AT_V4_TOS] & ECN_MASK) == ECN_MARKED;
	parse_udp(bytes, AT_IP + head, total - head, out);
}

/* Only from the link itself (255 hops) and only if its sum is right. */
static void parse_nd(const uint8_t *bytes, uint32_t count, struct ether_frame *out)
{
	static const uint8_t nobody[ETHER_IP_BYTES];
	const uint8_t *option = bytes + AT_ND_OPTION;
	bool asks;

	if (count < AT_ND_OPTION - AT_ND)
		return;
	asks = bytes[AT_ND] == ND_ASKS;
	if (bytes[AT_V6_HOPS] != ND_HOPS || (!asks && bytes[AT_ND] != ND_TELLS) ||
	    bytes[AT_ND + 1] != 0 || v6_checksum(bytes, PROTOCOL_ICMP6, count) != 0 ||
	    memcmp(out->from.ip, nobody, sizeof(nobody)) == 0)
		return;
	out->kind = asks ? ETHER_ASKS : ETHER_TELLS;
	memcpy(asks ? out->to_ip : out->from.ip, bytes + AT_ND_TARGET, ETHER_IP_BYTES);
	memcpy(out->from.mac, bytes + ETHER_MAC_BYTES, ETHER_MAC_BYTES);
	if (count >= ND_BYTES && option[1] == ND_OPTION_BYTES / 8 &&
	    option[0] == (asks ? ND_OPTION_FROM : ND_OPTION_TARGET))
		memcpy(out->from.mac, option + 2, ETHER_MAC_BYTES);
}

/* Without extension headers: nobody on our way adds any. */
static void parse_v6(const uint8_t *bytes, size_t length, struct ether_frame *out)
{
	uint32_t count;

	if (length < AT_IP + V6_BYTES || bytes[AT_IP] >> 4 != 6)
		return;
	count = get16(bytes + AT_V6_LENGTH);
	if (AT_IP + V6_BYTES + count > length)
		return;
	memcpy(out->from.ip, bytes + AT_V6_FROM, ETHER_IP_BYTES);
	memcpy(out->to_ip, bytes + AT_V6_TO, ETHER_IP_BYTES);
	out->marked = (bytes[AT_IP + 1] >> 4 & ECN_MASK) == ECN_MARKED;
	if (bytes[AT_V6_PROTOCOL] == PROTOCOL_UDP)
		parse_udp(bytes, AT_IP + V6_BYTES, count, out);
	else if (bytes[AT_V6_PROTOCOL] == PROTOCOL_ICMP6)
		parse_nd(bytes, count, out);
}

void ether_parse(const uint8_t *bytes, size_t length, struct ether_frame *out)
{
	*out = (struct ether_frame){ .kind = ETHER_OTHER };
	if (length < ETHER_ALONE_BYTES)
		return;
	switch (get16(bytes + AT_TYPE)) {
	case TYPE_V4:
		parse_v4(bytes, length, out);
		break;
	case TYPE_V6:
		parse_v6(bytes, length, out);
		break;
	case TYPE_ARP:
		parse_arp(bytes, length, out);
		break;
	default:
		break;
	}
}

bool ether_parse_ip(const char *text, uint8_t ip[ETHER_IP_BYTES], uint32_t *prefix)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	uint8_t v4[4];
	uint32_t before = 0;
	unsigned long bits;
	char *end;

	if (length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, v4) == 1) {
		set_v4(ip, v4);
		before = V4_PREFIX;
	} else if (inet_pton(AF_INET6, address, ip) != 1 || ether_is_v4(ip)) {
		return false;
	}
	*prefix = 8 * ETHER_IP_BYTES;
	if (!slash)
		return true;
	bits = strtoul(slash + 1, &end, 10);
	*prefix = before + (uint32_t)MIN(bits, 1000ul);
	return slash[1] >= '0' && slash[1] <= '9' && !*end && *prefix <= 8 * ETHER_IP_BYTES;
}

bool ether_same_net(const uint8_t a[ETHER_IP_BYTES], const uint8_t b[ETHER_IP_BYTES],
		    uint32_t prefix)
{
	uint32_t whole = prefix / 8, rest = prefix % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00 >> rest & 0xff)) == 0;
}
