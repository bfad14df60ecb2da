/* hop_step.c - owns a step's way through one hop: taken in by position, run, appended to
 * the boundary, sent on.
 */
#include <errno.h>
#include <string.h>

#include "control/hop_private.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { STEP_HOLDER };

static uint32_t rows_kept(const struct hop *hop, uint16_t flags, uint32_t rows)
{
	if (!hop->last)
		return rows;
	if (flags & WIRE_REPLAYED)
		return 0;
	if (flags & WIRE_WANT_ALL)
		return rows;
	return flags & WIRE_WANT_LAST ? 1 : 0;
}

/* Whether the step can be taken in; refuses it otherwise. */
static bool step_check(struct hop *hop, const struct message *m)
{
	struct hops *h = hop->hops;
	const struct frame *f = &m->frame;

	if (hop->state == HOP_WAITING)
		hop_refuse(h, m, REFUSED_GAP, 0, "STEP: the session is not open yet");
	else if (f->epoch < hop->epoch)
		hop_refuse(h, m, REFUSED_STALE, hop->epoch, "STEP: epoch %u, this hop is at %u",
			   f->epoch, hop->epoch);
	else if (f->encoding != h->options.round || f->width != h->info->hidden)
		hop_refuse(h, m, REFUSED_MODEL, 0, "STEP: rows of %u %s, expected %u %s", f->width,
			   wire_encoding_name(f->encoding), h->info->hidden,
			   wire_encoding_name(h->options.round));
	else if (f->rows == 0 || f->rows > h->options.rows_max)
		hop_refuse(h, m, REFUSED_INVALID, h->options.rows_max,
			   "STEP: %u rows, a step has 1..%u", f->rows, h->options.rows_max);
	else if (f->position > hop->received)
		hop_refuse(h, m, REFUSED_GAP, hop->received,
			   "STEP: position %u, expected at most %u", f->position, hop->received);
	else if ((uint64_t)f->position + f->rows > hop->tokens_max)
		hop_refuse(h, m, REFUSED_INVALID, hop->tokens_max,
			   "STEP: reaches position %llu, %u were reserved",
			   (unsigned long long)f->position + f->rows, hop->tokens_max);
	else
		return true;
	return false;
}

static void step_fill(struct step *s, struct hop *hop, struct message *m, uint32_t skip)
{
	struct hops *h = hop->hops;
	const struct frame *f = &m->frame;

	s->hop = hop;
	s->message = m;
	s->out = (struct boundary_step){
		.step = f->step,
		.position = f->position + skip,
		.rows = f->rows - skip,
		.kept = rows_kept(hop, f->flags, f->rows - skip),
		.flags = f->flags,
		.deadline_us = f->deadline_us,
		.queue_us = f->queue_us,
		.compute_us = f->compute_us,
	};
	s->work = (struct work){
		.sequence = hop->sequence,
		.first = hop->first,
		.end = hop->end,
		.position = s->out.position,
		.rows = s->out.rows,
		.in = m->payload + (uint64_t)skip * h->row_bytes,
		.in_encoding = (enum row_encoding)f->encoding,
		.out_rows = s->out.kept,
		.out_encoding = (enum row_encoding)h->options.round,
		.owner = s,
	};
}

/* The rows are new, from `skip` on: run them. */
static void step_submit(struct hop *hop, struct message *m, uint32_t skip)
{
	struct hops *h = hop->hops;
	struct step *s = pool_get(h->step_pool, STEP_HOLDER);
	bool decode = m->frame.rows == 1;

	if (!s) {
		hop_refuse(h, m, REFUSED_BUSY, hop->received, "%u steps are running already",
			   h->running);
		message_put(node_transport(h->options.node), m);
		return;
	}
	step_fill(s, hop, m, skip);
	s->work.out = boundary_reserve(hop->out, s->out.kept);
	if (!s->work.out) {
		hop_refuse(h, m, REFUSED_INTERNAL, 0, "out of memory for the history");
		pool_put(h->step_pool, STEP_HOLDER, s);
		message_put(node_transport(h->options.node), m);
		hop_close(hop);
		return;
	}
	hop->received = s->out.position + s->out.rows;
	sequence_extend(hop->sequence, hop->received);
	hop->running++;
	if (h->running++ == 0)
		h->progress_ns = node_now(h->options.node);
	h->running_rows += s->out.rows;
	counters_add(h->counters, HOPS_STEPS, h->series_steps[!decode], 1);
	counters_add(h->counters, HOPS_ROWS, h->series_rows[!decode], s->out.rows);
	if (m->frame.flags & WIRE_REPLAYED)
		counters_add(h->counters, HOPS_REPLAYED_ROWS, 0, s->out.rows);
	if (!runner_submit(h->runner, &s->work))
		assert(!"the runner's ring is as large as the pool of steps");
	hop_check(hop);
}

