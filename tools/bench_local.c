/* bench_local.c - petals-bench decode and prefill: blocks, embedding and head in this process,
 * without network or scheduler: what a server could do at best.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/backend.h"
#include "compute/sampler_math.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "tools/bench.h"
#include "tools/stats.h"
#include "tools/progress.h"

enum { PAGE_TOKENS = 16, REPEATS_MAX = 100 };

/* Everything a run holds, in the order it is opened. */
struct local {
	const struct bench_local *flags;
	struct model *model;
	struct device *device;
	struct span *span;
	struct edge *edge;              /* NULL: only some blocks are run */
	const struct span_info *info;
	uint32_t tokens, sequences, rows;
	uint32_t pages_each;            /* of a sequence */
	uint32_t *pages;
	uint32_t *ids;                  /* of the rows of a batch */
	float *in, *out, *logits;
	struct batch_entry *entries;
};

static void local_close(struct local *l)
{
	mem_free(l->entries);
	mem_free(l->logits);
	mem_free(l->out);
	mem_free(l->in);
	mem_free(l->ids);
	mem_free(l->pages);
	if (l->edge)
		backend_cpu.edge_close(l->edge);
	if (l->span)
		backend_cpu.span_close(l->span);
	if (l->device)
		backend_cpu.device_close(l->device);
	model_close(l->model);
}

static int open_device(struct local *l, struct error *e)
{
	const struct bench_local *f = l->flags;
	const struct device_options device = {
		.threads = (uint32_t)f->threads, .compute = (enum compute_mode)f->compute,
		.weights = (enum weight_format)f->weights,
	};
	const struct model_config *config = model_config(l->model);
	struct progress progress;
	struct span_options span = {
		.model = l->model, .first = f->blocks.first,
		.end = f->blocks.given ? f->blocks.end : config->blocks,
		.page_tokens = PAGE_TOKENS, .kv_bytes = 1ull << 40, .rows_max = l->rows,
		.entries_max = l->sequences, .tokens_max = l->tokens, .round = ROW_F32,
	};
	int rc;

	if (span.end > config->blocks || span.first >= span.end)
		return error_set(e, -EINVAL, "--blocks %u:%u: %s has blocks 0:%u", span.first,
				 span.end, config->name, config->blocks);
	/* Keys and values of f32, the widest there is; rounded down to whole pages. */
	span.kv_bytes = 2ull * 4 * config->kv_heads * align_up(config->head_dim, 64) *
			align_up(l->tokens, PAGE_TOKENS) * l->sequences * (span.end - span.first);
	rc = backend_cpu.device_open(&l->device, &device, e);
	progress_begin(&progress, "laying out weights");
	span.progress = progress_reporter(&progress);
	if (rc == 0)
		rc = backend_cpu.span_open(&l->span, l->device, &span, e);
	if (rc == 0 && !f->blocks.given)
		rc = backend_cpu.edge_open(&l->edge, l->device, l->model,
					   MAX(l->sequences, 1), span.progress, e);
	progress_end(&progress);
	return rc;
}

