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
	{ "\x16\x03\x01", "a TLS client (we run with --insecure)" },
	{ "\x16\x03\x03", "a TLS program (we run with --insecure)" },
	{ "\x15\x03\x03", "a TLS program (we run with --insecure)" },
};

static void fail_stranger(struct lane *l)
{
	const char *looks_like = "not one of our programs";
	char reason[ERROR_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_LENGTH(strangers); i++)
		if (memcmp(l->head, strangers[i].begins, strlen(strangers[i].begins)) == 0)
			looks_like = strangers[i].looks_like;
	snprintf(reason, sizeof(reason),
		 "magic: the stream is not ours, its first bytes %02x %02x %02x %02x look like %s",
		 l->head[0], l->head[1], l->head[2], l->head[3], looks_like);
	lane_fault(l, WIRE_FAULT_MAGIC, reason);
}

/* Strangers rarely send as much as a header: look at the first four bytes. */
static bool begins_well(struct lane *l)
{
	le32 magic;

	memcpy(&magic, l->head, sizeof(magic));
	if (le32_get(magic) == WIRE_MAGIC)
		return true;
	if (l->state == LANE_GREETING) {
		fail_stranger(l);
		return false;
	}
	lane_fault(l, WIRE_FAULT_MAGIC, "magic: what follows the last message is not a header");
	return false;
}

/* HELLO is the first on a lane and comes once; other messages only once the peer is
 * complete, which the one who dialed hears first.
 */
static bool check_order(struct lane *l)
{
	const struct peer *p = l->peer;
	char reason[ERROR_TEXT_BYTES];

	if (l->frame.type == WIRE_GOODBYE)
		return true;
	if (l->frame.type == WIRE_HELLO) {
		if (l->state == LANE_GREETING)
			return true;
		snprintf(reason, sizeof(reason), "type: a second hello");
	} else if (l->state == LANE_GREETING) {
		snprintf(reason, sizeof(reason), "type: %s arrived before hello",
			 wire_types[l->frame.type].name);
	} else if (p->state == PEER_JOINING && (p->dialed || p->lanes_open < p->lane_count)) {
		snprintf(reason, sizeof(reason), "type: %s arrived before every lane said hello",
			 wire_types[l->frame.type].name);
	} else {
		return true;
	}
	lane_fault(l, WIRE_FAULT_ORDER, reason);
	return false;
}

bool inbound_credit(struct peer *p, struct lane *l, const struct frame *f)
{
	const uint8_t told[CREDIT_SIZES] = { f->credit_small, f->credit_large };

	for (int i = 0; i < CREDIT_SIZES; i++) {
		if (told[i] == 0)
			continue;
		if (!p || !credit_returned(&p->credit[i], told[i])) {
			lane_fault(l, WIRE_FAULT_CREDIT, i == CREDIT_SMALL ?
				   "credit_small: more slots came back than were used" :
				   "credit_large: more slots came back than were used");
			return false;
		}
		l->transport->writable_check = true;
	}
	return true;
}

static enum credit_size credit_of(enum wire_type type, uint32_t bytes)
{
	if (wire_types[type].free)
		return CREDIT_NONE;
	return bytes <= WIRE_SMALL_BYTES ? CREDIT_SMALL : CREDIT_LARGE;
}

/* A slot, if the sender may use one of that size; NULL with a sentence. */
static struct envelope *take_slot(struct peer *p, enum credit_size size, uint32_t bytes,
				  enum wire_fault *fault, struct error *why)
{
	struct transport *t = p->transport;
	struct envelope *e;

