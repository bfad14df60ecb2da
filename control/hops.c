/* hops.c - owns the table of a server's hops: the messages and events that reach them, the
 * runner that computes for them, their counters.
 */
#include <errno.h>
#include <string.h>

#include "control/hop_private.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

static const struct counter_row rows[HOPS_COUNTERS] = {
	[HOPS_OPENS] = { COUNTER, "petals_server_sessions_opened_total",
		"Sessions that got their pages here.", NULL, NULL },
	[HOPS_REFUSED] = { COUNTER, "petals_server_refusals_total",
		"Requests refused, by reason.", "reason", NULL },
	[HOPS_STEPS] = { COUNTER, "petals_server_steps_total",
		"Steps run, by kind: decode has one row, prefill more.", "kind", NULL },
	[HOPS_ROWS] = { COUNTER, "petals_server_rows_total",
		"Rows (tokens) run, by kind of step.", "kind", NULL },
	[HOPS_REPEATED] = { COUNTER, "petals_server_repeated_steps_total",
		"Steps that had been run before and were answered from history.", NULL, NULL },
	[HOPS_REPLAYED_ROWS] = { COUNTER, "petals_server_replayed_rows_total",
		"Rows run again here to rebuild a lost hop's cache.", NULL, NULL },
	[HOPS_REROUTES] = { COUNTER, "petals_server_reroutes_total",
		"Times a client gave a session here a new next hop.", NULL, NULL },
	[HOPS_LOST] = { COUNTER, "petals_server_next_hops_lost_total",
		"Times a session's next hop was lost.", NULL, NULL },
	[HOPS_SESSIONS] = { GAUGE, "petals_server_sessions",
		"Sessions open here.", NULL, NULL },
	[HOPS_WAITING_OPENS] = { GAUGE, "petals_server_sessions_waiting",
		"Sessions waiting for pages or history memory.", NULL, NULL },
	[HOPS_PAGES] = { GAUGE, "petals_server_kv_pages",
		"KV cache pages this server has.", NULL, NULL },
	[HOPS_PAGES_HELD] = { GAUGE, "petals_server_kv_pages_held",
		"KV cache pages that hold tokens.", NULL, NULL },
	[HOPS_PAGES_FREE] = { GAUGE, "petals_server_kv_pages_unreserved",
		"KV cache pages no session has reserved.", NULL, NULL },
	[HOPS_HISTORY] = { GAUGE, "petals_server_history_reserved_bytes",
		"Host memory reserved for what hops keep of the rows they sent.", NULL, NULL },
	[HOPS_QUEUE_SECONDS] = { HISTOGRAM, "petals_server_step_queue_seconds",
		"Time a step waited for the device.", NULL, seconds_buckets },
	[HOPS_COMPUTE_SECONDS] = { HISTOGRAM, "petals_server_step_compute_seconds",
		"Time a step was on the device, batches it shared included.", NULL,
		seconds_buckets },
	[HOPS_BATCH_ROWS] = { HISTOGRAM, "petals_server_batch_rows",
		"Rows of the last batch a step ran in.", NULL, size_buckets },
	[HOPS_RUNNING] = { GAUGE, "petals_server_steps_running",
		"Steps queued or on the device.", NULL, NULL },
	[HOPS_WEIGHTS] = { GAUGE, "petals_server_weights_bytes",
		"Weights of the span, as laid out.", NULL, NULL },
	[HOPS_PAGE] = { GAUGE, "petals_server_kv_page_bytes",
		"Size of a KV cache page, all blocks of the span together.", NULL, NULL },
};

/* The runner's jobs are works; whatever batches them is the scheduler. */
static void runner_take(void *ctx, void *job)
{
	struct hops *h = ctx;

	scheduler_submit(h->scheduler, job);
}

static bool runner_turn(void *ctx, void (*done)(void *done_ctx, void *job), void *done_ctx)
{
	struct hops *h = ctx;
	uint32_t ran;

	for (struct work *w = scheduler_turn(h->scheduler, &ran), *next; w; w = next) {
		next = w->next;
		done(done_ctx, w);
	}
	return scheduler_waiting(h->scheduler) > 0;
}

