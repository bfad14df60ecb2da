/* flow_ack.c - what arrived is told, what was lost is found.
 *
 * Receiving: an ACK goes out after ACK_EVERY packets, ACK_DELAY_NS after the first
 * that wants one, at once when the sender says that nothing follows or a number is
 * missing.  Its bits come from the replay window.
 *
 * Sending, after RACK (RFC 8985) with a number per packet instead of a sequence: a
 * packet is lost when one sent later was acknowledged and a round trip and some
 * slack have passed.  If nothing comes back, one more packet goes out after two
 * round trips to provoke an ACK (tail probe), twice; then, after the timeout, all
 * that is out counts as lost.  An ACK for such a packet undoes the timeout, and one
 * for any packet thought lost widens the slack.
 */
#include "dataplane/flow_state.h"

#include <string.h>

enum {
	TAILS_MOST = 2,
	BACKOFF_MOST = 5,               /* doublings of the timeout */
	BACKOFF_NS_MOST = 200000000,
	REORDER_FACTOR_MOST = 16,       /* four round trips of slack */
	REORDER_CALM_NS = 500000000,    /* without surprise: back to the least */
	PTO_LEAST_NS = 300000,
	HOLD_US_MOST = 10000000,        /* a longer hold makes no sense */
	JUDGED_PACKETS = 500,           /* per verdict on the loss of a path */
};

/* ---- receiving ---- */

void flow_arrived(struct flow *f, const struct packet *p, bool marked)
{
	uint64_t next = f->replay.end;

	replay_mark(&f->replay, p->number);
	f->ce += marked;
	if (!packet_wants_ack(p->type))
		return;
	if (p->number >= f->wanting) {
		f->wanting = p->number + 1;
		f->wanting_ns = f->set->now_ns;
		f->wanting_unseen_ns = f->set->now_ns - f->set->drained_ns;
	}
	if (f->unacked++ == 0)
		f->ack_first_ns = f->set->now_ns;
	if (p->number != next || (p->flags & PACKET_ACK_NOW) || f->unacked >= ACK_EVERY)
		f->ack_now = true;
}

bool flow_ack_due(const struct flow *f)
{
	return f->unacked > 0 &&
	       (f->ack_now || f->set->now_ns - f->ack_first_ns >= ACK_DELAY_NS);
}

static void fill_ack(const struct flow *f, struct packet_state *s)
{
	uint64_t newest;
	uint32_t id;

	*s = (struct packet_state){ .largest = f->replay.end - 1, .ce = f->ce, .done = f->done };
	s->hold_us = (uint32_t)MIN((f->set->now_ns - f->wanting_ns) / NS_PER_US,
				   (uint64_t)HOLD_US_MOST);
	s->unseen_us = (uint32_t)MIN(f->wanting_unseen_ns / NS_PER_US, (uint64_t)HOLD_US_MOST);
	newest = s->largest / 64;
	for (; s->ack_words < PACKET_ACK_WORDS_MAX && s->ack_words <= newest; s->ack_words++)
		s->ack[s->ack_words] = replay_word(&f->replay, newest - s->ack_words);
	for (uint32_t i = 0; i + 1 < f->done_end - f->done; i++) {
		id = f->done + 1 + i;
		if (f->incoming[id % FLOW_MESSAGES].state != IN_HANDED ||
		    f->incoming[id % FLOW_MESSAGES].id != id)
			continue;
		bit_set(s->messages, i);
		s->done_words = i / 64 + 1;
	}
}

void flow_ack(struct flow *f)
{
	uint8_t payload[PACKET_ACK_BYTES_MAX];
	struct packet p = { .type = PACKET_ACK };
	struct packet_state s;

	fill_ack(f, &s);
	p.payload_bytes = (uint16_t)packet_ack_encode(&s, payload);
	if (!flow_packet(f, &p, payload))
		return;
	f->unacked = 0;
	f->ack_now = false;
}

/* ---- sending ---- */

