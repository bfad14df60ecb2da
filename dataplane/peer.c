/* peer.c - who is at the other end of one or several lanes: introduction, heartbeats,
 * silence, and the ways it ends.
 *
 *   from        to        made by                then
 *   FREE        JOINING   peer_new()             its lanes connect, or are still to come
 *   JOINING     UP        peer_join()            dialed: every lane heard HELLO -> event up
 *   JOINING     UP        peer_spoke()           accepted: the first message -> event up
 *   any live    LEAVING   peer_leave(), _refuse() GOODBYE is queued on every lane
 *   any live    GONE      peer_fail()            the engine ends its lanes
 *   any         CLOSED    peer_lane_closed()     no lane is left
 *   CLOSED      FREE      peer_settle()          no slot is held
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/layer.h"

static const uint64_t idle_ping_least_ns = NS_PER_S;    /* for the round trip, then less often */
static const uint64_t idle_ping_most_ns = 4 * NS_PER_S;
static const uint64_t linger_ns = 250 * NS_PER_MS;      /* for the last datagrams */
static const uint64_t idle_silence_ns = 10 * NS_PER_S;  /* nothing expected, still dead */

/* Label of petals_transport_lost_total. */
static const struct {
	int code;
	const char *cause;
} causes[] = {
	{ -EPIPE, "goodbye" },        { -ETIMEDOUT, "silence" },
	{ -ECONNRESET, "reset" },     { -ECONNREFUSED, "refused" },
	{ -EPROTO, "protocol" },      { -EKEYREJECTED, "identity" },
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

static void enter(struct peer *p, enum peer_state state)
{
	p->state = state;
	p->born_att = attentive(p->transport);
	transport_sooner(p->transport, peer_due_att(p));
}

struct peer *peer_new(struct transport *t, const struct address *a)
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
	p->address = *a;
	p->heard_att = p->ping_att = attentive(t);
	p->idle_gap_ns = idle_ping_least_ns;
	if (map_put(t->by_id, p->id, p) < 0)
		return NULL;
	enter(p, PEER_JOINING);
	return p;
}

/* Printable, so that no name or reason can forge a log line. */
static void tidy_name(char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			*name = '?';
}

static void introduce(struct peer *p, const struct lane *l, const struct wire_hello *hello)
{
	memcpy(p->name, hello->name, sizeof(p->name));
	tidy_name(p->name);
	p->principal = l->principal;
	p->node = le64_get(hello->node);
	p->role = hello->role;
	p->large_bytes = le32_get(hello->slot_large_bytes);
	credit_granted(&p->credit[CREDIT_SMALL], le32_get(hello->credit_small));
	credit_granted(&p->credit[CREDIT_LARGE], le32_get(hello->credit_large));
	credit_grant(&p->credit[CREDIT_SMALL], p->transport->options.small_per_peer);
	credit_grant(&p->credit[CREDIT_LARGE], p->transport->options.large_per_peer);
}

static void go_up(struct peer *p)
{
	struct transport *t = p->transport;
	struct peer_info info;

	enter(p, PEER_UP);
	p->was_up = true;
	counters_set(t->counters, PEERS, 0, ++t->up_count);
	t->writable_check = true;
	p->ping_att = attentive(t);
	outbound_post(p->lanes[0], CONTROL_PING);
	if (p->lanes[0]->sealing) {
		const struct sealing *s = p->lanes[0]->sealing;

		memcpy(p->flow_sends, s->flow_sends, sizeof(p->flow_sends));
		memcpy(p->flow_receives, s->flow_receives, sizeof(p->flow_receives));
		path_start(p);
	}
	log_debug("transport", "peer %u is up: %s '%s' at %s", p->id, wire_role_name(p->role),
		  p->name, p->address.text);
	info = (struct peer_info){ .peer = p->id, .node = p->node, .role = p->role,
				   .name = p->name, .dialed = p->dialed, .address = p->address,
				   .principal = t->options.identity ? &p->principal : NULL };
	t->fired++;
	t->events.up(t->ctx, &info);
}

static bool same_principal(const struct principal *a, const struct principal *b)
{
	return memcmp(a->fingerprint, b->fingerprint, sizeof(a->fingerprint)) == 0;
}

/* The peer that other lanes of the same bond have made; NULL: this is the first. */
static struct peer *bonded(const struct lane *l, const struct wire_hello *hello)
{
	struct transport *t = l->transport;

	for (uint32_t i = 0; i < t->peer_count; i++) {
		struct peer *p = &t->peers[i];

		if (p->state == PEER_JOINING && !p->dialed && p->node == le64_get(hello->node) &&
		    p->bond == le64_get(hello->bond) && p->lane_count == hello->lanes &&
		    same_principal(&p->principal, &l->principal))
			return p;
	}
	return NULL;
}

