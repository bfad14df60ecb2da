/* rig.c - opens the spans, pushes batches through them, one after the other. */
#include "tests/support/rig.h"

#include "compute/cpu/device.h"
#include "compute/sampler_math.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

void rig_options_default(struct rig_options *o, const struct model *m)
{
	*o = (struct rig_options){
		.model = m, .backend = &backend_cpu, .compute = COMPUTE_F32, .path = PATHS,
		.threads = 2,
		.page_tokens = 16, .pages = 64, .rows_max = 64, .entries_max = 8,
		.tokens_max = MIN(256, model_config(m)->positions), .spans = 1, .wire = ROW_F32,
	};
}

/* Of one block: the backends lay pages out in their own ways. */
static uint64_t page_bytes(const struct rig_options *o)
{
	const struct model_config *c = model_config(o->model);
	bool f32 = o->compute == COMPUTE_F32;
	struct kv_layout l;

	if (o->backend != &backend_cpu)
		return 2 * (uint64_t)c->kv_heads * o->page_tokens * align_up(c->head_dim, 8) *
		       (f32 ? 4 : 2);
	kv_layout_init(&l, f32, c->kv_heads, c->head_dim, o->page_tokens);
	return l.k_bytes + l.v_bytes;
}

static void open_span(struct rig *r, uint32_t index)
{
	const struct rig_options *o = &r->options;
	uint32_t blocks = model_config(o->model)->blocks;
	struct span_options so = {
		.model = o->model,
		.first = blocks * index / o->spans, .end = blocks * (index + 1) / o->spans,
		.page_tokens = o->page_tokens, .kv_bytes = 1ull << 40,
		.rows_max = o->rows_max, .entries_max = o->entries_max,
		.tokens_max = o->tokens_max, .round = o->wire,
	};
	struct error e = { 0 };

	so.kv_bytes = page_bytes(o) * (so.end - so.first) * o->pages;
	CHECK_OK(r->options.backend->span_open(&r->span[index], r->device, &so, &e), &e);
	CHECK_EQ(r->options.backend->span_info(r->span[index])->pages, o->pages);
	CHECK_EQ(kvcache_open(&r->cache[index], o->pages, o->page_tokens), 0);
}

void rig_open(struct rig *r, const struct rig_options *o)
{
	struct device_options d = {
		.threads = o->threads, .compute = o->compute, .weights = o->weights,
		.fast = o->fast,
	};
	struct load_progress none = { NULL, NULL };
	struct error e = { 0 };

	*r = (struct rig){ .options = *o, .spans = o->spans,
			   .hidden = model_config(o->model)->hidden,
			   .vocabulary = model_config(o->model)->vocabulary };
	CHECK(o->spans <= RIG_SPANS_MAX);
	CHECK_OK(r->options.backend->device_open(&r->device, &d, &e), &e);
	if (o->path != PATHS)
		CHECK(device_use_path(r->device, o->path));
	for (uint32_t i = 0; i < o->spans; i++)
		open_span(r, i);
	CHECK_OK(o->backend->edge_open(&r->edge, r->device, o->model, o->rows_max, none, &e), &e);
	for (int i = 0; i < 2; i++) {
		r->wire[i] = mem_calloc(o->rows_max, row_bytes(ROW_F32, r->hidden) + 64);
		CHECK(r->wire[i] != NULL);
	}
}

void rig_close(struct rig *r)
{
	mem_free(r->wire[0]);
	mem_free(r->wire[1]);
	r->options.backend->edge_close(r->edge);
	for (uint32_t i = 0; i < r->spans; i++) {
		kvcache_close(r->cache[i]);
		r->options.backend->span_close(r->span[i]);
	}
	r->options.backend->device_close(r->device);
}

void rig_sequence_open(struct rig *r, struct rig_sequence *s, uint32_t tokens_max)
{
	*s = (struct rig_sequence){ .position = 0 };
	for (uint32_t i = 0; i < r->spans; i++)
		CHECK_EQ(sequence_open(&s->kv[i], r->cache[i], tokens_max), 0);
}

