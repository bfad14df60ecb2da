/* linear.h - a matrix on the device, and activations times it.
 *
 * What we promise.  By default an output element has the same bits whatever the number of
 * rows, so that neither batches, chunks nor cuts change a result (kernels.h says in which
 * order it is summed).  Every product then goes through our own kernels: cuBLASLt picks a
 * kernel, a split of k and with them an order by the number of rows, and promises nothing
 * between two shapes.  The price is at many rows, where mma.sync reaches about three
 * quarters of what Hopper's warp-group instructions do; at few rows, where reading the
 * matrix is all there is, it costs nothing.
 *
 * Fast (struct device_options' `fast`) gives the promise up: from CUDA_FAST_ROWS rows on,
 * bf16 products go to cuBLASLt.  A span's kind says so ("fast").
 *
 * Threads    One at a time per queue.
 * Ownership  A matrix's memory is its weights'.
 * Units      Elements.
 * Errors     The queue's.
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_H
#define PETALS_COMPUTE_CUDA_LINEAR_H

#include "compute/cuda/layout.h"
#include "compute/cuda/queue.h"

enum { CUDA_FAST_ROWS = 64 };            /* below, reading the matrix is what takes time */

struct cuda_matrix {
	void *w;                        /* as layout.h says; NULL: there is no such matrix */
	float *bias;                    /* (rows), or NULL */
	uint32_t rows, columns;         /* output and input features */
	uint32_t stride;                /* columns rounded up, zeros behind them */
	enum cuda_format format;        /* CUDA_F32: so must its operand be; else that is bf16 */
};

/* Elements from an operand's row to the next. */
static inline uint32_t cuda_operand_stride(uint32_t columns)
{
	return (uint32_t)align_up(columns, CUDA_K_STEP);
}

static inline uint64_t cuda_matrix_bytes(const struct cuda_matrix *m)
{
	return cuda_layout_bytes(m->format, m->rows, m->columns);
}

/* out (rows, m->rows) = operand times m, plus its bias, plus add (maybe out, or NULL). */
void cuda_linear(struct cuda_queue *q, const struct cuda_matrix *m, const void *operand,
		 uint32_t rows, const float *add, float *out);

/* Up to LINEAR_PARTS matrices of as many columns times the same operand: one launch, where
 * formats agree.
 */
struct cuda_product {
	const struct cuda_matrix *matrix;
	float *out;
};
void cuda_linear_all(struct cuda_queue *q, const struct cuda_product *p, uint32_t count,
		     const void *operand, uint32_t rows);

/* out = act(operand times gate) (times operand times up), an operand, too: one launch for few
 * rows.  gate_room and up_room (rows, their rows) may be written, or not.
 */
struct cuda_activation {
	const struct cuda_matrix *gate, *up;    /* up NULL: the activation alone */
	enum activation_kind kind;
	float *gate_room, *up_room;
	void *out;                              /* not the operand */
};
void cuda_linear_activate(struct cuda_queue *q, const struct cuda_activation *a,
			  const void *operand, uint32_t rows);

#endif
