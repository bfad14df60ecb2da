/* bench_machine.c - petals-bench machine: a device's ceilings; of the CPU, read bandwidth of one
 * and two threads, and copying, over memory far larger than any cache.  The best pass counts.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tools/bench.h"
#include "tools/bench_device.h"
#include "tools/stats.h"

/* Fetched ahead, without which some hosts give a core half of what they can. */
enum { PASSES = 7, THREADS_MAX = 256, AHEAD_LANES = 64 };
#define READ_BYTES (768 * MIB)

typedef uint64_t lanes __attribute__((vector_size(64), aligned(64), may_alias));

struct reader {
	pthread_t thread;
	const uint8_t *base;
	size_t bytes;
	pthread_barrier_t *barrier;
	uint64_t sum;
	double seconds[PASSES];
};

#define SUM_BODY                                                        \
	const lanes *from = base, *end = from + bytes / sizeof(lanes);  \
	lanes a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };               \
	for (; from + 4 <= end; from += 4) {                            \
		for (int i = 0; i < 4; i++)                             \
			__builtin_prefetch(from + AHEAD_LANES + i, 0, 2); \
		a += from[0]; b += from[1]; c += from[2]; d += from[3]; \
	}                                                               \
	a += b + c + d;                                                 \
	return a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7]

/* One loop, compiled for what the host may have: scalar loads do not fill a memory bus. */
__attribute__((target("avx512f"))) static uint64_t sum_avx512(const void *base, size_t bytes)
{
	SUM_BODY;
}

__attribute__((target("avx2"))) static uint64_t sum_avx2(const void *base, size_t bytes)
{
	SUM_BODY;
}

static uint64_t sum_portable(const void *base, size_t bytes)
{
	SUM_BODY;
}

static uint64_t sum(const void *base, size_t bytes)
{
	if (__builtin_cpu_supports("avx512f"))
		return sum_avx512(base, bytes);
	return __builtin_cpu_supports("avx2") ? sum_avx2(base, bytes) : sum_portable(base, bytes);
}

static void *read_all(void *ctx)
{
	struct reader *r = ctx;

	for (int i = 0; i < PASSES; i++) {
		uint64_t start_ns;

		pthread_barrier_wait(r->barrier);
		start_ns = clock_ns(clock_real());
		r->sum += sum(r->base, r->bytes);
		pthread_barrier_wait(r->barrier);
		r->seconds[i] = (double)(clock_ns(clock_real()) - start_ns) / NS_PER_S;
	}
	return NULL;
}

static int read_rate(const struct memory_region *m, uint32_t threads, double *rate,
		     struct error *e)
{
	struct reader readers[THREADS_MAX] = { 0 };
	pthread_barrier_t barrier;
	uint32_t started = 0;
	int rc = 0;

	pthread_barrier_init(&barrier, NULL, threads);
	for (; started < threads - 1 && rc == 0; started++) {
		struct reader *r = &readers[started];

		*r = (struct reader){ .base = (uint8_t *)m->base + started * (READ_BYTES / threads),
				      .bytes = READ_BYTES / threads, .barrier = &barrier };
		rc = pthread_create(&r->thread, NULL, read_all, r);
	}
	if (rc == 0) {
		struct reader *last = &readers[threads - 1];

		*last = (struct reader){
			.base = (uint8_t *)m->base + (threads - 1) * (READ_BYTES / threads),
			.bytes = READ_BYTES / threads, .barrier = &barrier };
		read_all(last);
		stats_sort(last->seconds, PASSES);
		*rate = (double)READ_BYTES / last->seconds[0];
		for (uint32_t i = 0; i < started; i++)
			pthread_join(readers[i].thread, NULL);
	}
	pthread_barrier_destroy(&barrier);
	return rc ? error_errno(e, -rc, "a thread to read memory with") : 0;
}

static double copy_rate(const struct memory_region *m)
{
	uint8_t *base = m->base;
	double seconds[PASSES];

	for (int i = 0; i < PASSES; i++) {
		uint64_t start_ns = clock_ns(clock_real());

		memcpy(base + READ_BYTES / 2, base, READ_BYTES / 2);
		seconds[i] = (double)(clock_ns(clock_real()) - start_ns) / NS_PER_S;
		base[i] ^= 1;
	}
	stats_sort(seconds, PASSES);
	return (double)(READ_BYTES / 2) / seconds[0];
}

static int open_memory(struct memory_region *m, struct error *e)
{
	int rc = memory_region_open(m, READ_BYTES, false);

	if (rc < 0)
		return error_errno(e, rc, "%llu MiB to measure memory with",
				   (unsigned long long)(READ_BYTES / MIB));
	memset(m->base, 1, READ_BYTES);
	return 0;
}

int bench_read_measure(uint32_t threads, double *gb_per_second, struct error *e)
{
	struct memory_region m = { 0 };
	double rate = 0;
	int rc = open_memory(&m, e);

	if (rc == 0)
		rc = read_rate(&m, MIN(MAX(threads, 1u), THREADS_MAX), &rate, e);
	*gb_per_second = rate / 1e9;
	memory_region_close(&m);
	return rc;
}

int bench_machine_measure(json_t **out, struct error *e)
{
	struct memory_region m = { 0 };
	double one = 0, two = 0;
	int rc = open_memory(&m, e);

	if (rc < 0)
		return rc;
	rc = read_rate(&m, 1, &one, e);
	if (rc == 0)
		rc = read_rate(&m, 2, &two, e);
	if (rc == 0)
		*out = json_pack("{s:f,s:f,s:f}", "read_1_thread_gb_per_second", one / 1e9,
				 "read_2_threads_gb_per_second", two / 1e9,
				 "memcpy_gb_per_second", copy_rate(&m) / 1e9);
	memory_region_close(&m);
	return rc;
}

struct machine_flags {
	char *device;
	uint64_t bytes;
	int64_t product;
	bool json;
};

#define AT(field) offsetof(struct machine_flags, field)

static const struct option options[] = {
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE",
	  .help = "cpu, or cuda:N" },
	{ "bytes", OPTION_BYTES, AT(bytes), "1G", 4096, 16e9,
	  .help = "cuda: memory to read, copy and reach over the bus" },
	{ "product", OPTION_INTEGER, AT(product), "8192", 32, 32768, .metavar = "SIZE",
	  .help = "cuda: a bf16 product's rows, columns and depth" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int measure_device(const struct machine_flags *f, json_t **out, struct error *e)
{
	const struct bench_sizes sizes = { f->bytes, (uint32_t)f->product };
	struct device_options o = { 0 };
	const struct backend *b;
	struct device *d;
	int rc = backend_find(f->device, &b, &o.index, e);

	if (rc < 0)
		return rc;
	if (!b->measure)
		return bench_machine_measure(out, e);
	rc = b->device_open(&d, &o, e);
	if (rc < 0)
		return rc;
	rc = bench_device_measure(out, b, d, sizes, e);
	b->device_close(d);
	return rc;
}

static int run(void *target, int operand_count, char **operands)
{
	const struct machine_flags *f = target;
	struct error e = { 0 };
	json_t *result;

	if (measure_device(f, &result, &e) < 0)
		return bench_fail("machine", &e);
	return bench_print(result, f->json);
}

const struct program bench_machine = {
	.name = "machine", .summary = "ceilings: what a device reads, copies and multiplies",
	.description =
		"The cpu: memory bandwidth of one and two threads.  cuda: reading and copying its "
		"memory, copies over the bus and host memory reached by kernels, what launches "
		"and waits cost, and the rate of a large bf16 product.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct machine_flags), .run = run,
};