void hop_step(struct hops *h, struct message *m)
{
	struct hop *hop = hop_find(h, m->frame.session);

	if (!hop) {
		hop_refuse(h, m, REFUSED_UNKNOWN, 0, "STEP: no such session here");
		message_put(node_transport(h->options.node), m);
		return;
	}
	if (!step_check(hop, m)) {
		message_put(node_transport(h->options.node), m);
		return;
	}
	hop->epoch = MAX(hop->epoch, m->frame.epoch);
	if (m->frame.position + m->frame.rows > hop->received) {
		step_submit(hop, m, hop->received - m->frame.position);
		return;
	}
	counters_add(h->counters, HOPS_REPEATED, 0, 1);
	if (m->frame.flags & (WIRE_WANT_LAST | WIRE_WANT_ALL)) {
		boundary_repeat(hop->out, m->frame.step);
		boundary_pump(hop->out);
	}
	message_put(node_transport(h->options.node), m);
}

/* Without a thread a batch takes virtual time after it was computed. */
static uint64_t finished_ns(const struct hops *h, const struct work *w)
{
	return h->options.threaded ? w->finished_ns : node_now(h->options.node);
}

/* Exponential smoothing over decode batches, for the load the directory hears of. */
static void step_measure(struct hops *h, const struct work *w)
{
	double seconds = (double)(finished_ns(h, w) - w->started_ns) / NS_PER_S;
	double queued = (double)(w->started_ns - w->queued_ns) / NS_PER_S;

	counters_observe(h->counters, HOPS_QUEUE_SECONDS, 0, queued);
	counters_observe(h->counters, HOPS_COMPUTE_SECONDS, 0, seconds);
	counters_observe(h->counters, HOPS_BATCH_ROWS, 0, w->batch_rows);
	if (w->rows == 1)
		h->step_us += (seconds * 1e6 - h->step_us) * (h->step_us > 0 ? 0.1 : 1.0);
}

static void step_fail(struct hop *hop, const struct step *s)
{
	struct hops *h = hop->hops;
	struct message about = { .peer = hop->client, .frame = {
		.type = WIRE_STEP, .session = hop->session, .step = s->out.step,
		.epoch = hop->epoch, .hop = hop->index } };

	log_error("hop", "session %016llx: step %u at position %u failed: %s",
		  (unsigned long long)hop->session, s->out.step, s->out.position,
		  error_describe(s->work.status));
	hop_refuse(h, &about, REFUSED_INTERNAL, 0, "step %u failed here: %s", s->out.step,
		   error_describe(s->work.status));
	hop_close(hop);
}

static void step_pass_on(struct hop *hop)
{
	boundary_pump(hop->out);
	hop_expect_next(hop);
}

static void step_finish(struct hops *h, struct step *s)
{
	struct hop *hop = s->hop;

	message_put(node_transport(h->options.node), s->message);
	if (hop->state != HOP_CLOSED) {
		const struct work *w = &s->work;

		step_measure(h, w);
		s->out.queue_us += (uint32_t)((w->started_ns - w->queued_ns) / NS_PER_US);
		s->out.compute_us += (uint32_t)((finished_ns(h, w) - w->started_ns) / NS_PER_US);
		if (w->status < 0 || boundary_append(hop->out, &s->out) < 0)
			step_fail(hop, s);
		else
			step_pass_on(hop);
	}
	hop->running--;         /* not before: closing would free it */
	hop_reap(hop);
}

static void canary_finish(struct hops *h, struct step *s)
{
	h->canary_us = (double)(finished_ns(h, &s->work) - s->work.started_ns) / NS_PER_US;
	sequence_close(s->work.sequence);
	mem_free((void *)s->work.in);
	h->canary_done(h->canary_ctx, s->work.status);
}

int hop_collect(struct hops *h)
{
	struct work *w;
	int count = 0;

	for (; (w = runner_collect(h->runner)); count++) {
		struct step *s = w->owner;

		h->running--;
		h->running_rows -= w->rows;
		h->progress_ns = node_now(h->options.node);
		h->lost |= w->status == -EIO;
		if (s->hop)
			step_finish(h, s);
		else
			canary_finish(h, s);
		pool_put(h->step_pool, STEP_HOLDER, s);
	}
	return count;
}
