/* node.c - peers by id, links by address, queues of small frames that wait for
 * credit, and the tables of handlers and listeners.
 *
 * Owns who is told what.  Leaves bytes, credit and heartbeats to the transport.
 *
 * Life of a link, a peer that we dialed:
 *   from    to      by
 *   -       HELD    node_link(): dialed
 *   HELD    HELD    node_link() again: one more holder
 *   HELD    IDLE    the last node_unlink()
 *   IDLE    HELD    node_link() within NODE_IDLE_NS
 *   IDLE    -       NODE_IDLE_NS passed: disconnected, listeners told
 *   any     -       lost, or refused: listeners told
 */
#include "control/node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/permission.h"
#include "dataplane/base/log.h"
#include "dataplane/base/map.h"
#include "dataplane/base/memory.h"

enum { LISTENERS_MAX = 16 };

enum { PEERS, LINKS, QUEUED_FRAMES, REFUSED };
static const struct counter_row rows[] = {
	[PEERS] = { GAUGE, "petals_node_peers", "Peers that are connected or being dialed." },
	[LINKS] = { GAUGE, "petals_node_links", "Peers dialed by this program." },
	[QUEUED_FRAMES] = { GAUGE, "petals_node_queued_frames",
			    "Small frames that wait for credit or for a connection." },
	[REFUSED] = { COUNTER, "petals_node_refused_total",
		      "Peers disconnected for what they sent.", "reason" },
};

struct queued_frame {
	struct queued_frame *next;
	struct frame frame;
	uint8_t payload[];
};

struct node_peer {
	uint32_t peer;
	bool dialed;
	struct address address;         /* dialed: as asked for; else whence it came */
	char name[WIRE_NAME_BYTES];     /* from up on */
	bool certified;                 /* from up on: there is a principal */
	struct principal principal;
	uint64_t may_send;              /* bits of message types, by the principal */
	uint32_t holders;               /* dialed: node_link() less node_unlink() */
	uint64_t idle_since_ns;         /* dialed, no holders */
	struct queued_frame *first, **tail;
	uint32_t queued;
	size_t queued_bytes;
};

struct node_handler {
	void (*handle)(void *ctx, struct message *m);
	void *ctx;
};

struct node {
	const struct clock *clock;
	struct transport *transport;
	struct core *core;
	struct counters *counters;
	struct map *peers;              /* struct node_peer by peer */
	struct node_handler handlers[WIRE_TYPE_COUNT];
	struct node_listener listeners[LISTENERS_MAX];
	uint32_t listener_count;
	uint32_t telling;               /* listeners are being called */
	uint32_t links, queued;         /* of all peers */
	uint64_t idle_next_ns;          /* an idle link may be due from here on */
};

static void count_peers(struct node *n)
{
	counters_set(n->counters, PEERS, 0, map_length(n->peers));
	counters_set(n->counters, LINKS, 0, n->links);
	counters_set(n->counters, QUEUED_FRAMES, 0, n->queued);
}

static struct node_peer *find_peer(const struct node *n, uint32_t peer)
{
	return map_get(n->peers, peer);
}

static int add_peer(struct node *n, uint32_t peer, const struct address *dialed)
{
	struct node_peer *p = mem_calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	p->peer = peer;
	p->tail = &p->first;
	if (dialed) {
		p->dialed = true;
		p->address = *dialed;
		p->holders = 1;
	}
	rc = map_put(n->peers, peer, p);
	if (rc < 0) {
		mem_free(p);
		return rc;
	}
	n->links += p->dialed;
	count_peers(n);
	return 0;
}

static void pop_frame(struct node *n, struct node_peer *p)
{
	struct queued_frame *q = p->first;

	p->first = q->next;
	if (!p->first)
		p->tail = &p->first;
	p->queued--;
	p->queued_bytes -= q->frame.payload_bytes;
	n->queued--;
	mem_free(q);
}

/* After this the peer is unknown here. */
static void forget_peer(struct node *n, uint32_t peer)
{
	struct node_peer *p = map_remove(n->peers, peer);

	if (!p)
		return;
	while (p->first)
		pop_frame(n, p);
	n->links -= p->dialed;
	mem_free(p);
	count_peers(n);
}

