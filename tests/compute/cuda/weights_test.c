/* weights_test.c - whole models in every weight format on the CUDA backend: the identity promise,
 * and the slow twin of the same quantised weights; and that loading is one thing on any number
 * of threads.
 *
 * Covers weights.c, layout.cuh.
 */
#include "compute/cuda/weights.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "compute/reference.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/bits.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { TOKENS = BITS_TOKENS };

/* Every dtype that a checkpoint may store, and tied heads. */
static const char *const checkpoints[] = {
	"llama-gqa-tied", "bloom", "opt-350m", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
	"gguf/llama-q8_0.gguf", "gguf/qwen2-f16.gguf",
};

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static void default_options(struct rig_options *o, const struct model *m, enum weight_format w)
{
	rig_options_default(o, m);
	o->backend = &backend_cuda;
	o->compute = COMPUTE_BF16;
	o->weights = w;
}

/* Goal: in every weight format a row's bits do not depend on how it is run. */
TEST(span__same_bits_in_every_weight_format)
{
	static const uint32_t chunks[] = { 1, 7, 16, 33, 0 };
	uint32_t tokens[TOKENS];
	struct random r;

	stand_in_use();
	random_seed(&r, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints) + WEIGHT_FORMATS; i++) {
		/* All as they are kept, then one in each format. */
		bool kept = i < ARRAY_LENGTH(checkpoints);
		enum weight_format w = kept ? WEIGHTS_KEEP : i - ARRAY_LENGTH(checkpoints);
		const char *name = kept ? checkpoints[i] : checkpoints[random_below(&r, 3)];
		struct model *m = open_model(name);
		struct rig_options o;
		struct bits expect, got;

		for (int t = 0; t < TOKENS; t++)
			tokens[t] = (uint32_t)random_below(&r, model_config(m)->vocabulary);
		default_options(&o, m, w);
		expect = bits_run(&o, &r, tokens, TOKENS);
		o.spans = 1 + (uint32_t)random_below(&r, model_config(m)->blocks);
		got = bits_run(&o, &r, tokens, chunks[random_below(&r, ARRAY_LENGTH(chunks))]);
		if (memcmp(got.numbers, expect.numbers, got.bytes) != 0)
			fail_msg("%s, %s: not the same bits", name, weight_format_name(w));
		mem_free(got.numbers);
		mem_free(expect.numbers);
		model_close(m);
	}
}

/* The states after the last block, how far from the slow twin's of the same weights. */
static double distance(const struct model *m, enum weight_format weights)
{
	uint32_t tokens[TOKENS], hidden = model_config(m)->hidden, blocks = model_config(m)->blocks;
	float *states = mem_calloc((blocks + 1) * (size_t)TOKENS * hidden, sizeof(*states));
	const float *want = states + (size_t)blocks * TOKENS * hidden;
	double difference = 0, norm = 0;
	struct rig_options o;
	struct error e = { 0 };
	struct bits got;

	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = (i * 31 + 7) % model_config(m)->vocabulary;
	CHECK_OK(reference_run(m, weights, tokens, TOKENS, ROW_F32, states, NULL, &e), &e);
	default_options(&o, m, weights);
	got = bits_run(&o, NULL, tokens, TOKENS);
	for (size_t i = 0; i < (size_t)TOKENS * hidden; i++) {
		difference += pow((double)got.numbers[i] - (double)want[i], 2);
		norm += pow((double)want[i], 2);
	}
	mem_free(got.numbers);
	mem_free(states);
	return sqrt(difference / norm);
}

/* Goal: whole models give what the slow twin gives of the same quantised weights, as near as
 * activations in bf16 are.
 */
TEST(span__weight_formats_agree_with_the_reference)
{
	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);

		for (enum weight_format w = WEIGHTS_KEEP; w < WEIGHT_FORMATS; w++)
			if (w == WEIGHTS_KEEP || i < 2)
				CHECK_NEAR(distance(m, w), 0, 4e-2);
		model_close(m);
	}
}