static bool adopt(struct lane *l, const struct wire_hello *hello)
{
	struct transport *t = l->transport;
	struct peer *p = bonded(l, hello);
	char reason[WIRE_REASON_BYTES];

	if (p && p->lanes[hello->lane]) {
		lane_fault(l, WIRE_FAULT_HELLO, "lane: came twice");
		return false;
	}
	if (!p)
		p = peer_new(t, &l->address);
	if (!p) {
		log_warn("transport", "refused a connection from %s: all %u peers are taken",
			 l->address.text, t->options.peers_max);
		transport_error(t, "peers_full");
		snprintf(reason, sizeof(reason), "all %u peers are taken", t->options.peers_max);
		lane_leave(l, reason);
		return false;
	}
	p->bond = le64_get(hello->bond);
	p->lane_count = hello->lanes;
	l->peer = p;
	l->index = hello->lane;
	p->lanes[l->index] = l;
	p->lanes_held++;
	return true;
}

/* What a program announces must stand in its certificate. */
static bool check_role(struct lane *l, const struct wire_hello *hello)
{
	static const uint32_t needs[ROLE_KINDS] = {
		[ROLE_ANY] = 0,
		[ROLE_SERVER] = PRINCIPAL_BIT(PRINCIPAL_SERVER),
		[ROLE_GATEWAY] = PRINCIPAL_BIT(PRINCIPAL_GATEWAY),
		[ROLE_DIRECTORY] = PRINCIPAL_BIT(PRINCIPAL_DIRECTORY),
		[ROLE_TOOL] = 0,        /* acts for whoever holds the certificate */
	};
	char reason[WIRE_REASON_BYTES], roles[PRINCIPAL_ROLES_TEXT_BYTES];

	if (!l->sealing || !needs[hello->role] || (l->principal.roles & needs[hello->role]))
		return true;
	principal_roles_text(l->principal.roles, roles);
	snprintf(reason, sizeof(reason), "role: it announces itself as a %s, the certificate of "
		 "%s says %s", wire_role_name(hello->role), l->principal.name, roles);
	lane_fault(l, WIRE_FAULT_ROLE, reason);
	return false;
}

bool peer_join(struct lane *l, const struct wire_hello *hello)
{
	struct peer *p;

	if (!check_role(l, hello))
		return false;
	if (!l->peer && !adopt(l, hello))
		return false;
	p = l->peer;
	if (p->lanes_open == 0) {
		introduce(p, l, hello);
	} else if (p->node != le64_get(hello->node) ||
		   !same_principal(&p->principal, &l->principal)) {
		lane_fault(l, WIRE_FAULT_HELLO, "node: lanes of one peer end in different "
			   "processes");
		return false;
	}
	p->heard_att = attentive(p->transport);
	if (++p->lanes_open < p->lane_count)
		return true;
	if (p->dialed) {
		go_up(p);
		return true;
	}
	for (int i = 0; i < p->lane_count; i++)
		lane_say_hello(p->lanes[i]);
	return true;
}

void peer_spoke(struct peer *p)
{
	if (p->state == PEER_JOINING)
		go_up(p);
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
			outbound_post(p->lanes[0], CONTROL_PING);
		return;
	}
	rtt_ns = MAX(t->now_ns - stamp, 1);
	p->rtt_ns = p->rtt_ns ? p->rtt_ns - p->rtt_ns / 8 + rtt_ns / 8 : rtt_ns;
	counters_observe(t->counters, RTT, 0, (double)rtt_ns / NS_PER_S);
}

void peer_credit_due(struct peer *p)
{
	if (!credit_is_due(&p->credit[CREDIT_SMALL]) && !credit_is_due(&p->credit[CREDIT_LARGE]))
		return;
	if (!path_post_credit(p))
		outbound_post(p->lanes[0], CONTROL_CREDIT);
}

static void end_lanes(struct peer *p, const char *goodbye)
{
	struct lane *const lanes[TRANSPORT_LANES_MAX] = { p->lanes[0], p->lanes[1], p->lanes[2],
							  p->lanes[3] };

	p->parting[0] = '\0';
	path_close(p);
	for (int i = 0; i < TRANSPORT_LANES_MAX; i++) {
		if (lanes[i] && goodbye)
			lane_leave(lanes[i], goodbye);
		else if (lanes[i])
			lane_end(lanes[i]);
	}
}

