/* flow_receive.c - segments to messages.
 *
 * A segment of a message that has its place is decrypted straight into it: there is
 * no other copy.  The first of an eager message to arrive is verified in a scratch
 * buffer and copied, since nothing is reserved for a packet that may be forged.  A
 * forged segment of a known message can spoil only bytes that are yet to come, and
 * they are written again by the true one.
 */
#include "dataplane/flow_state.h"

#include <string.h>

static struct incoming *entry(struct flow *f, uint32_t id)
{
	return &f->incoming[id % FLOW_MESSAGES];
}

struct incoming *incoming_find(struct flow *f, uint32_t id)
{
	struct incoming *m = entry(f, id);

	return m->state != IN_NONE && m->id == id ? m : NULL;
}

static bool was_handed(struct flow *f, uint32_t id)
{
	const struct incoming *m = incoming_find(f, id);

	return (int32_t)(id - f->done) < 0 || (m && m->state == IN_HANDED);
}

static void fault(struct flow *f, enum packet_fault kind)
{
	f->set->tally.refused[kind]++;
	flow_break(f, FLOW_FAULTY);
}

/* Says the same of the message as its packets before. */
static bool agrees(const struct incoming *m, const struct packet *p)
{
	return m->segments == p->segments && m->back == p->back &&
	       m->size == packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT];
}

static bool fits(const struct incoming *m, const struct packet *p)
{
	uint64_t end = (uint64_t)p->segment * m->size + p->payload_bytes;

	return end >= WIRE_HEADER_BYTES && end - WIRE_HEADER_BYTES <= m->landing_bytes;
}

/* Of a segment's byte; of segment 0 only from the end of the wire header on. */
static uint8_t *place(const struct incoming *m, uint32_t segment, uint32_t byte)
{
	return m->landing.payload + ((size_t)segment * m->size + byte - WIRE_HEADER_BYTES);
}

/* The message into whose place this packet may be decrypted, or NULL. */
static struct incoming *direct(struct flow *f, const struct packet *p)
{
	struct incoming *m = p->type == PACKET_DATA ? incoming_find(f, p->message) : NULL;

	if (!m || m->state != IN_LANDING || !agrees(m, p) || bit_get(m->have, p->segment) ||
	    !fits(m, p))
		return NULL;
	return m;
}

/* Decrypts into the place, or into the scratch buffer; segment 0's wire header always
 * goes to the latter.
 */
static bool unseal(struct flow *f, const struct packet *p, const uint8_t *datagram,
		   const struct incoming *m)
{
	const struct seal_ticket ticket = { p->number, p->flags & PACKET_PHASE };
	const uint8_t *in = datagram + PACKET_HEADER_BYTES, *tag = in + p->payload_bytes;
	uint8_t *scratch = f->set->scratch;

	if (!m || p->segment > 0)
		return seal_decrypt(f->in, &ticket, datagram, in, p->payload_bytes,
				    m ? place(m, p->segment, 0) : scratch, tag, f->set->now_ns);
	seal_begin(f->in, &ticket, datagram);
	seal_update(f->in, in, WIRE_HEADER_BYTES, scratch);
	seal_update(f->in, in + WIRE_HEADER_BYTES, p->payload_bytes - (size_t)WIRE_HEADER_BYTES,
		    m->landing.payload);
	return seal_verify(f->in, tag, f->set->now_ns);
}

static void take_bitmap(struct flow *f, struct incoming *m)
{
	uint32_t each = large_words(f->options.large_in.bytes);

	m->have = &m->have_word;
	m->have_word = 0;
	if (m->landing_bytes <= WIRE_SMALL_BYTES)
		return;
	m->spare = f->in_spare[--f->in_spares];
	m->have = f->in_bits + (size_t)each * m->spare;
	memset(m->have, 0, 8ull * each);
}

static void drop_bitmap(struct flow *f, struct incoming *m)
{
	if (m->landing_bytes > WIRE_SMALL_BYTES)
		f->in_spare[f->in_spares++] = m->spare;
}