/* A row of the embedding as the device has it. */
static void embedding_row(const struct model *m, enum weight_format f, uint32_t token, float *out)
{
	uint8_t values[4096], scales[1024];
	struct weight w;

	CHECK(model_weight(m, model_config(m)->tied ? ROLE_HEAD_W : ROLE_EMBED_W, 0, &w));
	weight_row(&w, token, out);
	if (f == WEIGHTS_KEEP && w.dtype == DTYPE_F32)
		f = WEIGHTS_BF16;
	if (f == WEIGHTS_KEEP)
		return;
	CHECK(quantised_values_bytes(f, w.columns) <= sizeof(values));
	quantise_rows(f, &w, token, token + 1, values, scales);
	quantised_widen(f, values, scales, w.columns, out);
}

static void check_embedding(const struct model *m, enum weight_format f)
{
	const struct model_config *c = model_config(m);
	struct device_options o = { .compute = COMPUTE_BF16, .weights = f };
	float *row = mem_calloc(c->hidden, sizeof(float));
	float *got = mem_calloc(c->hidden, sizeof(float));
	struct error e = { 0 };
	struct device *d;
	struct edge *g;

	CHECK_OK(cuda_device_open(&d, &o, &e), &e);
	CHECK_OK(cuda_edge_open(&g, d, m, 4, (struct load_progress){ 0 }, &e), &e);
	for (uint32_t token = 0; token < c->vocabulary; token += 13) {
		embedding_row(m, f, token, row);
		for (uint32_t i = 0; i < c->hidden; i++)
			row[i] *= c->embed_scale;
		CHECK_EQ(cuda_edge_embed(g, &token, 1, 0, got), 0);
		CHECK_BYTES(got, row, c->hidden * sizeof(float));
	}
	cuda_edge_close(g);
	cuda_device_close(d);
	mem_free(row);
	mem_free(got);
}

/* Goal: rows that are looked up in a tied head are its weights, in any format, exactly. */
TEST(edge__looks_rows_up_in_every_weight_format)
{
	static const char *const plain[] = {
		"llama-gqa-tied", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
		"gguf/llama-q8_0.gguf", "gguf/qwen2-f16.gguf",
	};

	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(plain); i++) {
		struct model *m = open_model(plain[i]);

		for (enum weight_format f = WEIGHTS_KEEP; f < WEIGHT_FORMATS; f++)
			if (model_config(m)->tied || f == WEIGHTS_KEEP)
				check_embedding(m, f);
		model_close(m);
	}
}

/* ---- loading ---- */

static const enum role matrices[] = { ROLE_HEAD_W, ROLE_Q_W, ROLE_K_W, ROLE_V_W, ROLE_O_W,
				      ROLE_GATE_W, ROLE_UP_W, ROLE_DOWN_W };
static const enum role rows_of_f32[] = { ROLE_EMBED_W, ROLE_POSITION_W, ROLE_NORM2_W };
enum { MATRICES = ARRAY_LENGTH(matrices), ROWS_OF_F32 = ARRAY_LENGTH(rows_of_f32) };
enum { ITEMS_MAX = 2 * MATRICES + ROWS_OF_F32, PIECE_BYTES = 4 << 20 };

/* All of a model's first block, and what it has of the edge. */
struct loading {
	struct gpu gpu;
	struct cuda_weights *weights;
	struct cuda_arena arena;
	struct cuda_matrix matrices[MATRICES];
	float *rows[ROWS_OF_F32];
};

static void loading_open(struct loading *l, const struct model *m, struct cuda_weights_as as,
			 bool bf16, uint32_t threads)
{
	struct error e = { 0 };

	*l = (struct loading){ 0 };
	gpu_open(&l->gpu);
	l->gpu.device->threads = threads;
	CHECK_OK(cuda_weights_open(&l->weights, m, as, &l->arena, ITEMS_MAX, &e), &e);
	for (int i = 0; i < MATRICES; i++)
		cuda_weights_matrix(l->weights, matrices[i], 0, bf16, &l->matrices[i]);
	for (int i = 0; i < ROWS_OF_F32; i++)
		cuda_weights_vector(l->weights, rows_of_f32[i], 0, &l->rows[i]);
	CHECK_OK(cuda_arena_open(&l->arena, l->gpu.device, "a test", &e), &e);
}

