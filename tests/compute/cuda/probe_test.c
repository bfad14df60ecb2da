/* probe_test.c - the CPU that stands in for a GPU: its instructions do what their
 * documentation says, and it finds kernels that break the rules (tests/cuda/probe.cu).
 */
#include "tests/cuda/probe.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/stand_in.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { M = 16, N = 8, K_MAX = 32 };

/* False: this device has no such kernel (a real one has not). */
static bool probe(struct gpu *g, const char *name, const void *args, uint32_t threads,
		  uint32_t shared_bytes)
{
	const struct cuda_driver *d = &g->device->driver;
	CUlaunchConfig config = { .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1,
				  .blockDimX = threads, .blockDimY = 1, .blockDimZ = 1,
				  .sharedMemBytes = shared_bytes, .hStream = g->queue.stream };
	void *parameters[] = { (void *)args };
	CUfunction f;

	if (d->cuModuleGetFunction(&f, g->device->modules[0], name) != CUDA_SUCCESS)
		return false;
	CHECK_EQ(d->cuLaunchKernelEx(&config, f, parameters, NULL), CUDA_SUCCESS);
	return true;
}

/* 16-bit or 8-bit numbers whose products and sums are exact in f32 and int32. */
static double small_number(struct random *r, uint32_t type, void *out, uint32_t at)
{
	int v = (int)numbers_between(r, 0, 16) - 8;

	if (type == PROBE_INT8)
		((int8_t *)out)[at] = (int8_t)v;
	else
		((uint16_t *)out)[at] = type == PROBE_BF16 ? bf16_of_f32((float)v) :
							     f16_of_f32((float)v);
	return v;
}

static void check_mma(struct gpu *g, struct random *r, uint32_t type, uint32_t matrix)
{
	uint32_t k = type == PROBE_INT8 ? 32 : 16, bytes = type == PROBE_INT8 ? 1 : 2;
	uint8_t a[M * K_MAX * 2], b[K_MAX * N * 2];
	double av[M][K_MAX], bv[K_MAX][N];
	int32_t c[M * N], got[M * N];
	struct probe_mma_args args = { .type = type, .matrix = matrix };

	for (uint32_t i = 0; i < M * k; i++)
		av[i / k][i % k] = small_number(r, type, a, i);
	for (uint32_t i = 0; i < k * N; i++)
		bv[i / N][i % N] = small_number(r, type, b, i);
	for (uint32_t i = 0; i < M * N; i++)
		c[i] = type == PROBE_INT8 ? (int32_t)i : (int32_t)f32_bits((float)i);
	args.a = gpu_new(g, a, M * k * bytes);
	args.b = gpu_new(g, b, k * N * bytes);
	args.c = gpu_new(g, c, sizeof(c));
	if (!probe(g, "petals_probe_mma", &args, 32, M * K_MAX))
		SKIP("only the stand-in has this kernel");
	gpu_read(g, args.c, got, sizeof(got));
	for (uint32_t i = 0; i < M * N; i++) {
		double sum = i, is = type == PROBE_INT8 ? got[i] :
						(double)f32_of_bits((uint32_t)got[i]);

		for (uint32_t j = 0; j < k; j++)
			sum += av[i / N][j] * bv[j][i % N];
		if (sum != is)
			fail_msg("type %u: c[%u] is %g, not %g", type, i, is, sum);
	}
	gpu_drop(g, 0);
}

/* Goal: fragments lie in registers as documented, loaded by hand or by ldmatrix. */
TEST(mma__follows_the_documented_layouts)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (uint32_t type = PROBE_BF16; type <= PROBE_INT8; type++)
		for (uint32_t matrix = 0; matrix < (type == PROBE_INT8 ? 1u : 2u); matrix++)
			check_mma(&g, &r, type, matrix);
	gpu_close(&g);
}

/* Goal: copies arrive when waited for, short ones with zeros; shuffles and votes. */
TEST(copies_and_shuffles__as_documented)
{
	uint8_t in[512], out[512];
	uint32_t shuffled[5][32];
	struct probe_copy_args a = { .bytes = 100 };
	struct gpu g;

	gpu_open(&g);
	for (int i = 0; i < 512; i++)
		in[i] = (uint8_t)(i * 7 + 1);
	a.in = gpu_new(&g, in, sizeof(in));
	a.out = gpu_new(&g, NULL, sizeof(out));
	a.shuffled = gpu_new(&g, NULL, sizeof(shuffled));
	if (!probe(&g, "petals_probe_copy", &a, 32, 512))
		SKIP("only the stand-in has this kernel");
	gpu_read(&g, a.out, out, sizeof(out));
	gpu_read(&g, a.shuffled, shuffled, sizeof(shuffled));
	for (uint32_t i = 0; i < 512; i++)
		CHECK_EQ(out[i], i < 100 ? in[i] : 0);
	for (uint32_t lane = 0; lane < 32; lane++) {
		CHECK_EQ(shuffled[0][lane], lane ^ 5);
		CHECK_EQ(shuffled[1][lane], lane + 3 < 32 ? lane + 3 : lane);
		CHECK_EQ(shuffled[2][lane], lane >= 2 ? lane - 2 : lane);
		CHECK_EQ(shuffled[3][lane], 7);
		CHECK_EQ(shuffled[4][lane], 0xaaaaaaaa);
	}
	gpu_close(&g);
}

/* Runs the kernel that breaks a rule in a process of its own; what it said before it died. */
static bool dies(uint32_t rule, char *said, size_t room)
{
	int ends[2], status;
	ssize_t length = 0, got;
	pid_t child;

	CHECK_EQ(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		struct probe_break_args a = { .rule = rule };
		float out[32];
		struct gpu g;

		dup2(ends[1], 2);
		gpu_open(&g);
		a.out = gpu_new(&g, NULL, sizeof(out));
		probe(&g, "petals_probe_break", &a, 32, 0);
		gpu_read(&g, a.out, out, sizeof(out));
		for (int i = 0; i < 32; i++)
			if (out[i] != (float)((i + 16) % 32))
				_exit(3);
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], said + length, room - 1 - (size_t)length)) > 0)
		length += got;
	said[length] = '\0';
	close(ends[0]);
	CHECK_EQ(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Goal: a kernel that breaks a rule ends the program, with the place and the seed; one that
 * forgets a barrier gives a wrong result.
 */
TEST(grid__finds_broken_rules)
{
	static const struct { uint32_t rule; const char *words; } rules[] = {
		{ BREAK_DIVERGE, "waits at" },
		{ BREAK_LEAVE, "waits at" },
		{ BREAK_MASK, "mask 000000f0, in which it is not" },
		{ BREAK_RACE, "" },
		{ BREAK_OVERRUN, "AddressSanitizer" },
		{ BREAK_SHARED, "" },
	};
	static char said[65536];

	if (stand_in_use())
		SKIP("a real GPU forgives");
	for (size_t i = 0; i < ARRAY_LENGTH(rules); i++) {
		if (!dies(rules[i].rule, said, sizeof(said)))
			fail_msg("rule %u can be broken", rules[i].rule);
		if (!strstr(said, rules[i].words))
			fail_msg("rule %u: said '%.300s'", rules[i].rule, said);
	}
	CHECK(!dies(100, said, sizeof(said)));
}
