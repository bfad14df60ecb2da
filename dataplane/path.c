/* path.c - the datagram path of a peer: offered, tried, used in place of the lanes, given up,
 * tried again.
 *
 *   from      to        by                      then
 *   NONE      OFFERED   path_turn(), we dialed  OFFER is sent on the first lane
 *   NONE      PROBING   OFFER arrived           a flow is opened, ANSWER is sent
 *   OFFERED   PROBING   ANSWER arrived          a flow is opened
 *   OFFERED   NONE      ANSWER says no
 *   PROBING   OPEN      the flow opened         SWITCH is sent on every lane; messages go by it
 *   PROBING,  STOPPING  the flow broke          STOP is sent: what had come that way; messages
 *   OPEN                                        wait
 *   any       NONE      their STOP arrived      ... is answered; what they do not have goes by
 *                                               the lanes, then what waited
 *
 * Order.  What was sent on a lane before SWITCH is delivered before anything that came by the
 * flow: until every lane has passed its SWITCH, arrivals are held.  What goes by the lanes
 * after STOP does so only when both have stopped.  So each message is delivered once and
 * each session keeps its order, whichever way it takes.
 *
 * Only peers of a short round trip are worth it; a path that failed is tried again after a
 * while, then after a longer one.  Each try has keys of its own.
 *
 * HELLO, PING, PONG and GOODBYE keep to the lanes: they tell whether the other process lives.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/layer.h"

static const uint64_t retry_least_ns = NS_PER_S, retry_most_ns = 60 * NS_PER_S;
static const uint64_t proven_ns = 10 * NS_PER_S;        /* open for so long: it was no fluke */

static void settled(struct peer *p);

static bool is_carrying(const struct path *w)
{
	return w->state == PATH_OPEN || w->state == PATH_STOPPING;
}

void path_start(struct peer *p)
{
	struct path *w = &p->path;

	w->backoff_ns = retry_least_ns;
	w->retry_att = attentive(p->transport);
}

/* ---- what is said on the lanes ---- */

static void post(struct peer *p, uint8_t lane, enum control_kind kind, const struct wire_path *said)
{
	struct lane *l = p->lanes[lane];
	struct control *c;

	if (!l)
		return;
	c = &l->control[kind];          /* one that still waits speaks of an epoch that is over */
	memcpy(c->payload, said, sizeof(*said));
	c->envelope.message.frame.payload_bytes = sizeof(*said);
	outbound_post(l, kind);
}

static struct wire_path said_of(const struct path *w, enum wire_path_verb verb)
{
	return (struct wire_path){ .epoch = le32_of(w->epoch), .verb = (uint8_t)verb };
}

static void say_where(struct peer *p, enum wire_path_verb verb)
{
	const struct transport_options *o = &p->transport->options;
	struct wire_path said = said_of(&p->path, verb);

	said.connection = le32_of(p->path.connection_in);
	wire_text_set(said.address, sizeof(said.address), o->datagrams.text);
	post(p, 0, CONTROL_PATH, &said);
}

static void say_switch(struct peer *p)
{
	struct wire_path said = said_of(&p->path, WIRE_PATH_SWITCH);

	for (uint8_t i = 0; i < p->lane_count; i++)
		post(p, i, CONTROL_SWITCH, &said);
}

static void say_stop(struct peer *p)
{
	struct wire_path said = said_of(&p->path, WIRE_PATH_STOP);

	if (p->path.flow)
		flow_completed(p->path.flow, &said.completed);
	post(p, 0, CONTROL_STOP, &said);
}

/* ---- arrivals ---- */

static bool on_land(void *ctx, uint32_t bytes, const uint8_t *header, struct flow_landing *out)
{
	struct peer *p = ctx;
	struct envelope *e = inbound_land(p, bytes, header);

	if (!e)
		return false;
	*out = (struct flow_landing){ e->message.payload, e };
	return true;
}

static void on_unland(void *ctx, const struct flow_landing *l)
{
	inbound_unland(l->owner);
}