static struct sent *sent_at(struct flow *f, uint64_t number)
{
	return &f->sent[number % SENT_PACKETS];
}

static void advance_first(struct flow *f)
{
	while (f->first_out < f->next_number && sent_at(f, f->first_out)->state != SENT_OUT)
		f->first_out++;
}

/* What it carried is due again. */
static void lose(struct flow *f, uint64_t number, enum again_cause cause)
{
	struct sent *s = sent_at(f, number);
	struct incoming *m;
	struct outgoing *o;

	assert(s->state == SENT_OUT);
	s->state = SENT_LOST;
	s->cause = (uint8_t)cause;
	f->in_flight--;
	f->judged_lost++;
	f->set->tally.again[cause]++;
	switch (s->type) {
	case PACKET_DATA:
		outgoing_lost(f, s->message, s->segment);
		break;
	case PACKET_RTS:
		o = outgoing_find(f, s->message);
		if (o)
			outgoing_ask(f, o);
		break;
	case PACKET_GRANT:
		m = incoming_find(f, s->message);
		if (m && m->state == IN_LANDING && !m->grant_due) {
			m->grant_due = true;
			f->grants_due++;
		}
		break;
	default:                        /* probes have their own clock */
		break;
	}
}

void flow_record(struct flow *f, const struct packet *p)
{
	struct sent *s = sent_at(f, p->number);
	bool wants = packet_wants_ack(p->type);

	assert(p->number == f->next_number);
	if (s->state == SENT_OUT) {             /* a whole ring ago: no longer remembered */
		f->first_out = MAX(f->first_out, p->number - SENT_PACKETS);
		lose(f, p->number - SENT_PACKETS, AGAIN_TIMEOUT);
	}
	*s = (struct sent){
		.att = attentive(f->set), .message = p->message, .segment = p->segment,
		.type = (uint8_t)p->type, .state = wants ? SENT_OUT : SENT_NONE,
	};
	f->next_number++;
	bit_clear(f->pending, p->number % SENT_PACKETS);
	if (!wants) {
		advance_first(f);
		return;
	}
	bit_set(f->pending, p->number % SENT_PACKETS);
	if (f->in_flight++ == 0 && f->backoff == 0 && f->tails == 0)
		f->progress_att = MAX(f->progress_att, s->att);
	f->last_sent_att = s->att;
	f->judged++;
	advance_first(f);
}

static uint64_t slack_ns(const struct flow *f)
{
	return f->window.srtt_ns / 4 * f->reorder_factor + f->window.var_ns / 2 +
	       2 * ACK_DELAY_NS;
}

/* Everything sent well before the newest that was acknowledged; the timer for what is
 * not yet old enough.
 */
static void find_lost(struct flow *f)
{
	uint64_t wait_ns = f->window.srtt_ns + slack_ns(f), now_att = attentive(f->set);
	struct sent *s;

	f->loss_att = UINT64_MAX;
	for (uint64_t n = f->first_out; n + 1 < f->newest_acked; n++) {
		s = sent_at(f, n);
		if (s->state != SENT_OUT)
			continue;
		if (now_att < s->att + wait_ns) {
			f->loss_att = s->att + wait_ns;
			break;
		}
		lose(f, n, AGAIN_ORDER);
		flow_window_lost(&f->window, now_att);
	}
	advance_first(f);
}

static void was_not_lost(struct flow *f, const struct sent *s)
{
	f->set->tally.spurious++;
	f->judged_lost -= MIN(f->judged_lost, 1u);
	f->reorder_att = attentive(f->set);
	if (s->cause == AGAIN_TIMEOUT)
		flow_window_undo(&f->window);
	else if (s->cause == AGAIN_ORDER && f->reorder_factor < REORDER_FACTOR_MOST)
		f->reorder_factor++;
}

