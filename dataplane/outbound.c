/* outbound.c - messages to bytes: queues them, writes headers at the last
 * moment (so that credit owed and ping stamps are fresh), hands several to the
 * engine at once and takes back what it sent.
 *
 * Control messages overtake queued ones but never one under way; GOODBYE goes
 * last.
 */
#include <string.h>

#include "dataplane/layer.h"

static const enum wire_type control_types[CONTROLS] = {
	[CONTROL_HELLO] = WIRE_HELLO, [CONTROL_PING] = WIRE_PING, [CONTROL_PONG] = WIRE_PONG,
	[CONTROL_CREDIT] = WIRE_CREDIT, [CONTROL_PATH] = WIRE_PATH,
	[CONTROL_SWITCH] = WIRE_PATH, [CONTROL_STOP] = WIRE_PATH, [CONTROL_GOODBYE] = WIRE_GOODBYE,
};

static void enqueue(struct lane *l, struct queue *q, struct envelope *e)
{
	e->state = ENVELOPE_QUEUED;
	queue_push(q, e);
	engine_send(l);
}

/* A session's messages share a lane.  Sessions are random numbers or, for calls, count
 * up: either way the low bits spread.
 */
void outbound_queue(struct peer *p, struct envelope *e)
{
	struct lane *l = p->lanes[e->message.frame.session % p->lane_count];

	if (path_takes(p, e))
		return;
	if (l)
		enqueue(l, &l->bulk, e);
	else
		envelope_put(e);        /* it said goodbye, the other lanes are about to */
}

void outbound_post(struct lane *l, enum control_kind kind)
{
	struct control *c;

	if (!l)                         /* as in outbound_queue() */
		return;
	c = &l->control[kind];
	if (c->envelope.state == ENVELOPE_IN_FLIGHT)
		c->again = true;
	if (c->envelope.state != ENVELOPE_IDLE)
		return;
	c->envelope.peer = l->peer;
	c->envelope.control = kind;
	c->envelope.message.frame.type = control_types[kind];
	c->envelope.message.payload = c->payload;
	/* The last ones of something must not overtake it. */
	enqueue(l, kind == CONTROL_GOODBYE || kind == CONTROL_SWITCH ? &l->bulk : &l->urgent,
		&c->envelope);
}

/* HELLO and GOODBYE were filled when they were posted. */
static void fill_control(struct lane *l, struct envelope *e)
{
	struct transport *t = l->transport;
	le64 stamp;

	if (e->control == CONTROL_PING) {
		l->peer->ping_stamp = clock_ns(t->options.clock);
		l->peer->ping_gap_ns = t->gap_ns;
		stamp = le64_of(l->peer->ping_stamp);
	} else if (e->control == CONTROL_PONG) {
		stamp = le64_of(l->peer->pong_stamp);
	} else {
		return;
	}
	memcpy(e->message.payload, &stamp, sizeof(stamp));
	e->message.frame.payload_bytes = sizeof(stamp);
}

static uint32_t envelope_bytes(const struct envelope *e)
{
	return WIRE_HEADER_BYTES + e->message.frame.payload_bytes;
}

void outbound_write_header(struct peer *p, struct envelope *e, const void *payload)
{
	struct frame *f = &e->message.frame;

	/* HELLO says what we grant; before it there is nothing to return. */
	f->credit_small = p ? credit_tell(&p->credit[CREDIT_SMALL]) : 0;
	f->credit_large = p ? credit_tell(&p->credit[CREDIT_LARGE]) : 0;
	wire_encode(f, payload, e->header);
	e->state = ENVELOPE_IN_FLIGHT;
}

struct envelope *outbound_next(struct lane *l)
{
	struct envelope *e = queue_pop(&l->urgent);

	if (!e)
		e = queue_pop(&l->bulk);
	if (!e)
		return NULL;
	if (e->control != CONTROLS)
		fill_control(l, e);
	outbound_write_header(l->peer, e, lane_sums(l) ? e->message.payload : NULL);
	return e;
}

static void take_off(struct lane *l, struct envelope *e)
{
	queue_push(&l->flight, e);
	l->flight_count++;
	l->flight_bytes += envelope_bytes(e);
}

static unsigned gather_flight(struct lane *l, struct iovec *out, unsigned most, size_t *bytes)
{
	unsigned count = 0;
	size_t skip = l->flight_offset;
	struct envelope *e;

	while (l->flight_count < MIN(FLIGHT_MESSAGES, most / 2) && l->flight_bytes < FLIGHT_BYTES &&
	       (e = outbound_next(l)))
		take_off(l, e);
	*bytes = l->flight_bytes;
	for (e = l->flight.head; e && count + 2 <= most; e = e->queue_next) {
		if (skip < WIRE_HEADER_BYTES) {
			out[count++] = (struct iovec){ e->header + skip, WIRE_HEADER_BYTES - skip };
			skip = 0;
		} else {
			skip -= WIRE_HEADER_BYTES;
		}
		if (e->message.frame.payload_bytes > skip)
			out[count++] = (struct iovec){ e->message.payload + skip,
						       e->message.frame.payload_bytes - skip };
		skip = 0;
	}
	return count;
}

unsigned lane_gather(struct lane *l, struct iovec *out, unsigned most, size_t *bytes)
{
	return l->sealing ? sealed_gather(l, out, bytes) : gather_flight(l, out, most, bytes);
}

/* It left completely, or was copied into records that will. */
void outbound_done(struct lane *l, struct envelope *e)
{
	struct control *c;

	transport_count(l->transport, SENT_MESSAGES, e->message.frame.type,
			e->message.frame.payload_bytes);
	e->state = ENVELOPE_IDLE;
	if (e->control == CONTROLS) {
		envelope_put(e);
		return;
	}
	c = &l->control[e->control];
	if (c->again) {
		c->again = false;
		outbound_post(l, e->control);
	}
}

void lane_sent(struct lane *l, size_t bytes)
{
	if (l->sealing) {
		sealed_sent(l, bytes);
		return;
	}
	assert(bytes <= l->flight_bytes);
	l->flight_bytes -= bytes;
	l->flight_offset += (uint32_t)bytes;
	while (l->flight.head && l->flight_offset >= envelope_bytes(l->flight.head)) {
		struct envelope *e = queue_pop(&l->flight);

		l->flight_offset -= envelope_bytes(e);
		l->flight_count--;
		outbound_done(l, e);
	}
}

void outbound_drop(struct lane *l)
{
	struct queue *const queues[] = { &l->flight, &l->urgent, &l->bulk };
	struct envelope *e;

	if (l->sealing && l->sealing->payload) {
		queue_push(&l->flight, l->sealing->payload);
		l->sealing->payload = NULL;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(queues); i++) {
		while ((e = queue_pop(queues[i]))) {
			e->state = ENVELOPE_IDLE;
			if (e->control == CONTROLS)
				envelope_put(e);
		}
	}
	l->flight_count = 0;
	l->flight_bytes = l->flight_offset = 0;
}