static void on_arrived(void *ctx, const uint8_t header[WIRE_HEADER_BYTES],
		       const struct flow_landing *landing)
{
	struct peer *p = ctx;
	struct envelope *e = landing->owner;
	struct error why = { 0 };
	enum wire_fault fault;

	p->heard_att = attentive(p->transport);
	fault = wire_inspect(header, &e->message.frame, &why);
	if (fault == WIRE_FAULT_NONE && e->message.frame.type <= WIRE_GOODBYE &&
	    e->message.frame.type != WIRE_CREDIT) {
		fault = WIRE_FAULT_ORDER;
		error_set(&why, -EPROTO, "type: %s does not travel by datagrams",
			  wire_types[e->message.frame.type].name);
	}
	if (p->state != PEER_UP || fault != WIRE_FAULT_NONE) {
		inbound_unland(e);
		if (p->state == PEER_UP)
			lane_fault(p->lanes[0], fault, why.text);
		return;
	}
	transport_count(p->transport, RECEIVED_MESSAGES, e->message.frame.type,
			e->message.frame.payload_bytes);
	if (!inbound_credit(p, p->lanes[0], &e->message.frame))
		inbound_unland(e);
	else if (p->path.switches == p->lane_count)
		inbound_deliver(p, e);
	else
		queue_push(&p->path.held, e);
}

static void release_held(struct peer *p)
{
	struct envelope *e;

	while (p->path.switches == p->lane_count && (e = queue_pop(&p->path.held)))
		inbound_deliver(p, e);
}

/* ---- departures ---- */

static bool fits(const struct path *w, const struct envelope *e)
{
	return w->state == PATH_OPEN && flow_may_send(w->flow, e->message.frame.payload_bytes);
}

static void give(struct peer *p, struct envelope *e)
{
	uint32_t bytes = e->message.frame.payload_bytes;
	int rc;

	outbound_write_header(p, e, NULL);
	p->path.unacked++;
	rc = flow_send(p->path.flow, &(struct flow_message){
		.header = e->header, .payload = e->message.payload, .payload_bytes = bytes,
		.key = e->message.frame.session, .owner = e,
		.class = bytes <= WIRE_SMALL_BYTES ? FLOW_DECODE : FLOW_BATCH });
	assert(rc == 0 && "it said that it would take it");
	transport_count(p->transport, SENT_MESSAGES, e->message.frame.type, bytes);
}

static void pump(struct peer *p)
{
	struct path *w = &p->path;

	while (w->parked.head && fits(w, w->parked.head))
		give(p, queue_pop(&w->parked));
	p->transport->datagrams_due = true;
}

bool path_takes(struct peer *p, struct envelope *e)
{
	struct path *w = &p->path;

	if (!is_carrying(w))
		return false;
	e->state = ENVELOPE_QUEUED;
	queue_push(&w->parked, e);
	pump(p);
	return true;
}

static void on_acked(void *ctx, void *owner)
{
	struct peer *p = ctx;

	p->path.unacked--;
	p->path.acked = true;
	envelope_put(owner);
}

static void on_unsent(void *ctx, void *owner)
{
	struct peer *p = ctx;
	struct envelope *e = owner;
	const struct frame *f = &e->message.frame;

	p->path.unacked--;
	credit_untell(&p->credit[CREDIT_SMALL], f->credit_small);
	credit_untell(&p->credit[CREDIT_LARGE], f->credit_large);
	if (f->type == WIRE_CREDIT)
		envelope_put(e);        /* others will carry what it carried */
	else
		queue_push(&p->path.unsent, e);
}

static void on_opened(void *ctx)
{
	((struct peer *)ctx)->path.opened = true;
}

static void on_broken(void *ctx, enum flow_end why)
{
	struct path *w = &((struct peer *)ctx)->path;

	w->broken = true;
	w->why = flow_end_name(why);
}

/* ---- life ---- */

static int open_flow(struct peer *p, const struct wire_path *theirs, struct error *e)
{
	static const struct flow_events events = {
		on_opened, on_land, on_unland, on_arrived, on_acked, on_broken,
	};
	struct transport *t = p->transport;
	struct flow_options o = {
		.connection_in = p->path.connection_in,
		.connection_out = le32_get(theirs->connection),
		.large_in = { t->options.large_bytes, p->credit[CREDIT_LARGE].granted_by_us },
		.large_out = { MIN(p->large_bytes, t->options.large_bytes),
			       p->credit[CREDIT_LARGE].granted_to_us },
	};
	char label[SEAL_LABEL_BYTES];
	int rc;

	snprintf(label, sizeof(label), "petals flow %u", p->path.epoch);
	snprintf(o.to.text, sizeof(o.to.text), "%s", theirs->address);
	seal_policy_default(&o.seal);
	rc = seal_derive(p->flow_sends, label, o.send_secret);
	if (rc == 0)
		rc = seal_derive(p->flow_receives, label, o.receive_secret);
	if (rc == 0)
		rc = flow_open(&p->path.flow, t->flows, &o, &events, p, t->now_ns, e);
	else
		error_errno(e, rc, "cannot open a flow to %s", o.to.text);
	OPENSSL_cleanse(&o, sizeof(o));
	if (rc == 0)
		p->path.state = PATH_PROBING;
	return rc;
}

