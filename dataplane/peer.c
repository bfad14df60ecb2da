/* peer.c - the life of a connection: greeting, heartbeats, silence, and the
 * ways it ends.
 *
 *   from        to        made by                then
 *   FREE        CONNECTING peer_new()            the engine connects
 *   FREE        GREETING  peer_accepted()        our HELLO is queued
 *   CONNECTING  GREETING  peer_connected()       our HELLO is queued
 *   GREETING    UP        peer_heard_hello()     event up
 *   any live    LEAVING   peer_leave(), a fault  GOODBYE is queued, nothing is heard
 *   any live    GONE      peer_fail()            the engine ends it
 *   LEAVING     GONE      linger ran out         the engine ends it
 *   any         CLOSED    peer_closed()          nothing of it is in the engine
 *   CLOSED      FREE      peer_settle()          no slot is held
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/layer.h"

static const uint64_t idle_ping_ns = NS_PER_S;          /* for the round trip */
static const uint64_t idle_silence_ns = 10 * NS_PER_S;  /* nothing expected, still dead */
static const uint64_t linger_ns = 250 * NS_PER_MS;      /* for the last bytes */

/* Label of petals_transport_lost_total. */
static const struct {
	int code;
	const char *cause;
} causes[] = {
	{ -EPIPE, "goodbye" },        { -ETIMEDOUT, "silence" },
	{ -ECONNRESET, "reset" },     { -ECONNREFUSED, "refused" },
	{ -EPROTO, "protocol" },
};

static const char *cause_of(int code)
{
	for (size_t i = 0; i < ARRAY_LENGTH(causes); i++)
		if (causes[i].code == code)
			return causes[i].cause;
	return "other";
}

struct peer *peer_find(const struct transport *t, uint32_t id)
{
	return map_get(t->by_id, id);
}

bool peer_listens(const struct peer *p)
{
	return p->state == PEER_GREETING || p->state == PEER_UP;
}

static void enter(struct peer *p, enum peer_state state)
{
	p->state = state;
	if (state != PEER_GREETING)     /* connect_ns counts until UP */
		p->born_att = attentive(p->transport);
	transport_sooner(p->transport, peer_due_att(p));
}

struct peer *peer_new(struct transport *t)
{
	struct peer *p = NULL;

	for (uint32_t i = 0; i < t->peer_count && !p; i++)
		if (t->peers[i].state == PEER_FREE)
			p = &t->peers[i];
	if (!p || map_length(t->by_id) >= t->options.peers_max)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->transport = t;
	p->id = ++t->last_id;
	p->heard_att = p->ping_att = attentive(t);
	if (map_put(t->by_id, p->id, p) < 0)
		return NULL;
	enter(p, PEER_CONNECTING);
	return p;
}

static void say_hello(struct peer *p)
{
	const struct transport *t = p->transport;
	struct control *c = &p->control[CONTROL_HELLO];
	struct wire_hello hello = {
		.node = le64_of(t->node), .role = (uint8_t)t->options.role,
		.version_least = WIRE_VERSION, .version_most = WIRE_VERSION,
		.credit_small = le32_of(t->options.small_per_peer),
		.credit_large = le32_of(t->options.large_per_peer),
		.slot_large_bytes = le32_of(t->options.large_bytes),
	};

	wire_text_set(hello.name, sizeof(hello.name), t->options.name);
	memcpy(c->payload, &hello, sizeof(hello));
	c->envelope.message.frame.payload_bytes = sizeof(hello);
	enter(p, PEER_GREETING);
	outbound_post(p, CONTROL_HELLO);
}

struct peer *peer_accepted(struct transport *t, struct link *link, const struct address *from)
{
	struct peer *p = peer_new(t);

	if (!p) {
		log_warn("transport", "refused a connection from %s: all %u peers are taken",
			 from->text, t->options.peers_max);
		transport_error(t, "peers_full");
		return NULL;
	}
	link->peer = p;
	p->link = link;
	p->address = *from;
	say_hello(p);
	return p;
}

void peer_connected(struct peer *p)
{
	if (p->state == PEER_CONNECTING)
		say_hello(p);
}

/* Printable, so that no name or reason can forge a log line. */
static void tidy_name(char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			*name = '?';
}

static const char *check_hello(const struct wire_hello *hello)
{
	if (!wire_text_ok(hello->name, sizeof(hello->name)))
		return "name: does not end";
	if (hello->role >= ROLE_KINDS)
		return "role: unknown";
	if (hello->version_least > hello->version_most)
		return "version_least: above version_most";
	if (le32_get(hello->credit_small) > CREDIT_GRANT_MOST)
		return "credit_small: absurd";
	if (le32_get(hello->credit_large) > CREDIT_GRANT_MOST)
		return "credit_large: absurd";
	if (le32_get(hello->slot_large_bytes) > WIRE_PAYLOAD_BYTES_MAX)
		return "slot_large_bytes: absurd";
	return NULL;
}