/* One number was acknowledged for the first time. */
static void acked(struct flow *f, uint64_t number)
{
	struct sent *s = sent_at(f, number);
	struct sent was = *s;

	s->state = SENT_NONE;
	bit_clear(f->pending, number % SENT_PACKETS);
	seal_acknowledged(f->out, number);
	if (number >= f->newest_acked) {
		f->newest_acked = number + 1;
		f->newest_att = was.att;
	}
	if (was.state == SENT_OUT)
		f->in_flight--;
	else
		was_not_lost(f, &was);
	if (was.type == PACKET_DATA)
		outgoing_acked(f, was.message, was.segment);
	else if (was.type == PACKET_PROBE)
		flow_probed(f, (int)was.segment);
}

/* New ones of one word; words older than the ring are not ours any more. */
static uint32_t take_word(struct flow *f, uint64_t word, uint64_t bits)
{
	uint32_t count = 0;

	if (f->next_number == 0 || word + SENT_WORDS <= (f->next_number - 1) / 64)
		return 0;
	bits &= f->pending[word % SENT_WORDS];
	for (; bits && flow_lives(f); bits &= bits - 1, count++)
		acked(f, 64 * word + (uint32_t)__builtin_ctzll(bits));
	return count;
}

static void take_done(struct flow *f, const struct packet_state *s)
{
	struct outgoing *o;
	uint32_t id;

	for (id = f->out_first; id != s->done && flow_lives(f); id++) {
		o = outgoing_find(f, id);
		if (o && o->state != OUT_DONE)
			outgoing_done(f, o);
	}
	for (uint32_t i = 0; i < 64 * s->done_words && flow_lives(f); i++) {
		o = bit_get(s->messages, i) ? outgoing_find(f, s->done + 1 + i) : NULL;
		if (o && o->state != OUT_DONE)
			outgoing_done(f, o);
	}
	outgoing_settle(f);
}

/* Of the newest packet that was acknowledged, if we were attentive all the time it was
 * out; 0: not measured.
 */
static uint64_t measure(const struct flow *f, const struct packet_state *s)
{
	uint64_t took_ns = attentive(f->set) - f->newest_att, hold_ns = s->hold_us * NS_PER_US;

	if (f->newest_att <= f->set->gap_seen_att)
		return 0;
	return took_ns > hold_ns ? took_ns - hold_ns : 1;
}

static bool makes_sense(const struct flow *f, const struct packet_state *s)
{
	uint32_t most = f->out_next - f->out_first;

	return s->largest < f->next_number && s->done - f->out_first <= most &&
	       s->hold_us <= HOLD_US_MOST && s->unseen_us <= HOLD_US_MOST;
}

/* Without what either loop may have let it wait: the network's own. */
static uint64_t network_ns(const struct flow *f, const struct packet_state *s, uint64_t rtt_ns)
{
	uint64_t unseen_ns = f->set->now_ns - f->set->drained_ns + s->unseen_us * NS_PER_US;

	return rtt_ns > unseen_ns ? rtt_ns - unseen_ns : 1;
}

static void progress(struct flow *f, const struct packet_state *s, uint32_t count,
		     uint64_t rtt_ns)
{
	uint64_t now_att = attentive(f->set);
	double marked = MIN(1.0, (double)(s->ce - f->ce_seen) / count);
	uint64_t delay_ns = rtt_ns ? network_ns(f, s, rtt_ns) : 0;

	f->ce_seen = s->ce;
	f->progress_att = f->heard_att = now_att;
	f->backoff = f->tails = 0;
	f->tail_due = false;
	if (rtt_ns) {
		flow_window_rtt(&f->window, rtt_ns, delay_ns, now_att);
		counters_observe(f->set->counters, PATH_RTT, 0, (double)rtt_ns / NS_PER_S);
	}
	flow_window_acked(&f->window, count, delay_ns, marked, now_att);
}