static void tell_lost(struct node *n, uint32_t peer, int code, const char *reason)
{
	uint32_t i;

	n->telling++;
	for (i = 0; i < n->listener_count; i++)
		if (n->listeners[i].lost)
			n->listeners[i].lost(n->listeners[i].ctx, peer, code, reason);
	n->telling--;
}

static void drop_peer(struct node *n, uint32_t peer, int code, const char *reason)
{
	if (!find_peer(n, peer))
		return;
	forget_peer(n, peer);
	transport_disconnect(n->transport, peer, reason);
	tell_lost(n, peer, code, reason);
}

/* 0: sent.  -EAGAIN: the transport will say writable. */
static int send_now(struct node *n, uint32_t peer, const struct frame *f, const void *payload)
{
	struct message *m;
	int rc = transport_reserve(n->transport, peer, f->payload_bytes, &m);

	if (rc < 0)
		return rc;
	m->frame = *f;
	if (f->payload_bytes)
		memcpy(m->payload, payload, f->payload_bytes);
	transport_send(n->transport, m);
	return 0;
}

static void flush_peer(struct node *n, struct node_peer *p)
{
	while (p->first) {
		struct queued_frame *q = p->first;
		int rc = send_now(n, p->peer, &q->frame, q->payload);

		if (rc == -EAGAIN)
			break;
		if (rc < 0)
			log_warn("node", "a %s of %u bytes to %s is dropped: %s",
				 wire_types[q->frame.type].name, q->frame.payload_bytes,
				 p->address.text, error_describe(rc));
		pop_frame(n, p);
	}
	counters_set(n->counters, QUEUED_FRAMES, 0, n->queued);
}

static void on_up(void *ctx, const struct peer_info *info)
{
	struct node *n = ctx;
	struct node_peer *p;
	uint32_t i;

	if (!find_peer(n, info->peer) && add_peer(n, info->peer, NULL) < 0) {
		transport_disconnect(n->transport, info->peer, "out of memory");
		return;
	}
	p = find_peer(n, info->peer);
	snprintf(p->name, sizeof(p->name), "%s", info->name);
	if (!p->dialed)
		p->address = info->address;
	p->certified = info->principal != NULL;
	if (p->certified)
		p->principal = *info->principal;
	p->may_send = permission_wire_mask(info->principal);
	flush_peer(n, p);
	n->telling++;
	for (i = 0; i < n->listener_count; i++)
		if (n->listeners[i].up && find_peer(n, info->peer))
			n->listeners[i].up(n->listeners[i].ctx, info);
	n->telling--;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct node *n = ctx;

	/* Unknown: an accepted peer that never came up, nobody heard of it. */
	if (!find_peer(n, peer))
		return;
	forget_peer(n, peer);
	tell_lost(n, peer, code, reason);
}

static bool may_send(const struct node *n, const struct message *m)
{
	const struct node_peer *p = find_peer(n, m->peer);

	return p && p->may_send & 1ull << m->frame.type;
}

static void refuse_message(struct node *n, uint32_t peer, enum wire_type type)
{
	const char *name = wire_types[type].name;
	struct error e;

	if (permission_check(node_principal(n, peer), permission_of_wire(type), &e) < 0)
		node_refuse(n, peer, "forbidden", "its \"%s\": %s", name, e.text);
	else
		node_refuse(n, peer, "unexpected", "\"%s\" messages are not served here", name);
}

static void on_received(void *ctx, struct message *m)
{
	struct node *n = ctx;
	const struct node_handler *h = &n->handlers[m->frame.type];

	if (h->handle && may_send(n, m)) {
		h->handle(h->ctx, m);
		return;
	}
	refuse_message(n, m->peer, m->frame.type);
	message_put(n->transport, m);
}

static void on_writable(void *ctx, uint32_t peer)
{
	struct node *n = ctx;
	struct node_peer *p = find_peer(n, peer);
	uint32_t i;

	if (p)
		flush_peer(n, p);
	n->telling++;
	for (i = 0; i < n->listener_count; i++)
		if (n->listeners[i].writable && find_peer(n, peer))
			n->listeners[i].writable(n->listeners[i].ctx, peer);
	n->telling--;
}

static const struct transport_events events = {
	.up = on_up, .lost = on_lost, .received = on_received, .writable = on_writable,
};

