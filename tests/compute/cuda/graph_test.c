/* graph_test.c - launches recorded, and sent as often as wanted. */
#include "compute/cuda/graph.h"

#include <errno.h>

#include "compute/cuda/block.h"
#include "dataplane/base/fault.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/test.h"

enum { COLUMNS = 40 };

/* x = round(x) is recorded, or run. */
static void say(struct gpu *g, float *x, enum row_encoding encoding)
{
	struct row_round_args a = { x, COLUMNS, encoding };

	cuda_launch(&g->queue, CUDA_KERNEL_ROW_ROUND, cuda_by_row(1, COLUMNS), &a);
}

/* Goal: what is recorded does not run, and runs each time it is sent, in its place. */
TEST(graph__runs_when_it_is_sent)
{
	float x[COLUMNS], got[COLUMNS], *device;
	struct cuda_graph graph;
	struct error e = { 0 };
	struct gpu g;

	gpu_open(&g);
	for (int i = 0; i < COLUMNS; i++)
		x[i] = 1 + (float)i / 1000;
	device = gpu_new(&g, x, sizeof(x));
	CHECK_OK(cuda_graph_begin(&g.queue, &e), &e);
	say(&g, device, ROW_F16);
	say(&g, device, ROW_BF16);
	CHECK_OK(cuda_graph_end(&g.queue, &graph, &e), &e);
	gpu_read(&g, device, got, sizeof(got));
	CHECK_BYTES(got, x, sizeof(x));
	for (int i = 0; i < 2; i++) {
		memcpy(g.stage, x, sizeof(x));
		cuda_copy_in(&g.queue, device, g.stage, sizeof(x));
		cuda_graph_send(&g.queue, &graph);
		gpu_read(&g, device, got, sizeof(got));
		for (int k = 0; k < COLUMNS; k++)
			CHECK(got[k] == gpu_rounded(f32_of_f16(f16_of_f32(x[k])), true));
	}
	cuda_graph_close(&graph);
	gpu_close(&g);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, recording says so and leaves nothing behind. */
TEST(graph__unwinds_every_failure)
{
	int failures = 0;

	for (int nth = 1;; nth++) {
		struct cuda_graph graph = { 0 };
		struct error e = { 0 };
		struct gpu g;
		float *x;
		int rc;

		gpu_open(&g);
		x = gpu_new(&g, NULL, COLUMNS * sizeof(*x));
		fault_arm(nth);
		rc = cuda_graph_begin(&g.queue, &e);
		if (rc == 0) {
			say(&g, x, ROW_BF16);
			rc = cuda_graph_end(&g.queue, &graph, &e);
		}
		fault_disarm();
		CHECK(rc == 0 ? graph.runnable != NULL : !graph.runnable && e.text[0]);
		failures += rc < 0;
		cuda_graph_close(&graph);
		gpu_close(&g);
		if (rc == 0)
			break;
	}
	CHECK(failures >= 4);
}
#endif
