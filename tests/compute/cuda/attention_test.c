/* attention_test.c - rotation, pages and attention against f64: odd head counts, groups, windows,
 * ALiBi, permuted pages full of poison.
 *
 * Covers append.cu, attend_few.cu, attend_merge.cu, attend_many.cu, attention.cu.
 */
#include <math.h>

#include "compute/cuda/block.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { PAGES = 40, TOKENS_MAX = 600 };

/* A sequence of `tokens` tokens in one block; all of its q, k, v before rotation. */
struct scene {
	uint32_t heads, kv_heads, head_dim, rope_dims, window, tokens;
	bool bf16, alibi;
	struct cuda_attention attention;
	struct cuda_arena arena;
	float *q, *k, *v, *cosines, *sines, *slopes;
	struct cuda_shape shape;
	uint32_t table[TOKENS_MAX];
};

/* Lists of items, and room for what they leave. */
static void attention_open(struct gpu *g, struct scene *s)
{
	struct cuda_attention_options o = {
		.kv = s->shape.kv, .heads = s->heads, .window = s->window, .scale = s->shape.scale,
		.rows_max = TOKENS_MAX, .entries_max = 2, .tokens_max = TOKENS_MAX,
		.tokens_room = PAGES * s->shape.kv.page_tokens,
	};
	struct error e = { 0 };
	void *host;

	cuda_attention_init(&s->attention, g->device, &o);
	cuda_attention_want(&s->attention, &s->arena);
	CHECK_OK(cuda_arena_open(&s->arena, g->device, "attention", &e), &e);
	CHECK_OK(cuda_host_alloc(g->device, &host, cuda_attention_host_bytes(&s->attention) + 1,
				 &e), &e);
	cuda_attention_host(&s->attention, host);
}

/* What random shapes seldom are, each bf16: of large models, with more queries to a kv head than
 * a tile has, of the widest tiles, wider still.
 */
static const struct { uint32_t kv_heads, group, head_dim, tokens; } shapes[] = {
	{ 1, 16, 128, 290 }, { 2, 1, 128, 520 }, { 1, 20, 64, 280 }, { 1, 3, 256, 270 },
	{ 1, 2, 260, 90 },
};
enum { RANDOM_VARIANTS = 12, VARIANTS = RANDOM_VARIANTS + ARRAY_LENGTH(shapes) };

static void scene_shape(struct scene *s, uint32_t i)
{
	s->bf16 = true;
	s->kv_heads = shapes[i].kv_heads;
	s->heads = shapes[i].kv_heads * shapes[i].group;
	s->head_dim = shapes[i].head_dim;
	s->tokens = shapes[i].tokens;
}

static void scene_open(struct gpu *g, struct scene *s, struct random *r, int variant)
{
	struct model_config c = { .arch = arch_by_name("llama"), .hidden = 8 };
	uint32_t pages;

	*s = (struct scene){
		.kv_heads = numbers_between(r, 1, 3), .head_dim = 2 * numbers_between(r, 1, 40),
		.tokens = numbers_between(r, 1, variant % 4 == 3 ? TOKENS_MAX : 200),
		.bf16 = variant % 2, .alibi = variant % 4 >= 2,
		.window = variant % 3 ? 0 : numbers_between(r, 1, 90),
	};
	if (variant == 7)       /* several ranges, one by the next */
		s->tokens = TOKENS_MAX;
	s->heads = s->kv_heads * numbers_between(r, 1, 5);
	if (variant >= RANDOM_VARIANTS)
		scene_shape(s, (uint32_t)variant - RANDOM_VARIANTS);
	s->rope_dims = s->alibi ? 0 : 2 * numbers_between(r, 0, s->head_dim / 2);
	c.heads = s->heads;
	c.kv_heads = s->kv_heads;
	c.head_dim = s->head_dim;
	c.window = s->window;
	cuda_shape_init(&s->shape, &c, s->bf16, 16 << variant % 3, ROW_F32);
	s->shape.rope_dims = s->rope_dims;
	s->q = numbers_new(r, (size_t)s->tokens * s->shape.q_width, 1);
	s->k = numbers_new(r, (size_t)s->tokens * s->shape.kv_width, 1);
	s->v = numbers_new(r, (size_t)s->tokens * s->shape.kv_width, 1);
	s->cosines = numbers_new(r, (size_t)s->tokens * s->rope_dims / 2 + 1, 1);
	s->sines = numbers_new(r, (size_t)s->tokens * s->rope_dims / 2 + 1, 1);
	s->slopes = numbers_new(r, s->heads, 0.1f);
	/* Pages in any order. */
	pages = (s->tokens + s->shape.kv.page_tokens - 1) / s->shape.kv.page_tokens;
	for (uint32_t i = 0; i < pages; i++)
		s->table[i] = (i * 7 + variant) % PAGES;
	attention_open(g, s);
}

