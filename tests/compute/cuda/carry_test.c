/* carry_test.c - rows of large batches, moved by copy engines in chunks beside the kernels, are the
 * rows of small ones.
 */
#include <errno.h>

#include "compute/cuda/span.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

/* Three sequences; the second is long enough to be carried, in two chunks, the last short. */
enum { SEQUENCES = 3, BEFORE = 3, LONG = 140, AFTER = 2, ROWS = BEFORE + LONG + AFTER,
       PAGE_TOKENS = 16, PAGES = (LONG + PAGE_TOKENS - 1) / PAGE_TOKENS };

static const uint32_t lengths[SEQUENCES] = { BEFORE, LONG, AFTER };

struct ends {
	enum row_encoding in, out;
	uint32_t wanted;                /* rows of the long one */
	uint64_t shift;                 /* of memory, away from its alignment */
};

static struct model *open_model(void)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data("llama-gqa-tied"), &e), &e);
	return m;
}

static struct span *open_span(struct device **d, const struct model *m)
{
	struct device_options o = { .compute = COMPUTE_BF16 };
	struct span_options span = {
		.model = m, .first = 0, .end = 1, .page_tokens = PAGE_TOKENS, .kv_bytes = 1 << 20,
		.rows_max = ROWS, .entries_max = SEQUENCES, .tokens_max = LONG, .round = ROW_F32,
	};
	struct error e = { 0 };
	struct span *s;

	CHECK_OK(cuda_device_open(d, &o, &e), &e);
	CHECK_OK(cuda_span_open(&s, *d, &span, &e), &e);
	CHECK(s->info.pages >= PAGES + 2);
	return s;
}

/* Rows [from, from + `rows`) of each sequence (all of the short ones), their last `wanted` rows
 * out; in and out begin with those of the first sequence's.
 */
static int step(struct span *s, const struct ends *ends, uint32_t from, uint32_t rows,
		uint32_t wanted, const uint8_t *in, uint8_t *out)
{
	uint64_t in_bytes = row_bytes(ends->in, s->info.hidden);
	uint64_t out_bytes = row_bytes(ends->out, s->info.hidden);
	static const uint32_t short_pages[2] = { PAGES, PAGES + 1 };
	struct batch_entry entries[SEQUENCES];
	struct batch b = { entries, 0, 0, 0, 1 };
	uint32_t long_pages[PAGES];
	int rc;

	for (uint32_t i = 0; i < PAGES; i++)
		long_pages[i] = PAGES - 1 - i;
	for (uint32_t i = 0, row = 0; i < SEQUENCES; row += lengths[i], i++) {
		bool is_long = i == 1;
		uint32_t skip = is_long ? from : 0, take = is_long ? rows : lengths[i];
		uint32_t give = is_long ? wanted : lengths[i];

		entries[b.count++] = (struct batch_entry){
			.pages = is_long ? long_pages : &short_pages[i / 2], .position = skip,
			.rows = take, .in = in + (row + skip) * in_bytes,
			.out = out + (row + skip + take - give) * out_bytes, .out_rows = give,
			.in_encoding = ends->in, .out_encoding = ends->out,
		};
		b.rows += take;
	}
	rc = cuda_span_submit(s, &b);
	return rc < 0 ? rc : cuda_span_wait(s);
}

/* What small batches make of the rows: in place, and of as few as are never carried. */
static void run_small(struct span *s, const struct ends *ends, const uint8_t *in, uint8_t *out)
{
	for (uint32_t from = 0, take; from < LONG; from += take) {
		uint32_t wanted;

		take = MIN(LONG - from, 100);
		wanted = MIN(take, MAX(from + take + ends->wanted, LONG) - LONG);
		CHECK_EQ(step(s, ends, from, take, wanted, in, out), 0);
	}
}

static void check_ends(struct span *s, const struct ends *ends, bool registered)
{
	uint64_t in_bytes = ROWS * row_bytes(ends->in, s->info.hidden);
	uint64_t out_bytes = ROWS * row_bytes(ends->out, s->info.hidden);
	uint64_t bytes = align_up(in_bytes + out_bytes + ends->shift, 4096);
	float *numbers = mem_calloc(ROWS, s->info.hidden * sizeof(float));
	uint8_t *plain = mem_aligned(4096, bytes), *arena = mem_aligned(4096, bytes);
	struct error e = { 0 };

	for (uint32_t i = 0; i < ROWS * s->info.hidden; i++)
		numbers[i] = (float)((i * 31 + i / s->info.hidden * 7) % 97) / 48 - 1;
	memset(plain, 0xaa, bytes);
	memset(arena, 0xaa, bytes);
	row_encode(ends->in, numbers, ROWS, s->info.hidden, plain);
	memcpy(arena + ends->shift, plain, in_bytes);
	if (registered)
		CHECK_OK(cuda_host_register(s->device, arena, bytes, &e), &e);
	run_small(s, ends, plain, plain + in_bytes);
	memset(s->out_stage, 0xaa, ROWS * s->stage_row_bytes);
	CHECK_EQ(step(s, ends, 0, LONG, ends->wanted, arena + ends->shift,
		      arena + ends->shift + in_bytes), 0);
	/* Rows in memory that the device reaches are staged nowhere. */
	for (uint64_t i = 0; registered && ends->shift == 0 && i < ROWS * s->stage_row_bytes; i++)
		CHECK(s->out_stage[i] == 0xaa);
	CHECK_BYTES(arena + ends->shift + in_bytes, plain + in_bytes, out_bytes);
	if (registered)
		cuda_host_unregister(s->device, arena);
	mem_free(arena);
	mem_free(plain);
	mem_free(numbers);
}

/* Goal: the same bits however rows travel: in place or staged, aligned or not, all or some of
 * them wanted, in any encoding.
 */
TEST(carry__rows_of_large_batches_are_those_of_small_ones)
{
	static const struct { struct ends ends; bool registered; } cases[] = {
		{ { ROW_F32, ROW_F32, LONG, 0 }, true },
		{ { ROW_BF16, ROW_INT8, LONG, 0 }, true },
		{ { ROW_INT8, ROW_BF16, 133, 0 }, false },
		{ { ROW_F32, ROW_F16, 1, 0 }, true },
		{ { ROW_F16, ROW_F32, 130, 1 }, true },
	};
	struct model *m = open_model();
	struct device *d;
	struct span *s;

	stand_in_use();
	s = open_span(&d, m);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		check_ends(s, &cases[i].ends, cases[i].registered);
	cuda_span_close(s);
	cuda_device_close(d);
	model_close(m);
}

#ifdef PETALS_FAULTS
/* Goal: a call that fails on the way is told by the step, and by all after it. */
TEST(carry__tells_a_failed_call)
{
	static const struct ends ends = { ROW_F32, ROW_F32, LONG, 0 };
	struct model *m = open_model();
	uint64_t bytes = ROWS * row_bytes(ROW_F32, model_config(m)->hidden);
	uint8_t *memory = mem_calloc(2, bytes);
	bool fired = true;

	stand_in_use();
	for (int nth = 1; fired; nth += nth < 6 ? 1 : 9) {
		struct device *d;
		struct span *s = open_span(&d, m);
		int rc;

		fault_arm(nth);
		rc = step(s, &ends, 0, LONG, LONG, memory, memory + bytes);
		fired = fault_fired();
		fault_disarm();
		CHECK_EQ(rc, fired ? -EIO : 0);
		CHECK_EQ(step(s, &ends, 0, LONG, LONG, memory, memory + bytes), rc);
		cuda_span_close(s);
		cuda_device_close(d);
	}
	mem_free(memory);
	model_close(m);
}
#endif