/* A new message, of which a packet verified.  NULL: it must not be; f is broken. */
static struct incoming *begin(struct flow *f, const struct packet *p, uint32_t landing_bytes,
			      const uint8_t *header)
{
	struct incoming *m = entry(f, p->message);
	struct flow_landing landing;

	if (p->message - f->done >= FLOW_MESSAGES || p->back >= 1u << 31) {
		fault(f, PACKET_FAULT_MESSAGE);
		return NULL;
	}
	assert(m->state == IN_NONE || m->state == IN_HANDED);
	if ((landing_bytes > WIRE_SMALL_BYTES && f->in_spares == 0) ||
	    !f->events.land(f->ctx, landing_bytes, header, &landing)) {
		fault(f, PACKET_FAULT_CREDIT);
		return NULL;
	}
	*m = (struct incoming){
		.state = IN_LANDING, .id = p->message, .back = p->back, .segments = p->segments,
		.size = packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT],
		.landing_bytes = landing_bytes, .payload_bytes = UINT32_MAX, .flow = f,
		.heard_att = attentive(f->set), .landing = landing,
	};
	take_bitmap(f, m);
	if ((int32_t)(p->message + 1 - f->done_end) > 0)
		f->done_end = p->message + 1;
	return m;
}

/* How much the message may have as payload, by one of its packets. */
static uint32_t payload_bound(const struct packet *p)
{
	uint64_t size = packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT];
	uint64_t bytes = (p->flags & PACKET_LAST) ? (p->segments - 1) * size + p->payload_bytes
						  : p->segments * size;

	return bytes < WIRE_HEADER_BYTES ? UINT32_MAX
					 : (uint32_t)MIN(bytes - WIRE_HEADER_BYTES, 1ull << 31);
}

static struct incoming *begin_eager(struct flow *f, const struct packet *p)
{
	uint32_t size = packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT];
	uint32_t bound = payload_bound(p);
	bool headed = p->segment == 0;

	if (!(p->flags & PACKET_EAGER) || bound >= WIRE_SMALL_BYTES + size ||
	    (headed && p->payload_bytes < WIRE_HEADER_BYTES)) {
		fault(f, PACKET_FAULT_MESSAGE);
		return NULL;
	}
	return begin(f, p, MIN(bound, (uint32_t)WIRE_SMALL_BYTES),
		     headed ? f->set->scratch : NULL);
}

static bool may_hand(struct flow *f, const struct incoming *m)
{
	return m->state == IN_WHOLE && (m->back == 0 || was_handed(f, m->id - m->back));
}

static void hand(struct flow *f, struct incoming *m)
{
	m->state = IN_HANDED;
	f->waiting--;
	f->set->tally.messages_arrived++;
	f->events.arrived(f->ctx, m->header, &m->landing);
	while (f->done != f->done_end && was_handed(f, f->done))
		f->done++;
}

static void whole(struct flow *f, struct incoming *m)
{
	struct wire_header header;

	memcpy(&header, m->header, sizeof(header));
	if (le32_get(header.payload_bytes) != m->payload_bytes) {
		fault(f, PACKET_FAULT_MESSAGE);
		return;
	}
	if (m->landing_bytes > WIRE_SMALL_BYTES) {
		f->grants_due -= m->grant_due;
		grant_unwant(f->set, m);
	}
	drop_bitmap(f, m);
	m->state = IN_WHOLE;
	f->waiting++;
	if (!may_hand(f, m))
		return;
	hand(f, m);
	/* Each waits for an older one, so once in their order is enough. */
	for (uint32_t id = m->id + 1; f->waiting > 0 && (int32_t)(id - f->done_end) < 0; id++) {
		struct incoming *later = incoming_find(f, id);

		if (later && may_hand(f, later))
			hand(f, later);
	}
}

