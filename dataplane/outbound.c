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
	[CONTROL_CREDIT] = WIRE_CREDIT, [CONTROL_GOODBYE] = WIRE_GOODBYE,
};

static void push(struct queue *q, struct envelope *e)
{
	e->queue_next = NULL;
	if (q->tail)
		q->tail->queue_next = e;
	else
		q->head = e;
	q->tail = e;
}

static struct envelope *pop(struct queue *q)
{
	struct envelope *e = q->head;

	if (e) {
		q->head = e->queue_next;
		if (!q->head)
			q->tail = NULL;
	}
	return e;
}

static void enqueue(struct peer *p, struct queue *q, struct envelope *e)
{
	e->state = ENVELOPE_QUEUED;
	push(q, e);
	p->transport->ops->send(p->transport->engine, p->link);
}

void outbound_queue(struct peer *p, struct envelope *e)
{
	enqueue(p, &p->bulk, e);
}

void outbound_post(struct peer *p, enum control_kind kind)
{
	struct control *c = &p->control[kind];

	if (c->envelope.state == ENVELOPE_IN_FLIGHT)
		c->again = true;
	if (c->envelope.state != ENVELOPE_IDLE)
		return;
	c->envelope.peer = p;
	c->envelope.control = kind;
	c->envelope.message.frame.type = control_types[kind];
	c->envelope.message.payload = c->payload;
	enqueue(p, kind == CONTROL_GOODBYE ? &p->bulk : &p->urgent, &c->envelope);
}

/* HELLO and GOODBYE were filled when they were posted. */
static void fill_control(struct peer *p, struct envelope *e)
{
	struct transport *t = p->transport;
	le64 stamp;

	if (e->control == CONTROL_PING) {
		p->ping_stamp = clock_ns(t->options.clock);
		p->ping_gap_ns = t->gap_ns;
		stamp = le64_of(p->ping_stamp);
	} else if (e->control == CONTROL_PONG) {
		stamp = le64_of(p->pong_stamp);
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

static void take_off(struct peer *p, struct envelope *e)
{
	struct frame *f = &e->message.frame;

	if (e->control != CONTROLS)
		fill_control(p, e);
	/* HELLO says what we grant; before it there is nothing to return. */
	f->credit_small = credit_tell(&p->credit[CREDIT_SMALL]);
	f->credit_large = credit_tell(&p->credit[CREDIT_LARGE]);
	wire_encode(f, e->message.payload, e->header);
	e->state = ENVELOPE_IN_FLIGHT;
	push(&p->flight, e);
	p->flight_count++;
	p->flight_bytes += envelope_bytes(e);
}

unsigned peer_gather(struct peer *p, struct iovec *out, unsigned most, size_t *bytes)
{
	unsigned count = 0;
	size_t skip = p->flight_offset;
	struct envelope *e;

	while (p->flight_count < MIN(FLIGHT_MESSAGES, most / 2) && p->flight_bytes < FLIGHT_BYTES) {
		e = pop(&p->urgent);
		if (!e)
			e = pop(&p->bulk);
		if (!e)
			break;
		take_off(p, e);
	}
	*bytes = p->flight_bytes;
	for (e = p->flight.head; e && count + 2 <= most; e = e->queue_next) {
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

/* One envelope left completely. */
static void landed_there(struct peer *p, struct envelope *e)
{
	struct control *c;

	transport_count(p->transport, SENT_MESSAGES, e->message.frame.type,
			e->message.frame.payload_bytes);
	e->state = ENVELOPE_IDLE;
	if (e->control == CONTROLS) {
		envelope_put(e);
		return;
	}
	c = &p->control[e->control];
	if (c->again) {
		c->again = false;
		outbound_post(p, e->control);
	}
}

void peer_sent(struct peer *p, size_t bytes)
{
	assert(bytes <= p->flight_bytes);
	p->flight_bytes -= bytes;
	p->flight_offset += (uint32_t)bytes;
	while (p->flight.head && p->flight_offset >= envelope_bytes(p->flight.head)) {
		struct envelope *e = pop(&p->flight);

		p->flight_offset -= envelope_bytes(e);
		p->flight_count--;
		landed_there(p, e);
	}
}

void outbound_drop(struct peer *p)
{
	struct queue *const queues[] = { &p->flight, &p->urgent, &p->bulk };
	struct envelope *e;

	for (size_t i = 0; i < ARRAY_LENGTH(queues); i++) {
		while ((e = pop(queues[i]))) {
			e->state = ENVELOPE_IDLE;
			if (e->control == CONTROLS)
				envelope_put(e);
		}
	}
	p->flight_count = 0;
	p->flight_bytes = p->flight_offset = 0;
}
