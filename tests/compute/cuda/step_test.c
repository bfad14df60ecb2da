/* step_test.c - single steps of a span: where rows come from and go to, graphs and launches,
 * the fast mode, failures.
 */
#include <errno.h>
#include <math.h>

#include "compute/cuda/span.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static struct span_options plain_options(const struct model *m)
{
	return (struct span_options){
		.model = m, .first = 0, .end = model_config(m)->blocks, .page_tokens = 16,
		.kv_bytes = 1 << 20, .rows_max = 8, .entries_max = 2, .tokens_max = 32,
		.round = ROW_F32,
	};
}

/* One batch of `rows` rows in and out of `memory`, in first, out behind it; through all blocks
 * but the last `less`.
 */
static int step_less(struct span *s, const uint32_t *pages, uint8_t *memory, uint32_t rows,
		     uint32_t less)
{
	uint64_t bytes = rows * row_bytes(ROW_F32, s->info.hidden);
	struct batch_entry entry = {
		.pages = pages, .rows = rows, .in = memory, .out = memory + bytes,
		.out_rows = rows, .in_encoding = ROW_F32, .out_encoding = ROW_F32,
	};
	struct batch b = { &entry, 1, rows, s->info.first, s->info.end - less };
	int rc = cuda_span_submit(s, &b);

	return rc < 0 ? rc : cuda_span_wait(s);
}

static int step(struct span *s, const uint32_t *pages, uint8_t *memory, uint32_t rows)
{
	return step_less(s, pages, memory, rows, 0);
}

/* Goal: rows in a registered arena are read and written in place, others by way of the
 * span's own; misaligned ones, too; the bits are the same.
 */
TEST(span_submit__rows_in_place_or_staged)
{
	struct model *m = open_model("llama-plain");
	struct span_options o = plain_options(m);
	struct device_options d = { .compute = COMPUTE_F32 };
	uint64_t bytes = 5 * row_bytes(ROW_F32, model_config(m)->hidden);
	uint8_t *plain = mem_aligned(4096, 3 * bytes), *arena = mem_aligned(4096, 3 * bytes);
	uint32_t pages[1] = { 3 };
	struct random random;
	struct error e = { 0 };
	struct device *device;
	struct span *s;

	stand_in_use();
	random_seed(&random, test_seed());
	for (uint64_t i = 0; i < bytes / 4; i++)
		((float *)plain)[i] = (float)random_below(&random, 1000) / 500 - 1;
	memcpy(arena, plain, bytes);
	CHECK_OK(cuda_device_open(&device, &d, &e), &e);
	CHECK_OK(cuda_host_register(device, arena, 3 * bytes, &e), &e);
	CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
	CHECK_EQ(step(s, pages, plain, 5), 0);
	/* Nothing was staged: the stage still has what the first step left there. */
	memset(s->out_stage, 0xaa, bytes);
	CHECK_EQ(step(s, pages, arena, 5), 0);
	CHECK(s->out_stage[0] == 0xaa && s->out_stage[bytes - 1] == 0xaa);
	CHECK_BYTES(arena + bytes, plain + bytes, bytes);
	memmove(arena + 2, arena, bytes);
	CHECK_EQ(step(s, pages, arena + 2, 5), 0);
	CHECK_BYTES(arena + 2 + bytes, plain + bytes, bytes);
	cuda_span_close(s);
	cuda_host_unregister(device, arena);
	cuda_device_close(device);
	mem_free(arena);
	mem_free(plain);
	model_close(m);
}

/* Goal: out rows are the last ones, in the encoding asked for, and nothing else is touched. */
TEST(span_submit__gives_the_last_rows)
{
	struct model *m = open_model("llama-plain");
	uint32_t hidden = model_config(m)->hidden, pages[2] = { 5, 2 };
	struct span_options o = plain_options(m);
	struct device_options d = { .compute = COMPUTE_F32 };
	float *in = mem_calloc(8, hidden * sizeof(float));
	float *all = mem_calloc(8, hidden * sizeof(float));
	struct error e = { 0 };
	struct device *device;
	struct span *s;

	stand_in_use();
	for (uint32_t i = 0; i < 8 * hidden; i++)
		in[i] = (float)(i % 13) - 6;
	CHECK_OK(cuda_device_open(&device, &d, &e), &e);
	CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
	for (enum row_encoding out = ROW_F32; out <= ROW_INT8; out++) {
		uint64_t bytes = row_bytes(out, hidden);
		uint8_t *got = mem_calloc(10, bytes), *want = mem_calloc(8, bytes);
		uint32_t wanted = out == ROW_F32 ? 8 : 3;
		struct batch_entry entry = { .pages = pages, .rows = 8, .in = in,
					     .out = got + bytes, .out_rows = wanted,
					     .in_encoding = ROW_F32, .out_encoding = out };
		struct batch b = { &entry, 1, 8, 0, model_config(m)->blocks };

		memset(got, 0xaa, 10 * bytes);
		CHECK_EQ(cuda_span_submit(s, &b), 0);
		CHECK_EQ(cuda_span_wait(s), 0);
		if (out == ROW_F32)
			memcpy(all, got + bytes, 8 * bytes);
		row_encode(out, all + (8 - wanted) * hidden, wanted, hidden, want);
		CHECK_BYTES(got + bytes, want, wanted * bytes);
		for (uint64_t i = 0; i < bytes; i++)
			CHECK(got[i] == 0xaa && got[(wanted + 1) * bytes + i] == 0xaa);
		mem_free(got);
		mem_free(want);
	}
	cuda_span_close(s);
	cuda_device_close(device);
	mem_free(all);
	mem_free(in);
	model_close(m);
}