static const struct runner_table runner_table = { runner_take, runner_turn };

static void runner_wake(void *ctx)
{
	struct hops *h = ctx;

	node_wake(h->options.node);
}

static void on_open(void *ctx, struct message *m)
{
	struct hops *h = ctx;

	hop_open(h, m);
	node_put(h->options.node, m);
}

static void on_step(void *ctx, struct message *m)
{
	hop_step(ctx, m);
}

static void on_reroute(void *ctx, struct message *m)
{
	struct hops *h = ctx;
	struct hop *hop = hop_find(h, m->frame.session);

	if (hop)
		hop_reroute(hop, m);
	else
		hop_refuse(h, m, REFUSED_UNKNOWN, 0, "REROUTE: no such session here");
	node_put(h->options.node, m);
}

static void on_close(void *ctx, struct message *m)
{
	struct hops *h = ctx;
	struct hop *hop = hop_find(h, m->frame.session);

	if (hop && hop->client == m->peer && m->frame.epoch >= hop->epoch)
		hop_close(hop);
	hop_try_waiting(h);
	node_put(h->options.node, m);
}

/* The next hop refused something of ours: to this session it is lost, unless it told us
 * that we are the ones who were replaced.
 */
static void on_refused(void *ctx, struct message *m)
{
	struct hops *h = ctx;
	struct hop *hop = hop_find(h, m->frame.session);
	struct wire_refused refused;

	memcpy(&refused, m->payload, sizeof(refused));
	if (!wire_text_ok(refused.reason, sizeof(refused.reason)))
		wire_text_set(refused.reason, sizeof(refused.reason), "refused without a reason");
	if (hop && hop->next_link == m->peer && le32_get(refused.refusal) != REFUSED_STALE)
		hop_next_lost(hop, refused.reason);
	node_put(h->options.node, m);
}

static void peer_up(void *ctx, const struct peer_info *info)
{
	struct hops *h = ctx;

	for (struct hop *hop = h->oldest, *next; hop; hop = next) {
		next = hop->newer;
		if (hop->state == HOP_DIALING && hop->next_link == info->peer)
			hop_next_up(hop);
	}
}

static void peer_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct hops *h = ctx;

	for (struct hop *hop = h->oldest, *next; hop; hop = next) {
		next = hop->newer;
		if (hop->state == HOP_CLOSED)
			continue;
		if (hop->client == peer)
			hop_close(hop);
		else if (hop->next_link == peer)
			hop_next_lost(hop, reason);
	}
	hop_try_waiting(h);
}

static void peer_writable(void *ctx, uint32_t peer)
{
	struct hops *h = ctx;

	for (struct hop *hop = h->oldest; hop; hop = hop->newer)
		if (hop->out && boundary_peer(hop->out) == peer)
			boundary_pump(hop->out);
}

static void publish(struct hops *h)
{
	struct counters *c = h->counters;

	counters_set(c, HOPS_SESSIONS, 0, map_length(h->by_session));
	counters_set(c, HOPS_WAITING_OPENS, 0, h->waiting);
	counters_set(c, HOPS_PAGES_HELD, 0, kvcache_held(h->cache));
	counters_set(c, HOPS_PAGES_FREE, 0, kvcache_unreserved(h->cache));
	counters_set(c, HOPS_HISTORY, 0, (double)h->history_reserved);
	counters_set(c, HOPS_RUNNING, 0, h->running);
}

/* Next hops that were given nothing for a while are no longer watched. */
static void relax(struct hops *h, uint64_t now_ns)
{
	h->expects_check_ns = UINT64_MAX;
	for (struct hop *hop = h->oldest; hop; hop = hop->newer) {
		if (hop->expects && now_ns >= hop->expects_until_ns)
			hop_unexpect_next(hop);
		if (hop->expects)
			h->expects_check_ns = MIN(h->expects_check_ns, hop->expects_until_ns);
	}
}

static int hops_poll(void *ctx, uint64_t now_ns)
{
	struct hops *h = ctx;
	int work = hop_collect(h);

	runner_flush(h->runner, map_length(h->by_session));
	if (work && h->waiting)
		hop_try_waiting(h);
	hop_expire_waiting(h, now_ns);
	if (now_ns >= h->expects_check_ns)
		relax(h, now_ns);
	publish(h);
	return work;
}

