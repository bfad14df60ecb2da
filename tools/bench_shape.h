/* bench_shape.h - dimensions of models that are measured without their weights.
 *
 * Threads    Constant tables and pure functions.
 * Ownership  None.
 * Units      Elements, tokens.
 * Errors     -EINVAL with a sentence that lists the names.
 */
#ifndef PETALS_TOOLS_BENCH_SHAPE_H
#define PETALS_TOOLS_BENCH_SHAPE_H

#include "compute/fit.h"
#include "compute/quantise.h"

/* By name: a published model of fit.h, or a small one. */
int bench_shape_find(const char *name, const struct fit_shape **out, struct error *e);
/* "1,8,64": at most BENCH_ROWS_MAX numbers from 1 to most; how many, or -errno. */
enum { BENCH_ROWS_MAX = 16 };
int bench_rows_parse(const char *text, uint32_t most, uint32_t out[BENCH_ROWS_MAX],
		     struct error *e);
/* What a checkpoint would hold, chosen among BENCH_STORED.  auto: bf16, or what the quantiser
 * takes as it is.
 */
#define BENCH_STORED "auto|f32|f16|bf16|q8_0|q4_0|q4_1"
enum dtype bench_stored(int choice, enum weight_format weights);
/* What is multiplied with, once that was loaded. */
const char *bench_format_name(enum dtype stored, enum weight_format weights);
/* A config of these dimensions with so many blocks, for `positions` tokens. */
void bench_shape_config(const struct fit_shape *s, uint32_t blocks, uint32_t positions,
			struct model_config *out);

#endif
