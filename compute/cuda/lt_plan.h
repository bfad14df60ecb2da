/* lt_plan.h - what lt.c and lt_race.c share: the library's calls, and a plan.
 *
 * Threads    The queue's.
 * Ownership  Of lt.c.
 * Units      Rows, features and columns.
 * Errors     The library's status, or as lt.h.
 */
#ifndef PETALS_COMPUTE_CUDA_LT_PLAN_H
#define PETALS_COMPUTE_CUDA_LT_PLAN_H

#include <cublasLt.h>

#include "compute/cuda/arena.h"
#include "compute/cuda/lt.h"
#include "compute/cuda/tuning.h"

enum { CUDA_LT_PLANS_MAX = 160 };

#define CUDA_LT_CALLS(CALL)                                                                  \
	CALL(cublasLtGetVersion)                                                             \
	CALL(cublasLtCreate) CALL(cublasLtDestroy) CALL(cublasLtGetStatusString)             \
	CALL(cublasLtMatmulDescCreate) CALL(cublasLtMatmulDescDestroy)                       \
	CALL(cublasLtMatmulDescSetAttribute) CALL(cublasLtMatrixLayoutCreate)                \
	CALL(cublasLtMatrixLayoutDestroy) CALL(cublasLtMatrixLayoutSetAttribute)             \
	CALL(cublasLtMatmulPreferenceCreate) CALL(cublasLtMatmulPreferenceDestroy)           \
	CALL(cublasLtMatmulPreferenceSetAttribute) CALL(cublasLtMatmulAlgoGetHeuristic)      \
	CALL(cublasLtMatmulAlgoCheck) CALL(cublasLtMatmul)

struct cuda_lt_plan {
	uint32_t features, columns, rows;       /* rows: up to so many */
	bool bias;
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t matrix, operand, out;
	cublasLtMatmulAlgo_t algorithm;
};

struct cuda_lt {
	struct cuda_queue *queue;
	uint32_t rows_least, rows_max;
	void *library;
#define CALL(name) typeof(&name) name;
	CUDA_LT_CALLS(CALL)
#undef CALL
	cublasLtHandle_t handle;
	struct cuda_arena arena;
	void *workspace;
	struct cuda_tuning *tuning;             /* NULL: there is no place for it */
	struct cuda_lt_plan plans[CUDA_LT_PLANS_MAX];
	uint32_t count;
};

int cuda_lt_error(const struct cuda_lt *lt, cublasStatus_t status, struct error *e,
		  const char *what);
/* Queues a product by the plan's algorithm. */
cublasStatus_t cuda_lt_run(struct cuda_lt *lt, struct cuda_lt_plan *p,
			   const struct cuda_matrix *m, const void *operand, uint64_t rows,
			   const float *add, float *out);

/* lt_race.c: sets the plan's algorithm, by what is known, else by a race on the matrix. */
int cuda_lt_choose(struct cuda_lt *lt, struct cuda_lt_plan *p, const struct cuda_matrix *m,
		   struct error *e);

#endif
