/* reference_test.c - what the slow twin refuses and rounds; its numbers are held
 * against transformers in arch_golden_test.c.
 */
#include "compute/reference.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { TOKENS = 6 };

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

/* Goal: states are rounded as the backends round them, and no further. */
TEST(reference_run__rounds_after_every_block)
{
	struct model *m = open_model("llama-plain");
	const struct model_config *c = model_config(m);
	size_t count = (size_t)TOKENS * c->hidden * (c->blocks + 1);
	float *exact = mem_calloc(count, sizeof(float));
	float *rounded = mem_calloc(count, sizeof(float));
	uint32_t tokens[TOKENS] = { 1, 2, 3, 4, 5, 6 }, differ = 0;
	size_t entered = (size_t)TOKENS * c->hidden;

	CHECK_EQ(reference_run(m, WEIGHTS_KEEP, tokens, TOKENS, ROW_F32, exact, NULL, NULL), 0);
	CHECK_EQ(reference_run(m, WEIGHTS_KEEP, tokens, TOKENS, ROW_BF16, rounded, NULL, NULL), 0);
	CHECK_BYTES(exact, rounded, entered * sizeof(float));
	for (size_t i = entered; i < count; i++) {
		CHECK_EQ(f32_bits(rounded[i]) & 0xffff, 0);
		differ += exact[i] != rounded[i];
	}
	CHECK(differ > count / 2);
	mem_free(exact);
	mem_free(rounded);
	model_close(m);
}

/* Goal: ids and lengths beyond the model are refused. */
TEST(reference_run__refuses)
{
	struct model *m = open_model("gpt2");
	uint32_t most = model_config(m)->positions, *tokens = mem_calloc(most + 1, sizeof(*tokens));
	struct error e = { 0 };

	CHECK_EQ(reference_run(m, WEIGHTS_KEEP, tokens, most + 1, ROW_F32, NULL, NULL, &e),
		 -EINVAL);
	CHECK(strstr(e.text, "positions") != NULL);
	tokens[1] = model_config(m)->vocabulary;
	CHECK_EQ(reference_run(m, WEIGHTS_KEEP, tokens, 2, ROW_F32, NULL, NULL, &e), -EINVAL);
	CHECK(strstr(e.text, "vocabulary") != NULL);
	mem_free(tokens);
	model_close(m);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, everything is given back. */
TEST(reference_run__unwinds_every_failure)
{
	struct model *m = open_model("llama-plain");
	uint64_t live = mem_live_blocks();
	uint32_t tokens[2] = { 1, 2 };

	for (int nth = 1; nth < 100; nth++) {
		int rc;

		fault_arm(nth);
		rc = reference_run(m, WEIGHTS_KEEP, tokens, 2, ROW_F32, NULL, NULL, NULL);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
	}
	fault_disarm();
	model_close(m);
}
#endif
