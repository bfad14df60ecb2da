/* golden_run.h - committed checkpoints against what transformers computed for them
 * (tests/golden/README.md): hidden states after every block, logits, greedy tokens.
 *
 * Threads    A test's.
 * Ownership  None.
 * Units      Errors are relative to a row's norm.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_GOLDEN_RUN_H
#define PETALS_TESTS_GOLDEN_RUN_H

#include "tests/support/golden.h"
#include "tests/support/rig.h"

struct golden_checkpoint { const char *checkpoint, *golden; };
extern const struct golden_checkpoint golden_checkpoints[];
extern const size_t golden_checkpoint_count;

struct golden_watch {
	const char *name;
	const struct golden *golden;
	const struct golden_prompt *prompt;
	double tolerance;
	bool tokens;                    /* greedy tokens must agree, too */
};

/* Rows that left block end - 1 of the whole prompt; a rig's `left`, ctx a golden_watch. */
void golden_check_states(void *ctx, uint32_t end, const float *rows, uint32_t count);
void golden_check_logits(const struct golden_watch *w, const float *logits);

/* All prompts of checkpoint `index`, one span per block. */
void golden_run(size_t index, const struct backend *backend, enum compute_mode compute,
		double tolerance, bool tokens);

#endif
