/* inbound.c - bytes to messages: finds headers in the stream, checks them
 * against the type table, the slots we granted and the credit in use, lands
 * payloads in the arena and hands whole messages on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/layer.h"

/* What strangers begin with, so that the log can say who knocked. */
static const struct {
	const char *begins;
	const char *looks_like;
} strangers[] = {
	{ "GET ", "an HTTP request" },     { "POST", "an HTTP request" },
	{ "HEAD", "an HTTP request" },     { "PUT ", "an HTTP request" },
	{ "OPTI", "an HTTP request" },     { "DELE", "an HTTP request" },
	{ "PRI ", "an HTTP/2 request" },   { "SSH-", "an SSH client" },
	{ "\x16\x03\x01", "a TLS client" }, { "\x16\x03\x03", "a TLS client" },
};

static void fail_stranger(struct peer *p)
{
	const char *looks_like = "not one of our programs";
	char reason[ERROR_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_LENGTH(strangers); i++)
		if (memcmp(p->head, strangers[i].begins, strlen(strangers[i].begins)) == 0)
			looks_like = strangers[i].looks_like;
	snprintf(reason, sizeof(reason),
		 "magic: the stream is not ours, its first bytes %02x %02x %02x %02x look like %s",
		 p->head[0], p->head[1], p->head[2], p->head[3], looks_like);
	peer_fault(p, WIRE_FAULT_MAGIC, reason);
}

/* Strangers rarely send as much as a header: look at the first four bytes. */
static bool begins_well(struct peer *p)
{
	le32 magic;

	memcpy(&magic, p->head, sizeof(magic));
	if (le32_get(magic) == WIRE_MAGIC)
		return true;
	if (p->state == PEER_GREETING) {
		fail_stranger(p);
		return false;
	}
	peer_fault(p, WIRE_FAULT_MAGIC, "magic: what follows the last message is not a header");
	return false;
}

static bool check_order(struct peer *p)
{
	char reason[ERROR_TEXT_BYTES];

	if ((p->state == PEER_GREETING) == (p->frame.type == WIRE_HELLO) ||
	    p->frame.type == WIRE_GOODBYE)
		return true;
	snprintf(reason, sizeof(reason), p->state == PEER_GREETING ?
		 "type: %s arrived before hello" : "type: a second %s",
		 wire_types[p->frame.type].name);
	peer_fault(p, WIRE_FAULT_ORDER, reason);
	return false;
}

static bool take_returned_credit(struct peer *p)
{
	const uint8_t told[CREDIT_SIZES] = { p->frame.credit_small, p->frame.credit_large };

	for (int i = 0; i < CREDIT_SIZES; i++) {
		if (told[i] == 0)
			continue;
		if (!credit_returned(&p->credit[i], told[i])) {
			peer_fault(p, WIRE_FAULT_CREDIT, i == CREDIT_SMALL ?
				   "credit_small: more slots came back than were used" :
				   "credit_large: more slots came back than were used");
			return false;
		}
		p->transport->writable_check = true;
	}
	return true;
}

/* A slot of the size the message belongs to, if its sender may use one. */
static bool find_landing(struct peer *p)
{
	static const enum arena_size sizes[] = {
		[CREDIT_SMALL] = ARENA_SMALL, [CREDIT_LARGE] = ARENA_LARGE,
		[CREDIT_NONE] = ARENA_TINY,
	};
	struct transport *t = p->transport;
	uint32_t bytes = p->frame.payload_bytes;
	enum credit_size size = wire_types[p->frame.type].free ? CREDIT_NONE :
				bytes <= WIRE_SMALL_BYTES ? CREDIT_SMALL : CREDIT_LARGE;
	char reason[ERROR_TEXT_BYTES];

	if (size == CREDIT_LARGE && bytes > t->options.large_bytes) {
		snprintf(reason, sizeof(reason),
			 "payload_bytes: %u where our slots take %u", bytes,
			 MAX(t->options.large_bytes, (uint32_t)WIRE_SMALL_BYTES));
		peer_fault(p, WIRE_FAULT_BOUNDS, reason);
		return false;
	}
	if (size == CREDIT_NONE ? p->free_held >= FREE_PER_PEER :
				  !credit_arrived(&p->credit[size])) {
		snprintf(reason, sizeof(reason), size == CREDIT_NONE ?
			 "type: a flood of %s messages; %u wait already" :
			 "payload_bytes: a %s message without credit; all %u slots are in use",
			 wire_types[p->frame.type].name, size == CREDIT_NONE ? FREE_PER_PEER :
			 p->credit[size].granted_by_us);
		peer_fault(p, size == CREDIT_NONE ? WIRE_FAULT_FLOOD : WIRE_FAULT_CREDIT, reason);
		return false;
	}
	p->arriving = envelope_get(p, sizes[size], ARENA_LANDING, bytes);
	assert(p->arriving && "every grant has its slot");
	p->arriving->state = ENVELOPE_ARRIVING;
	p->arriving->credit = size;
	p->into = p->arriving->message.payload;
	return true;
}