static void loading_close(struct loading *l)
{
	cuda_weights_close(l->weights);
	cuda_arena_close(&l->arena);
	gpu_close(&l->gpu);
}

static void check_on_device(struct loading *l, const void *device, const uint8_t *expect,
			    uint64_t bytes)
{
	uint8_t *got = mem_alloc(PIECE_BYTES);

	for (uint64_t at = 0, n; at < bytes; at += n) {
		n = MIN(bytes - at, PIECE_BYTES);
		gpu_read(&l->gpu, (const uint8_t *)device + at, got, n);
		CHECK(memcmp(got, expect + at, n) == 0);
	}
	mem_free(got);
}

/* A matrix band by band, in one thread; NULL: the model has none. */
static uint8_t *laid_out(const struct model *m, enum role role, enum cuda_format f,
			 uint64_t *bytes)
{
	uint64_t band;
	uint8_t *out;
	float *scales;
	struct weight w;
	void *scratch;

	if (!model_weight(m, role, 0, &w))
		return NULL;
	band = cuda_layout_band_bytes(f, w.columns);
	scratch = mem_alloc(cuda_layout_scratch_bytes(f, w.columns) + 1);
	*bytes = cuda_layout_bytes(f, w.rows, w.columns);
	out = mem_alloc(*bytes);
	scales = (float *)(out + align_up(w.rows, TILE_FEATURES) / TILE_FEATURES * band);
	for (uint32_t r = 0; r < w.rows; r += TILE_FEATURES)
		cuda_layout_band(f, &w, r, out + r / TILE_FEATURES * band,
				 f == CUDA_INT8 ? scales + r : NULL, scratch);
	mem_free(scratch);
	return out;
}

/* Rows widened to f32. */
static uint8_t *widened(const struct model *m, enum role role, uint64_t *bytes)
{
	struct weight w;
	float *out;

	if (!model_weight(m, role, 0, &w))
		return NULL;
	*bytes = (uint64_t)w.rows * w.columns * sizeof(float);
	out = mem_alloc(*bytes);
	for (uint32_t r = 0; r < w.rows; r++)
		weight_row(&w, r, out + (size_t)r * w.columns);
	return (uint8_t *)out;
}

static void check_loads(const struct model *m, struct cuda_weights_as as, bool bf16)
{
	static const uint32_t threads[] = { 1, 2, 3, 7 };
	enum { ALL = MATRICES + ROWS_OF_F32 };
	uint8_t *expect[ALL] = { NULL };
	uint64_t bytes[ALL];
	struct loading l;

	for (size_t t = 0; t < ARRAY_LENGTH(threads); t++) {
		struct error e = { 0 };

		loading_open(&l, m, as, bf16, threads[t]);
		for (int i = 0; i < ALL && t == 0; i++)
			expect[i] = i < MATRICES ? laid_out(m, matrices[i], l.matrices[i].format,
							    &bytes[i]) :
				    widened(m, rows_of_f32[i - MATRICES], &bytes[i]);
		CHECK_OK(cuda_weights_load(l.weights, &l.gpu.queue, (struct load_progress){ 0 },
					   &e), &e);
		for (int i = 0; i < ALL; i++) {
			const void *at = i < MATRICES ? l.matrices[i].w : l.rows[i - MATRICES];

			CHECK(!at == !expect[i]);
			if (at)
				check_on_device(&l, at, expect[i], bytes[i]);
		}
		loading_close(&l);
	}
	for (int i = 0; i < ALL; i++)
		mem_free(expect[i]);
}

/* A head of so many rows and columns, a small block beside it; all seeded numbers. */
static struct model *open_head(enum dtype stored, uint32_t rows, uint32_t columns)
{
	struct model_config c = {
		.arch = arch_by_name("llama"), .name = "a head", .blocks = 1, .hidden = columns,
		.heads = 1, .kv_heads = 1, .head_dim = GROUP, .intermediate = GROUP,
		.vocabulary = rows, .embed = columns, .positions = 1, .final_norm = true,
	};
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open_synthetic(&m, &c, stored, &e), &e);
	return m;
}