	if (size == CREDIT_LARGE && bytes > t->options.large_bytes) {
		*fault = WIRE_FAULT_BOUNDS;
		error_set(why, -EPROTO, "payload_bytes: %u where our slots take %u", bytes,
			  MAX(t->options.large_bytes, (uint32_t)WIRE_SMALL_BYTES));
		return NULL;
	}
	if (size == CREDIT_NONE && p->free_held >= FREE_PER_PEER) {
		*fault = WIRE_FAULT_FLOOD;
		error_set(why, -EPROTO, "type: a flood of messages without credit; %u wait already",
			  FREE_PER_PEER);
		return NULL;
	}
	if (size != CREDIT_NONE && !credit_arrived(&p->credit[size])) {
		*fault = WIRE_FAULT_CREDIT;
		error_set(why, -EPROTO, "payload_bytes: a message without credit; all %u slots are "
			  "in use", p->credit[size].granted_by_us);
		return NULL;
	}
	e = envelope_get(p, slot_of_credit(size), ARENA_LANDING, bytes);
	assert(e && "every grant has its slot");
	e->state = ENVELOPE_ARRIVING;
	e->credit = size;
	return e;
}

static bool find_landing(struct lane *l)
{
	uint32_t bytes = l->frame.payload_bytes;
	enum wire_fault fault;
	struct error why;

	l->arriving = take_slot(l->peer, credit_of(l->frame.type, bytes), bytes, &fault, &why);
	if (!l->arriving) {
		lane_fault(l, fault, why.text);
		return false;
	}
	l->into = l->arriving->message.payload;
	return true;
}

struct envelope *inbound_land(struct peer *p, uint32_t bytes, const uint8_t *header)
{
	enum credit_size size = bytes <= WIRE_SMALL_BYTES ? CREDIT_SMALL : CREDIT_LARGE;
	enum wire_fault fault;
	struct frame f;
	struct error why;

	if (header && wire_inspect(header, &f, NULL) == WIRE_FAULT_NONE)
		size = credit_of(f.type, bytes);
	if (size == CREDIT_NONE && bytes > FREE_BYTES)
		return NULL;
	return take_slot(p, size, bytes, &fault, &why);
}

void inbound_unland(struct envelope *e)
{
	if (e->credit != CREDIT_NONE && e->peer->state == PEER_UP)
		credit_unarrived(&e->peer->credit[e->credit]);
	envelope_put(e);
}

/* Decides where the payload goes; false: the peer is lost. */
static bool begin_message(struct lane *l)
{
	struct error e = { 0 };
	enum wire_fault fault = wire_inspect(l->head, &l->frame, &e);

	if (fault != WIRE_FAULT_NONE) {
		lane_fault(l, fault, e.text);
		return false;
	}
	if (!check_order(l) || !inbound_credit(l->peer, l, &l->frame))
		return false;
	if (l->frame.type > WIRE_HELLO && l->frame.type != WIRE_GOODBYE)
		peer_spoke(l->peer);
	l->landed_bytes = l->landed_crc = 0;
	l->into = l->control_in;
	return l->frame.type <= WIRE_GOODBYE || find_landing(l);
}

static void control_message(struct lane *l)
{
	struct wire_hello hello;
	struct wire_path path;
	char reason[WIRE_REASON_BYTES + 1] = "";
	le64 stamp;

	switch (l->frame.type) {
	case WIRE_HELLO:
		memcpy(&hello, l->control_in, sizeof(hello));
		lane_heard_hello(l, &hello);
		break;
	case WIRE_PING:
		memcpy(&stamp, l->control_in, sizeof(stamp));
		l->peer->pong_stamp = le64_get(stamp);
		outbound_post(l->peer->lanes[0], CONTROL_PONG);
		break;
	case WIRE_PONG:
		memcpy(&stamp, l->control_in, sizeof(stamp));
		peer_pong(l->peer, le64_get(stamp));
		break;
	case WIRE_PATH:
		memcpy(&path, l->control_in, sizeof(path));
		path_heard(l, &path);
		break;
	case WIRE_GOODBYE:
		memcpy(reason, l->control_in, l->frame.payload_bytes);
		for (char *c = reason; *c; c++)
			if ((unsigned char)*c < ' ')
				*c = '?';
		if (l->peer)
			peer_goodbye(l, reason[0] ? reason : "it said goodbye");
		else
			lane_end(l);
		break;
	default:
		break;                  /* CREDIT: its header said it all */
	}
}