/* Decides where the payload goes; false: the peer is lost. */
static bool begin_message(struct peer *p)
{
	struct error e = { 0 };
	enum wire_fault fault = wire_inspect(p->head, &p->frame, &e);

	if (fault != WIRE_FAULT_NONE) {
		peer_fault(p, fault, e.text);
		return false;
	}
	if (!check_order(p) || !take_returned_credit(p))
		return false;
	p->landed_bytes = 0;
	p->into = p->control_in;
	return p->frame.type <= WIRE_GOODBYE || find_landing(p);
}

static void control_message(struct peer *p)
{
	struct wire_hello hello;
	char reason[WIRE_REASON_BYTES + 1] = "";
	le64 stamp;

	switch (p->frame.type) {
	case WIRE_HELLO:
		memcpy(&hello, p->control_in, sizeof(hello));
		peer_heard_hello(p, &hello);
		break;
	case WIRE_PING:
		memcpy(&stamp, p->control_in, sizeof(stamp));
		p->pong_stamp = le64_get(stamp);
		outbound_post(p, CONTROL_PONG);
		break;
	case WIRE_PONG:
		memcpy(&stamp, p->control_in, sizeof(stamp));
		peer_pong(p, le64_get(stamp));
		break;
	case WIRE_GOODBYE:
		memcpy(reason, p->control_in, p->frame.payload_bytes);
		for (char *c = reason; *c; c++)
			if ((unsigned char)*c < ' ')
				*c = '?';
		peer_fail(p, -EPIPE, reason[0] ? reason : "it said goodbye");
		break;
	default:
		break;                  /* CREDIT: its header said it all */
	}
}

static void deliver_message(struct peer *p)
{
	struct transport *t = p->transport;
	struct envelope *e = p->arriving;

	p->arriving = NULL;
	e->message.frame = p->frame;
	e->message.peer = p->id;
	e->message.arrived_ns = t->now_ns;
	e->state = ENVELOPE_LENT;
	if (e->credit == CREDIT_NONE)
		p->free_held++;
	peer_credit_due(p);
	t->fired++;
	t->events.received(t->ctx, &e->message);
}

static void end_message(struct peer *p)
{
	p->head_bytes = 0;
	if (!wire_payload_intact(p->head, p->into)) {
		peer_fault(p, WIRE_FAULT_PAYLOAD_CRC,
			   "payload_crc: does not match the payload");
		return;
	}
	transport_count(p->transport, RECEIVED_MESSAGES, p->frame.type, p->frame.payload_bytes);
	if (p->arriving)
		deliver_message(p);
	else
		control_message(p);
}

static uint32_t payload_left(const struct peer *p)
{
	return p->head_bytes < WIRE_HEADER_BYTES ? 0 : p->frame.payload_bytes - p->landed_bytes;
}

/* Fills the header; returns the bytes taken. */
static size_t take_header(struct peer *p, const uint8_t *data, size_t bytes)
{
	size_t take = MIN(bytes, WIRE_HEADER_BYTES - p->head_bytes);
	uint32_t before = p->head_bytes;

	memcpy(p->head + before, data, take);
	p->head_bytes += (uint32_t)take;
	if (before < sizeof(le32) && p->head_bytes >= sizeof(le32) && !begins_well(p))
		return take;
	if (p->head_bytes == WIRE_HEADER_BYTES && begin_message(p) && p->frame.payload_bytes == 0)
		end_message(p);
	return take;
}

static size_t take_payload(struct peer *p, const uint8_t *data, size_t bytes)
{
	size_t take = MIN(bytes, payload_left(p));

	memcpy(p->into + p->landed_bytes, data, take);
	p->landed_bytes += (uint32_t)take;
	if (payload_left(p) == 0)
		end_message(p);
	return take;
}

/* A message's events may end the peer, so ask before each step. */
void peer_bytes(struct peer *p, const uint8_t *data, size_t bytes)
{
	p->heard_att = attentive(p->transport);
	while (bytes > 0 && peer_listens(p)) {
		size_t taken = payload_left(p) ? take_payload(p, data, bytes) :
						 take_header(p, data, bytes);

		data += taken;
		bytes -= taken;
	}
}

size_t peer_room(struct peer *p, uint8_t **at)
{
	if (!peer_listens(p) || !p->arriving)
		return 0;
	*at = p->into + p->landed_bytes;
	return payload_left(p);
}

void peer_landed(struct peer *p, size_t bytes)
{
	p->heard_att = attentive(p->transport);
	if (!peer_listens(p))
		return;
	assert(bytes <= payload_left(p));
	p->landed_bytes += (uint32_t)bytes;
	if (payload_left(p) == 0)
		end_message(p);
}