static int local_open(struct local *l, const struct bench_local *f, bool prefill, struct error *e)
{
	const struct model_config *config;
	int rc = model_open(&l->model, f->model, e);
	size_t rows;

	if (rc < 0)
		return rc;
	config = model_config(l->model);
	l->flags = f;
	l->tokens = (uint32_t)f->tokens;
	l->sequences = prefill ? 1 : (uint32_t)f->sequences;
	l->rows = prefill ? MIN((uint32_t)f->rows, l->tokens) : l->sequences;
	if (l->tokens > config->positions)
		return error_set(e, -EINVAL, "--tokens %u: %s knows %u positions", l->tokens,
				 config->name, config->positions);
	rc = open_device(l, e);
	if (rc < 0)
		return rc;
	l->info = backend_cpu.span_info(l->span);
	l->pages_each = (l->tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
	if (l->info->pages < l->pages_each * l->sequences)
		return error_set(e, -ENOMEM, "%u KV pages are too few for %u sequences of %u",
				 l->info->pages, l->sequences, l->tokens);
	rows = l->rows;
	l->pages = mem_calloc((size_t)l->pages_each * l->sequences, sizeof(*l->pages));
	l->ids = mem_calloc(rows, sizeof(*l->ids));
	l->in = mem_calloc(rows * config->hidden, sizeof(*l->in));
	l->out = mem_calloc(rows * config->hidden, sizeof(*l->out));
	l->logits = mem_calloc((size_t)l->sequences * config->vocabulary, sizeof(*l->logits));
	l->entries = mem_calloc(l->sequences, sizeof(*l->entries));
	if (!l->pages || !l->ids || !l->in || !l->out || !l->logits || !l->entries)
		return error_errno(e, -ENOMEM, "buffers of %zu rows", rows);
	for (uint32_t i = 0; i < l->pages_each * l->sequences; i++)
		l->pages[i] = i;
	return 0;
}

static void embed(struct local *l, uint32_t from, uint32_t rows, uint32_t position)
{
	uint32_t hidden = l->info->hidden;

	if (l->edge) {
		backend_cpu.edge_embed(l->edge, l->ids + from, rows, position,
				       l->in + (size_t)from * hidden);
		return;
	}
	for (size_t i = (size_t)from * hidden; i < (size_t)(from + rows) * hidden; i++)
		l->in[i] = (float)(i % 17) / 17.0f - 0.5f;
}

static int run_batch(struct local *l, uint32_t count, uint32_t rows)
{
	struct batch b = { l->entries, count, rows, l->info->first, l->info->end };
	int rc = backend_cpu.span_submit(l->span, &b);

	return rc < 0 ? rc : backend_cpu.span_wait(l->span);
}

/* `tokens` steps of `sequences` rows, each choosing its next token. */
static int decode_once(struct local *l)
{
	uint32_t hidden = l->info->hidden, vocabulary = model_config(l->model)->vocabulary;
	int rc = 0;

	for (uint32_t i = 0; i < l->sequences; i++)
		l->ids[i] = (7 + 1009 * i) % vocabulary;
	for (uint32_t at = 0; at < l->tokens && rc == 0; at++) {
		for (uint32_t i = 0; i < l->sequences; i++) {
			embed(l, i, 1, at);
			l->entries[i] = (struct batch_entry){
				.pages = l->pages + (size_t)i * l->pages_each,
				.position = at, .rows = 1, .in = l->in + (size_t)i * hidden,
				.out = l->out + (size_t)i * hidden, .out_rows = 1,
				.in_encoding = ROW_F32, .out_encoding = ROW_F32,
			};
		}
		rc = run_batch(l, l->sequences, l->sequences);
		if (rc == 0 && l->edge)
			rc = backend_cpu.edge_logits(l->edge, l->out, l->sequences, l->logits);
		for (uint32_t i = 0; i < l->sequences && l->edge; i++)
			l->ids[i] = logits_best(l->logits + (size_t)i * vocabulary, vocabulary);
	}
	return rc;
}

/* One prompt in chunks; the logits of its last row. */
static int prefill_once(struct local *l)
{
	uint32_t vocabulary = model_config(l->model)->vocabulary;
	int rc = 0;

	for (uint32_t at = 0; at < l->tokens && rc == 0; at += l->rows) {
		uint32_t rows = MIN(l->rows, l->tokens - at);
		bool last = at + rows == l->tokens;

		for (uint32_t i = 0; i < rows; i++)
			l->ids[i] = (uint32_t)((at + i) * 7919ull % vocabulary);
		embed(l, 0, rows, at);
		l->entries[0] = (struct batch_entry){
			.pages = l->pages, .position = at, .rows = rows, .in = l->in, .out = l->out,
			.out_rows = last, .in_encoding = ROW_F32, .out_encoding = ROW_F32,
		};
		rc = run_batch(l, 1, rows);
	}
	if (rc == 0 && l->edge)
		rc = backend_cpu.edge_logits(l->edge, l->out, 1, l->logits);
	return rc;
}

static json_t *describe(const struct local *l, bool prefill, const double *rates, uint32_t count)
{
	double rate = stats_quantile(rates, count, 0.5);
	json_t *o = json_pack("{s:s,s:s,s:s,s:i,s:i,s:i,s:f,s:f,s:f}",
			      "what", prefill ? "prefill" : "decode",
			      "model", model_config(l->model)->name, "compute", l->info->kind,
			      "threads", (int)l->flags->threads, "tokens", (int)l->tokens,
			      "sequences", (int)l->sequences, "tokens_per_second", rate,
			      "slowest", rates[0], "fastest", rates[count - 1]);

	/* Each step reads the blocks' weights once, and the head once. */
	if (!prefill)
		json_object_set_new(o, "read_gb_per_second", json_real(
			rate / l->sequences * 1e-9 *
			(double)(l->info->step_bytes +
				 (l->edge ? backend_cpu.edge_bytes(l->edge) : 0))));
	return o;
}

int bench_local_measure(const struct bench_local *f, bool prefill, json_t **out, struct error *e)
{
	struct local l = { 0 };
	double rates[REPEATS_MAX];
	int rc = local_open(&l, f, prefill, e);

	/* The first round warms caches and pages, and does not count. */
	for (int64_t i = -1; i < f->repeats && rc == 0; i++) {
		uint64_t start_ns = clock_ns(clock_real());

		rc = prefill ? prefill_once(&l) : decode_once(&l);
		if (rc < 0)
			error_errno(e, rc, "running blocks [%u,%u)", l.info->first, l.info->end);
		if (i >= 0)
			rates[i] = (double)l.tokens * l.sequences * NS_PER_S /
				   (double)(clock_ns(clock_real()) - start_ns);
	}
	if (rc == 0) {
		stats_sort(rates, (size_t)f->repeats);
		*out = describe(&l, prefill, rates, (uint32_t)f->repeats);
	}
	local_close(&l);
	return rc;
}

#define AT(field) offsetof(struct bench_local, field)

#define LOCAL_OPTIONS                                                                            \
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,            \
	  .help = "Hugging Face directory or .gguf file" },                                      \
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",        \
	  .help = "arithmetic of the blocks" },                                                  \
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",       \
	  .help = "what the matrices of blocks and head are loaded as" },                        \
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,                                  \
	  .help = "compute threads, 0: one per core" },                                          \
	{ "blocks", OPTION_SPAN, AT(blocks), NULL,                                               \
	  .help = "only these blocks, without embedding and head" },                             \
	{ "repeats", OPTION_INTEGER, AT(repeats), "5", 1, REPEATS_MAX,                           \
	  .help = "timed rounds; the median counts" },                                           \
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" }