/* Goal: whatever the number of threads, the device gets the bytes of bands laid out one after the
 * other: in every format, of shapes that fill no band, no tile and more than both halves.
 */
TEST(weights_load__same_bytes_for_any_number_of_threads)
{
	static const struct { uint32_t rows, columns; } shapes[] = {
		{ 1, 1 }, { 33, 67 }, { 231, 1000 }, { 1, 3232 }, { 8501, 416 },
	};

	for (enum dtype d = 0; d < DTYPE_COUNT; d++)
		for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++) {
			struct model *m;

			if (dtype_is_quantised(d) && shapes[i].columns % GROUP)
				continue;
			m = open_head(d, shapes[i].rows, shapes[i].columns);
			check_loads(m, (struct cuda_weights_as){ WEIGHTS_KEEP, false }, true);
			check_loads(m, (struct cuda_weights_as){ WEIGHTS_KEEP, true }, true);
			check_loads(m, (struct cuda_weights_as){ WEIGHTS_KEEP, false }, false);
			model_close(m);
		}
	for (enum weight_format f = WEIGHTS_BF16; f < WEIGHT_FORMATS; f++)
		for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++) {
			struct model *m = open_head(DTYPE_BF16, shapes[i].rows, shapes[i].columns);

			check_loads(m, (struct cuda_weights_as){ f, false }, true);
			model_close(m);
		}
}

/* Goal: the same of whole checkpoints, however they store their rows. */
TEST(weights_load__same_bytes_of_checkpoints)
{
	static const char *const stored[] = { "gpt2", "bloom", "opt-350m", "gguf/qwen2-f16.gguf" };

	for (size_t i = 0; i < ARRAY_LENGTH(stored); i++) {
		struct model *m = open_model(stored[i]);

		for (enum weight_format f = WEIGHTS_KEEP; f < WEIGHT_FORMATS; f++)
			check_loads(m, (struct cuda_weights_as){ f, false }, true);
		model_close(m);
	}
}

/* What a load's progress showed, and what it does there. */
struct watch {
	const struct device *device;
	uint64_t reports, last, total;
	uint64_t pinned;                /* at most */
	uint64_t threads;               /* besides the caller's, at most; a driver's, too */
	uint64_t fault_at;              /* this report arms one; 0: none */
};

static uint64_t pinned_bytes(const struct device *d)
{
	uint64_t bytes = 0;

	for (int i = 0; i < CUDA_REGIONS_MAX; i++)
		bytes += d->regions[i].bytes;
	return bytes;
}

static uint64_t process_threads(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long threads = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Threads: %llu", &threads);
	CHECK(f && fclose(f) == 0);
	return threads;
}

