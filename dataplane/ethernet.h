/* ethernet.h - Ethernet frames around datagrams: IPv4 or IPv6 and UDP headers, and the
 * questions and answers about hardware addresses of both: ARP, neighbour discovery.
 *
 * Writes and reads bytes; who is where is neighbours.h's, and what is in a datagram
 * packet.h's.  UDP's checksum is left out over IPv4, which allows it, since the seal
 * checks every byte; IPv6 wants it.  Frames may not be fragmented, and say that they
 * understand congestion marks (ECN).
 *
 *   0         6        12    14                      34 or 54   42 or 62
 *   | to mac  | from   | type| IPv4 or IPv6 header   | UDP      | datagram ...
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      _bytes; ports in host order; an IPv4 address stands as ::ffff:a.b.c.d.
 * Errors     ether_parse(): ETHER_OTHER for what is not for us to understand.
 */
#ifndef PETALS_DATAPLANE_ETHERNET_H
#define PETALS_DATAPLANE_ETHERNET_H

#include "dataplane/base/types.h"

enum {
	ETHER_MAC_BYTES = 6,
	ETHER_IP_BYTES = 16,
	ETHER_ALONE_BYTES = 14,      /* what an MTU does not count */
	ETHER_HEAD_BYTES_MAX = ETHER_ALONE_BYTES + 40 + 8,
	ETHER_NEIGHBOUR_BYTES_MAX = 86, /* a question or an answer */
};

struct ether_host {
	uint8_t mac[ETHER_MAC_BYTES];
	uint8_t ip[ETHER_IP_BYTES];
};

enum ether_kind {
	ETHER_OTHER, ETHER_UDP,
	ETHER_ASKS,                     /* for the hardware address of `to_ip` */
	ETHER_TELLS,                    /* `from` is the answer */
};

struct ether_frame {
	enum ether_kind kind;
	struct ether_host from;
	uint8_t to_ip[ETHER_IP_BYTES];
	uint16_t from_port, to_port;    /* UDP */
	bool marked;                    /* UDP: congestion experienced */
	const uint8_t *datagram;        /* UDP */
	uint32_t datagram_bytes;
};

bool ether_is_v4(const uint8_t ip[ETHER_IP_BYTES]);
/* From the frame's first byte to the datagram's. */
uint32_t ether_head_bytes(const uint8_t ip[ETHER_IP_BYTES]);

/* The ether_head_bytes() in front of a datagram that stands there already.  Both hosts
 * are of one family.
 */
void ether_write_udp(uint8_t *datagram, uint32_t datagram_bytes, const struct ether_host *from,
		     uint16_t from_port, const struct ether_host *to, uint16_t to_port);
/* Who has this address? and: I have.  The bytes written. */
uint32_t ether_write_ask(uint8_t out[ETHER_NEIGHBOUR_BYTES_MAX], const struct ether_host *from,
			 const uint8_t ip[ETHER_IP_BYTES]);
uint32_t ether_write_tell(uint8_t out[ETHER_NEIGHBOUR_BYTES_MAX], const struct ether_host *from,
			  const struct ether_host *to);

void ether_parse(const uint8_t *bytes, size_t length, struct ether_frame *out);

/* "10.1.2.3", "10.1.2.3/24", "fd00::1/64"; false: none of these.  prefix counts all
 * 128 bits, those of ::ffff:0:0 included; without a slash it is 128.
 */
bool ether_parse_ip(const char *text, uint8_t ip[ETHER_IP_BYTES], uint32_t *prefix);
bool ether_same_net(const uint8_t a[ETHER_IP_BYTES], const uint8_t b[ETHER_IP_BYTES],
		    uint32_t prefix);

#endif