static void scene_close(struct gpu *g, struct scene *s)
{
	cuda_host_free(g->device, s->attention.host);
	cuda_arena_close(&s->arena);
	mem_free(s->q);
	mem_free(s->k);
	mem_free(s->v);
	mem_free(s->cosines);
	mem_free(s->sines);
	mem_free(s->slopes);
}

static double rotated(const struct scene *s, const float *head, uint32_t token, uint32_t i)
{
	uint32_t half = s->rope_dims / 2, pair = i < half ? i : i - half;
	double c, sine;

	if (i >= s->rope_dims)
		return (double)head[i];
	c = (double)s->cosines[(size_t)token * half + pair];
	sine = (double)s->sines[(size_t)token * half + pair];
	return i < half ? (double)head[i] * c - (double)head[i + half] * sine :
			  (double)head[i] * c + (double)head[pair] * sine;
}

/* What row `token` attends to, the slow way; keys and values rounded as pages do. */
static void attention_twin(const struct scene *s, uint32_t token, uint32_t h, double *out)
{
	uint32_t kv = h / (s->heads / s->kv_heads), end = token + 1;
	uint32_t first = s->window && end > s->window ? end - s->window : 0;
	const float *q = s->q + (size_t)token * s->shape.q_width + h * s->head_dim;
	double weights[TOKENS_MAX], sum = 0, most = -INFINITY;

	for (uint32_t t = first; t < end; t++) {
		const float *k = s->k + (size_t)t * s->shape.kv_width + kv * s->head_dim;
		double dot = 0;

		for (uint32_t i = 0; i < s->head_dim; i++)
			dot += rotated(s, q, token, i) *
			       (double)gpu_rounded((float)rotated(s, k, t, i), s->bf16);
		dot *= 1 / sqrt(s->head_dim);
		if (s->alibi)
			dot += (double)s->slopes[h] * ((double)t - (double)token);
		weights[t] = dot;
		most = MAX(most, dot);
	}
	for (uint32_t t = first; t < end; t++)
		sum += weights[t] = exp(weights[t] - most);
	for (uint32_t i = 0; i < s->head_dim; i++) {
		out[i] = 0;
		for (uint32_t t = first; t < end; t++)
			out[i] += weights[t] / sum * (double)gpu_rounded(
				s->v[(size_t)t * s->shape.kv_width + kv * s->head_dim + i],
				s->bf16);
	}
}

/* Tokens [first, end) as the rows of a batch of one sequence; their attention as an f32
 * operand.
 */
static void scene_run(struct gpu *g, struct scene *s, uint8_t *pages, uint32_t first,
		      uint32_t end, float *out)
{
	const struct cuda_shape *h = &s->shape;
	uint32_t rows = end - first, half = s->rope_dims / 2, before = g->count;
	struct cuda_row row[TOKENS_MAX] = { { 0 } };
	struct append_args put = { .kv = h->kv, .heads = s->heads, .rope_dims = s->rope_dims,
				   .stride = cuda_operand_stride(h->q_width) };
	struct cuda_attention_rows a = { .rows = rows };
	struct cuda_segment segments[CUDA_ATTENTION_SEGMENTS];
	uint32_t units[CUDA_ATTENTION_SEGMENTS];

	for (uint32_t i = 0; i < rows; i++)
		row[i] = (struct cuda_row){ .in = pages, .position = first + i, .first_page = 3 };
	put.kv.pages = pages;
	put.kv.page_bytes = h->share_bytes;
	a.kv = put.kv;
	put.row = a.row = gpu_new(g, row, rows * sizeof(*row));
	/* The table begins behind another entry's. */
	put.pages = a.pages = (uint32_t *)gpu_new(g, s->table, sizeof(s->table)) - 3;
	put.q = gpu_new(g, s->q + (size_t)first * h->q_width, rows * h->q_width * 4);
	put.k = gpu_new(g, s->k + (size_t)first * h->kv_width, rows * h->kv_width * 4);
	put.v = gpu_new(g, s->v + (size_t)first * h->kv_width, rows * h->kv_width * 4);
	put.cosines = gpu_new(g, s->cosines + (size_t)first * half, rows * half * 4 + 4);
	put.sines = gpu_new(g, s->sines + (size_t)first * half, rows * half * 4 + 4);
	if (s->attention.tiled)
		put.q_bf16 = gpu_new(g, NULL, (uint64_t)rows * 2 *
				     cuda_attention_q_width(&s->attention));
	a.q = put.q;
	a.q_bf16 = put.q_bf16;
	a.slopes = s->alibi ? gpu_new(g, s->slopes, s->heads * 4) : NULL;
	a.out = put.out = gpu_new(g, NULL, (uint64_t)rows * put.stride * 4);
	cuda_launch(&g->queue, CUDA_KERNEL_APPEND,
		    (struct cuda_grid){ rows, s->kv_heads, CUDA_ROW_THREADS }, &put);
	cuda_attention_begin(&s->attention);
	cuda_attention_add(&s->attention, 0, rows, first);
	cuda_attention_segments(&s->attention, segments, units);
	for (uint32_t i = 0; i < CUDA_ATTENTION_SEGMENTS; i++)
		cuda_copy_in(&g->queue, segments[i].to, segments[i].from, units[i] * 16);
	cuda_attend(&s->attention, &g->queue, &a);
	gpu_read_operand(g, a.out, rows, h->q_width, false, out);
	gpu_drop(g, before);
}