/* One idle link that is due, or NULL; sets when to look again. */
static struct node_peer *due_link(struct node *n, uint64_t now_ns)
{
	struct node_peer *p;
	uint32_t cursor = 0;

	n->idle_next_ns = UINT64_MAX;
	while ((p = map_next(n->peers, &cursor))) {
		if (!p->dialed || p->holders)
			continue;
		if (now_ns - p->idle_since_ns >= NODE_IDLE_NS)
			return p;
		n->idle_next_ns = MIN(n->idle_next_ns, p->idle_since_ns + NODE_IDLE_NS);
	}
	return NULL;
}

static int poll_idle(void *ctx, uint64_t now_ns)
{
	struct node *n = ctx;
	struct node_peer *p;
	int work = 0;

	if (now_ns < n->idle_next_ns)
		return 0;
	while ((p = due_link(n, now_ns))) {
		drop_peer(n, p->peer, -EPIPE, "nobody needs this connection any more");
		work++;
	}
	return work;
}

static uint64_t idle_deadline(void *ctx)
{
	return ((struct node *)ctx)->idle_next_ns;
}

int node_open(struct node **out, const struct transport_options *o, struct error *e)
{
	struct node *n = mem_calloc(1, sizeof(*n));
	int rc;

	*out = NULL;
	if (!n)
		return error_errno(e, -ENOMEM, "opening a node");
	n->clock = o->clock;
	n->idle_next_ns = UINT64_MAX;
	rc = counters_open(&n->counters, rows, ARRAY_LENGTH(rows));
	if (rc < 0)
		goto err_node;
	rc = map_open(&n->peers, o->peers_max);
	if (rc < 0)
		goto err_counters;
	rc = transport_open(&n->transport, o, &events, n, e);
	if (rc < 0)
		goto err_map;
	rc = core_open(&n->core, n->transport, n->clock);
	if (rc < 0)
		goto err_transport;
	core_add(n->core, &(struct poller){ "links", n, poll_idle, idle_deadline });
	*out = n;
	return 0;

err_transport:
	transport_close(n->transport);
err_map:
	map_close(n->peers);
err_counters:
	counters_close(n->counters);
err_node:
	mem_free(n);
	return rc == -ENOMEM ? error_errno(e, rc, "opening a node") : rc;
}

void node_close(struct node *n)
{
	struct node_peer *p;
	uint32_t cursor;

	if (!n)
		return;
	core_close(n->core);
	transport_close(n->transport);
	while (cursor = 0, (p = map_next(n->peers, &cursor)))
		forget_peer(n, p->peer);
	map_close(n->peers);
	counters_close(n->counters);
	mem_free(n);
}

struct core *node_core(struct node *n)
{
	return n->core;
}

struct transport *node_transport(struct node *n)
{
	return n->transport;
}

const struct clock *node_clock(const struct node *n)
{
	return n->clock;
}

struct counters *node_counters(struct node *n)
{
	return n->counters;
}

void node_wake(struct node *n)
{
	transport_wake(n->transport);
}

int node_listen(struct node *n, const struct address *a, struct address *bound,
		struct error *e)
{
	return transport_listen(n->transport, a, bound, e);
}

void node_handle(struct node *n, enum wire_type type,
		 void (*handler)(void *ctx, struct message *m), void *ctx)
{
	assert(type > 0 && type < WIRE_TYPE_COUNT);
	assert(!handler || !n->handlers[type].handle);
	n->handlers[type] = (struct node_handler){ handler, ctx };
}

void node_put(struct node *n, struct message *m)
{
	message_put(n->transport, m);
}

int node_listener_add(struct node *n, const struct node_listener *l)
{
	assert(!n->telling);
	if (n->listener_count == LISTENERS_MAX)
		return -ENOSPC;
	n->listeners[n->listener_count++] = *l;
	return 0;
}

void node_listener_remove(struct node *n, void *ctx)
{
	uint32_t i, kept = 0;

	assert(!n->telling);
	for (i = 0; i < n->listener_count; i++)
		if (n->listeners[i].ctx != ctx)
			n->listeners[kept++] = n->listeners[i];
	n->listener_count = kept;
}

static struct node_peer *find_link(const struct node *n, const struct address *a)
{
	struct node_peer *p;
	uint32_t cursor = 0;

	while ((p = map_next(n->peers, &cursor)))
		if (p->dialed && !strcmp(p->address.text, a->text))
			return p;
	return NULL;
}

