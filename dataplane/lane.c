/* lane.c - the life of a connection: it connects, greets, carries messages, ends.
 *
 *   from        to         made by               then
 *   FREE        CONNECTING lane_new(), dialed    the engine connects
 *   FREE        SECURING   lane_accepted()       the TLS handshake is expected
 *   CONNECTING  SECURING   lane_connected()      ... and begun
 *   SECURING    GREETING   lane_secured()        their HELLO is expected, or ours queued
 *   GREETING    OPEN       lane_heard_hello()    it belongs to a peer
 *   any live    LEAVING    lane_leave()          GOODBYE is queued, nothing is heard
 *   SECURING    LEAVING    lane_reject()         what TLS has to say is sent
 *   any         ENDING     lane_end()            the engine ends it
 *   LEAVING     ENDING     linger ran out        likewise
 *   any         FREE       lane_closed()         nothing of it is in the engine
 *
 * In the clear (no identity) SECURING is passed over.  Whoever dials speaks first; the
 * other side answers once it has heard HELLO on every lane of the peer, so nothing can
 * arrive before its peer is complete.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/layer.h"

static const uint64_t linger_ns = 250 * NS_PER_MS;      /* for the last bytes */

struct lane *lane_new(struct transport *t, const struct address *a)
{
	struct lane *l = NULL;

	for (uint32_t i = 0; i < t->lane_count && !l; i++)
		if (t->lanes[i].state == LANE_FREE)
			l = &t->lanes[i];
	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->transport = t;
	l->state = LANE_CONNECTING;
	l->address = *a;
	l->born_att = attentive(t);
	transport_sooner(t, lane_due_att(l));
	return l;
}

void lane_forget(struct lane *l)
{
	l->state = LANE_FREE;
}

bool lane_listens(const struct lane *l)
{
	return l->state == LANE_GREETING || l->state == LANE_OPEN;
}

void lane_say_hello(struct lane *l)
{
	const struct transport *t = l->transport;
	struct control *c = &l->control[CONTROL_HELLO];
	struct wire_hello hello = {
		.node = le64_of(t->node), .role = (uint8_t)t->options.role,
		.version_least = WIRE_VERSION, .version_most = WIRE_VERSION,
		.bond = le64_of(l->peer->bond), .lane = l->index,
		.lanes = l->peer->lane_count,
		.credit_small = le32_of(t->options.small_per_peer),
		.credit_large = le32_of(t->options.large_per_peer),
		.slot_large_bytes = le32_of(t->options.large_bytes),
	};

	wire_text_set(hello.name, sizeof(hello.name), t->options.name);
	memcpy(c->payload, &hello, sizeof(hello));
	c->envelope.message.frame.payload_bytes = sizeof(hello);
	outbound_post(l, CONTROL_HELLO);
}

/* Connected: what comes next.  An accepted lane that fails here is as if it never was. */
static int secure(struct lane *l, bool dialing)
{
	struct error e;
	int rc;

	if (!l->transport->options.identity) {
		l->state = LANE_GREETING;
		return 0;
	}
	rc = sealed_open(l, dialing, &e);
	if (rc == 0) {
		l->state = LANE_SECURING;
		return 0;
	}
	log_warn("transport", "%s", e.text);
	if (!dialing)
		lane_forget(l);
	return rc;
}

struct lane *lane_accepted(struct transport *t, struct link *link, const struct address *from)
{
	struct lane *l = lane_new(t, from);

	if (!l) {
		log_warn("transport", "refused a connection from %s: all %u connections are "
			 "taken", from->text, t->lane_count);
		transport_error(t, "peers_full");
		return NULL;
	}
	link->lane = l;
	l->link = link;
	return secure(l, false) < 0 ? NULL : l;
}

void lane_connected(struct lane *l)
{
	if (l->state != LANE_CONNECTING)
		return;
	if (secure(l, true) < 0)
		lane_broken(l, -ENOMEM, "out of memory for a TLS handshake");
	else if (l->sealing)
		sealed_begin(l);
	else
		lane_say_hello(l);
}

void lane_secured(struct lane *l, const struct principal *who)
{
	l->principal = *who;
	l->state = LANE_GREETING;
	if (l->sealing->dialing)
		lane_say_hello(l);
}

static const char *check_hello(const struct wire_hello *hello)
{
	if (!wire_text_ok(hello->name, sizeof(hello->name)))
		return "name: does not end";
	if (hello->role >= ROLE_KINDS)
		return "role: unknown";
	if (hello->version_least > hello->version_most)
		return "version_least: above version_most";
	if (hello->lanes == 0 || hello->lanes > TRANSPORT_LANES_MAX)
		return "lanes: absurd";
	if (hello->lane >= hello->lanes)
		return "lane: past the last";
	if (le32_get(hello->credit_small) > CREDIT_GRANT_MOST)
		return "credit_small: absurd";
	if (le32_get(hello->credit_large) > CREDIT_GRANT_MOST)
		return "credit_large: absurd";
	if (le32_get(hello->slot_large_bytes) > WIRE_PAYLOAD_BYTES_MAX)
		return "slot_large_bytes: absurd";
	return NULL;
}

