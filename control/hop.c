/* hop.c - owns the life of one hop: opening with reservations, the link to the next hop,
 * rerouting, closing.  Its steps are hop_step.c's, the table of hops is hops.c's.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/hop_private.h"
#include "dataplane/base/log.h"

enum { HOP_HOLDER };
#define EXPECT_NS (1 * NS_PER_S)

void hop_check(const struct hop *hop)
{
	bool held = hop->state == HOP_DIALING || hop->state == HOP_READY ||
		    hop->state == HOP_SEVERED;

	assert(!held || (hop->sequence && hop->out));
	assert(hop->state != HOP_WAITING || (!hop->sequence && !hop->out));
	assert(hop->state != HOP_READY || boundary_peer(hop->out));
	assert(hop->state != HOP_SEVERED || !boundary_peer(hop->out));
	assert(!hop->sequence || hop->received <= hop->tokens_max);
}

struct hop *hop_find(const struct hops *h, uint64_t session)
{
	return map_get(h->by_session, session);
}

void hop_refuse(struct hops *h, const struct message *m, enum wire_refusal refusal,
		uint32_t expected, const char *format, ...)
{
	struct wire_refused payload = {
		.refusal = le32_of(refusal),
		.type = le32_of(m->frame.type),
		.expected = le32_of(expected),
	};
	struct frame f = {
		.type = WIRE_REFUSED,
		.session = m->frame.session,
		.step = m->frame.step,
		.epoch = m->frame.epoch,
		.hop = m->frame.hop,
		.payload_bytes = sizeof(payload),
	};
	va_list args;

	va_start(args, format);
	vsnprintf(payload.reason, sizeof(payload.reason), format, args);
	va_end(args);
	log_info("hop", "session %016llx: %s refused (%s): %s",
		 (unsigned long long)m->frame.session, wire_types[m->frame.type].name,
		 wire_refusal_name(refusal), payload.reason);
	counters_add(h->counters, HOPS_REFUSED,
		     counters_series(h->counters, HOPS_REFUSED, wire_refusal_name(refusal)), 1);
	node_send(h->options.node, m->peer, &f, &payload);
}

/* A word to the client about its session. */
void hop_tell(const struct hop *hop, enum wire_type type, uint32_t epoch, const void *payload,
	      uint32_t bytes)
{
	struct frame f = {
		.type = type,
		.session = hop->session,
		.epoch = epoch,
		.hop = hop->index,
		.payload_bytes = bytes,
	};

	node_send(hop->hops->options.node, hop->client, &f, payload);
}

void hop_expect_next(struct hop *hop)
{
	struct hops *h = hop->hops;

	if (hop->last || !hop->next_link)
		return;
	hop->expects_until_ns = node_now(h->options.node) + EXPECT_NS;
	h->expects_check_ns = MIN(h->expects_check_ns, hop->expects_until_ns);
	if (!hop->expects)
		node_expect(h->options.node, hop->next_link, 1);
	hop->expects = true;
}

void hop_unexpect_next(struct hop *hop)
{
	if (hop->expects)
		node_expect(hop->hops->options.node, hop->next_link, -1);
	hop->expects = false;
}

/* Lets go of the next hop, whether it is still there or not. */
static void hop_unlink_next(struct hop *hop)
{
	hop_unexpect_next(hop);
	if (hop->next_link)
		node_unlink(hop->hops->options.node, hop->next_link);
	hop->next_link = 0;
}

static void hop_link_next(struct hop *hop)
{
	struct hops *h = hop->hops;
	struct error e;

	if (hop->last) {
		hop_next_up(hop);
		return;
	}
	if (node_link(h->options.node, &hop->next, &hop->next_link, &e) < 0) {
		hop->next_link = 0;
		hop_next_lost(hop, e.text);
		return;
	}
	if (node_is_up(h->options.node, hop->next_link))
		hop_next_up(hop);
}

void hop_next_up(struct hop *hop)
{
	struct boundary_target target = {
		.peer = hop->last ? hop->client : hop->next_link,
		.hop = hop->last ? 0 : (uint8_t)(hop->index + 1),
		.epoch = hop->next_epoch,
		.replay_end = hop->replay_end,
		.pass_replay = hop->pass_replay,
	};

	boundary_target(hop->out, &target);
	hop->state = HOP_READY;
	hop_check(hop);
	boundary_pump(hop->out);
	hop_expect_next(hop);           /* it may have been given a replay */
}

void hop_next_lost(struct hop *hop, const char *reason)
{
	struct hops *h = hop->hops;
	char text[WIRE_REASON_BYTES];

	if (hop->state != HOP_READY && hop->state != HOP_DIALING)
		return;
	snprintf(text, sizeof(text), "%s", reason);
	hop_unlink_next(hop);
	boundary_untarget(hop->out);
	hop->state = HOP_SEVERED;
	log_info("hop", "session %016llx: next hop %s lost: %s",
		 (unsigned long long)hop->session, hop->next.text, text);
	counters_add(h->counters, HOPS_LOST, 0, 1);
	hop_tell(hop, WIRE_LOST, hop->next_epoch, text, (uint32_t)strlen(text));
	hop_check(hop);
}

