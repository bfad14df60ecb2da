/* scheduler.c - one list of works in order of submission, one batch at a time.
 *
 * Ranges take turns: a work's `turn` is when it was submitted or its range was
 * last served, and the smallest one names the range that is served next.  So
 * the oldest range always moves, and a long prompt at one range holds up a token
 * at another for one batch at most.
 */
#include "compute/scheduler.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct scheduler {
	struct scheduler_options options;
	uint32_t hidden;
	struct work *first, **last;     /* not finished, in order of submission */
	uint32_t waiting;
	uint64_t turns;
	bool prefill_passed;            /* the last batch had no place for prefill */

	/* The batch being formed; room for entries_max. */
	struct batch batch;
	struct work **chosen;
};

int scheduler_open(struct scheduler **out, const struct scheduler_options *o)
{
	struct scheduler *s;

	*out = NULL;
	assert(o->rows_max > 0 && o->entries_max > 0);
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->options = *o;
	s->hidden = o->backend->span_info(o->span)->hidden;
	s->last = &s->first;
	s->batch.entries = mem_calloc(o->entries_max, sizeof(*s->batch.entries));
	if (!s->batch.entries)
		goto err_scheduler;
	s->chosen = mem_calloc(o->entries_max, sizeof(struct work *));
	if (!s->chosen)
		goto err_entries;
	*out = s;
	return 0;

err_entries:
	mem_free(s->batch.entries);
err_scheduler:
	mem_free(s);
	return -ENOMEM;
}

void scheduler_close(struct scheduler *s)
{
	if (!s)
		return;
	assert(s->waiting == 0);
	mem_free(s->chosen);
	mem_free(s->batch.entries);
	mem_free(s);
}

uint32_t scheduler_waiting(const struct scheduler *s)
{
	return s->waiting;
}

void scheduler_submit(struct scheduler *s, struct work *w)
{
	assert(w->rows > 0 && w->out_rows <= w->rows && w->first < w->end);
	assert(w->position + w->rows <= w->sequence->tokens);
	w->status = 0;
	w->queued_ns = clock_ns(s->options.clock);
	w->started_ns = w->finished_ns = 0;
	w->batch_rows = w->done_rows = 0;
	w->turn = ++s->turns;
	w->blocked = false;
	w->next = NULL;
	for (const struct work *earlier = s->first; earlier; earlier = earlier->next)
		w->blocked |= earlier->sequence == w->sequence;
	*s->last = w;
	s->last = &w->next;
	s->waiting++;
}

static bool is_decode(const struct work *w)
{
	return w->rows == 1;
}

static bool is_ready(const struct scheduler *s, const struct work *w)
{
	return !w->blocked && w->first == s->batch.first && w->end == s->batch.end;
}

/* The next `rows` rows of w as an entry of the batch. */
static void batch_add(struct scheduler *s, struct work *w, uint32_t rows)
{
	uint32_t unwanted = w->rows - w->out_rows;         /* leading rows */
	uint32_t skipped = MAX(w->done_rows, unwanted), end = w->done_rows + rows;
	uint64_t in_bytes = row_bytes(w->in_encoding, s->hidden);
	uint64_t out_bytes = w->out_rows ? row_bytes(w->out_encoding, s->hidden) : 0;
	struct batch_entry *e = &s->batch.entries[s->batch.count];

	*e = (struct batch_entry){
		.pages = w->sequence->pages,
		.position = w->position + w->done_rows,
		.rows = rows,
		.in = (const uint8_t *)w->in + w->done_rows * in_bytes,
		.in_encoding = w->in_encoding,
		.out_encoding = w->out_encoding,
	};
	if (end > skipped) {
		e->out = (uint8_t *)w->out + (skipped - unwanted) * out_bytes;
		e->out_rows = end - skipped;
	}
	s->chosen[s->batch.count++] = w;
	s->batch.rows += rows;
}

