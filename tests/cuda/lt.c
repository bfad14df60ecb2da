/* lt.c - cuBLASLt's calls that the backend makes: becomes libcublasLt.so.13 of the tests.
 *
 * A plain matmul that honours layouts, transposition, leading dimensions, alpha, beta, scales
 * and the bias epilogue, and checks what the real one demands.  It sums in another order for
 * every bucket of rows, as the real one may: whoever promises the same bits for any number
 * of rows and comes here is found out.
 */
#include <cublasLt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/model/dtype.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/cuda/queue_call.h"
#include "tests/cuda/setting.h"

#define EXPORT __attribute__((visibility("default")))

enum { ALIGNMENT = 16, ORDERS = 7, ALGORITHM = 0x5eed, CANDIDATES = 3, NONE = 99, SLOW = 8 };

struct product {
	cublasOperation_t transpose_a, transpose_b;
	cublasLtEpilogue_t epilogue;
	const float *bias;
	int32_t scale_mode_a, scale_mode_b;
	const float *scales_a, *scales_b;
};

struct layout {
	cudaDataType type;
	uint64_t rows, columns;
	int64_t stride;
};

struct preference { size_t workspace; };

static struct product *product_of(cublasLtMatmulDesc_t d) { return (struct product *)d; }
static struct layout *layout_of(cublasLtMatrixLayout_t l) { return (struct layout *)l; }

EXPORT size_t cublasLtGetVersion(void)
{
	return setting("lt_version", 130100);
}

EXPORT cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
	*out = mem_calloc(1, 64);
	return *out ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

EXPORT cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	mem_free(handle);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_INVALID_VALUE ? "an invalid value" : "the stand-in refuses";
}

EXPORT cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out,
					       cublasComputeType_t compute, cudaDataType_t scale)
{
	struct product *p;

	if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	p = mem_calloc(1, sizeof(*p));
	if (!p)
		return CUBLAS_STATUS_ALLOC_FAILED;
	p->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
	*out = (cublasLtMatmulDesc_t)(void *)p;
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
	mem_free(d);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
						     cublasLtMatmulDescAttributes_t attribute,
						     const void *value, size_t bytes)
{
	struct product *p = product_of(d);
	void *to;
	size_t expected = 4;

	switch (attribute) {
	case CUBLASLT_MATMUL_DESC_TRANSA:
		to = &p->transpose_a;
		break;
	case CUBLASLT_MATMUL_DESC_TRANSB:
		to = &p->transpose_b;
		break;
	case CUBLASLT_MATMUL_DESC_EPILOGUE:
		to = &p->epilogue;
		break;
	case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
		to = &p->bias;
		expected = sizeof(p->bias);
		break;
	case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
		to = &p->scale_mode_a;
		break;
	case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
		to = &p->scale_mode_b;
		break;
	case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
		to = &p->scales_a;
		expected = sizeof(p->scales_a);
		break;
	case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
		to = &p->scales_b;
		expected = sizeof(p->scales_b);
		break;
	default:
		return CUBLAS_STATUS_NOT_SUPPORTED;
	}
	if (bytes != expected)
		return CUBLAS_STATUS_INVALID_VALUE;
	memcpy(to, value, bytes);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
						 uint64_t rows, uint64_t columns, int64_t stride)
{
	struct layout *l = mem_calloc(1, sizeof(*l));

	if (!l)
		return CUBLAS_STATUS_ALLOC_FAILED;
	*l = (struct layout){ type, rows, columns, stride };
	*out = (cublasLtMatrixLayout_t)(void *)l;
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
	mem_free(l);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
						       cublasLtMatrixLayoutAttribute_t attribute,
						       const void *value, size_t bytes)
{
	if (attribute != CUBLASLT_MATRIX_LAYOUT_COLS || bytes != sizeof(uint64_t))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	memcpy(&layout_of(l)->columns, value, bytes);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
	*out = mem_calloc(1, sizeof(struct preference));
	return *out ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

EXPORT cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
	mem_free(p);
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
				     cublasLtMatmulPreferenceAttributes_t attribute,
				     const void *value, size_t bytes)
{
	if (attribute != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || bytes != sizeof(size_t))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	memcpy(&((struct preference *)(void *)p)->workspace, value, bytes);
	return CUBLAS_STATUS_SUCCESS;
}