void hop_reroute(struct hop *hop, const struct message *m)
{
	struct hops *h = hop->hops;
	struct wire_reroute reroute;

	memcpy(&reroute, m->payload, sizeof(reroute));
	if (!wire_text_ok(reroute.next, sizeof(reroute.next))) {
		hop_refuse(h, m, REFUSED_INVALID, 0, "REROUTE: next address has no end");
		return;
	}
	if (m->peer != hop->client) {
		hop_refuse(h, m, REFUSED_INVALID, 0, "REROUTE: not from this session's client");
		return;
	}
	if (hop->state == HOP_WAITING || le32_get(reroute.next_epoch) <= hop->next_epoch) {
		hop_refuse(h, m, REFUSED_STALE, hop->next_epoch,
			   "REROUTE: epoch %u, this boundary is at %u",
			   le32_get(reroute.next_epoch), hop->next_epoch);
		return;
	}
	if (hop->last != (reroute.next[0] == '\0')) {
		hop_refuse(h, m, REFUSED_INVALID, 0,
			   "REROUTE: a hop cannot become or cease to be the last");
		return;
	}
	counters_add(h->counters, HOPS_REROUTES, 0, 1);
	hop_unlink_next(hop);
	boundary_untarget(hop->out);
	wire_text_set(hop->next.text, sizeof(hop->next.text), reroute.next);
	hop->next_epoch = le32_get(reroute.next_epoch);
	hop->replay_end = le32_get(reroute.replay_end);
	hop->pass_replay = true;
	hop->state = HOP_DIALING;
	hop_link_next(hop);
}

/* Pages and history for a hop, or -ENOSPC with nothing held. */
static int hop_reserve(struct hop *hop)
{
	struct hops *h = hop->hops;
	struct boundary_options o = {
		.node = h->options.node,
		.session = hop->session,
		.width = h->info->hidden,
		.encoding = h->options.round,
		.chunk_rows = h->options.rows_max,
		.answers = hop->last,
	};
	int rc;

	if (h->history_reserved + hop->history_bytes > h->options.history_bytes)
		return -ENOSPC;
	rc = sequence_open(&hop->sequence, h->cache, hop->tokens_max);
	if (rc < 0)
		return rc;
	rc = boundary_open(&hop->out, &o);
	if (rc < 0) {
		sequence_close(hop->sequence);
		hop->sequence = NULL;
		return rc;
	}
	h->history_reserved += hop->history_bytes;
	return 0;
}

static void hop_start(struct hop *hop)
{
	hop->state = HOP_DIALING;
	counters_add(hop->hops->counters, HOPS_OPENS, 0, 1);
	/* Steps may come before the next hop is up: their rows are kept until it is.  Waiting
	 * for it could wait for ever, when it was lost and the client knows before we do.
	 */
	hop_tell(hop, WIRE_OPENED, hop->epoch, NULL, 0);
	hop_link_next(hop);
}

/* Why an OPEN makes no sense here: 0 when it does. */
static int open_check(struct hops *h, const struct message *m, const struct wire_open *open)
{
	const struct span_info *info = h->info;
	uint32_t first = le32_get(open->first), end = le32_get(open->end);
	uint32_t tokens = le32_get(open->tokens_max);

	if (!wire_text_ok(open->next, sizeof(open->next)))
		hop_refuse(h, m, REFUSED_INVALID, 0, "OPEN: next address has no end");
	else if (le64_get(open->identity) != h->identity)
		hop_refuse(h, m, REFUSED_MODEL, 0, "OPEN: other weights or arithmetic wanted than "
			   "the %s of model %016llx here", info->kind,
			   (unsigned long long)h->options.fingerprint);
	else if (first >= end || first < info->first || end > info->end)
		hop_refuse(h, m, REFUSED_MODEL, 0, "OPEN: blocks [%u,%u) wanted, [%u,%u) served",
			   first, end, info->first, info->end);
	else if (open->encoding != h->options.round)
		hop_refuse(h, m, REFUSED_MODEL, 0, "OPEN: rows as %s wanted, sent here as %s",
			   wire_encoding_name(open->encoding),
			   wire_encoding_name(h->options.round));
	else if (tokens == 0 || tokens > h->options.tokens_max)
		hop_refuse(h, m, REFUSED_INVALID, h->options.tokens_max,
			   "OPEN: %u tokens, a session may have 1..%u", tokens,
			   h->options.tokens_max);
	else if (h->draining)
		hop_refuse(h, m, REFUSED_DRAINING, 0, "this server is draining");
	else
		return 0;
	return -EINVAL;
}

/* A session that is here already: the same OPEN again, or a newer one. */
static bool open_again(struct hops *h, const struct message *m)
{
	struct hop *hop = hop_find(h, m->frame.session);

	if (!hop)
		return false;
	if (m->frame.epoch > hop->epoch) {
		hop_close(hop);
		return false;
	}
	if (m->frame.epoch < hop->epoch || m->peer != hop->client)
		hop_refuse(h, m, REFUSED_STALE, hop->epoch, "OPEN: epoch %u, this hop is at %u",
			   m->frame.epoch, hop->epoch);
	else if (hop->state != HOP_WAITING)
		hop_tell(hop, WIRE_OPENED, hop->epoch, NULL, 0);
	return true;
}