/* ROWS rows through all blocks on a device that is fast or not; fails the test when it cannot. */
enum { ROWS = 100 };

static void run_rows(const struct model *m, bool fast, uint8_t *memory, char kind[KIND_BYTES])
{
	struct span_options o = plain_options(m);
	struct device_options d = { .compute = COMPUTE_BF16, .fast = fast };
	uint32_t pages[7] = { 3, 1, 4, 15, 9, 2, 6 };
	struct error e = { 0 };
	struct device *device;
	struct span *s;

	o.rows_max = o.tokens_max = ROWS;
	CHECK_OK(cuda_device_open(&device, &d, &e), &e);
	CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
	CHECK_EQ(step(s, pages, memory, ROWS), 0);
	memcpy(kind, cuda_span_info(s)->kind, KIND_BYTES);
	cuda_span_close(s);
	cuda_device_close(device);
}

/* Goal: the fast mode, many rows by cuBLASLt, is near the other one, and says what it is. */
TEST(span__fast_is_near_and_says_so)
{
	static const char *const some[] = { "llama-gqa-tied", "bloom" };
	char exact_kind[KIND_BYTES], fast_kind[KIND_BYTES];

	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(some); i++) {
		struct model *m = open_model(some[i]);
		size_t count = (size_t)ROWS * model_config(m)->hidden;
		float *exact = mem_calloc(2 * count, sizeof(float));
		float *fast = mem_calloc(2 * count, sizeof(float));
		double off = 0, norm = 0;

		for (size_t k = 0; k < count; k++)
			exact[k] = fast[k] = (float)((k * 37 + 11) % 101) / 50 - 1;
		run_rows(m, false, (uint8_t *)exact, exact_kind);
		run_rows(m, true, (uint8_t *)fast, fast_kind);
		for (size_t k = count; k < 2 * count; k++) {
			off += pow((double)fast[k] - (double)exact[k], 2);
			norm += pow((double)exact[k], 2);
		}
		CHECK(sqrt(off / norm) < 1e-2);
		CHECK(!strstr(exact_kind, "-fast/bf16/") && strstr(fast_kind, "-fast/bf16/"));
		CHECK(memcmp(exact + count, fast + count, count * sizeof(float)) != 0);
		mem_free(fast);
		mem_free(exact);
		model_close(m);
	}
}

/* Rows of three sequences of other lengths, as a batch; out behind in. */
enum { SEQUENCES = 3 };

static void steps_through(struct span *s, uint8_t *memory, uint32_t position, bool whole)
{
	static const uint32_t pages[SEQUENCES] = { 4, 7, 2 };
	uint64_t bytes = row_bytes(ROW_F32, s->info.hidden);
	uint32_t end = s->info.end, cuts[] = { 0, whole ? end : end / 2, end };
	struct batch_entry entries[SEQUENCES];

	for (uint32_t c = 0; c < 2 && cuts[c] < end; c++) {
		struct batch b = { entries, SEQUENCES, SEQUENCES, cuts[c], cuts[c + 1] };

		for (uint32_t i = 0; i < SEQUENCES; i++)
			entries[i] = (struct batch_entry){
				.pages = &pages[i], .position = position, .rows = 1, .out_rows = 1,
				.in = memory + (c * SEQUENCES + i) * bytes,
				.out = memory + ((c + 1) * SEQUENCES + i) * bytes,
				.in_encoding = ROW_F32, .out_encoding = ROW_F32,
			};
		CHECK_EQ(cuda_span_submit(s, &b), 0);
		CHECK_EQ(cuda_span_wait(s), 0);
	}
}

/* Goal: a graph, filled up with rows of nobody, gives what launches give, and writes nothing
 * that is not its rows'.
 */