static void take_data(struct flow *f, const struct packet *p, bool landed)
{
	struct incoming *m = incoming_find(f, p->message);
	const uint8_t *scratch = f->set->scratch;
	uint32_t skip = p->segment == 0 ? WIRE_HEADER_BYTES : 0;
	uint32_t end;

	if (was_handed(f, p->message) || (m && m->state == IN_WHOLE))
		return;
	if (!m)
		m = begin_eager(f, p);
	else if (!agrees(m, p) || !fits(m, p))
		fault(f, PACKET_FAULT_MESSAGE);
	if (!m || !flow_lives(f) || bit_get(m->have, p->segment))
		return;
	end = p->segment * m->size + p->payload_bytes - WIRE_HEADER_BYTES;
	if (!fits(m, p) || ((p->flags & PACKET_LAST) && m->payload_bytes != UINT32_MAX &&
			    m->payload_bytes != end)) {
		fault(f, PACKET_FAULT_MESSAGE);
		return;
	}
	if (!landed)
		memcpy(place(m, p->segment, skip), scratch + skip, p->payload_bytes - skip);
	if (p->segment == 0)
		memcpy(m->header, scratch, WIRE_HEADER_BYTES);
	if (p->flags & PACKET_LAST)
		m->payload_bytes = end;
	bit_set(m->have, p->segment);
	m->heard_att = attentive(f->set);
	m->got++;
	if (m->landing_bytes > WIRE_SMALL_BYTES)
		grants_arrived(f->set, m);
	if (m->got == m->segments)
		whole(f, m);
}

static void take_rts(struct flow *f, const struct packet *p)
{
	uint32_t size = packet_segment_bytes[p->flags >> PACKET_SIZE_SHIFT];
	struct incoming *m = incoming_find(f, p->message);
	struct packet_rts rts;
	uint64_t bytes;

	if (was_handed(f, p->message))
		return;
	memcpy(&rts, f->set->scratch, sizeof(rts));
	bytes = le32_get(rts.payload_bytes);
	if (bytes <= WIRE_SMALL_BYTES || bytes > f->options.large_in.bytes ||
	    p->segments != (bytes + WIRE_HEADER_BYTES + size - 1) / size || (m && !agrees(m, p))) {
		fault(f, PACKET_FAULT_MESSAGE);
		return;
	}
	if (m)
		return;
	m = begin(f, p, (uint32_t)bytes, NULL);
	if (!m)
		return;
	m->payload_bytes = (uint32_t)bytes;
	grant_want(f->set, m);
}

void flow_receive(struct flow *f, const struct packet *p, struct port_datagram *d)
{
	struct flows *fs = f->set;
	struct incoming *m = direct(f, p);

	if (replay_seen(&f->replay, p->number)) {
		fs->tally.refused[PACKET_FAULT_REPLAY]++;
		return;
	}
	if (!unseal(f, p, d->bytes, m)) {
		fs->tally.refused[PACKET_FAULT_TAG]++;
		return;
	}
	fs->tally.received[p->type]++;
	fs->tally.received_bytes += d->length;
	flow_arrived(f, p, d->marked);
	switch (p->type) {
	case PACKET_DATA:
		take_data(f, p, m);
		break;
	case PACKET_RTS:
		take_rts(f, p);
		break;
	case PACKET_GRANT:
		outgoing_granted(f, p);
		break;
	case PACKET_ACK:
		flow_take_ack(f, fs->scratch, p->payload_bytes);
		break;
	case PACKET_CLOSE:
		flow_break(f, FLOW_CLOSED);
		break;
	default:                        /* a probe wants its ACK and nothing else */
		break;
	}
}

void incoming_drop(struct flow *f)
{
	for (uint32_t i = 0; i < FLOW_MESSAGES; i++) {
		struct incoming *m = &f->incoming[i];

		if (m->state != IN_LANDING && m->state != IN_WHOLE)
			continue;
		if (m->state == IN_LANDING && m->landing_bytes > WIRE_SMALL_BYTES)
			grant_unwant(f->set, m);
		if (m->state == IN_LANDING)
			drop_bitmap(f, m);
		m->state = IN_NONE;
		f->events.unland(f->ctx, &m->landing);
	}
	f->waiting = f->grants_due = 0;
}
