/* synthetic_test.c - models without files: every role a family needs, in every dtype, the same
 * each time, as large as asked for.
 */
#include "compute/model/synthetic.h"

#include <errno.h>
#include <math.h>

#include "compute/model/model.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

static struct model_config config(const char *arch)
{
	return (struct model_config){
		.arch = arch_by_name(arch), .name = "none", .blocks = 2, .hidden = 128, .heads = 4,
		.kv_heads = 2, .head_dim = 32, .intermediate = 160, .vocabulary = 96, .embed = 128,
		.positions = 64, .norm_epsilon = 1e-5f, .final_norm = true,
		.attention_bias = arch_by_name(arch)->norm == NORM_LAYER,
		.mlp_bias = arch_by_name(arch)->norm == NORM_LAYER, .embed_scale = 1,
		.rope = { .theta = 10000, .dims = 32 }, .bos = -1,
	};
}

/* Goal: a family's whole list of tensors is there, with numbers that a block survives. */
TEST(model_open_synthetic__has_every_role)
{
	static const char *const some[] = { "llama", "bloom", "opt", "gpt2", "qwen2" };
	float row[4096];

	for (size_t i = 0; i < ARRAY_LENGTH(some); i++)
		for (enum dtype d = 0; d < DTYPE_COUNT; d++) {
			struct model_config c = config(some[i]);
			struct error e = { 0 };
			struct model *m;
			struct weight w;
			double sum = 0;

			CHECK_OK(model_open_synthetic(&m, &c, d, &e), &e);
			CHECK_OK(model_check(m, 0, c.blocks, true, &e), &e);
			CHECK_EQ(model_dtype(m), d);
			CHECK(model_weight(m, ROLE_DOWN_W, 1, &w));
			CHECK(w.rows == c.hidden && w.columns == c.intermediate && w.dtype == d);
			weight_row(&w, w.rows - 1, row);
			for (uint32_t k = 0; k < w.columns; k++) {
				CHECK(fabsf(row[k]) <= 2 * SYNTHETIC_RANGE);
				sum += (double)fabsf(row[k]);
			}
			CHECK(sum / w.columns > 0.2 * (double)SYNTHETIC_RANGE);
			CHECK(model_weight(m, ROLE_NORM2_W, 1, &w));
			weight_row(&w, 0, row);
			CHECK(fabsf(row[0] - 1) <= SYNTHETIC_NORM_RANGE);
			model_close(m);
		}
}

/* Goal: a tensor far beyond the memory that is filled can be read to its end; its numbers
 * repeat, those of its neighbour begin elsewhere, and another opening has the same.
 */
TEST(synthetic__reaches_far_and_repeats)
{
	const uint64_t far = 200ull << 20;
	uint64_t sum = 0;
	struct synthetic *a, *b, *other;
	struct error e = { 0 };

	CHECK_OK(synthetic_open(&a, DTYPE_BF16, far, 1000, 5, &e), &e);
	CHECK_OK(synthetic_open(&b, DTYPE_BF16, 1000, 1000, 5, &e), &e);
	CHECK_OK(synthetic_open(&other, DTYPE_BF16, 1000, 1000, 6, &e), &e);
	for (uint32_t index = 0; index < 1000; index += 37)
		sum += synthetic_matrix(a, index)[far - 1];
	CHECK(sum > 0);
	CHECK_BYTES(synthetic_matrix(a, 3), synthetic_matrix(b, 3), 1000);
	CHECK(memcmp(synthetic_matrix(a, 3), synthetic_matrix(a, 4), 1000) != 0);
	CHECK(memcmp(synthetic_matrix(a, 3), synthetic_matrix(other, 3), 1000) != 0);
	CHECK_BYTES(synthetic_bias(a, 7), synthetic_bias(b, 7), 4000);
	synthetic_close(other);
	synthetic_close(b);
	synthetic_close(a);
}

/* Goal: groups stay whole where the filled memory begins again. */
TEST(synthetic__groups_stay_whole)
{
	for (enum dtype d = DTYPE_Q8_0; d < DTYPE_COUNT; d++) {
		const uint64_t groups = (40 << 20) / dtypes[d].group_bytes;
		struct error e = { 0 };
		struct synthetic *s;
		float out[GROUP];

		CHECK_OK(synthetic_open(&s, d, 40 << 20, 8, 1, &e), &e);
		for (uint64_t g = 0; g < groups; g += 101) {
			dtype_widen(d, synthetic_matrix(s, 77) + g * dtypes[d].group_bytes, GROUP,
				    out);
			for (int i = 0; i < GROUP; i++)
				CHECK(fabsf(out[i]) <= 1.1f * SYNTHETIC_RANGE);
		}
		synthetic_close(s);
	}
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening gives everything back. */
TEST(model_open_synthetic__unwinds_every_failure)
{
	struct model_config c = config("llama");
	uint64_t live = mem_live_blocks();

	for (int nth = 1; nth < 50; nth++) {
		struct error e = { 0 };
		struct model *m;
		int rc;

		fault_arm(nth);
		rc = model_open_synthetic(&m, &c, DTYPE_BF16, &e);
		model_close(m);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK_EQ(rc, -ENOMEM);
		CHECK(e.text[0]);
	}
	fault_disarm();
}
#endif
