/* measure_product.c - one matrix of random weights, and rows times it: by our kernels or by
 * cuBLASLt.  Before each product something larger than any cache is read.
 */
#include <errno.h>

#include "compute/cuda/block.h"
#include "compute/cuda/measure.h"
#include "compute/cuda/noise.h"

enum { WARM = 3, ITEMS_MAX = 2 };
#define EVICTED_LEAST (4ull << 20)      /* smaller matrices are the tests' */

struct product {
	struct measure_run *run;
	struct model *model;
	struct cuda_weights *weights;
	struct cuda_arena weight_arena;
	struct cuda_matrix matrix;
	struct cuda_lt *lt;
	void *operand, *evict;
	float *out;
	uint64_t evict_bytes;
};

/* Of its arithmetic. */
static bool is_bf16(const struct measure *m)
{
	return m->weights != WEIGHTS_KEEP || m->stored != DTYPE_F32;
}

/* The matrix is a model's head, loaded as a server would: nothing else is as wide as its rows. */
static int open_model(struct product *p, const struct measure *m, struct error *e)
{
	struct model_config c = {
		.arch = arch_by_name("llama"), .name = "a product", .blocks = 1,
		.hidden = m->columns, .heads = 1, .kv_heads = 1, .head_dim = GROUP,
		.intermediate = GROUP, .vocabulary = m->features, .embed = m->columns,
		.positions = 1, .final_norm = true,
	};
	struct cuda_weights_as as = { m->weights, m->kind == MEASURE_LIBRARY };
	int rc = model_open_synthetic(&p->model, &c, m->stored, e);

	if (rc == 0)
		rc = cuda_weights_open(&p->weights, p->model, as, &p->weight_arena, ITEMS_MAX, e);
	if (rc < 0)
		return rc;
	cuda_weights_matrix(p->weights, ROLE_HEAD_W, 0, is_bf16(m), &p->matrix);
	if (as.rows && p->matrix.format != CUDA_BF16_ROWS)
		return error_set(e, -ENOTSUP, "cuBLASLt multiplies bf16 weights, not %s",
				 cuda_format_name(p->matrix.format));
	rc = cuda_arena_open(&p->weight_arena, p->run->device, "a matrix to measure", e);
	if (rc == 0)
		rc = cuda_weights_load(p->weights, &p->run->queue, (struct load_progress){ 0 }, e);
	return rc;
}

static int open_rows(struct product *p, const struct measure *m, struct error *e)
{
	struct measure_run *r = p->run;
	uint64_t bytes = (uint64_t)m->rows * p->matrix.stride * (is_bf16(m) ? 2 : 4);
	int rc;

	if (cuda_matrix_bytes(&p->matrix) >= EVICTED_LEAST)
		p->evict_bytes = CUDA_EVICT_BYTES;
	cuda_arena_want(&r->arena, &p->operand, bytes);
	cuda_arena_want(&r->arena, &p->out, (uint64_t)m->rows * m->features * sizeof(float));
	cuda_arena_want(&r->arena, &p->evict, p->evict_bytes);
	cuda_arena_want(&r->arena, &r->sums, CUDA_PASS_THREADS * sizeof(*r->sums));
	rc = cuda_arena_open(&r->arena, r->device, "rows to measure with", e);
	return rc < 0 ? rc : cuda_noise(&r->queue, p->operand, bytes,
				      is_bf16(m) ? NOISE_BF16 : NOISE_F32, e);
}

static int open_library(struct product *p, const struct measure *m, struct error *e)
{
	int rc = cuda_lt_open(&p->lt, &p->run->queue, m->rows, m->rows, e);

	return rc < 0 ? rc : cuda_lt_prepare(p->lt, &p->matrix, e);
}

static int time_products(struct product *p, const struct measure *m, struct error *e)
{
	struct measure_run *r = p->run;
	int rc = 0;

	for (int i = -WARM; i < (int)m->repeats && rc == 0; i++) {
		double us;

		cuda_pass_over(&r->queue, p->evict, p->evict_bytes, r->sums);
		cuda_timer_start(&r->timer);
		if (p->lt)
			cuda_lt_linear(p->lt, &p->matrix, p->operand, m->rows, NULL, p->out);
		else
			cuda_linear(&r->queue, &p->matrix, p->operand, m->rows, NULL, p->out);
		rc = cuda_timer_stop(&r->timer, &us);
		if (i >= 0)
			r->us[i] = us;
	}
	return rc < 0 ? error_set(e, rc, "cuda:%u: a product of %u rows, %u x %u, could not be "
				  "measured", r->device->index, m->rows, m->features, m->columns) :
			0;
}

int cuda_measure_product(struct measure_run *r, struct measured *out, struct error *e)
{
	const struct measure *m = r->ask;
	struct product p = { .run = r };
	int rc = open_model(&p, m, e);

	if (rc == 0)
		rc = open_rows(&p, m, e);
	if (rc == 0 && m->kind == MEASURE_LIBRARY)
		rc = open_library(&p, m, e);
	if (rc == 0)
		rc = time_products(&p, m, e);
	if (rc == 0) {
		out->bytes = (double)cuda_matrix_bytes(&p.matrix);
		out->flop = 2.0 * m->rows * m->features * m->columns;
		cuda_timer_sum_up(r->us, m->repeats, &out->median_us, &out->best_us);
	}
	/* What was queued before something failed uses all of it. */
	(void)cuda_queue_wait(&r->queue);
	cuda_lt_close(p.lt);
	cuda_weights_close(p.weights);
	cuda_arena_close(&p.weight_arena);
	model_close(p.model);
	return rc;
}
