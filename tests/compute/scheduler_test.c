/* scheduler_test.c - batches as a table that only takes notes sees them. */
#include "compute/scheduler.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { HIDDEN = 2, SESSIONS = 24, TOKENS_MAX = 4096 };

/* The backend: notes what each batch was, and copies rows in to rows out. */
struct span {
	struct span_info info;
	struct scheduler_options options;
	struct simulated_clock clock;
	uint32_t batches, decodes, prefill_rows, prefills, first;
	uint32_t submitted;
	int fail;                       /* what the next batch returns */
};

static const struct span_info *note_info(const struct span *s)
{
	return &s->info;
}

static int note_submit(struct span *s, const struct batch *b)
{
	uint32_t rows = 0;

	CHECK(b->count > 0 && b->count <= s->options.entries_max);
	CHECK(b->rows <= s->options.rows_max);
	s->batches++;
	s->decodes = s->prefill_rows = s->prefills = 0;
	s->first = b->first;
	for (uint32_t i = 0; i < b->count; i++) {
		const struct batch_entry *e = &b->entries[i];
		uint32_t *cache = (uint32_t *)(uintptr_t)e->pages;

		/* The first "page" of a test's sequence counts the tokens it has seen. */
		CHECK_EQ(*cache, e->position);
		*cache += e->rows;
		for (uint32_t j = 0; j < i; j++)
			CHECK(b->entries[j].pages != e->pages);
		if (e->rows == 1)
			s->decodes++;
		else
			s->prefills++, s->prefill_rows += e->rows;
		rows += e->rows;
		if (e->out_rows)
			memcpy(e->out, (const float *)e->in + (e->rows - e->out_rows) * HIDDEN,
			       e->out_rows * HIDDEN * sizeof(float));
	}
	CHECK_EQ(rows, b->rows);
	simulated_clock_advance_to(&s->clock, s->clock.now_ns + 1000);
	s->submitted++;
	return 0;
}

static int note_wait(struct span *s)
{
	int rc = s->fail;

	CHECK_EQ(s->submitted, 1);
	s->submitted = 0;
	s->fail = 0;
	return rc;
}

static const struct backend backend_note = {
	.name = "note", .span_info = note_info, .span_submit = note_submit, .span_wait = note_wait,
};

struct session {
	struct sequence sequence;
	uint32_t seen;                  /* stands in for the page table */
	uint32_t next;                  /* position of the next work */
	struct work work[4];
	float rows[256 * HIDDEN], out[256 * HIDDEN];
};

struct fixture {
	struct span span;
	struct scheduler *scheduler;
	struct session sessions[SESSIONS];
};

static void start(struct fixture *f, uint32_t rows_max, uint32_t entries_max,
		  uint32_t prefill_rows)
{
	memset(f, 0, sizeof(*f));
	f->span.info.hidden = HIDDEN;
	simulated_clock_init(&f->span.clock, 5);
	f->span.options = (struct scheduler_options){
		&backend_note, &f->span, &f->span.clock.clock, rows_max, entries_max, prefill_rows,
	};
	CHECK_EQ(scheduler_open(&f->scheduler, &f->span.options), 0);
	for (int i = 0; i < SESSIONS; i++) {
		struct session *s = &f->sessions[i];

		s->sequence.pages = &s->seen;
		s->sequence.tokens = s->sequence.tokens_max = TOKENS_MAX;
		for (int j = 0; j < 256 * HIDDEN; j++)
			s->rows[j] = (float)(i * 1000 + j);
	}
}

static struct work *submit(struct fixture *f, uint32_t session, uint32_t slot, uint32_t first,
			   uint32_t end, uint32_t rows, uint32_t out_rows)
{
	struct session *s = &f->sessions[session];
	struct work *w = &s->work[slot];

	*w = (struct work){
		.sequence = &s->sequence, .first = first, .end = end,
		.position = s->next, .rows = rows, .in = s->rows, .out = s->out,
		.out_rows = out_rows, .in_encoding = ROW_F32, .out_encoding = ROW_F32, .owner = s,
	};
	s->next += rows;
	scheduler_submit(f->scheduler, w);
	return w;
}

