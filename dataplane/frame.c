/* frame.c - Ethernet, IPv4, UDP and ARP by their offsets. */
#include "dataplane/frame.h"

#include <stdio.h>
#include <string.h>

/* Offsets, from RFC 791, 768, 826. */
enum {
	ETHERNET_BYTES = 14, IP_BYTES = 20, UDP_BYTES = 8,
	AT_TYPE = 12,
	AT_IP = ETHERNET_BYTES, AT_IP_TOS = AT_IP + 1, AT_IP_LENGTH = AT_IP + 2,
	AT_IP_FRAGMENT = AT_IP + 6, AT_IP_TTL = AT_IP + 8, AT_IP_PROTOCOL = AT_IP + 9,
	AT_IP_CHECKSUM = AT_IP + 10, AT_IP_FROM = AT_IP + 12, AT_IP_TO = AT_IP + 16,
	AT_ARP = ETHERNET_BYTES, AT_ARP_OPERATION = AT_ARP + 6, AT_ARP_FROM_MAC = AT_ARP + 8,
	AT_ARP_FROM_IP = AT_ARP + 14, AT_ARP_TO_MAC = AT_ARP + 18, AT_ARP_TO_IP = AT_ARP + 24,

	TYPE_IP = 0x0800, TYPE_ARP = 0x0806,
	PROTOCOL_UDP = 17,
	ECN_CAPABLE = 2, ECN_MARKED = 3, ECN_MASK = 3,
	DO_NOT_FRAGMENT = 0x4000, FRAGMENT_MASK = 0xbfff,
	TTL = 64,
	ARP_ASKS = 1, ARP_TELLS = 2,
};