static void retry_later(struct path *w, uint64_t att)
{
	w->retry_att = att + w->backoff_ns;
	w->backoff_ns = MIN(2 * w->backoff_ns, retry_most_ns);
}

static uint32_t fresh_connection(struct transport *t)
{
	return (uint32_t)transport_fresh_number(t) | 1;         /* 0 says no */
}

/* A SWITCH of an earlier epoch marks a place in the queue: it must have left. */
static bool may_switch(const struct peer *p)
{
	for (int i = 0; i < p->lane_count; i++)
		if (!p->lanes[i] ||
		    p->lanes[i]->control[CONTROL_SWITCH].envelope.state != ENVELOPE_IDLE)
			return false;
	return true;
}

static void offer(struct peer *p)
{
	struct path *w = &p->path;

	w->epoch++;
	w->connection_in = fresh_connection(p->transport);
	w->switches = 0;
	w->opened = false;
	w->state = PATH_OFFERED;
	say_where(p, WIRE_PATH_OFFER);
}

static void take_offer(struct peer *p, const struct wire_path *theirs)
{
	struct path *w = &p->path;
	struct error e = { 0 };

	w->epoch = le32_get(theirs->epoch);
	w->connection_in = 0;
	if (p->transport->flows && !w->held.head && w->state == PATH_NONE) {
		w->connection_in = fresh_connection(p->transport);
		w->switches = 0;
		w->opened = false;
		if (open_flow(p, theirs, &e) < 0) {
			log_info("transport", "no datagrams with %s: %s", p->name, e.text);
			w->connection_in = 0;
		}
	}
	say_where(p, WIRE_PATH_ANSWER);
}

static void take_answer(struct peer *p, const struct wire_path *theirs)
{
	struct path *w = &p->path;
	struct error e = { 0 };

	if (w->state != PATH_OFFERED)
		return;
	w->state = PATH_NONE;
	retry_later(w, attentive(p->transport));
	if (le32_get(theirs->connection) == 0)
		return;
	if (open_flow(p, theirs, &e) < 0) {
		log_info("transport", "no datagrams with %s: %s", p->name, e.text);
		say_stop(p);            /* the other side probes in vain */
	}
}

static void stop(struct peer *p)
{
	struct path *w = &p->path;

	if (w->flow)
		flow_stop(w->flow);
	say_stop(p);
	w->state = PATH_STOPPING;
}

static void take_stop(struct peer *p, const struct wire_path *theirs)
{
	struct path *w = &p->path;

	if (w->state == PATH_NONE)
		return;                 /* ours crossed theirs, all is settled */
	if (w->state != PATH_STOPPING)
		stop(p);
	if (w->flow && flow_settle(w->flow, &theirs->completed, on_unsent) < 0) {
		lane_fault(p->lanes[0], WIRE_FAULT_ORDER, "path: it has more than was sent");
		return;
	}
	settled(p);
}

/* Both have stopped, and each knows what the other has. */
static void settled(struct peer *p)
{
	struct path *w = &p->path;
	struct envelope *e;

	flow_close(w->flow);
	w->flow = NULL;
	w->state = PATH_NONE;
	if (attentive(p->transport) - w->opened_att > proven_ns && w->opened_att)
		w->backoff_ns = retry_least_ns;
	w->opened_att = 0;
	retry_later(w, attentive(p->transport));
	log_info("transport", "no more datagrams with %s: %s; the connection carries on", p->name,
		 w->why ? w->why : "the other side stopped");
	w->why = NULL;
	while ((e = queue_pop(&w->unsent)) || (e = queue_pop(&w->parked)))
		outbound_queue(p, e);
}

static void take_switch(struct peer *p)
{
	p->path.switches++;
	release_held(p);
}

