/* measure.c - memory, copies, launches and round trips of a device. */
#include "compute/cuda/measure.h"

#include <errno.h>
#include <string.h>

#include "compute/cuda/noise.h"
#include "compute/cuda/span.h"
#include "dataplane/base/clock.h"

enum {
	WARM = 3,
	PIECE_BYTES = 16,
	BLOCKS_MAX = 2048, THREADS = 256,       /* of measure_write */
	POLLS = 20000,                  /* between two looks at whether the device still lives */
};

static struct cuda_grid grid_of(uint64_t bytes)
{
	uint64_t blocks = bytes / PIECE_BYTES / THREADS;

	return (struct cuda_grid){ (uint32_t)MIN(MAX(blocks, 1), BLOCKS_MAX), 1, THREADS };
}

static void write_all(struct measure_run *r, void *to, uint64_t bytes, uint32_t value)
{
	struct measure_write_args a = { to, bytes / PIECE_BYTES, value };

	cuda_launch(&r->queue, CUDA_KERNEL_MEASURE_WRITE, grid_of(bytes), &a);
}

/* ---- what is timed, once each ---- */

static void copy(struct measure_run *r)
{
	cuda_copy_within(&r->queue, r->to, r->from, r->ask->bytes);
}

static void read_device(struct measure_run *r)
{
	cuda_pass_over(&r->queue, r->from, r->ask->bytes, r->sums);
}

static void copy_in(struct measure_run *r)
{
	cuda_copy_in(&r->queue, r->from, r->host, r->ask->bytes);
}

static void copy_out(struct measure_run *r)
{
	cuda_copy_out(&r->queue, r->host, r->from, r->ask->bytes);
}

static void read_host(struct measure_run *r)
{
	cuda_pass_over(&r->queue, r->host_address, r->ask->bytes, r->sums);
}

static void write_host(struct measure_run *r)
{
	write_all(r, r->host_address, r->ask->bytes, 1);
}

/* `timed` by the device's own clock. */
static int time_on_device(struct measure_run *r, void (*timed)(struct measure_run *r))
{
	int rc = 0;

	for (int i = -WARM; i < (int)r->ask->repeats && rc == 0; i++) {
		double us;

		cuda_timer_start(&r->timer);
		timed(r);
		rc = cuda_timer_stop(&r->timer, &us);
		if (i >= 0)
			r->us[i] = us;
	}
	return rc;
}

static int launch_many(struct measure_run *r, uint32_t i)
{
	for (uint32_t n = 0; n < r->ask->count; n++)
		write_all(r, r->from, PIECE_BYTES, n);
	return cuda_queue_wait(&r->queue);
}

/* Recorded before the first is timed. */
static int send_graph(struct measure_run *r, uint32_t i)
{
	struct error e = { 0 };
	int rc = 0;

	if (!r->graph.runnable) {
		rc = cuda_graph_begin(&r->queue, &e);
		for (uint32_t n = 0; n < r->ask->count && rc == 0; n++)
			write_all(r, r->from, PIECE_BYTES, n);
		if (rc == 0)
			rc = cuda_graph_end(&r->queue, &r->graph, &e);
		if (rc < 0)
			return rc;
	}
	cuda_graph_send(&r->queue, &r->graph);
	return cuda_queue_wait(&r->queue);
}

static int launch_and_wait(struct measure_run *r, uint32_t i)
{
	write_all(r, r->from, PIECE_BYTES, i);
	return cuda_queue_wait(&r->queue);
}

/* The device writes into host memory; nobody calls the driver while it may come. */
static int launch_and_poll(struct measure_run *r, uint32_t i)
{
	const volatile uint32_t *word = r->host;
	CUresult status = CUDA_SUCCESS;

	write_all(r, r->host_address, PIECE_BYTES, i + 1);
	while (*word != i + 1) {
		for (int n = 0; n < POLLS && *word != i + 1; n++)
			;
		if (*word == i + 1)
			break;
		status = r->device->driver.cuStreamQuery(r->queue.stream);
		if (r->queue.status < 0 || (status != CUDA_SUCCESS &&
					    status != CUDA_ERROR_NOT_READY))
			return -EIO;
	}
	return r->queue.status;
}

/* While a batch runs, what the next one needs arrives: two queues, both waited for. */
static int stream_and_run(struct measure_run *r, uint32_t i)
{
	int rc;

	cuda_copy_in(&r->queue, r->from, r->host, r->ask->bytes);
	rc = cuda_span_submit(r->ask->span, r->ask->batch);
	if (rc == 0)
		rc = cuda_span_wait(r->ask->span);
	return cuda_queue_wait(&r->queue) < 0 ? -EIO : rc;
}

/* `timed` by the host's clock, over `each` things. */
static int time_on_host(struct measure_run *r, int (*timed)(struct measure_run *r, uint32_t i),
			uint32_t each)
{
	int rc = 0;

	for (uint32_t i = 0; i < WARM + r->ask->repeats && rc == 0; i++) {
		uint64_t start_ns = clock_ns(clock_real());

		rc = timed(r, i);
		if (i >= WARM)
			r->us[i - WARM] = (double)(clock_ns(clock_real()) - start_ns) / NS_PER_US /
					  each;
	}
	return rc;
}