/* Ethernet, IPv4, address lengths 6 and 4. */
static const uint8_t arp_head[6] = { 0, 1, 8, 0, 6, 4 };
const uint8_t frame_broadcast[FRAME_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

/* The ones' complement sum of RFC 1071; 0 over a sound header. */
static uint16_t checksum(const uint8_t *bytes, size_t count)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i += 2)
		sum += get16(bytes + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void write_ethernet(uint8_t *out, const uint8_t *to, const uint8_t *from, uint32_t type)
{
	memcpy(out, to, FRAME_MAC_BYTES);
	memcpy(out + FRAME_MAC_BYTES, from, FRAME_MAC_BYTES);
	put16(out + AT_TYPE, type);
}

void frame_write_udp(uint8_t out[FRAME_UDP_BYTES], const struct frame_host *from,
		     uint16_t from_port, const struct frame_host *to, uint16_t to_port,
		     uint32_t datagram_bytes)
{
	uint8_t *udp = out + ETHERNET_BYTES + IP_BYTES;

	memset(out, 0, FRAME_UDP_BYTES);
	write_ethernet(out, to->mac, from->mac, TYPE_IP);
	out[AT_IP] = 4 << 4 | IP_BYTES / 4;
	out[AT_IP_TOS] = ECN_CAPABLE;
	put16(out + AT_IP_LENGTH, IP_BYTES + UDP_BYTES + datagram_bytes);
	put16(out + AT_IP_FRAGMENT, DO_NOT_FRAGMENT);
	out[AT_IP_TTL] = TTL;
	out[AT_IP_PROTOCOL] = PROTOCOL_UDP;
	put32(out + AT_IP_FROM, from->ip);
	put32(out + AT_IP_TO, to->ip);
	put16(out + AT_IP_CHECKSUM, checksum(out + AT_IP, IP_BYTES));
	put16(udp, from_port);
	put16(udp + 2, to_port);
	put16(udp + 4, UDP_BYTES + datagram_bytes);
}

void frame_write_arp(uint8_t out[FRAME_LEAST_BYTES], enum frame_kind kind,
		     const struct frame_host *from, const struct frame_host *to)
{
	bool asks = kind == FRAME_ARP_REQUEST;

	memset(out, 0, FRAME_LEAST_BYTES);
	write_ethernet(out, to->mac, from->mac, TYPE_ARP);
	memcpy(out + AT_ARP, arp_head, sizeof(arp_head));
	put16(out + AT_ARP_OPERATION, asks ? ARP_ASKS : ARP_TELLS);
	memcpy(out + AT_ARP_FROM_MAC, from->mac, FRAME_MAC_BYTES);
	put32(out + AT_ARP_FROM_IP, from->ip);
	if (!asks)
		memcpy(out + AT_ARP_TO_MAC, to->mac, FRAME_MAC_BYTES);
	put32(out + AT_ARP_TO_IP, to->ip);
}

static void parse_arp(const uint8_t *bytes, size_t length, struct frame *out)
{
	uint32_t operation;

	if (length < FRAME_ARP_BYTES || memcmp(bytes + AT_ARP, arp_head, sizeof(arp_head)) != 0)
		return;
	operation = get16(bytes + AT_ARP_OPERATION);
	if (operation != ARP_ASKS && operation != ARP_TELLS)
		return;
	out->kind = operation == ARP_ASKS ? FRAME_ARP_REQUEST : FRAME_ARP_REPLY;
	memcpy(out->from.mac, bytes + AT_ARP_FROM_MAC, FRAME_MAC_BYTES);
	out->from.ip = get32(bytes + AT_ARP_FROM_IP);
	out->to_ip = get32(bytes + AT_ARP_TO_IP);
}

/* Whole, unfragmented, UDP over IPv4; options are stepped over. */
static void parse_ip(const uint8_t *bytes, size_t length, struct frame *out)
{
	uint32_t head, total, udp_bytes;
	const uint8_t *udp;

	if (length < ETHERNET_BYTES + IP_BYTES || bytes[AT_IP] >> 4 != 4)
		return;
	head = (bytes[AT_IP] & 15) * 4u;
	total = get16(bytes + AT_IP_LENGTH);
	if (head < IP_BYTES || total < head + UDP_BYTES || ETHERNET_BYTES + total > length ||
	    checksum(bytes + AT_IP, head) != 0 ||
	    (get16(bytes + AT_IP_FRAGMENT) & FRAGMENT_MASK) ||
	    bytes[AT_IP_PROTOCOL] != PROTOCOL_UDP)
		return;
	udp = bytes + ETHERNET_BYTES + head;
	udp_bytes = get16(udp + 4);
	if (udp_bytes < UDP_BYTES || udp_bytes > total - head)
		return;
	out->kind = FRAME_UDP;
	memcpy(out->from.mac, bytes + FRAME_MAC_BYTES, FRAME_MAC_BYTES);
	out->from.ip = get32(bytes + AT_IP_FROM);
	out->to_ip = get32(bytes + AT_IP_TO);
	out->from_port = (uint16_t)get16(udp);
	out->to_port = (uint16_t)get16(udp + 2);
	out->marked = (bytes[AT_IP_TOS] & ECN_MASK) == ECN_MARKED;
	out->datagram = udp + UDP_BYTES;
	out->datagram_bytes = udp_bytes - UDP_BYTES;
}

void frame_parse(const uint8_t *bytes, size_t length, struct frame *out)
{
	*out = (struct frame){ .kind = FRAME_OTHER };
	if (length < ETHERNET_BYTES)
		return;
	switch (get16(bytes + AT_TYPE)) {
	case TYPE_IP:
		parse_ip(bytes, length, out);
		break;
	case TYPE_ARP:
		parse_arp(bytes, length, out);
		break;
	default:
		break;
	}
}

bool frame_parse_ip(const char *text, uint32_t *ip, uint32_t *prefix)
{
	unsigned a, b, c, d, bits = 32;
	int end = 0, tail = 0;

	if (sscanf(text, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &end) != 4 || end == 0)
		return false;
	if (text[end] == '/') {
		if (sscanf(text + end + 1, "%2u%n", &bits, &tail) != 1)
			return false;
		end += 1 + tail;
	}
	if (text[end] != '\0' || a > 255 || b > 255 || c > 255 || d > 255 || bits > 32)
		return false;
	*ip = a << 24 | b << 16 | c << 8 | d;
	*prefix = bits;
	return true;
}