static struct hop *hop_new(struct hops *h, const struct message *m, const struct wire_open *open)
{
	struct hop *hop = pool_get(h->hop_pool, HOP_HOLDER);

	if (!hop)
		return NULL;
	hop->hops = h;
	hop->session = m->frame.session;
	hop->client = m->peer;
	hop->index = m->frame.hop;
	hop->epoch = m->frame.epoch;
	hop->first = le32_get(open->first);
	hop->end = le32_get(open->end);
	hop->tokens_max = le32_get(open->tokens_max);
	hop->pass_replay = le32_get(open->flags) & WIRE_OPEN_PASS_REPLAY;
	hop->last = open->next[0] == '\0';
	hop->next_epoch = le32_get(open->next_epoch);
	wire_text_set(hop->next.text, sizeof(hop->next.text), open->next);
	hop->deadline_ns = node_now(h->options.node) + m->frame.deadline_us * NS_PER_US;
	hop->history_bytes = (uint64_t)h->row_bytes * hop->tokens_max;
	hop->older = h->newest;
	if (h->newest)
		h->newest->newer = hop;
	else
		h->oldest = hop;
	h->newest = hop;
	map_put(h->by_session, hop->session, hop);
	return hop;
}

int hop_open(struct hops *h, const struct message *m)
{
	struct wire_open open;
	struct hop *hop;
	int rc;

	memcpy(&open, m->payload, sizeof(open));
	if (open_check(h, m, &open) < 0 || open_again(h, m))
		return 0;
	hop = hop_new(h, m, &open);
	if (!hop) {
		hop_refuse(h, m, REFUSED_BUSY, 0, "%u sessions are open, no more are taken",
			   h->options.sessions_max);
		return -EBUSY;
	}
	rc = h->waiting ? -ENOSPC : hop_reserve(hop);
	if (rc == 0) {
		hop_start(hop);
		return 0;
	}
	if (rc == -ENOSPC && m->frame.deadline_us) {
		hop->state = HOP_WAITING;
		h->waiting++;
		return 0;
	}
	hop_refuse(h, m, REFUSED_BUSY, 0,
		   "%u tokens need more than is free: %u of %u pages, %llu of %llu history bytes",
		   hop->tokens_max, kvcache_unreserved(h->cache), kvcache_pages(h->cache),
		   (unsigned long long)(h->options.history_bytes - h->history_reserved),
		   (unsigned long long)h->options.history_bytes);
	hop_close(hop);
	return -EBUSY;
}

void hop_try_waiting(struct hops *h)
{
	for (struct hop *hop = h->oldest, *next; hop && h->waiting; hop = next) {
		next = hop->newer;
		if (hop->state != HOP_WAITING)
			continue;
		if (hop_reserve(hop) < 0)
			return;             /* first come, first served */
		h->waiting--;
		hop_start(hop);
	}
}

uint64_t hop_expire_waiting(struct hops *h, uint64_t now_ns)
{
	uint64_t soonest = UINT64_MAX;

	for (struct hop *hop = h->oldest, *next; hop && h->waiting; hop = next) {
		next = hop->newer;
		if (hop->state != HOP_WAITING)
			continue;
		if (now_ns < hop->deadline_ns) {
			soonest = MIN(soonest, hop->deadline_ns);
			continue;
		}
		struct message refused = { .peer = hop->client, .frame = {
			.type = WIRE_OPEN, .session = hop->session,
			.epoch = hop->epoch, .hop = hop->index } };
		hop_refuse(h, &refused, REFUSED_BUSY, 0,
			   "waited until the deadline for %u tokens: %u of %u pages are free",
			   hop->tokens_max, kvcache_unreserved(h->cache),
			   kvcache_pages(h->cache));
		hop_close(hop);
	}
	return soonest;
}

void hop_close(struct hop *hop)
{
	struct hops *h = hop->hops;

	if (hop->state == HOP_CLOSED)
		return;
	if (hop->state == HOP_WAITING)
		h->waiting--;
	if (hop->out)
		boundary_untarget(hop->out);
	hop_unlink_next(hop);
	map_remove(h->by_session, hop->session);
	hop->state = HOP_CLOSED;
	hop_reap(hop);
}

void hop_reap(struct hop *hop)
{
	struct hops *h = hop->hops;

	if (hop->state != HOP_CLOSED || hop->running)
		return;
	if (hop->out)
		h->history_reserved -= hop->history_bytes;
	boundary_close(hop->out);
	sequence_close(hop->sequence);
	if (hop->older)
		hop->older->newer = hop->newer;
	else
		h->oldest = hop->newer;
	if (hop->newer)
		hop->newer->older = hop->older;
	else
		h->newest = hop->older;
	pool_put(h->hop_pool, HOP_HOLDER, hop);
}
