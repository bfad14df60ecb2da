/* bench_model.c - opens a span and an edge on a device for the verbs that compute here.
 */
#include "tools/bench_model.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"
#include "tools/progress.h"

enum { PAGE_TOKENS = 16 };

static uint32_t page_tokens(const struct bench_model_options *o)
{
	return o->page_tokens ? o->page_tokens : PAGE_TOKENS;
}

static int check(const struct bench_model_options *o, uint32_t end, struct error *e)
{
	const struct model_config *config = model_config(o->model);

	if (o->tokens > config->positions)
		return error_set(e, -EINVAL, "--tokens %u: %s knows %u positions", o->tokens,
				 config->name, config->positions);
	if (end > config->blocks || o->blocks.first >= end)
		return error_set(e, -EINVAL, "--blocks %u:%u: %s has blocks 0:%u", o->blocks.first,
				 end, config->name, config->blocks);
	return 0;
}

static int open_span(struct bench_model *b, const struct bench_model_options *o, uint32_t end,
		     struct load_progress progress, struct error *e)
{
	const struct model_config *config = model_config(o->model);
	struct device_options device = {
		.threads = (uint32_t)o->threads, .compute = o->compute, .weights = o->weights,
		.fast = o->fast, .launches = o->launches,
	};
	struct span_options span = {
		.model = o->model, .first = o->blocks.first, .end = end,
		.page_tokens = page_tokens(o), .rows_max = o->rows, .entries_max = o->sequences,
		.tokens_max = o->tokens, .round = o->round ? o->round : ROW_F32,
		.progress = progress,
	};
	int rc = backend_find(o->device, &b->backend, &device.index, e);

	if (rc == 0)
		rc = b->backend->device_open(&b->device, &device, e);
	/* Keys and values of f32, the widest there is; rounded down to whole pages. */
	span.kv_bytes = 2ull * 4 * config->kv_heads * align_up(config->head_dim, 64) *
			align_up(o->tokens, span.page_tokens) * o->sequences *
			(end - o->blocks.first);
	return rc < 0 ? rc : b->backend->span_open(&b->span, b->device, &span, e);
}

static int open_edge(struct bench_model *b, const struct bench_model_options *o,
		     struct load_progress progress, struct error *e)
{
	struct device_options head = {
		.threads = (uint32_t)o->threads, .compute = o->compute, .weights = o->head,
		.fast = o->fast,
	};
	const struct backend *backend;
	int rc = backend_find(o->device, &backend, &head.index, e);

	/* A head of floats cannot be multiplied as integers; a gateway's would be auto. */
	if (head.compute == COMPUTE_INT8)
		head.compute = COMPUTE_AUTO;
	if (rc == 0 && o->head != o->weights)
		rc = b->backend->device_open(&b->head_device, &head, e);
	if (rc < 0)
		return rc;
	return b->backend->edge_open(&b->edge, b->head_device ? b->head_device : b->device,
				     o->model, MAX(o->head_rows, 1), progress, e);
}

static int give_pages(struct bench_model *b, const struct bench_model_options *o, struct error *e)
{
	b->pages_each = (o->tokens + page_tokens(o) - 1) / page_tokens(o);
	if (b->info->pages < b->pages_each * o->sequences)
		return error_set(e, -ENOMEM, "%u KV pages are too few for %u sequences of %u",
				 b->info->pages, o->sequences, o->tokens);
	b->pages = mem_calloc((size_t)b->pages_each * o->sequences, sizeof(*b->pages));
	if (!b->pages)
		return error_errno(e, -ENOMEM, "page tables of %u sequences", o->sequences);
	for (uint32_t i = 0; i < b->pages_each * o->sequences; i++)
		b->pages[i] = i;
	return 0;
}

int bench_model_open(struct bench_model *b, const struct bench_model_options *o, struct error *e)
{
	uint32_t end = o->blocks.given ? o->blocks.end : model_config(o->model)->blocks;
	struct progress progress;
	int rc = check(o, end, e);

	*b = (struct bench_model){ 0 };
	if (rc < 0)
		return rc;
	progress_begin(&progress, "laying out weights", NULL);
	rc = open_span(b, o, end, progress_reporter(&progress), e);
	if (rc == 0 && !o->blocks.given)
		rc = open_edge(b, o, progress_reporter(&progress), e);
	progress_end(&progress);
	if (rc < 0)
		return rc;
	b->info = b->backend->span_info(b->span);
	return give_pages(b, o, e);
}

void bench_model_close(struct bench_model *b)
{
	mem_free(b->pages);
	if (b->edge)
		b->backend->edge_close(b->edge);
	if (b->span)
		b->backend->span_close(b->span);
	if (b->head_device)
		b->backend->device_close(b->head_device);
	if (b->device)
		b->backend->device_close(b->device);
}

int bench_model_step(struct bench_model *b, struct batch_entry *entries, uint32_t count,
		     uint32_t rows)
{
	struct batch batch = { entries, count, rows, b->info->first, b->info->end };
	int rc = b->backend->span_submit(b->span, &batch);

	return rc < 0 ? rc : b->backend->span_wait(b->span);
}