void inbound_deliver(struct peer *p, struct envelope *e)
{
	struct transport *t = p->transport;

	if (p->state != PEER_UP || e->message.frame.type == WIRE_CREDIT) {
		inbound_unland(e);
		return;
	}
	e->message.peer = p->id;
	e->message.arrived_ns = t->now_ns;
	e->state = ENVELOPE_LENT;
	if (e->credit == CREDIT_NONE)
		p->free_held++;
	peer_credit_due(p);
	t->fired++;
	t->events.received(t->ctx, &e->message);
}

static void deliver_message(struct lane *l)
{
	struct envelope *e = l->arriving;

	l->arriving = NULL;
	e->message.frame = l->frame;
	inbound_deliver(l->peer, e);
}

static void end_message(struct lane *l)
{
	l->head_bytes = 0;
	if (lane_sums(l) && !wire_payload_intact(l->head, l->landed_crc)) {
		lane_fault(l, WIRE_FAULT_PAYLOAD_CRC,
			   "payload_crc: does not match the payload");
		return;
	}
	transport_count(l->transport, RECEIVED_MESSAGES, l->frame.type, l->frame.payload_bytes);
	if (l->arriving)
		deliver_message(l);
	else
		control_message(l);
}

uint32_t inbound_payload_left(const struct lane *l)
{
	return l->head_bytes < WIRE_HEADER_BYTES ? 0 : l->frame.payload_bytes - l->landed_bytes;
}

/* Fills the header; returns the bytes taken. */
static size_t take_header(struct lane *l, const uint8_t *data, size_t bytes)
{
	size_t take = MIN(bytes, WIRE_HEADER_BYTES - l->head_bytes);
	uint32_t before = l->head_bytes;

	memcpy(l->head + before, data, take);
	l->head_bytes += (uint32_t)take;
	if (before < sizeof(le32) && l->head_bytes >= sizeof(le32) && !begins_well(l))
		return take;
	if (l->head_bytes == WIRE_HEADER_BYTES && begin_message(l) && l->frame.payload_bytes == 0)
		end_message(l);
	return take;
}

uint8_t *inbound_payload_at(struct lane *l)
{
	return l->into + l->landed_bytes;
}

void inbound_landed(struct lane *l, size_t bytes)
{
	assert(bytes <= inbound_payload_left(l));
	if (lane_sums(l))
		l->landed_crc = crc32c(l->landed_crc, inbound_payload_at(l), bytes);
	l->landed_bytes += (uint32_t)bytes;
	if (inbound_payload_left(l) == 0)
		end_message(l);
}

static size_t take_payload(struct lane *l, const uint8_t *data, size_t bytes)
{
	size_t take = MIN(bytes, inbound_payload_left(l));

	memcpy(inbound_payload_at(l), data, take);
	inbound_landed(l, take);
	return take;
}

/* A message's events may end the peer, so ask before each step. */
void inbound_bytes(struct lane *l, const uint8_t *data, size_t bytes)
{
	while (bytes > 0 && lane_listens(l)) {
		size_t taken = inbound_payload_left(l) ? take_payload(l, data, bytes) :
							 take_header(l, data, bytes);

		data += taken;
		bytes -= taken;
	}
}

bool inbound_in_header(const struct lane *l)
{
	return l->head_bytes > 0 && l->head_bytes < WIRE_HEADER_BYTES;
}

static void heard(struct lane *l)
{
	if (l->peer)
		l->peer->heard_att = attentive(l->transport);
}

void lane_bytes(struct lane *l, const uint8_t *data, size_t bytes)
{
	heard(l);
	if (l->sealing)
		sealed_bytes(l, data, bytes);
	else
		inbound_bytes(l, data, bytes);
}

size_t lane_room(struct lane *l, uint8_t **at)
{
	if (l->sealing || !lane_listens(l) || !l->arriving)
		return 0;
	*at = inbound_payload_at(l);
	return inbound_payload_left(l);
}

void lane_landed(struct lane *l, size_t bytes)
{
	heard(l);
	if (lane_listens(l))
		inbound_landed(l, bytes);
}