static const struct option decode_options[] = {
	{ "tokens", OPTION_INTEGER, AT(tokens), "64", 1, 1 << 20,
	  .help = "tokens that each sequence generates, from an empty context" },
	{ "sequences", OPTION_INTEGER, AT(sequences), "1", 1, 1024,
	  .help = "sequences that step together" },
	LOCAL_OPTIONS,
};

static const struct option prefill_options[] = {
	{ "tokens", OPTION_INTEGER, AT(tokens), "512", 1, 1 << 20, .help = "length of the prompt" },
	{ "rows", OPTION_INTEGER, AT(rows), "256", 1, 8192, .help = "tokens of a chunk" },
	LOCAL_OPTIONS,
};

static int measure(const struct bench_local *f, bool prefill)
{
	struct error e = { 0 };
	json_t *result = NULL;

	if (bench_local_measure(f, prefill, &result, &e) < 0)
		return bench_fail(prefill ? "prefill" : "decode", &e);
	return bench_print(result, f->json);
}

static int run_decode(void *target, int operand_count, char **operands)
{
	return measure(target, false);
}

static int run_prefill(void *target, int operand_count, char **operands)
{
	return measure(target, true);
}

const struct program bench_decode = {
	.name = "decode", .summary = "tokens per second, one token per step, in this process",
	.options = decode_options, .option_count = ARRAY_LENGTH(decode_options),
	.target_bytes = sizeof(struct bench_local), .run = run_decode,
};

const struct program bench_prefill = {
	.name = "prefill", .summary = "prompt tokens per second, in this process",
	.options = prefill_options, .option_count = ARRAY_LENGTH(prefill_options),
	.target_bytes = sizeof(struct bench_local), .run = run_prefill,
};
