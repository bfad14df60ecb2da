/* bits.c - one sequence through a rig, alone or in company, all of its bits kept. */
#include "tests/support/bits.h"

#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { OTHERS = 3, OTHER_TOKENS = 90 };

struct bits bits_open(const struct rig *r)
{
	struct bits out;

	out.bytes = (BITS_TOKENS * (size_t)r->hidden + r->vocabulary) * sizeof(float);
	out.numbers = mem_calloc(1, out.bytes);
	CHECK(out.numbers != NULL);
	return out;
}

void bits_finish(struct rig *r, struct bits *out)
{
	size_t states = BITS_TOKENS * (size_t)r->hidden;

	CHECK_EQ(r->options.backend->edge_logits(r->edge, out->numbers + states - r->hidden, 1,
						 out->numbers + states), 0);
}

/* The sequence among others that are at positions of their own. */
static void run_in_company(struct rig *r, struct random *random, const uint32_t *tokens,
			   struct bits *out)
{
	struct rig_sequence s, others[OTHERS];
	float *rows = mem_calloc(r->options.rows_max, r->hidden * sizeof(float));
	uint32_t most = (r->options.rows_max - BITS_TOKENS / 4) / OTHERS;

	CHECK(rows != NULL);
	rig_sequence_open(r, &s, BITS_TOKENS);
	for (int i = 0; i < OTHERS; i++)
		rig_sequence_open(r, &others[i], OTHER_TOKENS);
	while (s.position < BITS_TOKENS) {
		uint32_t mine = 1 + (uint32_t)random_below(random, BITS_TOKENS / 4);
		struct rig_step steps[OTHERS + 1];
		uint32_t count = 0, before = s.position, place, row = 0;

		mine = MIN(mine, BITS_TOKENS - s.position);
		place = (uint32_t)random_below(random, OTHERS + 1);
		for (uint32_t i = 0; i <= OTHERS; i++) {
			uint32_t left, want = 1 + (uint32_t)random_below(random, most);

			if (i == place) {
				steps[count++] = (struct rig_step){ &s, tokens + s.position, mine };
				continue;
			}
			left = OTHER_TOKENS - others[i - (i > place)].position;
			if (left == 0 || random_chance(random, 0.3))
				continue;
			steps[count++] = (struct rig_step){ &others[i - (i > place)], tokens,
							    MIN(want, MIN(left, BITS_TOKENS)) };
		}
		for (uint32_t i = 0; steps[i].sequence != &s; i++)
			row += steps[i].rows;
		rig_run(r, steps, count, rows);
		memcpy(out->numbers + (size_t)before * r->hidden, rows + (size_t)row * r->hidden,
		       mine * (size_t)r->hidden * sizeof(float));
	}
	rig_sequence_close(r, &s);
	for (int i = 0; i < OTHERS; i++)
		rig_sequence_close(r, &others[i]);
	mem_free(rows);
}

struct bits bits_run(const struct rig_options *o, struct random *random, const uint32_t *tokens,
		     uint32_t chunk)
{
	struct rig_sequence s;
	struct bits out;
	struct rig r;

	rig_open(&r, o);
	out = bits_open(&r);
	if (chunk == 0) {
		run_in_company(&r, random, tokens, &out);
	} else {
		rig_sequence_open(&r, &s, BITS_TOKENS);
		rig_chunks(&r, &s, tokens, BITS_TOKENS, chunk, out.numbers);
		rig_sequence_close(&r, &s);
	}
	bits_finish(&r, &out);
	rig_close(&r);
	return out;
}
