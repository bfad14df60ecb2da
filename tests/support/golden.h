/* golden.h - reads golden.json files (tests/golden/README.md).
 *
 * Threads    A golden belongs to its test.
 * Ownership  golden_open() / golden_close(); failures fail the test.
 * Units      Floats, row-major.
 * Errors     A file that cannot be read fails the test by name.
 */
#ifndef PETALS_TESTS_GOLDEN_H
#define PETALS_TESTS_GOLDEN_H

#include "dataplane/base/types.h"

struct golden_prompt {
	uint32_t *ids, count;
	uint32_t *rows, row_count;      /* positions whose states and logits are kept */
	float **states;                 /* (blocks + 1) of row_count x hidden, or NULL */
	float *logits;                  /* row_count x vocabulary, or NULL */
	uint32_t *continuation, steps;
	double *logprobs;
};

struct golden {
	uint32_t hidden, blocks, vocabulary, prompt_count;
	struct golden_prompt *prompts;
};

void golden_open(struct golden *g, const char *path);
void golden_close(struct golden *g);

/* Decodes base64 into f32; *count numbers, to be freed with mem_free(). */
float *golden_floats(const char *base64, size_t *count);

#endif
