/* kernels.c - which path this host can run, and the calls that are one function of it. */
#include "compute/cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "compute/cpu/path.h"

#if defined(__x86_64__)

enum cpuid_word { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_1_EAX, CPUID_WORDS };

/* What each path needs, by its bits in cpuid's answers. */
static const struct need {
	enum cpu_path path;
	enum cpuid_word word;
	uint32_t bits;
} needs[] = {
	{ PATH_AVX2, LEAF1_ECX, 1u << 12 | 1u << 29 },                  /* FMA, F16C */
	{ PATH_AVX2, LEAF7_EBX, 1u << 5 },                              /* AVX2 */
	{ PATH_AVX512, LEAF1_ECX, 1u << 12 | 1u << 29 },
	{ PATH_AVX512, LEAF7_EBX, 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31 },
								/* AVX2, F, DQ, BW, VL */
	{ PATH_AVX512, LEAF7_ECX, 1u << 1 | 1u << 11 },                 /* VBMI, VNNI */
	{ PATH_AVX512, LEAF7_1_EAX, 1u << 5 },                          /* BF16 */
};

/* Register state that the operating system must save: SSE, AVX; and the three
 * parts of AVX-512.
 */
static const uint64_t state_needed[PATHS] = { [PATH_AVX2] = 0x06, [PATH_AVX512] = 0xe6 };

static uint64_t saved_state(uint32_t leaf1_ecx)
{
	uint32_t low, high;

	if (!(leaf1_ecx & 1u << 27))            /* OSXSAVE */
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

static bool host_can(enum cpu_path p)
{
	uint32_t words[CPUID_WORDS] = { 0 }, a, b, c, d;

	if (p == PATH_PORTABLE)
		return true;
	if (__get_cpuid(1, &a, &b, &c, &d))
		words[LEAF1_ECX] = c;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		words[LEAF7_EBX] = b;
		words[LEAF7_ECX] = c;
		if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
			words[LEAF7_1_EAX] = a;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(needs); i++)
		if (needs[i].path == p && ~words[needs[i].word] & needs[i].bits)
			return false;
	return (~saved_state(words[LEAF1_ECX]) & state_needed[p]) == 0;
}

void kernels_thread_init(void)
{
	_MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
	_mm_setcsr(_mm_getcsr() | 0x40);        /* DAZ */
}

static const struct kernels *const paths[PATHS] = {
	[PATH_PORTABLE] = &kernels_portable,
	[PATH_AVX2] = &kernels_avx2,
	[PATH_AVX512] = &kernels_avx512,
};

#else
#error "the CPU kernels need x86-64: add a path for this host"
#endif

const struct kernels *kernels_path(enum cpu_path p)
{
	assert(p < PATHS);
	return host_can(p) ? paths[p] : NULL;
}

const struct kernels *kernels_best(void)
{
	const struct kernels *k = NULL;

	for (int p = PATHS - 1; !k; p--)
		k = kernels_path((enum cpu_path)p);
	return k;
}

const char *kernels_name(const struct kernels *k)
{
	return k->name;
}

void norm_rms(const struct kernels *k, const float *x, const float *weight, uint32_t n,
	      float epsilon, float *out)
{
	k->norm_rms(x, weight, n, epsilon, out);
}

void norm_layer(const struct kernels *k, const float *x, const float *weight,
		const float *bias, uint32_t n, float epsilon, float *out)
{
	k->norm_layer(x, weight, bias, n, epsilon, out);
}

void rope_row(const struct kernels *k, float *x, uint32_t heads, uint32_t head_dim,
	      uint32_t dims, const float *cosines, const float *sines)
{
	assert(dims % 2 == 0 && dims <= head_dim);
	k->rope_row(x, heads, head_dim, dims, cosines, sines);
}
