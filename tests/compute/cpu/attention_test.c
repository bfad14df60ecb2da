/* attention_test.c - KV pages and attention: right, and the same bits however rows are
 * chunked, pages are cut, and whichever path runs.
 */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

/* One sequence of `tokens` rows: everything attention reads. */
struct fixture {
	bool f32, alibi;
	uint32_t heads, kv_heads, head_dim, tokens, window;
	float *q, *k, *v, *slopes;
};

static void fixture_open(struct fixture *f, struct random *r)
{
	f->q = numbers_new(r, (size_t)f->tokens * f->heads * f->head_dim, 1.5f);
	f->k = numbers_new(r, (size_t)f->tokens * f->kv_heads * f->head_dim, 1.5f);
	f->v = numbers_new(r, (size_t)f->tokens * f->kv_heads * f->head_dim, 1);
	f->slopes = numbers_new(r, f->heads, 0.1f);
}

static void fixture_close(struct fixture *f)
{
	mem_free(f->q);
	mem_free(f->k);
	mem_free(f->v);
	mem_free(f->slopes);
}

static void random_fixture(struct fixture *f, struct random *r)
{
	static const uint32_t groups[] = { 1, 2, 3, 4, 14 };

	f->f32 = random_chance(r, 0.5);
	f->alibi = random_chance(r, 0.3);
	f->kv_heads = numbers_between(r, 1, 2);
	f->heads = f->kv_heads * groups[random_below(r, ARRAY_LENGTH(groups))];
	f->head_dim = numbers_between(r, 1, 40) * (random_chance(r, 0.2) ? 1 : 2);
	f->tokens = numbers_between(r, 1, 200);
	f->window = random_chance(r, 0.4) ? numbers_between(r, 1, 100) : 0;
}

/* Appends and attends chunk by chunk, in pages that held NaN before. */
static float *run(const struct kernels *k, const struct fixture *f, uint32_t page_tokens,
		  uint32_t chunk)
{
	uint32_t pages = (f->tokens + page_tokens - 1) / page_tokens;
	uint32_t width = f->heads * f->head_dim;
	uint32_t kv_width = f->kv_heads * f->head_dim;
	uint8_t **page = mem_calloc(pages, sizeof(*page));
	float *out = numbers_poison((size_t)f->tokens * width * sizeof(float));
	struct kv_layout l;
	void *scratch;

	kv_layout_init(&l, f->f32, f->kv_heads, f->head_dim, page_tokens);
	scratch = numbers_poison(attention_scratch_bytes(&l, f->heads));
	for (uint32_t i = 0; i < pages; i++)
		page[i] = numbers_poison(l.k_bytes + l.v_bytes);
	for (uint32_t at = 0; at < f->tokens; at += chunk) {
		uint32_t rows = MIN(chunk, f->tokens - at);
		struct attention_args a = {
			.layout = &l, .pages = page, .position = at, .rows = rows,
			.heads = f->heads, .window = f->window,
			.scale = 1 / sqrtf((float)f->head_dim),
			.slopes = f->alibi ? f->slopes : NULL,
			.q = f->q + (size_t)at * width, .q_stride = width,
			.out = out + (size_t)at * width, .out_stride = width,
		};

		for (uint32_t i = at; i < at + rows; i++)
			kv_append(k, &l, page[i / page_tokens], i % page_tokens,
				  f->k + (size_t)i * kv_width, f->v + (size_t)i * kv_width);
		/* All heads at once, or one after the other. */
		for (uint32_t h = 0, end; h < f->kv_heads; h = end) {
			end = chunk % 2 ? f->kv_heads : h + 1;
			attention(k, &a, h, end, 0, (rows + 1) / 2, scratch);
			if (rows > 1)
				attention(k, &a, h, end, (rows + 1) / 2, rows, scratch);
		}
	}
	for (uint32_t i = 0; i < pages; i++)
		mem_free(page[i]);
	mem_free(page);
	mem_free(scratch);
	return out;
}

static void reference_head(const struct fixture *f, uint32_t p, uint32_t h, double *out)
{
	uint32_t width = f->heads * f->head_dim, kv_width = f->kv_heads * f->head_dim;
	uint32_t kv = h / (f->heads / f->kv_heads) * f->head_dim;
	uint32_t first = f->window && p + 1 > f->window ? p + 1 - f->window : 0;
	const float *q = f->q + (size_t)p * width + h * f->head_dim;
	double sum = 0, most = -INFINITY, score[256];

	for (uint32_t i = first; i <= p; i++) {
		score[i] = 0;
		for (uint32_t d = 0; d < f->head_dim; d++)
			score[i] += (double)q[d] * f->k[(size_t)i * kv_width + kv + d];
		score[i] /= sqrt(f->head_dim);
		if (f->alibi)
			score[i] += f->slopes[h] * ((double)i - p);
		most = fmax(most, score[i]);
	}
	memset(out, 0, f->head_dim * sizeof(*out));
	for (uint32_t i = first; i <= p; i++)
		sum += exp(score[i] - most);
	for (uint32_t i = first; i <= p; i++)
		for (uint32_t d = 0; d < f->head_dim; d++)
			out[d] += exp(score[i] - most) / sum * f->v[(size_t)i * kv_width + kv + d];
}

