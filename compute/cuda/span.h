/* span.h - consecutive blocks on one GPU: what span.c opens, step.c runs and page.c and carry.c
 * move.
 *
 * Threads    One thread at a time uses a span.
 * Ownership  As backend.h says.
 * Units      _bytes; rows are tokens.
 * Errors     As backend.h says.
 */
#ifndef PETALS_COMPUTE_CUDA_SPAN_H
#define PETALS_COMPUTE_CUDA_SPAN_H

#include "compute/cuda/block.h"
#include "compute/cuda/graph.h"

enum { CUDA_GRAPHS = 7 };               /* of 1, 2, 4, .. 64 rows */

struct span {
	struct device *device;
	struct cuda_queue queue;
	struct cuda_queue copies;       /* of many rows, beside the other: carry.c */
	struct span_info info;
	char kind[KIND_BYTES];
	uint32_t rows_max, entries_max, tokens_max;

	struct cuda_shape shape;
	struct cuda_weights *weights;
	struct cuda_block *blocks;      /* (end - first) */
	struct cuda_arena weight_arena, page_arena, step_arena;
	uint8_t *pages;                 /* (pages, page_bytes); a block's share after another */
	float *frequencies;             /* (rope_dims / 2) */

	struct cuda_pass pass;
	struct cuda_graph graphs[CUDA_GRAPHS];
	struct sheet_args sheet;
	uint32_t *units;                /* on the host, pinned: what to fetch of each segment */
	uint32_t *tables;               /* on the host: page tables, behind the rows */
	struct cuda_row *rows;          /* on the host, pinned: (rows_max) */
	uint64_t table_room;            /* page numbers that fit */

	/* Pinned rows for what lies in memory that the device does not reach. */
	uint8_t *in_stage, *out_stage;  /* (rows_max, stage_row_bytes) */
	uint64_t stage_row_bytes;
	void *pinned;                   /* all of the above */
	const struct batch *batch;      /* submitted, not waited for */
};

/* Prepares steps: all else is there. */
int cuda_step_open(struct span *s, struct error *e);
void cuda_step_close(struct span *s);    /* safe when zeroed */

/* Where the device finds the rows of an entry, the first of which is first_row of the batch, and
 * where it leaves those that are wanted; rows that lie elsewhere are staged.
 */
const uint8_t *cuda_rows_in(struct span *s, const struct batch_entry *entry, uint32_t first_row);
uint8_t *cuda_rows_out(struct span *s, const struct batch_entry *entry, uint32_t first_row);
/* Sends what decodes the rows of a batch into the pass's x, and what encodes them; NULL: for
 * whichever batch of few rows.
 */
void cuda_rows_enter(struct span *s, const struct cuda_pass *p, const struct batch *b);
void cuda_rows_leave(struct span *s, const struct cuda_pass *p, const struct batch *b);
/* Puts what was staged where it belongs. */
void cuda_rows_deliver(struct span *s, const struct batch *b);

/* page's share for block `first`. */
static inline uint8_t *cuda_span_page(const struct span *s, uint32_t page)
{
	assert(page < s->info.pages);
	return s->pages + page * s->info.page_bytes;
}

#endif
