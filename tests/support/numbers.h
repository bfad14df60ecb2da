/* numbers.h - seeded numbers and weights for kernel tests, and how far off a result is.
 *
 * Threads    Pure functions; a generator belongs to its holder.
 * Ownership  numbers_weight() allocates w->data; free it with mem_free().
 * Units      Elements.
 * Errors     None; tests run out of memory by assertion.
 */
#ifndef PETALS_TESTS_NUMBERS_H
#define PETALS_TESTS_NUMBERS_H

#include "compute/model/model.h"
#include "dataplane/base/random.h"

/* Uniform in [low, end]. */
uint32_t numbers_between(struct random *r, uint32_t low, uint32_t end);
/* Roughly normal, standard deviation `scale`. */
void numbers_fill(struct random *r, float *x, size_t n, float scale);
/* A new array of n such numbers; mem_free() it. */
float *numbers_new(struct random *r, size_t n, float scale);
/* 64-aligned bytes full of signalling garbage (NaN as f32 and as bf16). */
void *numbers_poison(size_t bytes);

/* A plain matrix of random weights in any dtype, about 0.1 in size. */
void numbers_weight(struct random *r, enum dtype d, uint32_t rows, uint32_t columns,
		    struct weight *out);

/* |a - b| / |b| in the Euclidean norm. */
double numbers_error(const float *a, const double *b, size_t n);

#endif