/* Goal: attention is right against f64: f32 pages to 1e-6, bf16 pages to 1e-2. */
TEST(attention__is_right)
{
	struct random r;

	random_seed(&r, test_seed());
	kernels_thread_init();
	for (int i = 0; i < 24; i++) {
		struct fixture f;
		double *want;
		float *got;

		random_fixture(&f, &r);
		fixture_open(&f, &r);
		want = mem_calloc((size_t)f.tokens * f.heads * f.head_dim, sizeof(*want));
		for (uint32_t j = 0; j < f.tokens * f.heads; j++)
			reference_head(&f, j / f.heads, j % f.heads,
				       want + (size_t)j * f.head_dim);
		got = run(kernels_best(), &f, 32, 64);
		CHECK_NEAR(numbers_error(got, want, (size_t)f.tokens * f.heads * f.head_dim), 0,
			   f.f32 ? 1e-6 : 1e-2);
		mem_free(want);
		mem_free(got);
		fixture_close(&f);
	}
}

/* Goal: all paths give the portable twin's bits. */
TEST(attention__paths_agree_to_the_bit)
{
	struct random r;

	random_seed(&r, test_seed() + 1);
	kernels_thread_init();
	for (int i = 0; i < 16; i++) {
		struct fixture f;
		float *want;

		random_fixture(&f, &r);
		f.tokens = MIN(f.tokens, 90);
		fixture_open(&f, &r);
		want = run(kernels_path(PATH_PORTABLE), &f, 16, 50);
		for (int p = PATH_AVX2; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);
			float *got = k ? run(k, &f, 16, 50) : NULL;

			if (got)
				CHECK_BYTES(got, want, (size_t)f.tokens * f.heads * f.head_dim * 4);
			mem_free(got);
		}
		mem_free(want);
		fixture_close(&f);
	}
}

/* Goal: neither the size of chunks nor that of pages changes a bit. */
TEST(attention__chunks_and_pages_change_nothing)
{
	static const uint32_t page_tokens[] = { 16, 48, 64, 256 };
	struct random r;

	random_seed(&r, test_seed() + 2);
	kernels_thread_init();
	for (int i = 0; i < 24; i++) {
		struct fixture f;
		float *want;

		random_fixture(&f, &r);
		fixture_open(&f, &r);
		want = run(kernels_best(), &f, 16, 1);
		for (int j = 0; j < 5; j++) {
			uint32_t chunk = j ? numbers_between(&r, 2, 70) : f.tokens;
			float *got = run(kernels_best(), &f, page_tokens[j % 4], chunk);

			CHECK_BYTES(got, want, (size_t)f.tokens * f.heads * f.head_dim * 4);
			mem_free(got);
		}
		mem_free(want);
		fixture_close(&f);
	}
}

/* Goal: a NaN in a later token's k and v, present in the page as when a whole prompt
 * is appended at once, leaves earlier rows as they are.
 */
TEST(attention__later_tokens_leave_no_trace)
{
	struct random r;

	random_seed(&r, test_seed() + 3);
	kernels_thread_init();
	for (int i = 0; i < 16; i++) {
		struct fixture f;
		float *clean, *got;
		uint32_t bad, kv_width;

		random_fixture(&f, &r);
		fixture_open(&f, &r);
		kv_width = f.kv_heads * f.head_dim;
		clean = run(kernels_best(), &f, 32, f.tokens);
		bad = numbers_between(&r, 0, f.tokens - 1);
		for (uint32_t d = 0; d < kv_width; d++) {
			f.k[(size_t)bad * kv_width + d] = NAN;
			f.v[(size_t)bad * kv_width + d] = INFINITY;
		}
		got = run(kernels_best(), &f, 32, f.tokens);
		CHECK_BYTES(got, clean, (size_t)bad * f.heads * f.head_dim * sizeof(float));
		for (uint32_t d = 0; d < f.heads * f.head_dim; d++)
			CHECK(isnan(got[(size_t)bad * f.heads * f.head_dim + d]));
		mem_free(clean);
		mem_free(got);
		fixture_close(&f);
	}
}

/* Goal: a page's share is exactly k_bytes + v_bytes, and a token writes its own slot
 * only: its neighbours keep their bytes.
 */
TEST(kv_append__writes_one_slot)
{
	struct random r;

	random_seed(&r, test_seed() + 4);
	for (int i = 0; i < 20; i++) {
		bool f32 = i % 2;
		uint32_t dim = numbers_between(&r, 1, 70), heads = numbers_between(&r, 1, 3);
		uint32_t slot = numbers_between(&r, 0, 47), changed = 0, elements = f32 ? 4 : 2;
		float *row = numbers_new(&r, (size_t)dim * heads, 1);
		struct kv_layout l;
		uint8_t *page, *before;
		uint64_t bytes;

		kv_layout_init(&l, f32, heads, dim, 48);
		bytes = l.k_bytes + l.v_bytes;
		page = numbers_poison(bytes);
		before = numbers_poison(bytes);
		kv_append(kernels_best(), &l, page, slot, row, row);
		for (uint64_t b = 0; b < bytes; b += elements)
			changed += memcmp(page + b, before + b, elements) != 0;
		CHECK_EQ(changed, heads * (l.k_dims + l.v_dims));
		mem_free(page);
		mem_free(before);
		mem_free(row);
	}
}