/* Goal: a batch has every decode step of the range, then at most prefill_rows of prompt. */
TEST(scheduler_turn__decode_first_and_bounded_prefill)
{
	static struct fixture f;
	struct work *done;
	uint32_t ran;

	start(&f, 128, 16, 32);
	submit(&f, 0, 0, 0, 4, 200, 1);
	for (uint32_t i = 1; i <= 5; i++)
		submit(&f, i, 0, 0, 4, 1, 1);
	done = scheduler_turn(f.scheduler, &ran);
	CHECK_EQ(ran, 5 + 32);
	CHECK_EQ(f.span.decodes, 5);
	for (uint32_t i = 1; i <= 5; i++, done = done->next) {
		CHECK(done == &f.sessions[i].work[0]);
		CHECK_EQ(done->batch_rows, 37);
		CHECK_EQ(done->status, 0);
		CHECK(done->queued_ns == 5 && done->started_ns == 5 && done->finished_ns == 1005);
		CHECK_BYTES(f.sessions[i].out, f.sessions[i].rows, HIDDEN * sizeof(float));
	}
	CHECK(!done);
	/* Nobody waits: the prompt has the batch to itself. */
	CHECK(!scheduler_turn(f.scheduler, &ran));
	CHECK_EQ(ran, 128);
	CHECK_EQ(scheduler_waiting(f.scheduler), 1);
	done = scheduler_turn(f.scheduler, &ran);
	CHECK(done == &f.sessions[0].work[0] && !done->next);
	CHECK_EQ(ran, 40);
	CHECK(!scheduler_turn(f.scheduler, &ran));
	CHECK_EQ(ran, 0);
	scheduler_close(f.scheduler);
}

/* Goal: however a step is chunked, its wanted rows land where they belong. */
TEST(scheduler_turn__chunks_give_the_wanted_rows)
{
	static struct fixture f;
	uint32_t ran;

	for (uint32_t out_rows = 0; out_rows <= 100; out_rows += 7) {
		start(&f, 9, 4, 9);
		submit(&f, 3, 0, 0, 4, 100, out_rows);
		while (!scheduler_turn(f.scheduler, &ran))
			CHECK_EQ(ran, 9);
		CHECK_BYTES(f.sessions[3].out, f.sessions[3].rows + (100 - out_rows) * HIDDEN,
			    out_rows * HIDDEN * sizeof(float));
		scheduler_close(f.scheduler);
	}
}

/* Goal: works of one sequence run one after the other, never in one batch. */
TEST(scheduler_turn__keeps_the_order_of_a_sequence)
{
	static struct fixture f;
	struct work *prompt, *token, *done;
	uint32_t ran;

	start(&f, 64, 16, 64);
	prompt = submit(&f, 0, 0, 0, 4, 100, 0);
	token = submit(&f, 0, 1, 0, 4, 1, 1);
	submit(&f, 0, 2, 0, 4, 1, 1);
	CHECK(!scheduler_turn(f.scheduler, &ran));
	done = scheduler_turn(f.scheduler, &ran);
	CHECK(done == prompt && !done->next);
	CHECK_EQ(ran, 36);
	done = scheduler_turn(f.scheduler, &ran);
	CHECK(done == token && !done->next);
	CHECK_EQ(ran, 1);
	CHECK(scheduler_turn(f.scheduler, &ran) == &f.sessions[0].work[2]);
	CHECK_EQ(scheduler_waiting(f.scheduler), 0);
	scheduler_close(f.scheduler);
}

/* Goal: tokens at one range wait for a long prompt at another one batch at most. */
TEST(scheduler_turn__ranges_take_turns)
{
	static struct fixture f;
	uint32_t ran;

	start(&f, 64, 16, 16);
	submit(&f, 0, 0, 0, 4, 640, 0);
	submit(&f, 1, 0, 0, 4, 640, 0);
	for (int round = 0; round < 20; round++) {
		uint32_t waited = 0;

		submit(&f, 2, 0, 4, 8, 1, 1);
		while (!scheduler_turn(f.scheduler, &ran)) {
			CHECK(++waited <= 1);
			CHECK_EQ(f.span.first, 0);
			CHECK_EQ(ran, 16);
		}
		CHECK_EQ(f.span.first, 4);
	}
	/* And the prompts were not starved either. */
	CHECK(f.sessions[0].work[0].done_rows >= 19 * 16);
	while (scheduler_waiting(f.scheduler))
		scheduler_turn(f.scheduler, &ran);
	scheduler_close(f.scheduler);
}