/* ---- the kinds ---- */

enum memory { DEVICE_FROM = 1, DEVICE_TO = 2, HOST = 4 };

static const struct {
	const char *what;
	unsigned memory;
	double moved;                   /* times `bytes` */
	void (*on_device)(struct measure_run *r);
	int (*on_host)(struct measure_run *r, uint32_t i);
} kinds[MEASURE_KINDS] = {
	[MEASURE_COPY] = { "a copy", DEVICE_FROM | DEVICE_TO, 2, copy },
	[MEASURE_READ] = { "reading", DEVICE_FROM, 1, read_device },
	[MEASURE_COPY_IN] = { "a copy in", DEVICE_FROM | HOST, 1, copy_in },
	[MEASURE_COPY_OUT] = { "a copy out", DEVICE_FROM | HOST, 1, copy_out },
	[MEASURE_MAPPED_READ] = { "reading host memory", HOST, 1, read_host },
	[MEASURE_MAPPED_WRITE] = { "writing host memory", HOST, 1, write_host },
	[MEASURE_LAUNCH] = { "launches", DEVICE_FROM, 0, NULL, launch_many },
	[MEASURE_GRAPH] = { "a graph", DEVICE_FROM, 0, NULL, send_graph },
	[MEASURE_WAIT] = { "a launch", DEVICE_FROM, 0, NULL, launch_and_wait },
	[MEASURE_ROUND_TRIP] = { "a round trip", HOST, 0, NULL, launch_and_poll },
	[MEASURE_PRODUCT] = { "a product", 0, 0, NULL, NULL },
	[MEASURE_LIBRARY] = { "a product", 0, 0, NULL, NULL },
	[MEASURE_FP8] = { "a product", 0, 0, NULL, NULL },
	[MEASURE_STREAMED] = { "blocks that arrive", DEVICE_FROM | HOST, 1, NULL, stream_and_run },
};

static int open_memory(struct measure_run *r, struct error *e)
{
	uint64_t bytes = align_up(MAX(r->ask->bytes, PIECE_BYTES), PIECE_BYTES);
	unsigned memory = kinds[r->ask->kind].memory;
	int rc;

	if (memory & DEVICE_FROM)
		cuda_arena_want(&r->arena, &r->from, bytes);
	if (memory & DEVICE_TO)
		cuda_arena_want(&r->arena, &r->to, bytes);
	cuda_arena_want(&r->arena, &r->sums, CUDA_PASS_THREADS * sizeof(*r->sums));
	rc = cuda_arena_open(&r->arena, r->device, "memory to measure with", e);
	if (rc == 0 && memory & HOST) {
		rc = cuda_host_alloc(r->device, &r->host, bytes, e);
		if (rc == 0) {
			memset(r->host, 0x5c, bytes);
			r->host_address = cuda_host_address(r->device, r->host, bytes);
		}
	}
	/* Not zeros: they cost a memory bus less. */
	if (rc == 0 && r->from)
		write_all(r, r->from, bytes, 0x5ca1ab1e);
	return rc;
}

/* How many things a repetition is. */
static uint32_t each_of(const struct measure *m)
{
	return m->kind == MEASURE_LAUNCH || m->kind == MEASURE_GRAPH ? m->count : 1;
}

static int run_kind(struct measure_run *r, struct measured *out, struct error *e)
{
	enum measure_kind k = r->ask->kind;
	int rc;

	if (k == MEASURE_PRODUCT || k == MEASURE_LIBRARY)
		return cuda_measure_product(r, out, e);
	if (k == MEASURE_FP8)
		return cuda_measure_fp8(r, out, e);
	rc = open_memory(r, e);
	if (rc < 0)
		return rc;
	rc = kinds[k].on_device ? time_on_device(r, kinds[k].on_device) :
	     time_on_host(r, kinds[k].on_host, each_of(r->ask));
	if (rc < 0)
		return error_set(e, rc, "cuda:%u: %s could not be measured", r->device->index,
				 kinds[k].what);
	out->bytes = kinds[k].moved * (double)r->ask->bytes;
	cuda_timer_sum_up(r->us, r->ask->repeats, &out->median_us, &out->best_us);
	return 0;
}

int cuda_measure(struct device *d, const struct measure *m, struct measured *out,
		 struct error *e)
{
	struct measure_run r = { .ask = m, .device = d };
	int rc;

	assert(m->kind < MEASURE_KINDS && m->repeats > 0 && m->repeats <= MEASURE_REPEATS_MAX);
	*out = (struct measured){ 0 };
	rc = cuda_queue_open(&r.queue, d, e);
	if (rc < 0)
		return rc;
	rc = cuda_timer_open(&r.timer, &r.queue, e);
	if (rc == 0)
		rc = run_kind(&r, out, e);
	(void)cuda_queue_wait(&r.queue);
	cuda_timer_close(&r.timer);
	cuda_graph_close(&r.graph);
	cuda_queue_close(&r.queue);
	cuda_host_free(d, r.host);
	cuda_arena_close(&r.arena);
	return rc;
}