/* Fixes the range of the batch; says what waits.  False: nothing does. */
static bool choose_range(struct scheduler *s, bool *decode_waits, bool *prefill_waits)
{
	const struct work *lead = NULL;

	*decode_waits = *prefill_waits = false;
	for (const struct work *w = s->first; w; w = w->next)
		if (!w->blocked && (!lead || w->turn < lead->turn))
			lead = w;
	if (!lead)
		return false;
	s->batch.first = lead->first;
	s->batch.end = lead->end;
	for (const struct work *w = s->first; w; w = w->next) {
		/* Tokens that wait at another range bound this batch too. */
		*decode_waits |= !w->blocked && is_decode(w);
		*prefill_waits |= is_ready(s, w) && !is_decode(w);
	}
	return true;
}

static bool form_batch(struct scheduler *s)
{
	const struct scheduler_options *o = &s->options;
	bool decode_waits, prefill_waits;
	uint32_t keep, prefill_left;

	s->batch.count = s->batch.rows = 0;
	if (!choose_range(s, &decode_waits, &prefill_waits))
		return false;
	keep = s->prefill_passed && prefill_waits ? 1 : 0;
	for (struct work *w = s->first; w; w = w->next) {
		if (s->batch.count + keep >= o->entries_max || s->batch.rows + keep >= o->rows_max)
			break;
		if (is_ready(s, w) && is_decode(w))
			batch_add(s, w, 1);
	}
	prefill_left = o->rows_max - s->batch.rows;
	if (decode_waits)
		prefill_left = MIN(prefill_left, MAX(o->prefill_rows, 1));
	s->prefill_passed = prefill_waits;
	for (struct work *w = s->first; w; w = w->next) {
		uint32_t rows = MIN(w->rows - w->done_rows, prefill_left);

		if (s->batch.count == o->entries_max || prefill_left == 0)
			break;
		if (!is_ready(s, w) || is_decode(w))
			continue;
		batch_add(s, w, rows);
		prefill_left -= rows;
		s->prefill_passed = false;
	}
	return true;
}

/* A work that fails takes those behind it along: their cache is not whole. */
static void fail_sequence(struct scheduler *s, const struct sequence *q, int status)
{
	for (struct work *w = s->first; w; w = w->next)
		if (w->sequence == q && w->status == 0)
			w->status = status;
}

static bool is_finished(const struct work *w)
{
	return w->status < 0 || w->done_rows == w->rows;
}

static void unblock(struct scheduler *s, const struct sequence *q)
{
	for (struct work *w = s->first; w; w = w->next) {
		if (w->sequence != q)
			continue;
		w->blocked = false;
		return;
	}
}

/* Unlinks what is finished and returns it. */
static struct work *collect(struct scheduler *s, uint64_t now_ns)
{
	struct work *finished = NULL, **tail = &finished, **at = &s->first, *w;

	while ((w = *at)) {
		if (!is_finished(w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = NULL;
		w->finished_ns = now_ns;
		*tail = w;
		tail = &w->next;
		s->waiting--;
	}
	s->last = at;
	for (w = finished; w; w = w->next)
		unblock(s, w->sequence);
	return finished;
}

struct work *scheduler_turn(struct scheduler *s, uint32_t *ran)
{
	const struct scheduler_options *o = &s->options;
	uint64_t now_ns;
	int rc;

	*ran = 0;
	if (!form_batch(s))
		return NULL;
	now_ns = clock_ns(o->clock);
	for (uint32_t i = 0; i < s->batch.count; i++)
		if (s->chosen[i]->started_ns == 0)
			s->chosen[i]->started_ns = now_ns;
	rc = o->backend->span_submit(o->span, &s->batch);
	if (rc == 0)
		rc = o->backend->span_wait(o->span);
	*ran = s->batch.rows;
	s->turns++;
	for (struct work *w = s->first; w; w = w->next)
		if (is_ready(s, w))
			w->turn = s->turns;
	for (uint32_t i = 0; i < s->batch.count; i++) {
		struct work *w = s->chosen[i];

		w->done_rows += s->batch.entries[i].rows;
		w->batch_rows = s->batch.rows;
		if (rc < 0)
			fail_sequence(s, w->sequence, rc);
	}
	return collect(s, clock_ns(o->clock));
}