void flow_take_ack(struct flow *f, const uint8_t *payload, size_t bytes)
{
	struct packet_state s;
	uint64_t newest_before = f->newest_acked, newest;
	uint32_t count = 0;

	if (packet_ack_decode(payload, bytes, &s) != PACKET_FAULT_NONE) {
		flow_break(f, FLOW_FAULTY);
		return;
	}
	if ((int32_t)(s.done - f->out_first) < 0) {     /* an old one, overtaken */
		s.done = f->out_first;
		s.done_words = 0;
	}
	if (!makes_sense(f, &s)) {
		flow_break(f, FLOW_FAULTY);
		return;
	}
	newest = s.largest / 64;
	for (uint32_t i = 0; i < s.ack_words && flow_lives(f); i++)
		count += take_word(f, newest - i, s.ack[i]);
	if (count > 0)
		progress(f, &s, count, f->newest_acked > newest_before ? measure(f, &s) : 0);
	take_done(f, &s);
	if (flow_lives(f))
		find_lost(f);
}

/* ---- timers ---- */

static uint64_t rto_ns(const struct flow *f)
{
	uint64_t ns = flow_window_rto(&f->window, f->set->options.rto_least_ns);

	return MAX(ns, MIN(ns << MIN(f->backoff, (uint32_t)BACKOFF_MOST), BACKOFF_NS_MOST + 0ull));
}

/* When silence means something: a tail probe first, then the timeout. */
static uint64_t silence_att(const struct flow *f)
{
	uint64_t since_att = MAX(f->last_sent_att, f->progress_att);

	if (f->in_flight == 0)
		return UINT64_MAX;
	if (f->tails < TAILS_MOST && f->window.srtt_ns)
		return since_att + MIN(rto_ns(f), MAX(2 * f->window.srtt_ns + 2 * ACK_DELAY_NS,
						      PTO_LEAST_NS + 0ull));
	return since_att + rto_ns(f);
}

/* The newest packet again, or a new one if there is any: its ACK shows the rest. */
static void probe_tail(struct flow *f)
{
	uint64_t n = f->next_number - 1;

	f->tails++;
	if (f->to_send == 0) {
		while (sent_at(f, n)->state != SENT_OUT)
			n--;
		lose(f, n, AGAIN_TAIL);
		advance_first(f);
	}
	f->tail_due = f->to_send > 0;
	f->last_sent_att = attentive(f->set);
}

static void time_out(struct flow *f)
{
	uint64_t now_att = attentive(f->set);

	f->backoff++;
	f->set->tally.timeouts++;
	f->last_sent_att = now_att;
	for (uint64_t n = f->first_out; n < f->next_number; n++)
		if (sent_at(f, n)->state == SENT_OUT)
			lose(f, n, AGAIN_TIMEOUT);
	advance_first(f);
	f->tail_due = f->to_send > 0;
	flow_window_timeout(&f->window, now_att);
}

static void judge(struct flow *f)
{
	if (f->judged < JUDGED_PACKETS)
		return;
	if (f->judged_lost > f->judged * f->set->options.lossy)
		flow_break(f, FLOW_LOSSY);
	f->judged = f->judged_lost = 0;
}

static bool is_waiting(const struct flow *f)
{
	return f->in_flight > 0 || f->to_send > 0;
}

void flow_timers(struct flow *f)
{
	uint64_t now_att = attentive(f->set);

	if (f->state != STATE_OPEN)
		return;
	if (f->woke)
		f->progress_att = now_att;
	f->woke = false;
	if (now_att >= f->loss_att)
		find_lost(f);
	if (is_waiting(f) && now_att - f->progress_att >= f->set->options.give_up_ns) {
		flow_break(f, FLOW_SILENT);
		return;
	}
	if (now_att >= silence_att(f)) {
		if (f->tails < TAILS_MOST && f->window.srtt_ns)
			probe_tail(f);
		else
			time_out(f);
	}
	if (now_att - f->reorder_att > REORDER_CALM_NS)
		f->reorder_factor = 1;
	judge(f);
}

uint64_t flow_timer_att(const struct flow *f)
{
	uint64_t att = MIN(f->loss_att, silence_att(f));

	if (f->state != STATE_OPEN)
		return UINT64_MAX;
	if (is_waiting(f) && !f->woke)
		att = MIN(att, f->progress_att + f->set->options.give_up_ns);
	return att;
}