TEST(span_submit__graphs_and_launches_agree)
{
	static const enum compute_mode modes[] = { COMPUTE_F32, COMPUTE_BF16 };
	struct model *m = open_model("llama-gqa-tied");
	struct span_options o = plain_options(m);
	uint64_t bytes = SEQUENCES * row_bytes(ROW_F32, model_config(m)->hidden);
	uint8_t *whole = mem_calloc(3, bytes), *parts = mem_calloc(3, bytes);
	struct error e = { 0 };

	stand_in_use();
	o.entries_max = SEQUENCES;
	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		struct device_options d = { .compute = modes[i] };
		struct device *device;
		struct span *a, *b;
		uint8_t *pages[2];

		CHECK_OK(cuda_device_open(&device, &d, &e), &e);
		CHECK_OK(cuda_span_open(&a, device, &o, &e), &e);
		CHECK_OK(cuda_span_open(&b, device, &o, &e), &e);
		CHECK(a->graphs[2].runnable && a->graphs[3].runnable && !a->graphs[4].runnable);
		for (uint32_t position = 0; position < 3; position++) {
			for (uint64_t k = 0; k < bytes / 4; k++)
				((float *)whole)[k] = ((float *)parts)[k] =
					(float)((k * 31 + position * 7 + 5) % 97) / 48 - 1;
			steps_through(a, whole, position, true);
			steps_through(b, parts, position, false);
			CHECK_BYTES(whole + bytes, parts + 2 * bytes, bytes);
		}
		for (uint32_t p = 0; p < a->info.pages; p++) {
			pages[0] = mem_alloc(a->info.page_bytes);
			pages[1] = mem_alloc(a->info.page_bytes);
			CHECK_EQ(cuda_page_export(a, p, pages[0]), 0);
			CHECK_EQ(cuda_page_export(b, p, pages[1]), 0);
			CHECK_BYTES(pages[0], pages[1], a->info.page_bytes);
			mem_free(pages[0]);
			mem_free(pages[1]);
		}
		cuda_span_close(b);
		cuda_span_close(a);
		cuda_device_close(device);
	}
	mem_free(parts);
	mem_free(whole);
	model_close(m);
}

/* Goal: however kernels are sent, they compute the same; a graph is recorded for one way alone. */
TEST(span_submit__ways_of_launching_agree)
{
	struct model *m = open_model("llama-gqa-tied");
	struct span_options o = plain_options(m);
	uint64_t bytes = SEQUENCES * row_bytes(ROW_F32, model_config(m)->hidden);
	uint8_t *rows = mem_calloc(2, bytes), *first = mem_calloc(1, bytes);

	stand_in_use();
	o.entries_max = SEQUENCES;
	for (uint64_t k = 0; k < bytes / 4; k++)
		((float *)rows)[k] = (float)((k * 31 + 5) % 97) / 48 - 1;
	for (enum launch_mode way = LAUNCH_GRAPHS; way <= LAUNCH_PLAIN; way++) {
		struct device_options d = { .compute = COMPUTE_BF16, .launches = way };
		struct error e = { 0 };
		struct device *device;
		struct span *s;

		CHECK_OK(cuda_device_open(&device, &d, &e), &e);
		CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
		CHECK_EQ(s->graphs[0].runnable != NULL, way == LAUNCH_GRAPHS);
		steps_through(s, rows, 0, true);
		if (way == LAUNCH_GRAPHS)
			memcpy(first, rows + bytes, bytes);
		CHECK_BYTES(first, rows + bytes, bytes);
		cuda_span_close(s);
		cuda_device_close(device);
	}
	mem_free(first);
	mem_free(rows);
	model_close(m);
}

#ifdef PETALS_FAULTS
/* Goal: a call that fails within a step is told by the step, and by all after it; whether it
 * is a graph (two calls) or many launches.
 */
TEST(span_submit__tells_a_failed_call)
{
	struct model *m = open_model("llama-plain");
	struct span_options o = plain_options(m);
	struct device_options d = { .compute = COMPUTE_F32 };
	uint64_t bytes = row_bytes(ROW_F32, model_config(m)->hidden);
	uint8_t *memory = mem_calloc(2, bytes);
	uint32_t pages[1] = { 0 };

	stand_in_use();
	for (int nth = 1; nth < 25; nth += nth < 3 ? 1 : 7) {
		struct error e = { 0 };
		struct device *device;
		struct span *s;

		CHECK_OK(cuda_device_open(&device, &d, &e), &e);
		CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
		fault_arm(nth);
		CHECK_EQ(step_less(s, pages, memory, 1, nth > 2), -EIO);
		CHECK(fault_fired());
		fault_disarm();
		CHECK_EQ(step(s, pages, memory, 1), -EIO);
		cuda_span_close(s);
		cuda_device_close(device);
	}
	mem_free(memory);
	model_close(m);
}
#endif