/* Threads that were joined take a moment to be gone, and a driver has its own. */
static void check_alone(void)
{
	if (stand_in_use())
		return;
	for (int tries = 0; process_threads() > 1 && tries < 10000; tries++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	CHECK_EQ(process_threads(), 1);
}

static void watch(void *ctx, uint64_t done, uint64_t total)
{
	struct watch *w = ctx;

	CHECK(w->reports == 0 || (done > w->last && total == w->total));
	w->reports++;
	w->last = done;
	w->total = total;
	w->pinned = MAX(w->pinned, pinned_bytes(w->device));
	w->threads = MAX(w->threads, process_threads() - 1);
#ifdef PETALS_FAULTS
	if (w->fault_at && w->reports == w->fault_at)
		fault_arm(3);
#endif
}

/* Loads a head on so many threads, and says what was seen. */
static struct watch watched(uint32_t rows, uint32_t columns, uint32_t threads)
{
	struct model *m = open_head(DTYPE_BF16, rows, columns);
	struct error e = { 0 };
	struct loading l;
	struct watch w;
	uint64_t before;

	loading_open(&l, m, (struct cuda_weights_as){ WEIGHTS_KEEP, false }, true, threads);
	w = (struct watch){ .device = l.gpu.device };
	before = pinned_bytes(w.device);
	check_alone();
	CHECK_OK(cuda_weights_load(l.weights, &l.gpu.queue, (struct load_progress){ watch, &w },
				   &e), &e);
	CHECK(w.reports > 3 && w.last == w.total && w.total == l.arena.bytes);
	CHECK_EQ(pinned_bytes(w.device), before);
	w.pinned -= before;
	loading_close(&l);
	model_close(m);
	return w;
}

/* Goal: pinned memory is bounded, however many threads and however wide the bands: two halves,
 * and no more threads than a half has bands; each thread that is asked for is there otherwise.
 */
TEST(weights_load__bounded_memory)
{
	uint64_t least = 2 * (uint64_t)CUDA_WEIGHTS_HALF_BYTES_LEAST;
	uint64_t most = 2 * (uint64_t)CUDA_WEIGHTS_HALF_BYTES;
	bool real = stand_in_use();
	struct watch w;

	w = watched(2000, 64, 3);
	CHECK(w.pinned == least && (real || w.threads == 2));
	/* A band is 4 MiB. */
	w = watched(64, 65536, 2);
	CHECK(w.pinned == most / 2 && (real || w.threads == 1));
	w = watched(64, 65536, 1000);
	CHECK(w.pinned == most && (real || w.threads == 15));
	/* Larger than a half is otherwise. */
	w = watched(33, (1 << 20) + 32, 4);
	CHECK(w.pinned == 2 * cuda_layout_band_bytes(CUDA_BF16, (1 << 20) + 32));
	CHECK(real || w.threads == 0);
}

#ifdef PETALS_FAULTS
/* Goal: what fails on the device in the middle ends the load: nothing more is reported, the
 * sentence names device and model, the queue stays failed, and all is given back.
 */
TEST(weights_load__a_failure_in_the_middle_stops_all)
{
	struct model *m = open_model("bloom");
	uint64_t live = mem_live_blocks();

	for (uint64_t at = 1; at < 6; at++) {
		struct error e = { 0 };
		struct loading l;
		struct watch w;

		loading_open(&l, m, (struct cuda_weights_as){ WEIGHTS_INT8, false }, true, 3);
		w = (struct watch){ .device = l.gpu.device, .fault_at = at };
		CHECK_EQ(cuda_weights_load(l.weights, &l.gpu.queue,
					   (struct load_progress){ watch, &w }, &e), -EIO);
		CHECK(fault_fired());
		fault_disarm();
		CHECK(w.reports >= at && w.reports <= at + 1 && w.last < w.total);
		CHECK(strstr(e.text, "cuda:0: the weights of ") && strstr(e.text, "bloom"));
		CHECK_EQ(l.gpu.queue.status, -EIO);
		CHECK_EQ(cuda_queue_wait(&l.gpu.queue), -EIO);
		loading_close(&l);
		CHECK_EQ(mem_live_blocks(), live);
		check_alone();
	}
	model_close(m);
}

/* Goal: whichever call fails, memory, threads and pinned memory are given back, and one sentence
 * says why.
 */
TEST(weights_load__unwinds_every_failure)
{
	struct model *m = open_model("llama-plain");
	uint64_t live = mem_live_blocks();
	bool done = false;

	for (int nth = 1; !done; nth++) {
		struct error e = { 0 };
		struct loading l;
		int rc;

		loading_open(&l, m, (struct cuda_weights_as){ WEIGHTS_BF16, false }, true, 3);
		fault_arm(nth);
		rc = cuda_weights_load(l.weights, &l.gpu.queue, (struct load_progress){ 0 }, &e);
		done = !fault_fired();
		fault_disarm();
		CHECK(done ? rc == 0 : rc < 0 && e.text[0]);
		loading_close(&l);
		CHECK_EQ(mem_live_blocks(), live);
		check_alone();
	}
	model_close(m);
}
#endif