/* Goal: more decode steps than a batch holds cannot starve a prompt, nor one another. */
TEST(scheduler_turn__a_full_house_starves_nobody)
{
	static struct fixture f;
	uint32_t steps[SESSIONS] = { 0 }, ran, most = 0, least = UINT32_MAX, i;

	for (uint32_t entries = 1; entries <= 4; entries++) {
		start(&f, 64, entries, 16);
		memset(steps, 0, sizeof(steps));
		submit(&f, 0, 0, 0, 4, 160, 0);
		for (i = 1; i < 10; i++)
			submit(&f, i, 0, 0, 4, 1, 1);
		for (int turn = 0; turn < 200; turn++) {
			struct work *w = scheduler_turn(f.scheduler, &ran);

			while (w) {
				struct work *next = w->next;
				uint32_t who = (uint32_t)((struct session *)w->owner - f.sessions);

				steps[who]++;
				if (who > 0)
					submit(&f, who, 0, 0, 4, 1, 1);
				w = next;
			}
		}
		CHECK_EQ(steps[0], 1);
		for (most = 0, least = UINT32_MAX, i = 1; i < 10; i++) {
			most = MAX(most, steps[i]);
			least = MIN(least, steps[i]);
		}
		CHECK(most - least <= 1);
		while (scheduler_waiting(f.scheduler))
			scheduler_turn(f.scheduler, &ran);
		scheduler_close(f.scheduler);
	}
}

/* Goal: a failing batch fails its works and what waits behind them; others go on. */
TEST(scheduler_turn__failure_takes_the_sequence_along)
{
	static struct fixture f;
	struct work *done;
	uint32_t ran;

	start(&f, 8, 1, 8);
	submit(&f, 0, 0, 0, 4, 20, 1);
	submit(&f, 1, 0, 0, 4, 6, 1);
	submit(&f, 0, 1, 0, 4, 1, 1);
	CHECK(!scheduler_turn(f.scheduler, &ran));
	f.span.fail = -EIO;
	done = scheduler_turn(f.scheduler, &ran);
	CHECK(done == &f.sessions[0].work[0]);
	CHECK_EQ(done->status, -EIO);
	CHECK(done->next == &f.sessions[0].work[1]);
	CHECK_EQ(done->next->status, -EIO);
	CHECK(!done->next->next);
	done = scheduler_turn(f.scheduler, &ran);
	CHECK(done == &f.sessions[1].work[0]);
	CHECK_EQ(done->status, 0);
	CHECK_EQ(scheduler_waiting(f.scheduler), 0);
	scheduler_close(f.scheduler);
}

/* Goal: under random load every work finishes, in order within its sequence. */
TEST(scheduler__random_load)
{
	static struct fixture f;
	struct random r;
	uint32_t ran, finished = 0, submitted = 0;

	random_seed(&r, test_seed());
	start(&f, 33, 7, 11);
	while (submitted < 3000 || scheduler_waiting(f.scheduler)) {
		struct work *w;

		for (uint32_t i = 0; i < SESSIONS && submitted < 3000; i++) {
			struct session *s = &f.sessions[i];
			uint32_t range = 4 * (uint32_t)random_below(&r, 2);
			uint32_t most = random_chance(&r, 0.7) ? 1 : 90;
			uint32_t rows = 1 + (uint32_t)random_below(&r, most);

			if (s->next + rows > TOKENS_MAX || s->work[0].owner ||
			    random_chance(&r, 0.5))
				continue;
			submit(&f, i, 0, range, range + 4, rows, rows);
			submit(&f, i, 1, range, range + 4, 1, 1);
			submitted += 2;
		}
		for (w = scheduler_turn(f.scheduler, &ran); w; w = w->next, finished++) {
			CHECK_EQ(w->status, 0);
			CHECK_EQ(w->done_rows, w->rows);
			if (w == &((struct session *)w->owner)->work[1])
				((struct session *)w->owner)->work[0].owner = NULL;
		}
		if (ran == 0 && submitted < 3000 && f.sessions[0].next > TOKENS_MAX - 100)
			break;
	}
	CHECK_EQ(finished, submitted);
	scheduler_close(f.scheduler);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, scheduler_open() gives everything back. */
TEST(scheduler_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();
	static struct fixture f;

	start(&f, 8, 4, 8);
	scheduler_close(f.scheduler);
	for (int nth = 1; nth < 100; nth++) {
		int rc;

		fault_arm(nth);
		rc = scheduler_open(&f.scheduler, &f.span.options);
		scheduler_close(f.scheduler);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
	}
	fault_disarm();
}
#endif