static bool agree_on_version(struct peer *p, const struct wire_hello *hello)
{
	char reason[WIRE_REASON_BYTES];

	if (hello->version_least <= WIRE_VERSION && WIRE_VERSION <= hello->version_most)
		return true;
	snprintf(reason, sizeof(reason),
		 "version: %.64s speaks versions %u to %u of the protocol, %.64s only %d; "
		 "upgrade the older",
		 hello->name, hello->version_least, hello->version_most,
		 p->transport->options.name, WIRE_VERSION);
	peer_fault(p, WIRE_FAULT_VERSION, reason);
	return false;
}

void peer_heard_hello(struct peer *p, const struct wire_hello *hello)
{
	struct transport *t = p->transport;
	const char *wrong = check_hello(hello);
	struct peer_info info;

	if (wrong) {
		peer_fault(p, WIRE_FAULT_HELLO, wrong);
		return;
	}
	memcpy(p->name, hello->name, sizeof(p->name));
	tidy_name(p->name);
	if (!agree_on_version(p, hello))
		return;
	p->node = le64_get(hello->node);
	p->role = hello->role;
	p->large_bytes = le32_get(hello->slot_large_bytes);
	credit_granted(&p->credit[CREDIT_SMALL], le32_get(hello->credit_small));
	credit_granted(&p->credit[CREDIT_LARGE], le32_get(hello->credit_large));
	credit_grant(&p->credit[CREDIT_SMALL], t->options.small_per_peer);
	credit_grant(&p->credit[CREDIT_LARGE], t->options.large_per_peer);
	enter(p, PEER_UP);
	p->was_up = true;
	counters_set(t->counters, PEERS, 0, ++t->up_count);
	t->writable_check = true;
	p->ping_att = attentive(t);
	outbound_post(p, CONTROL_PING);
	log_debug("transport", "peer %u is up: %s '%s' at %s", p->id, wire_role_name(p->role),
		  p->name, p->address.text);
	info = (struct peer_info){ .peer = p->id, .node = p->node, .role = p->role,
				   .name = p->name, .dialed = p->dialed, .address = p->address };
	t->fired++;
	t->events.up(t->ctx, &info);
}

/* A round trip in which our own loop was held up says nothing; the first one
 * is worth another try.
 */
void peer_pong(struct peer *p, uint64_t stamp)
{
	struct transport *t = p->transport;
	uint64_t rtt_ns;

	if (stamp != p->ping_stamp || t->now_ns < stamp)
		return;
	if (t->gap_ns != p->ping_gap_ns) {
		if (p->rtt_ns == 0)
			outbound_post(p, CONTROL_PING);
		return;
	}
	rtt_ns = MAX(t->now_ns - stamp, 1);
	p->rtt_ns = p->rtt_ns ? p->rtt_ns - p->rtt_ns / 8 + rtt_ns / 8 : rtt_ns;
	counters_observe(t->counters, RTT, 0, (double)rtt_ns / NS_PER_S);
}

void peer_credit_due(struct peer *p)
{
	if (credit_is_due(&p->credit[CREDIT_SMALL]) || credit_is_due(&p->credit[CREDIT_LARGE]))
		outbound_post(p, CONTROL_CREDIT);
}

/* Out of sight of the user; with a goodbye, what is queued still goes first. */
static void depart(struct peer *p, const char *goodbye)
{
	struct transport *t = p->transport;
	struct control *c = &p->control[CONTROL_GOODBYE];

	map_remove(t->by_id, p->id);
	if (p->state == PEER_UP)
		counters_set(t->counters, PEERS, 0, --t->up_count);
	if (p->wants)
		t->waiting--;
	p->wants = 0;
	p->expected = 0;
	if (!goodbye || !peer_listens(p)) {
		p->state = PEER_GONE;
		t->ops->finish(t->engine, p->link, false);
		return;
	}
	enter(p, PEER_LEAVING);
	c->envelope.message.frame.payload_bytes =
		(uint32_t)strnlen(goodbye, sizeof(c->payload));
	memcpy(c->payload, goodbye, c->envelope.message.frame.payload_bytes);
	outbound_post(p, CONTROL_GOODBYE);
	t->ops->finish(t->engine, p->link, true);
}

