/* flow_send.c - messages to segments, segments to sealed packets.
 *
 * Every packet goes through begin() and finish(): room in the port, a number and a
 * phase from the seal, the header that says so.  What is sealed is written straight
 * into the port's buffer.
 */
#include "dataplane/flow_state.h"

#include <errno.h>
#include <string.h>

enum {
	OLDEST_PICK = 20,               /* each such pick goes to the oldest message */
	ROOM_WAIT_NS = 50000,           /* when the port has no room */
};

static uint32_t total_bytes(const struct outgoing *o)
{
	return WIRE_HEADER_BYTES + o->what.payload_bytes;
}

static bool is_eager(const struct outgoing *o)
{
	return o->what.payload_bytes <= WIRE_SMALL_BYTES;
}

static bool begin(struct flow *f, struct packet *p, struct port_datagram *d,
		  struct seal_ticket *ticket)
{
	struct flows *fs = f->set;
	uint32_t bytes = p->payload_bytes + (uint32_t)PACKET_EXTRA_BYTES;
	uint64_t phase = seal_phase(f->out);

	if (fs->burst_count == PORT_BURST)
		flows_flush(fs);
	if (!fs->port->ops->lend(fs->port, f->path, bytes, d)) {
		fs->due_ns = fs->now_ns + ROOM_WAIT_NS;
		return false;
	}
	if (seal_reserve(f->out, p->payload_bytes, fs->now_ns, ticket) < 0) {
		fs->port->ops->release(fs->port, d, 1);
		flow_break(f, FLOW_NO_MEMORY);
		return false;
	}
	if (seal_phase(f->out) != phase)
		counters_add(fs->counters, REKEYS, 0, 1);
	p->connection = f->options.connection_out;
	p->number = ticket->number;
	p->flags |= ticket->phase ? PACKET_PHASE : 0;
	packet_encode(p, d->bytes);
	return true;
}

static void finish(struct flow *f, const struct packet *p, const struct port_datagram *d)
{
	struct flows *fs = f->set;

	fs->burst[fs->burst_count++] = *d;
	fs->tally.sent[p->type]++;
	fs->tally.sent_bytes += d->length;
	fs->work++;
	flow_record(f, p);
}

bool flow_packet(struct flow *f, struct packet *p, const void *payload)
{
	struct seal_ticket ticket;
	struct port_datagram d;

	if (!begin(f, p, &d, &ticket))
		return false;
	seal_encrypt(f->out, &ticket, d.bytes, payload, p->payload_bytes,
		     d.bytes + PACKET_HEADER_BYTES,
		     d.bytes + PACKET_HEADER_BYTES + p->payload_bytes);
	finish(f, p, &d);
	return true;
}

/* Segment 0 begins with the wire header, which stands elsewhere. */
static void seal_segment(struct flow *f, const struct outgoing *o, const struct packet *p,
			 const struct seal_ticket *ticket, uint8_t *bytes)
{
	uint8_t *out = bytes + PACKET_HEADER_BYTES, *tag = out + p->payload_bytes;
	const uint8_t *payload = o->what.payload;

	if (p->segment > 0) {
		payload += (size_t)p->segment * f->size - WIRE_HEADER_BYTES;
		seal_encrypt(f->out, ticket, bytes, payload, p->payload_bytes, out, tag);
		return;
	}
	seal_begin(f->out, ticket, bytes);
	seal_update(f->out, o->header, WIRE_HEADER_BYTES, out);
	seal_update(f->out, payload, p->payload_bytes - (uint32_t)WIRE_HEADER_BYTES,
		    out + WIRE_HEADER_BYTES);
	seal_end(f->out, tag);
}

static bool send_segment(struct flow *f, struct outgoing *o, uint32_t segment, bool again,
			 bool last_of_turn)
{
	uint32_t at = segment * f->size;
	bool last = segment + 1 == o->segments;
	struct packet p = {
		.type = PACKET_DATA, .message = o->id, .segment = segment,
		.segments = o->segments, .back = o->back,
		.payload_bytes = (uint16_t)(last ? total_bytes(o) - at : f->size),
		.flags = (uint8_t)((again ? PACKET_AGAIN : 0) | (last ? PACKET_LAST : 0) |
				   (is_eager(o) ? PACKET_EAGER : 0) |
				   (last_of_turn ? PACKET_ACK_NOW : 0) |
				   f->row << PACKET_SIZE_SHIFT),
	};
	struct seal_ticket ticket;
	struct port_datagram d;

	if (!begin(f, &p, &d, &ticket))
		return false;
	seal_segment(f, o, &p, &ticket, d.bytes);
	finish(f, &p, &d);
	flow_window_sent(&f->window, f->set->now_ns);
	return true;
}

static uint32_t sendable(const struct outgoing *o)
{
	if (o->state != OUT_SENDING)
		return 0;
	return o->lost + (o->granted > o->next ? o->granted - o->next : 0);
}

