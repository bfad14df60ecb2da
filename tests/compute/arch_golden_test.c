/* arch_golden_test.c - every committed checkpoint against what transformers computed
 * (tests/golden/README.md): hidden states after every block, logits, greedy tokens.
 */
#include "compute/model/model.h"
#include "compute/reference.h"
#include "dataplane/base/memory.h"
#include "tests/support/golden_run.h"
#include "tests/test.h"

/* Goal: in f32 mode every family gives transformers' states, logits and tokens. */
TEST(golden__cpu_f32_gives_what_transformers_gives)
{
	for (size_t i = 0; i < golden_checkpoint_count; i++)
		golden_run(i, &backend_cpu, COMPUTE_F32, 1e-4, true);
}

/* Goal: so does the slow twin, so that other tests may lean on it. */
TEST(golden__reference_gives_what_transformers_gives)
{
	for (size_t i = 0; i < golden_checkpoint_count; i++) {
		struct error e = { 0 };
		struct golden g;
		struct model *m;

		golden_open(&g, test_data(golden_checkpoints[i].golden));
		CHECK_OK(model_open(&m, test_data(golden_checkpoints[i].checkpoint), &e), &e);
		for (uint32_t n = 0; n < 1; n++) {
			const struct golden_prompt *p = &g.prompts[n];
			struct golden_watch w = { golden_checkpoints[i].checkpoint, &g, p, 1e-4,
						  false };
			size_t rows = p->count;
			float *states = mem_calloc(rows * (g.blocks + 1), g.hidden * sizeof(float));
			float *logits = mem_calloc(rows, g.vocabulary * sizeof(float));

			CHECK_OK(reference_run(m, WEIGHTS_KEEP, p->ids, p->count, ROW_F32, states,
					       logits, &e),
				 &e);
			for (uint32_t b = 0; b <= g.blocks; b++)
				golden_check_states(&w, b, states + b * rows * g.hidden, p->count);
			golden_check_logits(&w, logits);
			mem_free(states);
			mem_free(logits);
		}
		model_close(m);
		golden_close(&g);
	}
}
