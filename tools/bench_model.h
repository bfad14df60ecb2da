/* bench_model.h - a model in this process, ready to step: span, edge and KV pages, on whichever
 * device.
 *
 * Threads    main()'s.
 * Ownership  bench_model_open() / bench_model_close(), which also takes what was zeroed.
 * Units      Rows and tokens.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_MODEL_H
#define PETALS_TOOLS_BENCH_MODEL_H

#include "compute/backend.h"
#include "dataplane/base/options.h"

struct bench_model_options {
	const struct model *model;
	const char *device;             /* "cpu", "cuda:0" */
	bool fast;                      /* backend.h's */
	enum launch_mode launches;
	enum compute_mode compute;
	enum weight_format weights, head;
	int64_t threads;
	struct option_span blocks;      /* not given: all, with embedding and head */
	uint32_t tokens, sequences;     /* each sequence may have so many */
	uint32_t rows;                  /* of a step */
	uint32_t head_rows;             /* that share a pass over the head */
	uint32_t page_tokens;           /* 0: as servers have them */
	enum row_encoding round;        /* after each block; ROW_NONE: not at all */
};

struct bench_model {
	const struct backend *backend;
	struct device *device, *head_device;    /* two: the head has weights of its own */
	struct span *span;
	struct edge *edge;              /* NULL: only some blocks are run */
	const struct span_info *info;
	uint32_t pages_each;            /* of a sequence */
	uint32_t *pages;                /* of all of them, one after the other */
};

int bench_model_open(struct bench_model *b, const struct bench_model_options *o,
		     struct error *e);
void bench_model_close(struct bench_model *b);
/* Rows of the entries through all blocks. */
int bench_model_step(struct bench_model *b, struct batch_entry *entries, uint32_t count,
		     uint32_t rows);

#endif