static uint32_t left(const struct outgoing *o)
{
	return o->lost + o->segments - o->next;
}

struct outgoing *outgoing_find(struct flow *f, uint32_t id)
{
	struct outgoing *o = &f->outgoing[id % FLOW_MESSAGES];

	return o->state != OUT_FREE && o->id == id ? o : NULL;
}

/* It could not be handed on yet if it arrived: one of its key is still to be sent. */
static bool is_behind(struct flow *f, const struct outgoing *o)
{
	const struct outgoing *before = o->back ? outgoing_find(f, o->id - o->back) : NULL;

	return before && before->state != OUT_DONE && before->next < before->segments;
}

static bool goes_before(struct flow *f, const struct outgoing *a, const struct outgoing *b)
{
	bool behind_a = is_behind(f, a), behind_b = is_behind(f, b);

	if (behind_a != behind_b)
		return behind_b;
	if (a->what.class != b->what.class)
		return a->what.class < b->what.class;
	return left(a) < left(b);
}

/* Class before class, the nearest to its end within it; some turns are the oldest's. */
static struct outgoing *pick(struct flow *f)
{
	bool oldest = ++f->picks % OLDEST_PICK == 0;
	struct outgoing *best = NULL, *o;

	for (uint32_t id = f->out_first; id != f->out_next; id++) {
		o = &f->outgoing[id % FLOW_MESSAGES];
		if (sendable(o) == 0)
			continue;
		if (!best || goes_before(f, o, best))
			best = o;
		if (oldest)
			break;
	}
	return best;
}

static uint32_t lowest_bit(const uint64_t *words)
{
	uint32_t word = 0;

	while (words[word] == 0)
		word++;
	return 64 * word + (uint32_t)__builtin_ctzll(words[word]);
}

/* What was lost comes first: it completes most. */
static bool send_next(struct flow *f, struct outgoing *o)
{
	bool again = o->lost > 0;
	uint32_t segment = again ? lowest_bit(o->again) : o->next;
	bool last_of_turn = f->to_send == 1 || f->tail_due ||
			    flow_window_when(&f->window, f->in_flight + 1) > f->set->now_ns;

	if (!send_segment(f, o, segment, again, last_of_turn))
		return false;
	if (again) {
		bit_clear(o->again, segment);
		o->lost--;
	} else {
		o->next++;
	}
	f->to_send--;
	f->tail_due = false;
	return true;
}

void outgoing_ask(struct flow *f, struct outgoing *o)
{
	if (o->state != OUT_ASKING || o->ask)
		return;
	o->ask = true;
	f->asks_due++;
}

static void unask(struct flow *f, struct outgoing *o)
{
	f->asks_due -= o->ask;
	o->ask = false;
}

static bool send_rts(struct flow *f, struct outgoing *o)
{
	struct packet_rts rts = { .payload_bytes = le32_of(o->what.payload_bytes) };
	struct packet p = {
		.type = PACKET_RTS, .payload_bytes = sizeof(rts), .message = o->id,
		.segments = o->segments, .back = o->back,
		.flags = (uint8_t)(f->row << PACKET_SIZE_SHIFT),
	};

	if (!flow_packet(f, &p, &rts))
		return false;
	unask(f, o);
	return true;
}

static bool send_asks(struct flow *f)
{
	for (uint32_t id = f->out_first; id != f->out_next && f->asks_due > 0; id++) {
		struct outgoing *o = &f->outgoing[id % FLOW_MESSAGES];

		if (o->ask && !send_rts(f, o))
			return false;
	}
	return true;
}

static bool send_grants(struct flow *f)
{
	for (struct incoming *m = f->set->granting; m && f->grants_due > 0; m = m->next) {
		struct packet p = { .type = PACKET_GRANT, .message = m->id, .segment = m->granted,
				    .segments = m->segments };

		if (m->flow != f || !m->grant_due)
			continue;
		if (!flow_packet(f, &p, ""))
			return false;
		m->grant_due = false;
		f->grants_due--;
	}
	return true;
}

static bool window_is_open(const struct flow *f)
{
	return f->tail_due || flow_window_when(&f->window, f->in_flight) <= f->set->now_ns;
}

void flow_transmit(struct flow *f)
{
	struct outgoing *o;

	if (f->state != STATE_OPEN || !send_asks(f) || !send_grants(f))
		return;
	for (uint32_t sent = 0; sent < QUANTUM && f->to_send > 0 && window_is_open(f); ) {
		o = pick(f);
		assert(o);
		/* A few of the same, then look again: something may be more urgent. */
		for (int i = 0; i < 8 && sendable(o) > 0 && window_is_open(f); i++, sent++)
			if (!send_next(f, o))
				return;
	}
}