/* bf16 to f32; or, transposed alone, e4m3 with scales by row and column to bf16, since Ada. */
static int types_fit(const struct product *p, const struct layout *a, const struct layout *b,
		     const struct layout *d)
{
	const int32_t outer = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;

	if (a->type != b->type)
		return 0;
	if (a->type == CUDA_R_16BF)
		return d->type == CUDA_R_32F && !p->scale_mode_a && !p->scale_mode_b;
	return a->type == CUDA_R_8F_E4M3 && d->type == CUDA_R_16BF &&
	       p->transpose_a == CUBLAS_OP_T && p->scale_mode_a == outer &&
	       p->scale_mode_b == outer && a->rows % 16 == 0 && a->columns % 16 == 0 &&
	       b->columns % 16 == 0 && setting("major", 9) >= 9;
}

/* Shapes that fit together, strides that cover them. */
static int fits(const struct product *p, const struct layout *a, const struct layout *b,
		const struct layout *d)
{
	uint64_t k = p->transpose_a == CUBLAS_OP_T ? a->rows : a->columns;
	uint64_t m = p->transpose_a == CUBLAS_OP_T ? a->columns : a->rows;

	return p->transpose_b == CUBLAS_OP_N && b->rows == k && d->rows == m &&
	       d->columns == b->columns && types_fit(p, a, b, d) &&
	       a->stride >= (int64_t)a->rows &&
	       b->stride >= (int64_t)b->rows && d->stride >= (int64_t)d->rows &&
	       a->stride % 8 == 0 && b->stride % 8 == 0 && d->columns > 0;
}