static uint64_t hops_deadline(void *ctx)
{
	struct hops *h = ctx;
	uint64_t due = MIN(runner_deadline(h->runner), h->expects_check_ns);

	return h->waiting ? MIN(due, hop_expire_waiting(h, 0)) : due;
}

static void hops_register(struct hops *h)
{
	struct node *n = h->options.node;
	const struct poller poller = { "hops", h, hops_poll, hops_deadline };

	node_handle(n, WIRE_OPEN, on_open, h);
	node_handle(n, WIRE_STEP, on_step, h);
	node_handle(n, WIRE_REROUTE, on_reroute, h);
	node_handle(n, WIRE_CLOSE, on_close, h);
	node_handle(n, WIRE_REFUSED, on_refused, h);
	core_add(node_core(n), &poller);
}

static int hops_open_runner(struct hops *h)
{
	const struct hops_options *o = &h->options;
	const struct clock *clock = node_clock(o->node);
	const struct scheduler_options scheduler = {
		.backend = o->backend, .span = o->span, .clock = clock,
		.rows_max = o->rows_max, .entries_max = o->entries_max,
		.prefill_rows = o->prefill_rows,
	};
	const struct runner_options runner = {
		.name = "blocks", .table = &runner_table, .ctx = h,
		.wake = runner_wake, .wake_ctx = h, .jobs_max = o->works_max,
		.threaded = o->threaded, .clock = clock, .cost_ns = o->cost_ns,
	};
	int rc = scheduler_open(&h->scheduler, &scheduler);

	return rc < 0 ? rc : runner_open(&h->runner, &runner);
}

static int hops_open_tables(struct hops *h)
{
	const struct pool_holder hop_holder = { "sessions", h->options.sessions_max };
	const struct pool_holder step_holder = { "steps in the runner", h->options.works_max };
	int rc = pool_open(&h->hop_pool, sizeof(struct hop), &hop_holder, 1);

	if (rc == 0)
		rc = pool_open(&h->step_pool, sizeof(struct step), &step_holder, 1);
	if (rc == 0)
		rc = map_open(&h->by_session, h->options.sessions_max);
	if (rc == 0)
		rc = kvcache_open(&h->cache, h->info->pages, h->info->page_tokens);
	if (rc == 0)
		rc = counters_open(&h->counters, rows, HOPS_COUNTERS);
	return rc;
}

int hops_open(struct hops **out, const struct hops_options *o, struct error *e)
{
	const struct node_listener listener = { NULL, peer_up, peer_lost, peer_writable };
	struct node_listener mine = listener;
	struct hops *h = mem_calloc(1, sizeof(*h));
	int rc = -ENOMEM;

	if (!h)
		return error_errno(e, -ENOMEM, "table of sessions");
	h->options = *o;
	h->expects_check_ns = UINT64_MAX;
	h->info = o->backend->span_info(o->span);
	h->identity = view_identity(o->fingerprint, h->info->kind);
	h->row_bytes = (uint32_t)wire_rows_bytes(o->round, 1, h->info->hidden);
	rc = hops_open_tables(h);
	if (rc == 0)
		rc = hops_open_runner(h);
	mine.ctx = h;
	if (rc == 0)
		rc = node_listener_add(o->node, &mine);
	if (rc < 0) {
		hops_close(h);
		return error_errno(e, rc, "table of %u sessions", o->sessions_max);
	}
	for (int kind = 0; kind < 2; kind++) {
		const char *name = kind ? "prefill" : "decode";

		h->series_steps[kind] = counters_series(h->counters, HOPS_STEPS, name);
		h->series_rows[kind] = counters_series(h->counters, HOPS_ROWS, name);
	}
	counters_set(h->counters, HOPS_PAGES, 0, h->info->pages);
	counters_set(h->counters, HOPS_WEIGHTS, 0, (double)h->info->weight_bytes);
	counters_set(h->counters, HOPS_PAGE, 0, (double)h->info->page_bytes);
	hops_register(h);
	*out = h;
	return 0;
}

