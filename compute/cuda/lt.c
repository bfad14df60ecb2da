/* lt.c - owns cuBLASLt's handle, its workspace and the plans; lt_race.c chooses how they run.
 *
 * In the library's column-major words: out (features x rows) = matrix (columns x features)
 * transposed, times operand (columns x rows); f32 sums of bf16 products.
 */
#include "compute/cuda/lt_plan.h"

#include <dlfcn.h>
#include <errno.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

static const struct { const char *name; size_t offset; } calls[] = {
#define CALL(name) { #name, offsetof(struct cuda_lt, name) },
	CUDA_LT_CALLS(CALL)
#undef CALL
};

int cuda_lt_error(const struct cuda_lt *lt, cublasStatus_t status, struct error *e,
		  const char *what)
{
	return error_set(e, status == CUBLAS_STATUS_ALLOC_FAILED ? -ENOMEM : -EIO,
			 "cuda:%u: cuBLASLt: %s: %s", lt->queue->device->index, what,
			 lt->cublasLtGetStatusString(status));
}

/* ---- opening ---- */

static int open_library(struct cuda_lt *lt, struct error *e)
{
	const char *why;

	lt->library = cuda_library_open("libcublasLt.so.13", &why);
	if (!lt->library)
		return error_set(e, -ENOTSUP, "the fast mode needs libcublasLt.so.13, which is not "
				 "on this host (%s)", why);
	for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
		void *call = dlsym(lt->library, calls[i].name);

		if (!call)
			return error_set(e, -ENOTSUP, "libcublasLt.so.13 lacks %s", calls[i].name);
		memcpy((uint8_t *)lt + calls[i].offset, &call, sizeof(call));
	}
	return 0;
}

/* Without a table every load races again, and works. */
static void open_tuning(struct cuda_lt *lt)
{
	struct error e = { 0 };

	if (cuda_tuning_open(&lt->tuning, lt->queue->device->tuning, &e) < 0)
		log_warn("cuda", "races are not remembered: %s", e.text);
}

int cuda_lt_open(struct cuda_lt **out, struct cuda_queue *q, uint32_t rows_least,
		 uint32_t rows_max, struct error *e)
{
	struct cuda_lt *lt = mem_calloc(1, sizeof(*lt));
	cublasStatus_t status;
	int rc;

	*out = NULL;
	if (!lt)
		return error_set(e, -ENOMEM, "out of memory for cuBLASLt's plans");
	lt->queue = q;
	lt->rows_least = rows_least;
	lt->rows_max = rows_max;
	rc = open_library(lt, e);
	if (rc == 0)
		open_tuning(lt);
	if (rc == 0) {
		cuda_arena_want(&lt->arena, &lt->workspace, CUDA_LT_WORKSPACE_BYTES);
		rc = cuda_arena_open(&lt->arena, q->device, "cuBLASLt's workspace", e);
	}
	if (rc == 0) {
		status = lt->cublasLtCreate(&lt->handle);
		if (status != CUBLAS_STATUS_SUCCESS)
			rc = cuda_lt_error(lt, status, e, "it does not start");
	}
	if (rc < 0) {
		cuda_lt_close(lt);
		return rc;
	}
	*out = lt;
	return 0;
}

static void plan_close(struct cuda_lt *lt, struct cuda_lt_plan *p)
{
	if (p->product)
		lt->cublasLtMatmulDescDestroy(p->product);
	if (p->matrix)
		lt->cublasLtMatrixLayoutDestroy(p->matrix);
	if (p->operand)
		lt->cublasLtMatrixLayoutDestroy(p->operand);
	if (p->out)
		lt->cublasLtMatrixLayoutDestroy(p->out);
}

void cuda_lt_close(struct cuda_lt *lt)
{
	if (!lt)
		return;
	for (uint32_t i = 0; i < lt->count; i++)
		plan_close(lt, &lt->plans[i]);
	if (lt->handle)
		lt->cublasLtDestroy(lt->handle);
	cuda_arena_close(&lt->arena);
	cuda_tuning_close(lt->tuning);
	if (lt->library)
		dlclose(lt->library);
	mem_free(lt);
}

/* ---- plans ---- */

/* The smallest bucket that takes `rows`. */
static struct cuda_lt_plan *find(struct cuda_lt *lt, const struct cuda_matrix *m, uint32_t rows)
{
	struct cuda_lt_plan *best = NULL;

