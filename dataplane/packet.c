/* packet.c - the table of packet types; headers and ACKs to and from bytes. */
#include "dataplane/packet.h"

#include <string.h>

/* For the smallest path of IPv6, Ethernet with IPv6, Ethernet with IPv4, jumbo
 * frames.
 */
const uint16_t packet_segment_bytes[PACKET_SIZES] = { 1152, 1344, 1408, 8192 };

enum {
	COMMON_FLAGS = PACKET_PHASE | PACKET_ACK_NOW,
	SIZE_FLAGS = 7 << PACKET_SIZE_SHIFT,
	SEGMENTS_MAX = 1 << 18,         /* of the largest message in the smallest segments */
};

static const struct {
	const char *name;
	uint16_t least_bytes, most_bytes;
	uint8_t flags;                  /* that it may carry */
	bool wants_ack;
	bool message, segment, segments, back;  /* fields that mean something */
} packet_types[PACKET_TYPES] = {
	[PACKET_DATA]  = { "data", 1, PACKET_SEGMENT_BYTES_MAX,
			   COMMON_FLAGS | SIZE_FLAGS | PACKET_AGAIN | PACKET_LAST | PACKET_EAGER,
			   true, true, true, true, true },
	[PACKET_ACK]   = { "ack", sizeof(struct packet_ack), PACKET_ACK_BYTES_MAX, PACKET_PHASE,
			   false, false, false, false, false },
	[PACKET_RTS]   = { "rts", sizeof(struct packet_rts), sizeof(struct packet_rts),
			   COMMON_FLAGS | SIZE_FLAGS, true, true, false, true, true },
	[PACKET_GRANT] = { "grant", 0, 0, COMMON_FLAGS, true, true, true, true, false },
	[PACKET_PROBE] = { "probe", 0, PACKET_SEGMENT_BYTES_MAX, COMMON_FLAGS,
			   true, false, true, false, false },
	[PACKET_CLOSE] = { "close", 0, 0, PACKET_PHASE, false, true, false, false, false },
};

static const char *const fault_names[PACKET_FAULT_COUNT] = {
	[PACKET_FAULT_NONE] = "none",       [PACKET_FAULT_SHORT] = "short",
	[PACKET_FAULT_VERSION] = "version", [PACKET_FAULT_TYPE] = "type",
	[PACKET_FAULT_FLAGS] = "flags",     [PACKET_FAULT_LENGTH] = "length",
	[PACKET_FAULT_FIELDS] = "fields",   [PACKET_FAULT_CONNECTION] = "connection",
	[PACKET_FAULT_REPLAY] = "replay",   [PACKET_FAULT_TAG] = "tag",
	[PACKET_FAULT_ACK] = "ack",         [PACKET_FAULT_MESSAGE] = "message",
	[PACKET_FAULT_CREDIT] = "credit",
};

const char *packet_type_name(uint32_t type)
{
	return type < PACKET_TYPES ? packet_types[type].name : "unknown";
}

const char *packet_fault_name(enum packet_fault fault)
{
	return (unsigned)fault < PACKET_FAULT_COUNT ? fault_names[fault] : "unknown";
}

bool packet_wants_ack(enum packet_type type)
{
	return packet_types[type].wants_ack;
}

void packet_encode(const struct packet *p, uint8_t out[PACKET_HEADER_BYTES])
{
	struct packet_header h = {
		.version_type = (uint8_t)(PACKET_VERSION << 4 | p->type), .flags = p->flags,
		.payload_bytes = le16_of(p->payload_bytes),
		.connection = le32_of(p->connection), .number = le64_of(p->number),
		.message = le32_of(p->message), .segment = le32_of(p->segment),
		.segments = le32_of(p->segments), .back = le32_of(p->back),
	};

	memcpy(out, &h, sizeof(h));
}

/* A piece's place and length agree with its message's. */
static bool data_agrees(const struct packet *p)
{
	uint32_t size = packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT];
	bool last = p->segment + 1 == p->segments;

	if (size == 0 || p->segments > SEGMENTS_MAX || p->segment >= p->segments)
		return false;
	if (last != !!(p->flags & PACKET_LAST))
		return false;
	return last ? p->payload_bytes <= size : p->payload_bytes == size;
}

static bool fields_agree(const struct packet *p)
{
	if (!packet_types[p->type].message && p->message != 0)
		return false;
	if (!packet_types[p->type].segment && p->segment != 0)
		return false;
	if (!packet_types[p->type].segments && p->segments != 0)
		return false;
	if (!packet_types[p->type].back && p->back != 0)
		return false;
	switch (p->type) {
	case PACKET_DATA:
		return data_agrees(p);
	case PACKET_RTS:
		return packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT] != 0 &&
		       p->segments > 0 && p->segments <= SEGMENTS_MAX;
	case PACKET_GRANT:
		return p->segment > 0 && p->segment <= p->segments;
	case PACKET_PROBE:
		return p->segment < PACKET_SIZES &&
		       p->payload_bytes == packet_segment_bytes[p->segment];
	default:
		return true;
	}
}