/* 0: there is more to do at once. */
uint64_t flow_transmit_due(const struct flow *f)
{
	if (f->state != STATE_OPEN || f->asks_due + f->grants_due + f->to_send == 0)
		return UINT64_MAX;
	if (f->asks_due + f->grants_due > 0 || f->tail_due)
		return 0;
	return flow_window_when(&f->window, f->in_flight);
}

bool flow_may_send(const struct flow *f, uint32_t payload_bytes)
{
	return f->state == STATE_OPEN && f->out_next - f->out_first < FLOW_MESSAGES &&
	       (payload_bytes <= WIRE_SMALL_BYTES || f->out_spares > 0);
}

/* Distance to the last message of the same key, if that may not be done yet. */
static uint32_t distance(struct flow *f, uint64_t key, uint32_t id)
{
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 32) % FLOW_MESSAGES;
	uint32_t back = 0;

	if (f->keys[at].used && f->keys[at].id - f->out_first < id - f->out_first)
		back = id - f->keys[at].id;
	f->keys[at].used = true;
	f->keys[at].id = id;
	return back;
}

static void take_bitmaps(struct flow *f, struct outgoing *o)
{
	uint32_t words = (o->segments + 63) / 64;

	o->have = &o->have_word;
	o->again = &o->again_word;
	if (!is_eager(o)) {
		uint32_t each = large_words(f->options.large_out.bytes);

		o->spare = f->out_spare[--f->out_spares];
		o->have = f->out_bits + 2ull * each * o->spare;
		o->again = o->have + each;
	}
	memset(o->have, 0, 8ull * words);
	memset(o->again, 0, 8ull * words);
}

int flow_send(struct flow *f, const struct flow_message *m)
{
	bool eager = m->payload_bytes <= WIRE_SMALL_BYTES;
	struct outgoing *o = &f->outgoing[f->out_next % FLOW_MESSAGES];

	assert(eager || m->payload_bytes <= f->options.large_out.bytes);
	if (f->state != STATE_OPEN)
		return -ENOTCONN;
	if (!flow_may_send(f, m->payload_bytes))
		return -EAGAIN;
	assert(o->state == OUT_FREE);
	/* The time of the last turn may be long ago: the next one begins to wait. */
	f->woke = f->woke || (f->in_flight == 0 && f->to_send == 0);
	o->id = f->out_next++;
	o->back = distance(f, m->key, o->id);
	o->what = *m;
	memcpy(o->header, m->header, WIRE_HEADER_BYTES);
	o->segments = (total_bytes(o) + f->size - 1) / f->size;
	o->next = o->lost = 0;
	o->granted = eager ? o->segments : 0;
	o->ask = false;
	o->state = eager ? OUT_SENDING : OUT_ASKING;
	outgoing_ask(f, o);
	take_bitmaps(f, o);
	f->to_send += o->granted;
	f->set->tally.messages_sent++;
	return 0;
}

void outgoing_acked(struct flow *f, uint32_t id, uint32_t segment)
{
	struct outgoing *o = outgoing_find(f, id);

	if (!o || o->state != OUT_SENDING)
		return;
	bit_set(o->have, segment);
	if (bit_get(o->again, segment)) {
		bit_clear(o->again, segment);
		o->lost--;
		f->to_send--;
	}
}

void outgoing_lost(struct flow *f, uint32_t id, uint32_t segment)
{
	struct outgoing *o = outgoing_find(f, id);

	if (!o || o->state != OUT_SENDING || bit_get(o->have, segment) ||
	    bit_get(o->again, segment))
		return;
	bit_set(o->again, segment);
	o->lost++;
	f->to_send++;
}

/* Grants only rise; late ones say less than is known. */
void outgoing_granted(struct flow *f, const struct packet *p)
{
	struct outgoing *o = outgoing_find(f, p->message);

	if (!o || o->state == OUT_DONE)
		return;
	if (is_eager(o) || p->segments != o->segments) {
		flow_break(f, FLOW_FAULTY);
		return;
	}
	unask(f, o);
	o->state = OUT_SENDING;
	if (p->segment > o->granted) {
		f->to_send += p->segment - o->granted;
		o->granted = p->segment;
	}
}

void outgoing_done(struct flow *f, struct outgoing *o)
{
	f->to_send -= sendable(o);
	if (!is_eager(o))
		f->out_spare[f->out_spares++] = o->spare;
	unask(f, o);
	o->state = OUT_DONE;
	f->set->tally.messages_done++;
	f->events.acked(f->ctx, o->what.owner);
}

void outgoing_settle(struct flow *f)
{
	for (struct outgoing *o; f->out_first != f->out_next; f->out_first++) {
		o = &f->outgoing[f->out_first % FLOW_MESSAGES];
		if (o->state != OUT_DONE)
			break;
		o->state = OUT_FREE;
	}
}