void rig_sequence_close(struct rig *r, struct rig_sequence *s)
{
	for (uint32_t i = 0; i < r->spans; i++)
		sequence_close(s->kv[i]);
}

static void run_span(struct rig *r, uint32_t index, const struct rig_step *steps, uint32_t count,
		     uint32_t rows)
{
	const struct span_info *info = r->options.backend->span_info(r->span[index]);
	struct batch_entry entries[16];
	struct batch b = { entries, count, rows, info->first, info->end };
	uint64_t bytes = row_bytes(r->options.wire, r->hidden);
	uint32_t row = 0;

	CHECK(count <= ARRAY_LENGTH(entries));
	for (uint32_t i = 0; i < count; i++) {
		struct sequence *kv = steps[i].sequence->kv[index];

		sequence_extend(kv, steps[i].sequence->position + steps[i].rows);
		entries[i] = (struct batch_entry){
			.pages = kv->pages, .position = steps[i].sequence->position,
			.rows = steps[i].rows, .in = r->wire[index % 2] + row * bytes,
			.out = r->wire[(index + 1) % 2] + row * bytes,
			.out_rows = steps[i].rows,
			.in_encoding = r->options.wire, .out_encoding = r->options.wire,
		};
		row += steps[i].rows;
	}
	if (r->options.halves && info->end - info->first > 1) {
		b.end = (info->first + info->end) / 2;
		CHECK_EQ(r->options.backend->span_submit(r->span[index], &b), 0);
		CHECK_EQ(r->options.backend->span_wait(r->span[index]), 0);
		for (uint32_t i = 0; i < count; i++)
			entries[i].in = entries[i].out;
		b.first = b.end;
		b.end = info->end;
	}
	CHECK_EQ(r->options.backend->span_submit(r->span[index], &b), 0);
	CHECK_EQ(r->options.backend->span_wait(r->span[index]), 0);
}

void rig_run(struct rig *r, const struct rig_step *steps, uint32_t count, float *out)
{
	enum row_encoding wire = r->options.wire;
	uint32_t rows = 0;

	for (uint32_t i = 0; i < count; i++) {
		CHECK(rows + steps[i].rows <= r->options.rows_max);
		CHECK_EQ(r->options.backend->edge_embed(r->edge, steps[i].tokens, steps[i].rows,
							steps[i].sequence->position,
							out + (size_t)rows * r->hidden), 0);
		rows += steps[i].rows;
	}
	row_encode(wire, out, rows, r->hidden, r->wire[0]);
	if (r->left)
		r->left(r->ctx, 0, out, rows);
	for (uint32_t i = 0; i < r->spans; i++) {
		run_span(r, i, steps, count, rows);
		row_decode(wire, r->wire[(i + 1) % 2], rows, r->hidden, out);
		if (r->left)
			r->left(r->ctx, r->options.backend->span_info(r->span[i])->end, out, rows);
	}
	for (uint32_t i = 0; i < count; i++)
		steps[i].sequence->position += steps[i].rows;
}

void rig_chunks(struct rig *r, struct rig_sequence *s, const uint32_t *tokens, uint32_t rows,
		uint32_t chunk, float *out)
{
	for (uint32_t at = 0; at < rows; at += chunk) {
		struct rig_step step = { s, tokens + at, MIN(chunk, rows - at) };

		rig_run(r, &step, 1, out + (size_t)at * r->hidden);
	}
}

void rig_greedy(struct rig *r, struct rig_sequence *s, const float *last, uint32_t *out,
		uint32_t count)
{
	float *logits = mem_calloc(r->vocabulary, sizeof(*logits));
	float *row = mem_calloc(r->hidden, sizeof(*row));

	CHECK(logits && row);
	memcpy(row, last, r->hidden * sizeof(*row));
	for (uint32_t i = 0; i < count; i++) {
		struct rig_step step = { s, &out[i], 1 };

		CHECK_EQ(r->options.backend->edge_logits(r->edge, row, 1, logits), 0);
		out[i] = logits_best(logits, r->vocabulary);
		if (i + 1 < count)
			rig_run(r, &step, 1, row);
	}
	mem_free(row);
	mem_free(logits);
}