enum packet_fault packet_decode(const uint8_t *datagram, size_t bytes, struct packet *out)
{
	struct packet_header h;

	if (bytes < PACKET_EXTRA_BYTES)
		return PACKET_FAULT_SHORT;
	memcpy(&h, datagram, sizeof(h));
	if (h.version_type >> 4 != PACKET_VERSION)
		return PACKET_FAULT_VERSION;
	if ((h.version_type & 15) >= PACKET_TYPES)
		return PACKET_FAULT_TYPE;
	*out = (struct packet){
		.type = h.version_type & 15, .flags = h.flags,
		.payload_bytes = le16_get(h.payload_bytes),
		.connection = le32_get(h.connection), .number = le64_get(h.number),
		.message = le32_get(h.message), .segment = le32_get(h.segment),
		.segments = le32_get(h.segments), .back = le32_get(h.back),
	};
	if (out->flags & ~packet_types[out->type].flags)
		return PACKET_FAULT_FLAGS;
	if (out->payload_bytes < packet_types[out->type].least_bytes ||
	    out->payload_bytes > packet_types[out->type].most_bytes ||
	    out->payload_bytes != bytes - PACKET_EXTRA_BYTES)
		return PACKET_FAULT_LENGTH;
	return fields_agree(out) ? PACKET_FAULT_NONE : PACKET_FAULT_FIELDS;
}

static size_t ack_bytes(uint32_t ack_words, uint32_t done_words)
{
	return sizeof(struct packet_ack) + 8 * (ack_words + done_words);
}

size_t packet_ack_encode(const struct packet_state *s, uint8_t out[PACKET_ACK_BYTES_MAX])
{
	struct packet_ack a = {
		.largest = le64_of(s->largest), .hold_us = le32_of(s->hold_us),
		.unseen_us = le32_of(s->unseen_us), .ce = le32_of(s->ce), .done = le32_of(s->done),
		.ack_words = (uint8_t)s->ack_words, .done_words = (uint8_t)s->done_words,
	};
	uint8_t *at = out + sizeof(a);

	assert(s->ack_words <= PACKET_ACK_WORDS_MAX && s->done_words <= PACKET_DONE_WORDS_MAX);
	memcpy(out, &a, sizeof(a));
	memcpy(at, s->ack, 8 * s->ack_words);
	memcpy(at + 8 * s->ack_words, s->messages, 8 * s->done_words);
	return ack_bytes(s->ack_words, s->done_words);
}

enum packet_fault packet_ack_decode(const uint8_t *payload, size_t bytes,
				    struct packet_state *out)
{
	static const uint8_t zeros[sizeof(((struct packet_ack *)0)->reserved)];
	struct packet_ack a;

	assert(bytes >= sizeof(a));
	memcpy(&a, payload, sizeof(a));
	if (a.ack_words == 0 || a.ack_words > PACKET_ACK_WORDS_MAX ||
	    a.done_words > PACKET_DONE_WORDS_MAX ||
	    memcmp(a.reserved, zeros, sizeof(zeros)) != 0 ||
	    bytes != ack_bytes(a.ack_words, a.done_words))
		return PACKET_FAULT_ACK;
	*out = (struct packet_state){
		.largest = le64_get(a.largest), .hold_us = le32_get(a.hold_us),
		.unseen_us = le32_get(a.unseen_us), .ce = le32_get(a.ce),
		.done = le32_get(a.done),
		.ack_words = a.ack_words, .done_words = a.done_words,
	};
	memcpy(out->ack, payload + sizeof(a), 8 * a.ack_words);
	memcpy(out->messages, payload + sizeof(a) + 8 * a.ack_words, 8 * a.done_words);
	if (!(out->ack[0] >> out->largest % 64 & 1) ||
	    (out->largest % 64 < 63 && out->ack[0] >> (out->largest % 64 + 1)))
		return PACKET_FAULT_ACK;
	return out->ack_words - 1 > out->largest / 64 ? PACKET_FAULT_ACK : PACKET_FAULT_NONE;
}

int packet_size_for(uint32_t mtu_bytes)
{
	for (int row = PACKET_SIZES - 1; row >= 0; row--)
		if (packet_segment_bytes[row] &&
		    (uint32_t)packet_segment_bytes[row] + PACKET_EXTRA_BYTES <= mtu_bytes)
			return row;
	return -1;
}