/* Out of sight of the user; with a goodbye, what is queued still goes first. */
static void depart(struct peer *p, const char *goodbye)
{
	struct transport *t = p->transport;

	map_remove(t->by_id, p->id);
	if (p->state == PEER_UP)
		counters_set(t->counters, PEERS, 0, --t->up_count);
	if (p->wants)
		t->waiting--;
	p->wants = 0;
	p->expected = 0;
	if (goodbye && !path_is_quiet(p))
		snprintf(p->parting, sizeof(p->parting), "%s", goodbye);
	enter(p, goodbye ? PEER_LEAVING : PEER_GONE);
	if (!p->parting[0])
		end_lanes(p, goodbye);
}

void peer_part(struct peer *p)
{
	char goodbye[WIRE_REASON_BYTES];

	if (!p->parting[0] || (!path_is_quiet(p) && attentive(p->transport) < peer_due_att(p)))
		return;
	memcpy(goodbye, p->parting, sizeof(goodbye));
	end_lanes(p, goodbye);
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

static bool is_live(const struct peer *p)
{
	return p->state == PEER_JOINING || p->state == PEER_UP;
}

void peer_fail(struct peer *p, int code, const char *reason)
{
	if (p->state == PEER_LEAVING && p->parting[0])
		end_lanes(p, NULL);
	if (!is_live(p))
		return;
	depart(p, NULL);
	report(p, code, reason);
}

void peer_refuse(struct peer *p, int code, const char *reason)
{
	if (!is_live(p))
		return;
	depart(p, reason);
	report(p, code, reason);
}

void peer_undial(struct peer *p)
{
	depart(p, NULL);
	if (p->lanes_held == 0) {
		p->state = PEER_CLOSED;
		peer_settle(p);
	}
}

void peer_leave(struct peer *p, const char *reason)
{
	depart(p, reason && reason[0] ? reason : "it disconnected");
}

/* What other lanes still carry was sent before their goodbyes. */
void peer_goodbye(struct lane *l, const char *reason)
{
	struct peer *p = l->peer;

	l->said_goodbye = true;
	for (int i = 0; i < p->lane_count; i++)
		if (p->lanes[i] && !p->lanes[i]->said_goodbye && p->state == PEER_UP)
			return;
	peer_fail(p, -EPIPE, reason);
}

void peer_lane_closed(struct peer *p, struct lane *l)
{
	p->lanes[l->index] = NULL;
	if (--p->lanes_held > 0)
		return;
	assert(!is_live(p) && "its end was told before its last lane closed");
	p->state = PEER_CLOSED;
	path_close(p);                  /* settles it */
}

void peer_settle(struct peer *p)
{
	if (p->state == PEER_CLOSED && p->held == 0 && !p->path.flow)
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
	uint64_t last_att = MAX(p->heard_att, p->ping_att);

	/* While nothing is expected one side's pings are enough: whoever dialed comes first. */
	if (!p->expected)
		return last_att + p->idle_gap_ns + (p->dialed ? 0 : p->idle_gap_ns / 4);
	return MIN(p->ping_att + idle_ping_least_ns,
		   MAX(last_att, p->expect_att) + p->transport->options.heartbeat_ns);
}

uint64_t peer_due_att(const struct peer *p)
{
	switch (p->state) {
	case PEER_JOINING:
		return p->born_att + p->transport->options.connect_ns;
	case PEER_UP:
		return MIN(MIN(silence_due(p), ping_due(p)), path_due_att(p));
	case PEER_LEAVING:
		return p->parting[0] ? p->born_att + linger_ns : UINT64_MAX;
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
		p->idle_gap_ns = p->expected ? idle_ping_least_ns :
					       MIN(2 * p->idle_gap_ns, idle_ping_most_ns);
		outbound_post(p->lanes[0], CONTROL_PING);
	}
}

/* Since its certificate was believed, it may have expired or been revoked. */
void peer_check_principal(struct peer *p)
{
	struct error e;

	if (!is_live(p) || p->lanes_open == 0 ||
	    identity_still_valid(p->transport->options.identity, &p->principal, &e))
		return;
	transport_error(p->transport, "no_longer_valid");
	log_warn("transport", "closing the connection with %s: %s", p->name, e.text);
	peer_refuse(p, -EKEYREJECTED, e.text);
}

static const char *why_not_up(const struct peer *p)
{
	for (int i = 0; i < p->lane_count; i++)
		if (p->lanes[i] && p->lanes[i]->state == LANE_CONNECTING)
			return "no connection in time";
	return "connected, but no hello in time";
}

void peer_timer(struct peer *p)
{
	uint64_t att = attentive(p->transport);

	if (att < peer_due_att(p))
		return;
	if (p->state == PEER_JOINING)
		peer_fail(p, -ETIMEDOUT, why_not_up(p));
	else if (p->state == PEER_UP)
		silence_timer(p, att);
	path_turn(p);
}