/* Pages that the table does not name are as they were: poison. */
static void check_pages(struct gpu *g, const struct scene *s, const uint8_t *pages)
{
	uint64_t bytes = s->shape.share_bytes;
	uint32_t held = (s->tokens + s->shape.kv.page_tokens - 1) / s->shape.kv.page_tokens;
	uint8_t *page = mem_alloc(bytes);

	for (uint32_t p = 0; p < PAGES; p++) {
		bool named = false;
		uint64_t touched = 0;

		for (uint32_t i = 0; i < held; i++)
			named |= s->table[i] == p;
		gpu_read(g, pages + p * bytes, page, bytes);
		for (uint64_t i = 0; i < bytes; i++)
			touched += page[i] != 0xff;
		CHECK(named ? touched > 0 : touched == 0);
	}
	mem_free(page);
}

/* The last rows against the slow twin. */
static void check_last(const struct scene *s, struct random *r, const float *got, int variant)
{
	double *expect = mem_calloc(s->shape.q_width, sizeof(*expect));
	uint32_t last = s->tokens - 1 - (uint32_t)random_below(r, MIN(s->tokens, 5u));

	for (uint32_t h = 0; h < s->heads; h++)
		attention_twin(s, last, h, expect + h * s->head_dim);
	if (!(numbers_error(got + (size_t)last * s->shape.q_width, expect, s->shape.q_width) <
	      (s->bf16 ? 8e-3 : 1e-5)))
		fail_msg("variant %d: %u heads of %u over %u tokens: off by %g", variant, s->heads,
			 s->head_dim, s->tokens,
			 numbers_error(got + (size_t)last * s->shape.q_width, expect,
				       s->shape.q_width));
	mem_free(expect);
}

/* A prompt in two parts, then some tokens one by one, into fresh pages. */
static void run_in_parts(struct gpu *g, struct scene *s, struct random *r, float *out)
{
	uint32_t steps = MIN(s->tokens, 4u), prompt = s->tokens - steps;
	uint32_t cut = prompt ? (uint32_t)random_below(r, prompt) : 0;
	uint8_t *pages = gpu_new(g, NULL, PAGES * s->shape.share_bytes);

	if (cut > 0)
		scene_run(g, s, pages, 0, cut, out);
	if (prompt > cut)
		scene_run(g, s, pages, cut, prompt, out + (size_t)cut * s->shape.q_width);
	for (uint32_t t = prompt; t < s->tokens; t++)
		scene_run(g, s, pages, t, t + 1, out + (size_t)t * s->shape.q_width);
	check_pages(g, s, pages);
}

/* Goal: whatever the heads, pages, windows and chunks, rows attend as the slow twin does, and
 * chunks change no bit.
 */
TEST(attention__agrees_with_f64)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int variant = 0; variant < (int)VARIANTS; variant++) {
		struct scene s;
		float *whole, *parts;
		size_t count;

		scene_open(&g, &s, &r, variant);
		count = (size_t)s.tokens * s.shape.q_width;
		whole = mem_calloc(count, 4);
		parts = mem_calloc(count, 4);
		scene_run(&g, &s, gpu_new(&g, NULL, PAGES * s.shape.share_bytes), 0, s.tokens,
			  whole);
		check_last(&s, &r, whole, variant);
		run_in_parts(&g, &s, &r, parts);
		for (size_t i = 0; i < count; i++)
			if (memcmp(&whole[i], &parts[i], 4) != 0)
				fail_msg("variant %d: %u heads of %u over %u tokens: row %zu's "
					 "number %zu is %a as a whole, %a in parts", variant,
					 s.heads, s.head_dim, s.tokens, i / s.shape.q_width,
					 i % s.shape.q_width, (double)whole[i], (double)parts[i]);
		gpu_drop(&g, 0);
		mem_free(parts);
		mem_free(whole);
		scene_close(&g, &s);
	}
	gpu_close(&g);
}