EXPORT cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
	cublasLtHandle_t handle, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
	cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
	cublasLtMatmulPreference_t preference, int wanted,
	cublasLtMatmulHeuristicResult_t results[], int *found)
{
	*found = 0;
	if (!fits(product_of(product), layout_of(a), layout_of(b), layout_of(d)) || wanted < 1)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	for (int i = 0; i < wanted && i < (int)setting("lt_candidates", CANDIDATES); i++) {
		memset(&results[i], 0, sizeof(*results));
		results[i].algo.data[0] = ALGORITHM;
		results[i].algo.data[1] = (uint64_t)i;
		results[i].workspaceSize =
			((struct preference *)(void *)preference)->workspace / 2;
		*found = i + 1;
	}
	return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasLtMatmulAlgoCheck(
	cublasLtHandle_t handle, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
	cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
	const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulHeuristicResult_t *result)
{
	if (!fits(product_of(product), layout_of(a), layout_of(b), layout_of(d)) ||
	    algorithm->data[0] != ALGORITHM || algorithm->data[1] >= CANDIDATES)
		return CUBLAS_STATUS_INVALID_VALUE;
	result->workspaceSize = 1;
	return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

struct call {
	struct product product;
	struct layout a, b, d;
	const void *at, *bt;
	const float *c;
	void *out;
	float alpha, beta;
	uint64_t candidate;
	uint8_t *workspace;
	size_t workspace_bytes;
};

static float e4m3(uint8_t bits)
{
	int exponent = bits >> 3 & 15;
	float v = exponent ? ldexpf(1 + (float)(bits & 7) / 8, exponent - 7) :
			     ldexpf((float)(bits & 7) / 8, -6);

	return bits & 0x80 ? -v : v;
}

static float element(const void *m, const struct layout *l, uint64_t row, uint64_t column)
{
	uint64_t at = column * (uint64_t)l->stride + row;

	return l->type == CUDA_R_8F_E4M3 ? e4m3(((const uint8_t *)m)[at]) :
					   f32_of_bf16(((const uint16_t *)m)[at]);
}

/* k from a place of the bucket's own on, round to where it began. */
static float dot(const struct call *f, uint64_t m, uint64_t n, uint64_t k_end)
{
	uint64_t bucket = 0, start;
	float sum = 0;

	while (1ull << bucket < f->d.columns)
		bucket++;
	start = k_end * ((bucket + f->candidate) % ORDERS) / ORDERS;
	for (uint64_t i = 0; i < k_end; i++) {
		uint64_t k = (start + i) % k_end;
		float a = f->product.transpose_a == CUBLAS_OP_T ? element(f->at, &f->a, k, m) :
								  element(f->at, &f->a, m, k);

		sum += a * element(f->bt, &f->b, k, n);
	}
	return sum;
}

/* What a fast candidate need not do. */
static void dawdle(const struct call *f)
{
	volatile float unwanted;

	for (int i = 0; i < SLOW; i++)
		for (uint64_t n = 0; n < f->d.columns; n++)
			for (uint64_t m = 0; m < f->d.rows; m++)
				unwanted = dot(f, m, n, f->b.rows);
	(void)unwanted;
}

static void run(const void *args)
{
	const struct call *f = args;
	uint64_t wrong = setting("lt_wrong", NONE);

	if (setting("lt_fast", f->candidate) != f->candidate)
		dawdle(f);
	/* It may be written to, all of it. */
	memset(f->workspace, 0x5a, f->workspace_bytes);
	for (uint64_t n = 0; n < f->d.columns; n++)
		for (uint64_t m = 0; m < f->d.rows; m++) {
			uint64_t at = n * (uint64_t)f->d.stride + m;
			float v = f->alpha * dot(f, m, n, f->b.rows);

			if (f->candidate == wrong)
				v *= 1.5f;
			if (f->beta != 0)
				v += f->beta * f->c[at];
			if (f->product.epilogue == CUBLASLT_EPILOGUE_BIAS)
				v += f->product.bias[m];
			if (f->d.type == CUDA_R_16BF)
				((uint16_t *)f->out)[at] = bf16_of_f32(
					v * f->product.scales_a[m] * f->product.scales_b[n]);
			else
				((float *)f->out)[at] = v;
		}
}

static int aligned(const void *at)
{
	return (uintptr_t)at % ALIGNMENT == 0;
}

EXPORT cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
				     const void *alpha, const void *a, cublasLtMatrixLayout_t al,
				     const void *b, cublasLtMatrixLayout_t bl, const void *beta,
				     const void *c, cublasLtMatrixLayout_t cl, void *d,
				     cublasLtMatrixLayout_t dl,
				     const cublasLtMatmulAlgo_t *algorithm, void *workspace,
				     size_t workspace_bytes, cudaStream_t stream)
{
	struct call f = {
		*product_of(product), *layout_of(al), *layout_of(bl), *layout_of(dl), a, b, c, d,
		*(const float *)alpha, *(const float *)beta, algorithm->data[1],
		workspace, workspace_bytes,
	};

	if (fault_here())
		return CUBLAS_STATUS_EXECUTION_FAILED;
	if (!fits(&f.product, &f.a, &f.b, &f.d) || algorithm->data[0] != ALGORITHM ||
	    memcmp(layout_of(cl), &f.d, sizeof(f.d)) != 0 || !aligned(a) || !aligned(b) ||
	    !aligned(c) || !aligned(d) || !aligned(workspace) || !workspace ||
	    (f.product.epilogue == CUBLASLT_EPILOGUE_BIAS && !f.product.bias) ||
	    (f.product.scale_mode_a && (!f.product.scales_a || !f.product.scales_b)))
		return CUBLAS_STATUS_INVALID_VALUE;
	queue_call((CUstream)(void *)stream, run, &f, sizeof(f));
	return CUBLAS_STATUS_SUCCESS;
}
