/* random.h - a seeded generator: the same seed, the same numbers, anywhere.
 *
 * xoshiro256** (Blackman, Vigna 2018; public domain), seeded by splitmix64.
 * Not for keys.
 *
 * Threads    A generator belongs to its holder.
 * Ownership  Plain storage.
 * Units      None.
 * Errors     None.
 */
#ifndef PETALS_BASE_RANDOM_H
#define PETALS_BASE_RANDOM_H

#include "dataplane/base/types.h"

struct random { uint64_t state[4]; };

void random_seed(struct random *r, uint64_t seed);
uint64_t random_u64(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound);  /* [0, bound), unbiased */
double random_unit(struct random *r);                     /* [0, 1), 53 bits */
bool random_chance(struct random *r, double probability);

/* 64 bits from the operating system, for ids and unseeded generators. */
uint64_t random_entropy(void);

#endif