void hops_close(struct hops *h)
{
	if (!h)
		return;
	node_listener_remove(h->options.node, h);
	for (struct hop *hop = h->oldest, *next; hop; hop = next) {
		next = hop->newer;
		hop_close(hop);
	}
	if (h->runner) {
		runner_finish(h->runner);
		hop_collect(h);             /* closed hops go with their last step */
	}
	assert(!h->oldest && !h->running);
	runner_close(h->runner);
	scheduler_close(h->scheduler);
	kvcache_close(h->cache);
	map_close(h->by_session);
	pool_close(h->step_pool);
	pool_close(h->hop_pool);
	counters_close(h->counters);
	mem_free(h);
}

struct counters *hops_counters(struct hops *h)
{
	return h->counters;
}

/* Each next hop's round trip once; of more than there is room for, any. */
static void add_link(const struct hops *h, const struct hop *hop, struct member_load *out)
{
	uint64_t rtt_ns = transport_rtt_ns(node_transport(h->options.node), hop->next_link);

	for (uint32_t i = 0; i < out->link_count; i++)
		if (strcmp(out->links[i].to.text, hop->next.text) == 0)
			return;
	if (rtt_ns == 0 || out->link_count == MEMBER_LINKS_MAX)
		return;
	out->links[out->link_count++] = (struct member_link){
		.to = hop->next, .rtt_us = (uint32_t)MAX(rtt_ns / NS_PER_US, 1),
	};
}

/* A row of a prompt takes no longer than a step of one row does. */
static uint32_t stalled_us(const struct hops *h)
{
	uint64_t us = (node_now(h->options.node) - h->progress_ns) / NS_PER_US;
	uint64_t ordinary_us =
		(uint64_t)((h->step_us > 0 ? h->step_us : h->canary_us) * h->running_rows);

	/* The canary itself may take as long as it likes. */
	if (h->running == 0 || ordinary_us == 0 || us <= ordinary_us)
		return 0;
	return (uint32_t)MIN(us - ordinary_us, UINT32_MAX);
}

void hops_load(const struct hops *h, struct member_load *out)
{
	*out = (struct member_load){
		.sessions = map_length(h->by_session),
		.waiting = h->running,
		.pages_free = kvcache_unreserved(h->cache),
		.pages = kvcache_pages(h->cache),
		.step_us = (uint32_t)h->step_us,
		.stalled_us = stalled_us(h),
	};
	for (const struct hop *hop = h->newest; hop; hop = hop->older)
		if (hop->state == HOP_READY && !hop->last)
			add_link(h, hop, out);
}

bool hops_lost(const struct hops *h)
{
	return h->lost;
}

void hops_drain(struct hops *h)
{
	h->draining = true;
	for (struct hop *hop = h->oldest; hop; hop = hop->newer)
		if (hop->state != HOP_CLOSED)
			hop_tell(hop, WIRE_LEAVING, hop->epoch, NULL, 0);
}

int hops_canary(struct hops *h, void (*done)(void *ctx, int status), void *ctx)
{
	struct sequence *sequence = NULL;
	void *canary_rows = mem_calloc(2, h->row_bytes);
	struct step *s = NULL;
	int rc = canary_rows ? sequence_open(&sequence, h->cache, 1) : -ENOMEM;

	if (rc == 0)
		s = pool_get(h->step_pool, 0);
	if (!s) {
		rc = rc < 0 ? rc : -EBUSY;
		sequence_close(sequence);
		mem_free(canary_rows);
		return rc;
	}
	sequence_extend(sequence, 1);
	h->canary_done = done;
	h->canary_ctx = ctx;
	h->running++;
	h->running_rows++;
	s->work = (struct work){
		.sequence = sequence, .first = h->info->first, .end = h->info->end,
		.rows = 1, .out_rows = 1,
		.in = canary_rows, .out = (uint8_t *)canary_rows + h->row_bytes,
		.in_encoding = (enum row_encoding)h->options.round,
		.out_encoding = (enum row_encoding)h->options.round, .owner = s,
	};
	runner_submit(h->runner, &s->work);
	return 0;
}

void hops_set_cost(struct hops *h, uint64_t cost_ns)
{
	runner_set_cost(h->runner, cost_ns);
}