	for (uint32_t i = 0; i < lt->count; i++) {
		struct cuda_lt_plan *p = &lt->plans[i];

		if (p->features == m->rows && p->columns == m->stride && p->bias == !!m->bias &&
		    p->rows >= rows && (!best || p->rows < best->rows))
			best = p;
	}
	return best;
}

/* The bias of any matrix of the shape: heuristics may want to see one. */
static cublasStatus_t describe(struct cuda_lt *lt, struct cuda_lt_plan *p, const float *bias)
{
	cublasOperation_t transposed = CUBLAS_OP_T;
	cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
	cublasStatus_t status;

	status = lt->cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA,
							    &transposed, sizeof(transposed));
	if (status == CUBLAS_STATUS_SUCCESS && p->bias)
		status = lt->cublasLtMatmulDescSetAttribute(p->product,
							    CUBLASLT_MATMUL_DESC_EPILOGUE,
							    &epilogue, sizeof(epilogue));
	if (status == CUBLAS_STATUS_SUCCESS && p->bias)
		status = lt->cublasLtMatmulDescSetAttribute(p->product,
							    CUBLASLT_MATMUL_DESC_BIAS_POINTER,
							    &bias, sizeof(bias));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->matrix, CUDA_R_16BF, p->columns,
							p->features, p->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->operand, CUDA_R_16BF, p->columns,
							p->rows, p->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->out, CUDA_R_32F, p->features, p->rows,
							p->features);
	return status;
}

static int add_plan(struct cuda_lt *lt, const struct cuda_matrix *m, uint32_t rows,
		    struct error *e)
{
	struct cuda_lt_plan *p = &lt->plans[lt->count];
	cublasStatus_t status;

	assert(lt->count < CUDA_LT_PLANS_MAX);
	*p = (struct cuda_lt_plan){ .features = m->rows, .columns = m->stride, .rows = rows,
				    .bias = m->bias != NULL };
	lt->count++;
	status = describe(lt, p, m->bias);
	if (status != CUBLAS_STATUS_SUCCESS)
		return cuda_lt_error(lt, status, e, "a plan");
	return cuda_lt_choose(lt, p, m, e);
}

int cuda_lt_prepare(struct cuda_lt *lt, const struct cuda_matrix *m, struct error *e)
{
	int rc = 0;

	assert(m->w && m->format == CUDA_BF16_ROWS);
	for (uint32_t rows = lt->rows_least; rc == 0; rows *= 2) {
		if (!find(lt, m, rows))
			rc = add_plan(lt, m, rows, e);
		if (rows >= lt->rows_max)
			break;
	}
	return rc;
}

/* ---- a step ---- */

cublasStatus_t cuda_lt_run(struct cuda_lt *lt, struct cuda_lt_plan *p,
			   const struct cuda_matrix *m, const void *operand, uint64_t rows,
			   const float *add, float *out)
{
	const float one = 1, beta = add ? 1 : 0;
	cublasStatus_t status;

	status = lt->cublasLtMatrixLayoutSetAttribute(p->operand, CUBLASLT_MATRIX_LAYOUT_COLS,
						      &rows, sizeof(rows));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutSetAttribute(p->out, CUBLASLT_MATRIX_LAYOUT_COLS,
							      &rows, sizeof(rows));
	if (status == CUBLAS_STATUS_SUCCESS && p->bias)
		status = lt->cublasLtMatmulDescSetAttribute(p->product,
							    CUBLASLT_MATMUL_DESC_BIAS_POINTER,
							    &m->bias, sizeof(m->bias));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmul(lt->handle, p->product, &one, m->w, p->matrix, operand,
					    p->operand, &beta, add ? add : out, p->out, out,
					    p->out, &p->algorithm, lt->workspace,
					    CUDA_LT_WORKSPACE_BYTES, (void *)lt->queue->stream);
	return status;
}

void cuda_lt_linear(struct cuda_lt *lt, const struct cuda_matrix *m, const void *operand,
		    uint32_t rows, const float *add, float *out)
{
	struct cuda_lt_plan *p = find(lt, m, rows);
	struct error e = { 0 };
	cublasStatus_t status;

	assert(p);
	if (lt->queue->status < 0)
		return;
	status = cuda_lt_run(lt, p, m, operand, rows, add, out);
	if (status == CUBLAS_STATUS_SUCCESS)
		return;
	lt->queue->status = cuda_lt_error(lt, status, &e, "a product");
	log_error("cuda", "%s", e.text);
}