static void report(struct peer *p, int code, const char *reason)
{
	struct transport *t = p->transport;
	uint32_t id = p->id;

	counters_add(t->counters, LOST, counters_series(t->counters, LOST, cause_of(code)), 1);
	if (!p->dialed && !p->was_up)
		return;
	log_at(code == -EPIPE ? LOG_DEBUG : LOG_INFO, "transport",
	       "peer %u%s%s%s at %s is lost: %s", id, p->name[0] ? " '" : "", p->name,
	       p->name[0] ? "'" : "", p->address.text, reason);
	t->fired++;
	t->events.lost(t->ctx, id, code, reason);
}

static void end(struct peer *p, int code, const char *reason, const char *goodbye)
{
	if (p->state == PEER_LEAVING) {
		p->state = PEER_GONE;
		p->transport->ops->finish(p->transport->engine, p->link, false);
	} else if (p->state != PEER_GONE && p->state != PEER_CLOSED) {
		depart(p, goodbye);
		report(p, code, reason);
	}
}

void peer_fail(struct peer *p, int code, const char *reason)
{
	end(p, code, reason, NULL);
}

void peer_broken(struct peer *p, int code, const char *reason)
{
	end(p, code, reason, NULL);
}

void peer_fault(struct peer *p, enum wire_fault fault, const char *reason)
{
	char copy[ERROR_TEXT_BYTES];
	bool stranger = fault == WIRE_FAULT_MAGIC && p->state == PEER_GREETING;

	snprintf(copy, sizeof(copy), "%s", reason);
	transport_error(p->transport, wire_fault_name(fault));
	log_warn("transport", "bad message from %s%s%s: %s", p->name[0] ? p->name : "",
		 p->name[0] ? " at " : "", p->address.text, copy);
	/* A stranger would not understand a goodbye. */
	end(p, -EPROTO, copy, stranger ? NULL : copy);
}

void peer_leave(struct peer *p, const char *reason)
{
	depart(p, reason && reason[0] ? reason : "it disconnected");
}

void peer_closed(struct peer *p)
{
	/* An engine that gives up without peer_broken() still owes the event. */
	assert(p->state == PEER_LEAVING || p->state == PEER_GONE);
	peer_release(p);
}

void peer_release(struct peer *p)
{
	struct envelope *arriving = p->arriving;

	p->link = NULL;
	p->arriving = NULL;
	p->state = PEER_CLOSED;
	outbound_drop(p);
	if (arriving)
		envelope_put(arriving);
	peer_settle(p);
}

void peer_settle(struct peer *p)
{
	if (p->state == PEER_CLOSED && p->held == 0)
		p->state = PEER_FREE;
}

static uint64_t silence_due(const struct peer *p)
{
	if (p->expected)
		return MAX(p->heard_att, p->expect_att) + p->transport->options.silence_ns;
	return p->heard_att + MAX(idle_silence_ns, p->transport->options.silence_ns);
}

static uint64_t ping_due(const struct peer *p)
{
	uint64_t idle = p->ping_att + idle_ping_ns;

	if (!p->expected)
		return idle;
	return MIN(idle, MAX(MAX(p->heard_att, p->ping_att), p->expect_att) +
			 p->transport->options.heartbeat_ns);
}

uint64_t peer_due_att(const struct peer *p)
{
	switch (p->state) {
	case PEER_CONNECTING:
	case PEER_GREETING:
		return p->born_att + p->transport->options.connect_ns;
	case PEER_UP:
		return MIN(silence_due(p), ping_due(p));
	case PEER_LEAVING:
		return p->born_att + linger_ns;
	default:
		return UINT64_MAX;
	}
}

static void silence_timer(struct peer *p, uint64_t att)
{
	char reason[WIRE_REASON_BYTES];

	if (att >= silence_due(p)) {
		snprintf(reason, sizeof(reason), "nothing heard for %llu ms%s",
			 (unsigned long long)((att - p->heard_att) / NS_PER_MS),
			 p->expected ? " while an answer was expected" : "");
		peer_fail(p, -ETIMEDOUT, reason);
	} else if (att >= ping_due(p)) {
		p->ping_att = att;
		outbound_post(p, CONTROL_PING);
	}
}

void peer_timer(struct peer *p)
{
	uint64_t att = attentive(p->transport);

	if (att < peer_due_att(p))
		return;
	switch (p->state) {
	case PEER_CONNECTING:
		peer_fail(p, -ETIMEDOUT, "no connection in time");
		break;
	case PEER_GREETING:
		peer_fail(p, -ETIMEDOUT, "connected, but no hello in time");
		break;
	case PEER_UP:
		silence_timer(p, att);
		break;
	case PEER_LEAVING:
		peer_fail(p, -ETIMEDOUT, "");
		break;
	default:
		break;
	}
}
