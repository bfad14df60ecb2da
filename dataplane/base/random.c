/* random.c - xoshiro256** seeded by splitmix64, and the system's entropy. */
#include "dataplane/base/random.h"

#include <errno.h>
#include <sys/random.h>

/* Seeds that differ in one bit must not give similar states. */
static uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void random_seed(struct random *r, uint64_t seed)
{
	for (size_t i = 0; i < ARRAY_LENGTH(r->state); i++)
		r->state[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t random_u64(struct random *r)
{
	uint64_t *s = r->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

/* The first 2^64 mod bound values are thrown away: what is left divides evenly. */
uint64_t random_below(struct random *r, uint64_t bound)
{
	uint64_t least, x;

	assert(bound > 0);
	least = -bound % bound;
	do
		x = random_u64(r);
	while (x < least);
	return x % bound;
}

double random_unit(struct random *r)
{
	return (double)(random_u64(r) >> 11) * 0x1p-53;
}

bool random_chance(struct random *r, double probability)
{
	return random_unit(r) < probability;
}

uint64_t random_entropy(void)
{
	uint64_t x;
	ssize_t n;

	do
		n = getrandom(&x, sizeof(x), 0);
	while (n < 0 && errno == EINTR);
	assert(n == (ssize_t)sizeof(x));   /* never short at this size, by contract */
	return x;
}