static bool agree_on_version(struct lane *l, const struct wire_hello *hello)
{
	char reason[WIRE_REASON_BYTES];

	if (hello->version_least <= WIRE_VERSION && WIRE_VERSION <= hello->version_most)
		return true;
	snprintf(reason, sizeof(reason),
		 "version: %.64s speaks versions %u to %u of the protocol, %.64s only %d; "
		 "upgrade the older",
		 hello->name, hello->version_least, hello->version_most,
		 l->transport->options.name, WIRE_VERSION);
	lane_fault(l, WIRE_FAULT_VERSION, reason);
	return false;
}

void lane_heard_hello(struct lane *l, const struct wire_hello *hello)
{
	const char *wrong = check_hello(hello);

	if (wrong) {
		lane_fault(l, WIRE_FAULT_HELLO, wrong);
		return;
	}
	if (!agree_on_version(l, hello))
		return;
	l->state = LANE_OPEN;
	peer_join(l, hello);
}

void lane_leave(struct lane *l, const char *reason)
{
	struct control *c = &l->control[CONTROL_GOODBYE];

	if (l->state == LANE_LEAVING)
		return;
	if (!lane_listens(l)) {
		lane_end(l);
		return;
	}
	l->state = LANE_LEAVING;
	l->born_att = attentive(l->transport);
	transport_sooner(l->transport, lane_due_att(l));
	c->envelope.message.frame.payload_bytes = (uint32_t)strnlen(reason, sizeof(c->payload));
	memcpy(c->payload, reason, c->envelope.message.frame.payload_bytes);
	outbound_post(l, CONTROL_GOODBYE);
	engine_finish(l, true);
}

void lane_reject(struct lane *l, const char *reason)
{
	if (l->state == LANE_SECURING) {
		l->state = LANE_LEAVING;
		l->born_att = attentive(l->transport);
		transport_sooner(l->transport, lane_due_att(l));
		engine_finish(l, true);
	} else {
		lane_end(l);
	}
	if (l->peer)
		peer_refuse(l->peer, -EKEYREJECTED, reason);
}

void lane_end(struct lane *l)
{
	if (l->state == LANE_ENDING)
		return;
	l->state = LANE_ENDING;
	engine_finish(l, false);
}

void lane_fault(struct lane *l, enum wire_fault fault, const char *reason)
{
	struct transport *t = l->transport;
	char copy[ERROR_TEXT_BYTES];
	const char *name = l->peer ? l->peer->name : "";
	bool stranger = fault == WIRE_FAULT_MAGIC && l->state == LANE_GREETING;

	snprintf(copy, sizeof(copy), "%s", reason);
	transport_error(t, wire_fault_name(fault));
	log_warn("transport", "bad message from %s%s%s: %s", name, name[0] ? " at " : "",
		 l->address.text, copy);
	if (stranger)                   /* would not understand a goodbye */
		lane_end(l);
	else
		lane_leave(l, copy);
	if (!l->peer)
		return;
	if (stranger)
		peer_fail(l->peer, -EPROTO, copy);
	else
		peer_refuse(l->peer, -EPROTO, copy);
}

void lane_broken(struct lane *l, int code, const char *reason)
{
	struct peer *p = l->peer;
	bool leaving = l->state == LANE_LEAVING;        /* the peer's other lanes are, too */

	if (l->state == LANE_SECURING && code == -ECONNRESET)
		reason = "the connection was closed in the TLS handshake (does the other side "
			 "run with --insecure?)";
	else if (l->state == LANE_GREETING && !l->sealing && p && p->dialed && code == -ECONNRESET)
		reason = "the connection was closed without a hello (does the other side demand "
			 "certificates?)";
	lane_end(l);
	/* After a goodbye, its other lanes' are on their way. */
	if (p && !leaving && !l->said_goodbye)
		peer_fail(p, code, reason);
}

void lane_closed(struct lane *l)
{
	assert(l->state == LANE_LEAVING || l->state == LANE_ENDING);
	lane_release(l);
}

void lane_release(struct lane *l)
{
	struct envelope *arriving = l->arriving;
	struct peer *p = l->peer;

	l->link = NULL;
	l->arriving = NULL;
	outbound_drop(l);
	sealed_close(l);
	l->state = LANE_FREE;
	if (arriving)
		envelope_put(arriving);
	if (p)
		peer_lane_closed(p, l);
}

uint64_t lane_due_att(const struct lane *l)
{
	if (l->sealing && l->sealing->out_of_keys && l->state != LANE_ENDING)
		return 0;
	switch (l->state) {
	case LANE_CONNECTING:
	case LANE_SECURING:
	case LANE_GREETING:
		return l->peer ? UINT64_MAX : l->born_att + l->transport->options.connect_ns;
	case LANE_LEAVING:
		return l->born_att + linger_ns;
	default:
		return UINT64_MAX;
	}
}

void lane_timer(struct lane *l)
{
	if (attentive(l->transport) < lane_due_att(l))
		return;
	if (l->sealing && l->sealing->out_of_keys)
		lane_broken(l, -ENOMEM, "out of memory for the next keys");
	else
		lane_end(l);
}
