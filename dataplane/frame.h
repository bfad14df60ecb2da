/* frame.h - Ethernet frames around datagrams: IPv4 and UDP headers, and ARP.
 *
 * Writes and reads bytes; who is where is neighbours.h's, and what is in a datagram
 * packet.h's.  An IPv4 header carries its checksum; UDP's is left out, as IPv4
 * allows, since the seal checks every byte.  Frames may not be fragmented, and say
 * that they understand congestion marks (ECN).
 *
 *   0         6        12    14              34       42
 *   | to mac  | from   | type| IPv4 header   | UDP    | datagram ...
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      _bytes; addresses and ports in host order.
 * Errors     frame_parse(): FRAME_OTHER for what is not for us to understand.
 */
#ifndef PETALS_DATAPLANE_FRAME_H
#define PETALS_DATAPLANE_FRAME_H

#include "dataplane/base/types.h"

enum {
	FRAME_MAC_BYTES = 6,
	FRAME_IP_BYTES = 28,            /* IPv4 and UDP headers: what an MTU counts */
	FRAME_UDP_BYTES = 14 + FRAME_IP_BYTES,
	FRAME_ARP_BYTES = 42,           /* without Ethernet's padding */
	FRAME_LEAST_BYTES = 60,         /* of any frame, without its checksum */
};

struct frame_host {
	uint8_t mac[FRAME_MAC_BYTES];
	uint32_t ip;
};

enum frame_kind { FRAME_OTHER, FRAME_UDP, FRAME_ARP_REQUEST, FRAME_ARP_REPLY };

struct frame {
	enum frame_kind kind;
	struct frame_host from;
	uint32_t to_ip;                 /* ARP: whose hardware address is asked or told */
	uint16_t from_port, to_port;    /* UDP */
	bool marked;                    /* UDP: congestion experienced */
	const uint8_t *datagram;        /* UDP */
	uint32_t datagram_bytes;
};

extern const uint8_t frame_broadcast[FRAME_MAC_BYTES];

/* The headers of a datagram of so many bytes, which stands or will stand behind. */
void frame_write_udp(uint8_t out[FRAME_UDP_BYTES], const struct frame_host *from,
		     uint16_t from_port, const struct frame_host *to, uint16_t to_port,
		     uint32_t datagram_bytes);
/* An ARP question (to->mac is broadcast) or answer, padded. */
void frame_write_arp(uint8_t out[FRAME_LEAST_BYTES], enum frame_kind kind,
		     const struct frame_host *from, const struct frame_host *to);

void frame_parse(const uint8_t *bytes, size_t length, struct frame *out);

/* "10.1.2.3" or "10.1.2.3/24"; false: neither.  prefix is 32 without a slash. */
bool frame_parse_ip(const char *text, uint32_t *ip, uint32_t *prefix);

#endif
