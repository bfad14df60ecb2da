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
#include "tools/bench_model.h"
#include "tools/stats.h"

enum { REPEATS_MAX = 100 };

/* Everything a run holds, in the order it is opened. */
struct local {
	const struct bench_local *flags;
	struct model *model;
	struct bench_model run;
	uint32_t tokens, sequences, rows;
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
	bench_model_close(&l->run);
	model_close(l->model);
}

static int local_open(struct local *l, const struct bench_local *f, bool prefill, struct error *e)
{
	struct bench_model_options o = {
		.device = f->device, .fast = f->fast,
		.compute = (enum compute_mode)f->compute,
		.weights = (enum weight_format)f->weights, .head = (enum weight_format)f->weights,
		.threads = f->threads, .blocks = f->blocks, .tokens = (uint32_t)f->tokens,
		.sequences = prefill ? 1 : (uint32_t)f->sequences,
	};
	const struct model_config *config;
	int rc = model_open(&l->model, f->model, e);

	if (rc < 0)
		return rc;
	config = model_config(l->model);
	l->flags = f;
	l->tokens = o.tokens;
	l->sequences = o.head_rows = o.sequences;
	l->rows = o.rows = prefill ? MIN((uint32_t)f->rows, l->tokens) : l->sequences;
	o.model = l->model;
	rc = bench_model_open(&l->run, &o, e);
	if (rc < 0)
		return rc;
	l->ids = mem_calloc(l->rows, sizeof(*l->ids));
	l->in = mem_calloc((size_t)l->rows * config->hidden, sizeof(*l->in));
	l->out = mem_calloc((size_t)l->rows * config->hidden, sizeof(*l->out));
	l->logits = mem_calloc((size_t)l->sequences * config->vocabulary, sizeof(*l->logits));
	l->entries = mem_calloc(l->sequences, sizeof(*l->entries));
	if (!l->ids || !l->in || !l->out || !l->logits || !l->entries)
		return error_errno(e, -ENOMEM, "buffers of %u rows", l->rows);
	return 0;
}

static int embed(struct local *l, uint32_t from, uint32_t rows, uint32_t position)
{
	uint32_t hidden = l->run.info->hidden;

	if (l->run.edge)
		return l->run.backend->edge_embed(l->run.edge, l->ids + from, rows, position,
						  l->in + (size_t)from * hidden);
	for (size_t i = (size_t)from * hidden; i < (size_t)(from + rows) * hidden; i++)
		l->in[i] = (float)(i % 17) / 17.0f - 0.5f;
	return 0;
}

/* `tokens` steps of `sequences` rows, each choosing its next token. */
static int decode_once(struct local *l)
{
	uint32_t hidden = l->run.info->hidden, vocabulary = model_config(l->model)->vocabulary;
	int rc = 0;

	for (uint32_t i = 0; i < l->sequences; i++)
		l->ids[i] = (7 + 1009 * i) % vocabulary;
	for (uint32_t at = 0; at < l->tokens && rc == 0; at++) {
		for (uint32_t i = 0; i < l->sequences && rc == 0; i++) {
			rc = embed(l, i, 1, at);
			l->entries[i] = (struct batch_entry){
				.pages = l->run.pages + (size_t)i * l->run.pages_each,
				.position = at, .rows = 1, .in = l->in + (size_t)i * hidden,
				.out = l->out + (size_t)i * hidden, .out_rows = 1,
				.in_encoding = ROW_F32, .out_encoding = ROW_F32,
			};
		}
		if (rc == 0)
			rc = bench_model_step(&l->run, l->entries, l->sequences, l->sequences);
		if (rc == 0 && l->run.edge)
			rc = l->run.backend->edge_logits(l->run.edge, l->out, l->sequences,
							 l->logits);
		for (uint32_t i = 0; i < l->sequences && l->run.edge && rc == 0; i++)
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
		rc = embed(l, 0, rows, at);
		l->entries[0] = (struct batch_entry){
			.pages = l->run.pages, .position = at, .rows = rows, .in = l->in,
			.out = l->out, .out_rows = last, .in_encoding = ROW_F32,
			.out_encoding = ROW_F32,
		};
		if (rc == 0)
			rc = bench_model_step(&l->run, l->entries, 1, rows);
	}
	if (rc == 0 && l->run.edge)
		rc = l->run.backend->edge_logits(l->run.edge, l->out, 1, l->logits);
	return rc;
}

static json_t *describe(const struct local *l, bool prefill, const double *rates, uint32_t count)
{
	double rate = stats_quantile(rates, count, 0.5);
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:f,s:f,s:f}",
			      "what", prefill ? "prefill" : "decode",
			      "model", model_config(l->model)->name,
			      "device", l->flags->device, "compute", l->run.info->kind,
			      "threads", (int)l->flags->threads, "tokens", (int)l->tokens,
			      "sequences", (int)l->sequences, "tokens_per_second", rate,
			      "slowest", rates[0], "fastest", rates[count - 1]);

	/* Each step reads the blocks' weights once, and the head once. */
	if (!prefill)
		json_object_set_new(o, "read_gb_per_second", json_real(
			rate / l->sequences * 1e-9 *
			(double)(l->run.info->step_bytes +
				 (l->run.edge ? l->run.backend->edge_bytes(l->run.edge) :
						0))));
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
			error_errno(e, rc, "running blocks [%u,%u)", l.run.info->first,
				    l.run.info->end);
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
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE",                         \
	  .help = "cpu, or cuda:N" },                                                            \
	{ "fast", OPTION_FLAG, AT(fast), NULL,                                                   \
	  .help = "cuda: products of many rows by cuBLASLt" },                                   \
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",        \
	  .help = "arithmetic of the blocks" },                                                  \
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",       \
	  .help = "what the matrices of blocks and head are loaded as" },                        \
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,                                  \
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core" },      \
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