void path_heard(struct lane *l, const struct wire_path *said)
{
	struct peer *p = l->peer;
	bool known = le32_get(said->epoch) == p->path.epoch;

	if (!wire_text_ok(said->address, sizeof(said->address)) ||
	    said->verb >= WIRE_PATH_VERBS || !p->transport->options.identity) {
		lane_fault(l, WIRE_FAULT_ORDER, "path: makes no sense");
		return;
	}
	switch ((enum wire_path_verb)said->verb) {
	case WIRE_PATH_OFFER:
		if (p->dialed || le32_get(said->epoch) != p->path.epoch + 1 ||
		    p->path.state != PATH_NONE)
			lane_fault(l, WIRE_FAULT_ORDER, "path: an offer out of turn");
		else
			take_offer(p, said);
		break;
	case WIRE_PATH_ANSWER:
		if (known)
			take_answer(p, said);
		break;
	case WIRE_PATH_SWITCH:
		if (known && p->path.switches == p->lane_count)
			lane_fault(l, WIRE_FAULT_ORDER, "path: a switch too many");
		else if (known)
			take_switch(p);
		break;
	case WIRE_PATH_STOP:
		if (known)
			take_stop(p, said);
		break;
	default:
		break;
	}
}

static bool may_offer(const struct peer *p)
{
	const struct transport *t = p->transport;
	const struct path *w = &p->path;

	return t->flows && p->state == PEER_UP && p->dialed && w->state == PATH_NONE &&
	       !w->held.head && attentive(t) >= w->retry_att && p->rtt_ns > 0 &&
	       p->rtt_ns <= t->options.near_ns;
}

/* What the flows' events asked for, once they are over. */
void path_turn(struct peer *p)
{
	struct path *w = &p->path;

	if (w->doomed)
		path_close(p);
	if (p->state != PEER_UP && p->state != PEER_LEAVING)
		return;
	if (w->opened && w->state == PATH_PROBING && may_switch(p)) {
		w->opened = false;
		w->state = PATH_OPEN;
		w->opened_att = attentive(p->transport);
		say_switch(p);
		log_info("transport", "datagrams carry what goes to %s", p->name);
	}
	if (w->broken && (w->state == PATH_PROBING || w->state == PATH_OPEN))
		stop(p);
	if (w->acked)
		pump(p);
	w->broken = w->acked = false;
	if (may_offer(p))
		offer(p);
	if (p->state == PEER_LEAVING)
		peer_part(p);
}

uint64_t path_due_att(const struct peer *p)
{
	const struct path *w = &p->path;

	if (p->state != PEER_UP || !p->transport->flows || !p->dialed || w->state != PATH_NONE ||
	    w->held.head)
		return UINT64_MAX;
	/* The first round trip is not known yet, or it is too long: look again. */
	return MAX(w->retry_att, p->rtt_ns && p->rtt_ns <= p->transport->options.near_ns ? 0 :
		   attentive(p->transport) + NS_PER_S);
}

bool path_post_credit(struct peer *p)
{
	struct envelope *e;

	if (p->path.state != PATH_OPEN || p->path.parked.head)
		return false;
	e = envelope_get(p, ARENA_TINY, ARENA_SENDING, 0);
	if (!e)
		return false;
	e->message.frame.type = WIRE_CREDIT;
	e->credit = CREDIT_NONE;
	return path_takes(p, e);
}

bool path_is_quiet(const struct peer *p)
{
	return p->path.unacked == 0 && !p->path.parked.head;
}

void path_close(struct peer *p)
{
	static const struct wire_completed nothing;
	struct path *w = &p->path;
	struct envelope *e;

	if (p->transport->in_flows) {
		w->doomed = true;
		p->transport->datagrams_due = true;
		return;
	}
	if (w->flow) {
		flow_stop(w->flow);
		flow_settle(w->flow, &nothing, on_unsent);
		flow_close(w->flow);
		w->flow = NULL;
	}
	while ((e = queue_pop(&w->unsent)) || (e = queue_pop(&w->parked)))
		envelope_put(e);
	while ((e = queue_pop(&w->held)))
		inbound_unland(e);
	w->state = PATH_NONE;
	w->doomed = false;
	OPENSSL_cleanse(p->flow_sends, sizeof(p->flow_sends));
	OPENSSL_cleanse(p->flow_receives, sizeof(p->flow_receives));
	peer_settle(p);
}