int node_link(struct node *n, const struct address *a, uint32_t *peer, struct error *e)
{
	struct node_peer *p = find_link(n, a);
	int rc;

	if (p) {
		p->holders++;
		*peer = p->peer;
		return 0;
	}
	rc = transport_connect(n->transport, a, peer, e);
	if (rc < 0)
		return rc;
	rc = add_peer(n, *peer, a);
	if (rc < 0) {
		transport_disconnect(n->transport, *peer, "out of memory");
		return error_errno(e, rc, "remembering the link to %s", a->text);
	}
	return 0;
}

void node_unlink(struct node *n, uint32_t peer)
{
	struct node_peer *p = find_peer(n, peer);

	if (!p)
		return;
	assert(p->dialed && p->holders > 0);
	if (--p->holders > 0)
		return;
	p->idle_since_ns = node_now(n);
	n->idle_next_ns = MIN(n->idle_next_ns, p->idle_since_ns + NODE_IDLE_NS);
}

bool node_is_up(const struct node *n, uint32_t peer)
{
	return find_peer(n, peer) && transport_is_up(n->transport, peer);
}

const struct address *node_address(const struct node *n, uint32_t peer)
{
	const struct node_peer *p = find_peer(n, peer);

	return p ? &p->address : NULL;
}

const struct principal *node_principal(const struct node *n, uint32_t peer)
{
	const struct node_peer *p = find_peer(n, peer);

	return p && p->certified ? &p->principal : NULL;
}

void node_renew_principal(struct node *n, uint32_t peer, const struct principal *p)
{
	struct node_peer *found = find_peer(n, peer);

	if (!found || !found->certified)
		return;
	found->principal = *p;
	found->may_send = permission_wire_mask(p);
	transport_renew_principal(n->transport, peer, p);
}

uint32_t node_certified_peers(const struct node *n, uint32_t *out, uint32_t most)
{
	const struct node_peer *p;
	uint32_t cursor = 0, count = 0;

	while (count < most && (p = map_next(n->peers, &cursor)))
		if (p->certified && p->principal.roles)
			out[count++] = p->peer;
	return count;
}

static int queue_frame(struct node *n, struct node_peer *p, const struct frame *f,
		       const void *payload)
{
	struct queued_frame *q;

	if (p->queued >= NODE_QUEUE_FRAMES_MAX ||
	    p->queued_bytes + f->payload_bytes > NODE_QUEUE_BYTES_MAX)
		return -ENOBUFS;
	q = mem_alloc(sizeof(*q) + f->payload_bytes);
	if (!q)
		return -ENOMEM;
	q->next = NULL;
	q->frame = *f;
	if (f->payload_bytes)
		memcpy(q->payload, payload, f->payload_bytes);
	*p->tail = q;
	p->tail = &q->next;
	p->queued++;
	p->queued_bytes += f->payload_bytes;
	n->queued++;
	counters_set(n->counters, QUEUED_FRAMES, 0, n->queued);
	return 0;
}

int node_send(struct node *n, uint32_t peer, const struct frame *f, const void *payload)
{
	struct node_peer *p = find_peer(n, peer);
	int rc;

	if (!p)
		return -ENOTCONN;
	if (!p->first) {
		rc = send_now(n, peer, f, payload);
		if (rc != -EAGAIN)
			return rc;
	}
	return queue_frame(n, p, f, payload);
}

uint32_t node_queued(const struct node *n, uint32_t peer)
{
	const struct node_peer *p = find_peer(n, peer);

	return p ? p->queued : 0;
}

void node_expect(struct node *n, uint32_t peer, int delta)
{
	if (find_peer(n, peer))
		transport_expect(n->transport, peer, delta);
}

void node_refuse(struct node *n, uint32_t peer, const char *what, const char *format, ...)
{
	const struct node_peer *p = find_peer(n, peer);
	char reason[WIRE_REASON_BYTES];
	va_list args;

	if (!p)
		return;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	counters_add(n->counters, REFUSED, counters_series(n->counters, REFUSED, what), 1);
	log_warn("node", "peer %u '%s' at %s is disconnected: %s", peer, p->name, p->address.text,
		 reason);
	drop_peer(n, peer, -EPROTO, reason);
}
