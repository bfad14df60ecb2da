/* packet.h - the datagrams that flows exchange: one header, six types, their
 * payloads.  The single home of the format.
 *
 *   0      1      2        4           8          16        20        24         28     32
 *   | v:4  | flags| payload| connection| number   | message | segment | segments | back |
 *   | t:4  |      | bytes  |           |          |         |         |          |      |
 *   32                                32 + payload bytes       + 16
 *   | payload, sealed                 | tag                    |
 *
 * The header is sent in clear and authenticated (seal.h); everything behind it is
 * sealed.  A message is its 64-byte wire header and its payload, cut into
 * segments of equal size, so segment i holds payload from byte i * size - 64 on
 * and every segment but the first begins at a multiple of 64.
 *
 *   type    message  segment  segments  back  payload
 *   DATA    id       i        total     *     a piece of the message
 *   RTS     id       0        total     *     struct packet_rts
 *   GRANT   id       end      total     0     none: segments below `end` may be sent
 *   ACK     0        0        0         0     struct packet_ack, words
 *   PROBE   0        row      0         0     zeros: as many as a segment of that row
 *   CLOSE   reason   0        0         0     none
 *
 * `back` * : the message must not be delivered before message id - back; 0: there
 * is none such.  The sender's clock stands in no packet: a number is used once,
 * so it knows when it sent the one that an ACK answers.
 *
 * Adding a packet type: a number here, a row in packet_types[] (packet.c), a case
 * in flow_receive() (flow_receive.c), seeds in tests/fuzz/packet_fuzz.c.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      *_bytes, *_us; numbers count packets, ids messages, from 0.
 * Errors     A fault kind; PACKET_FAULT_NONE is 0.
 */
#ifndef PETALS_DATAPLANE_PACKET_H
#define PETALS_DATAPLANE_PACKET_H

#include "dataplane/base/types.h"

enum {
	PACKET_VERSION = 1,
	PACKET_HEADER_BYTES = 32,
	PACKET_TAG_BYTES = 16,
	PACKET_EXTRA_BYTES = PACKET_HEADER_BYTES + PACKET_TAG_BYTES,
	PACKET_SIZES = 8,               /* what three bits of flags can say */
	PACKET_SEGMENT_BYTES_MAX = 8192,
	PACKET_ACK_WORDS_MAX = 16,      /* of 64 packet numbers */
	PACKET_DONE_WORDS_MAX = 4,      /* of 64 messages */
};

enum packet_type {
	PACKET_DATA, PACKET_ACK, PACKET_RTS, PACKET_GRANT, PACKET_PROBE, PACKET_CLOSE,
	PACKET_TYPES
};

enum packet_flag {
	PACKET_PHASE   = 1 << 0,    /* parity of the key's phase */
	PACKET_AGAIN   = 1 << 1,    /* DATA: this segment was sent before */
	PACKET_ACK_NOW = 1 << 2,    /* nothing follows soon: do not wait for more */
	PACKET_LAST    = 1 << 3,    /* DATA: the message's last segment */
	PACKET_EAGER   = 1 << 4,    /* DATA: of a message sent without asking */
	PACKET_SIZE_SHIFT = 5,      /* DATA, RTS: row of packet_segment_bytes[] */
};

/* Segment sizes: multiples of 64; see flow.c for which network takes which. */
extern const uint16_t packet_segment_bytes[PACKET_SIZES];       /* 0: no such row */

struct packet_header {
	uint8_t version_type;       /* version in the high half */
	uint8_t flags;
	le16 payload_bytes;
	le32 connection;            /* chosen by the receiver */
	le64 number;
	le32 message, segment, segments, back;
};
static_assert(sizeof(struct packet_header) == PACKET_HEADER_BYTES, "the wire format is frozen");

/* The header as the rest of the program sees it. */
struct packet {
	enum packet_type type;
	uint8_t flags;
	uint16_t payload_bytes;
	uint32_t connection;
	uint64_t number;
	uint32_t message, segment, segments, back;
};

struct packet_rts {
	le32 payload_bytes;         /* of the message */
	le32 reserved;
};
static_assert(sizeof(struct packet_rts) == 8, "the wire format is frozen");

/* What arrived, and what is done.  Behind it `ack_words` words, newest first: bit
 * b of word i stands for packet 64 * (largest / 64 - i) + b; then `done_words`: bit
 * b of word i for message done + 1 + 64 * i + b, message `done` being the first
 * that was not handed on.
 */
struct packet_ack {
	le64 largest;
	le32 hold_us;               /* since the newest was seen that wants an ACK */
	le32 unseen_us;             /* that it may have waited until then, at most */
	le32 ce;                    /* packets so far that a switch marked */
	le32 done;                  /* every message below was handed to the program */
	uint8_t ack_words, done_words;
	uint8_t reserved[6];
};
static_assert(sizeof(struct packet_ack) == 32, "the wire format is frozen");

enum {
	PACKET_ACK_BYTES_MAX = sizeof(struct packet_ack) +
			       8 * (PACKET_ACK_WORDS_MAX + PACKET_DONE_WORDS_MAX),
};

struct packet_state {               /* an ACK's payload, unpacked */
	uint64_t largest;
	uint32_t hold_us, unseen_us, ce, done;
	uint32_t ack_words, done_words;
	uint64_t ack[PACKET_ACK_WORDS_MAX], messages[PACKET_DONE_WORDS_MAX];
};

enum packet_fault {
	PACKET_FAULT_NONE, PACKET_FAULT_SHORT, PACKET_FAULT_VERSION, PACKET_FAULT_TYPE,
	PACKET_FAULT_FLAGS, PACKET_FAULT_LENGTH, PACKET_FAULT_FIELDS,
	/* found by flows */
	PACKET_FAULT_CONNECTION,    /* none of that id: late, misdirected or forged */
	PACKET_FAULT_REPLAY,        /* its number was seen */
	PACKET_FAULT_TAG,           /* it does not verify */
	PACKET_FAULT_ACK,           /* acknowledges what was never sent, or makes no sense */
	PACKET_FAULT_MESSAGE,       /* contradicts what was said of the message before */
	PACKET_FAULT_CREDIT,        /* nowhere to land it: the sender had no credit */
	PACKET_FAULT_COUNT
};

const char *packet_type_name(uint32_t type);              /* never NULL */
const char *packet_fault_name(enum packet_fault fault);
bool packet_wants_ack(enum packet_type type);

void packet_encode(const struct packet *p, uint8_t out[PACKET_HEADER_BYTES]);
/* Checks a whole datagram's header against its type's row and its length. */
enum packet_fault packet_decode(const uint8_t *datagram, size_t bytes, struct packet *out);

size_t packet_ack_encode(const struct packet_state *s, uint8_t out[PACKET_ACK_BYTES_MAX]);
enum packet_fault packet_ack_decode(const uint8_t *payload, size_t bytes,
				    struct packet_state *out);

/* Row of the largest segment whose packet fits into a datagram of `mtu_bytes`;
 * negative: none does.
 */
int packet_size_for(uint32_t mtu_bytes);

#endif
