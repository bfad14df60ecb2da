/* bench_block.c - petals-bench block: blocks of a model's dimensions on random weights, a step of
 * given rows at a given context, through the table that servers run on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/model/model.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tools/bench.h"
#include "tools/bench_device.h"
#include "tools/bench_model.h"
#include "tools/bench_shape.h"
#include "tools/stats.h"

enum {
	WARM_STEPS = 3, STEPS_MAX = 1000, ROWS_MAX = 8192,
	FILL_ROWS = 256, ARENA_ALIGNMENT = 4096, PAGE_STEP = 16,
};

struct block_flags {
	char *shape, *device, *rows;
	int compute, weights, stored, launches;
	int64_t context, blocks, steps, threads, page_tokens;
	double read_gb, tflop;
	bool prefill, streamed, fast, json;
};

struct block_run {
	const struct block_flags *flags;
	const struct fit_shape *shape;
	struct model *model;
	struct bench_model run;
	uint32_t context;
	uint32_t counts[BENCH_ROWS_MAX], count, rows_max;      /* --rows, and the most of them */
	uint32_t rows, sequences;       /* of the step in hand, of so many sequences */
	uint64_t half_bytes;
	uint8_t *arena;                 /* rows in, rows out; known to the device */
	bool registered;
	struct batch_entry *entries;
	double us[STEPS_MAX];
	double median_us, best_us;
	struct bench_rates rates;       /* the better of before and after */
};

/* ---- opening ---- */

static enum dtype stored_as(const struct block_flags *f)
{
	return bench_stored(f->stored, (enum weight_format)f->weights);
}

static int open_model(struct block_run *r, const struct block_flags *f, struct error *e)
{
	uint32_t positions = r->context + (f->prefill ? r->rows_max : 1);
	struct model_config config;
	struct bench_model_options o = {
		.device = f->device, .fast = f->fast,
		.launches = (enum launch_mode)f->launches,
		.compute = (enum compute_mode)f->compute,
		.weights = (enum weight_format)f->weights, .threads = f->threads,
		.blocks = { true, 0, (uint32_t)f->blocks }, .tokens = positions,
		.sequences = f->prefill ? 1 : r->rows_max,
		.rows = MAX(r->rows_max, MIN(r->context, FILL_ROWS)),
		.round = ROW_BF16, .page_tokens = (uint32_t)f->page_tokens,
	};
	int rc;

	bench_shape_config(r->shape, (uint32_t)f->blocks, positions, &config);
	rc = model_open_synthetic(&r->model, &config, stored_as(f), e);
	o.model = r->model;
	return rc < 0 ? rc : bench_model_open(&r->run, &o, e);
}

/* Rows where servers have them: in memory that the device reads and writes in place. */
static int open_rows(struct block_run *r, struct error *e)
{
	uint32_t rows = MAX(r->rows_max, MIN(r->context, FILL_ROWS)), hidden = r->shape->hidden;
	struct random random;
	float *row;
	int rc;

	r->half_bytes = align_up(rows * row_bytes(ROW_BF16, hidden), ARENA_ALIGNMENT);
	r->arena = mem_aligned(ARENA_ALIGNMENT, 2 * r->half_bytes);
	r->entries = mem_calloc(r->rows_max, sizeof(*r->entries));
	row = mem_alloc(hidden * sizeof(*row));
	if (!r->arena || !r->entries || !row) {
		mem_free(row);
		return error_errno(e, -ENOMEM, "%u rows", rows);
	}
	random_seed(&random, 1);
	for (uint32_t i = 0; i < rows; i++) {
		for (uint32_t k = 0; k < hidden; k++)
			row[k] = (float)(2 * random_unit(&random) - 1);
		row_encode(ROW_BF16, row, 1, hidden,
			   r->arena + i * row_bytes(ROW_BF16, hidden));
	}
	mem_free(row);
	rc = r->run.backend->host_register(r->run.device, r->arena, 2 * r->half_bytes, e);
	r->registered = rc == 0;
	return rc;
}

static void block_close(struct block_run *r)
{
	if (r->registered)
		r->run.backend->host_unregister(r->run.device, r->arena);
	mem_free(r->entries);
	mem_free(r->arena);
	bench_model_close(&r->run);
	model_close(r->model);
}

/* ---- steps ---- */

static void lay_entries(struct block_run *r, uint32_t sequences, uint32_t rows, uint32_t position)
{
	uint64_t bytes = rows * row_bytes(ROW_BF16, r->shape->hidden);

	for (uint32_t i = 0; i < sequences; i++)
		r->entries[i] = (struct batch_entry){
			.pages = r->run.pages + (size_t)i * r->run.pages_each,
			.position = position, .rows = rows, .out_rows = rows,
			.in = r->arena + i * bytes, .out = r->arena + r->half_bytes + i * bytes,
			.in_encoding = ROW_BF16, .out_encoding = ROW_BF16,
		};
}

/* `rows` rows of each of the first `sequences`, from `position` on. */
static int step(struct block_run *r, uint32_t sequences, uint32_t rows, uint32_t position)
{
	lay_entries(r, sequences, rows, position);
	return bench_model_step(&r->run, r->entries, sequences, sequences * rows);
}

/* Real keys and values for the context: computed for one sequence, copied for the others. */
static int fill_context(struct block_run *r)
{
	const struct bench_model *b = &r->run;
	uint32_t sequences = r->flags->prefill ? 1 : r->rows_max;
	int rc = 0;

	for (uint32_t at = 0, rows; at < r->context && rc == 0; at += rows) {
		rows = MIN(r->context - at, FILL_ROWS);
		rc = step(r, 1, rows, at);
	}
	for (uint32_t i = b->pages_each; i < sequences * b->pages_each && rc == 0; i++)
		rc = b->backend->page_copy(b->span, b->pages[i], b->pages[i % b->pages_each]);
	return rc;
}

static int time_steps(struct block_run *r)
{
	uint32_t each = r->rows / r->sequences;
	int rc = 0;

	for (int64_t i = -WARM_STEPS; i < r->flags->steps && rc == 0; i++) {
		uint64_t start_ns = clock_ns(clock_real());

		rc = step(r, r->sequences, each, r->context);
		if (i >= 0)
			r->us[i] = (double)(clock_ns(clock_real()) - start_ns) / NS_PER_US;
	}
	stats_sort(r->us, (size_t)r->flags->steps);
	r->median_us = stats_quantile(r->us, (size_t)r->flags->steps, 0.5);
	r->best_us = r->us[0];
	return rc;
}

/* Offloading: each step's weights come from host memory, the next ones while these are used. */
static int time_streamed(struct block_run *r, struct error *e)
{
	const struct bench_model *b = &r->run;
	struct batch batch = { r->entries, r->sequences, r->rows, b->info->first, b->info->end };
	struct measure m = {
		.kind = MEASURE_STREAMED, .bytes = b->info->step_bytes, .span = b->span,
		.batch = &batch,
		.repeats = (uint32_t)MIN(r->flags->steps, (int64_t)MEASURE_REPEATS_MAX),
	};
	struct measured got;
	int rc;

	if (!b->backend->measure)
		return error_set(e, -ENOTSUP, "--streamed: the weights of device %s are in host "
				 "memory as it is", r->flags->device);
	lay_entries(r, r->sequences, r->rows / r->sequences, r->context);
	rc = b->backend->measure(b->device, &m, &got, e);
	r->median_us = got.median_us;
	r->best_us = got.best_us;
	return rc;
}

/* ---- what it means ---- */

/* The least that must move: every weight once, every cached key and value once. */
static double step_bytes(const struct block_run *r)
{
	const struct span_info *info = r->run.info;
	double token_bytes = (double)info->page_bytes / info->page_tokens;
	uint32_t tokens = r->context + r->rows / r->sequences;

	return (double)info->step_bytes + token_bytes * tokens * r->sequences;
}

/* Products, and for every row its keys twice. */
static double step_flop(const struct block_run *r)
{
	uint32_t each = r->rows / r->sequences;
	double keys = (double)r->rows * (r->context + (each + 1) / 2.0);
	double wide = (double)r->shape->heads * r->shape->head_dim;

	return (double)r->flags->blocks * (2.0 * r->rows * (double)fit_block_weights(r->shape) +
					   4 * wide * keys);
}

static json_t *describe(struct block_run *r)
{
	static const char *const launches[] = { "graphs", "early", "plain" };
	const struct block_flags *f = r->flags;
	double us = r->median_us, bytes = step_bytes(r), flop = step_flop(r), floor_us;
	json_t *o = json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:f,s:f,s:f,s:f,s:f}",
		"what", "block", "shape", r->shape->name, "device", f->device,
		"compute", r->run.info->kind,
		"format", bench_format_name(stored_as(f), (enum weight_format)f->weights),
		"step", f->prefill ? "prefill" : "decode", "launches", launches[f->launches],
		"blocks", (json_int_t)f->blocks, "rows", (json_int_t)r->rows,
		"context", (json_int_t)r->context,
		"page_tokens", (json_int_t)f->page_tokens, "streamed", f->streamed,
		"median_us", us, "best_us", r->best_us,
		"megabytes", bytes / 1e6, "gb_per_second", bytes / us / 1e3,
		"tflop_per_second", flop / us / 1e6);

	floor_us = MAX(r->rates.read_gb > 0 ? bytes / r->rates.read_gb / 1e3 : 0,
		       r->rates.tflop > 0 ? flop / r->rates.tflop / 1e6 : 0);
	if (r->rates.read_gb > 0)
		json_object_set_new(o, "ceiling_read_gb_per_second",
				    json_real(r->rates.read_gb));
	if (r->rates.tflop > 0)
		json_object_set_new(o, "ceiling_tflop_per_second", json_real(r->rates.tflop));
	/* Without a rate of arithmetic nothing is known of prompts. */
	if (floor_us > 0 && (r->rates.tflop > 0 || !f->prefill))
		json_object_set_new(o, "share_of_ceiling", json_real(floor_us / us));
	return o;
}

static int measure_rates(struct block_run *r, struct error *e)
{
	struct bench_rates now = { r->flags->read_gb, r->flags->tflop };
	int rc = 0;

	if (now.read_gb == 0)
		rc = bench_rates_measure(&now, r->run.backend, r->run.device,
					 (uint32_t)r->flags->threads, e);
	r->rates.read_gb = MAX(r->rates.read_gb, now.read_gb);
	r->rates.tflop = MAX(r->rates.tflop, now.tflop);
	return rc;
}

static int measure_rows(struct block_run *r, uint32_t rows, struct error *e)
{
	int rc;

	r->rows = rows;
	r->sequences = r->flags->prefill ? 1 : rows;
	if (r->flags->streamed)
		return time_streamed(r, e);
	rc = time_steps(r);
	return rc < 0 ? error_errno(e, rc, "a step of %u rows through %lld blocks of %s", rows,
				    (long long)r->flags->blocks, r->shape->name) : 0;
}

static int measure(struct block_run *r, struct error *e)
{
	int rc = fill_context(r);

	if (rc < 0)
		return error_errno(e, rc, "a context of %u tokens", r->context);
	rc = measure_rates(r, e);
	for (uint32_t i = 0; i < r->count && rc == 0; i++) {
		rc = measure_rows(r, r->counts[i], e);
		if (rc == 0)
			rc = measure_rates(r, e);
		if (rc == 0)
			bench_print(describe(r), r->flags->json);
	}
	return rc;
}

static int block_open(struct block_run *r, const struct block_flags *f, struct error *e)
{
	int rc = bench_shape_find(f->shape, &r->shape, e);

	r->flags = f;
	r->context = (uint32_t)f->context;
	if (rc == 0 && f->page_tokens % PAGE_STEP)
		rc = error_set(e, -EINVAL, "--kv-page-tokens %lld is not a multiple of %d",
			       (long long)f->page_tokens, PAGE_STEP);
	if (rc == 0)
		rc = bench_rows_parse(f->rows, ROWS_MAX, r->counts, e);
	if (rc < 0)
		return rc;
	r->count = (uint32_t)rc;
	for (uint32_t i = 0; i < r->count; i++)
		r->rows_max = MAX(r->rows_max, r->counts[i]);
	rc = open_model(r, f, e);
	return rc < 0 ? rc : open_rows(r, e);
}

/* ---- the verb ---- */

#define AT(field) offsetof(struct block_flags, field)

static const struct option options[] = {
	{ "shape", OPTION_TEXT, AT(shape), NULL, .metavar = "NAME", .required = true,
	  .help = "bloom-176b, opt-175b, llama-2-70b, llama-3.1-405b, smollm2-135m, tiny-llama, "
		  "tiny-bloom or tiny-opt" },
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE", .help = "cpu, or cuda:N" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what matrices are loaded as" },
	{ "stored", OPTION_CHOICE, AT(stored), "auto",
	  .choices = BENCH_STORED,
	  .help = "what the checkpoint would hold; auto: bf16, for int4 q4_0" },
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",
	  .help = "arithmetic" },
	{ "rows", OPTION_TEXT, AT(rows), "1", .metavar = "ROWS",
	  .help = "rows of a step: of as many sequences, with --prefill of one; several, as in "
		  "1,8,64: one after another" },
	{ "prefill", OPTION_FLAG, AT(prefill), NULL, .help = "a chunk of a prompt" },
	{ "context", OPTION_INTEGER, AT(context), "0", 0, 1 << 20, .metavar = "TOKENS",
	  .help = "tokens that each sequence has cached" },
	{ "kv-page-tokens", OPTION_INTEGER, AT(page_tokens), "16", 16, 1024,
	  .help = "tokens in a KV cache page, a multiple of 16" },
	{ "blocks", OPTION_INTEGER, AT(blocks), "1", 1, 128, .help = "blocks of a step" },
	{ "steps", OPTION_INTEGER, AT(steps), "20", 1, STEPS_MAX,
	  .help = "timed steps; the median counts" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core" },
	{ "streamed", OPTION_FLAG, AT(streamed), NULL,
	  .help = "cuda: as many bytes as the weights have arrive from host memory in every step: "
		  "offloading" },
	{ "ceiling-read", OPTION_REAL, AT(read_gb), "0", 0, 1e6, .metavar = "GB/S",
	  .help = "read bandwidth that is known, 0: measure before and after" },
	{ "ceiling-product", OPTION_REAL, AT(tflop), "0", 0, 1e6, .metavar = "TFLOP/S",
	  .help = "with it, rate of bf16 products, 0: not known" },
	{ "launches", OPTION_CHOICE, AT(launches), "graphs", .choices = "graphs|early|plain",
	  .help = "cuda: few rows as one graph; or kernel by kernel, placed while the one before "
		  "drains, or after it" },
	{ "fast", OPTION_FLAG, AT(fast), NULL, .help = "cuda: products of many rows by cuBLASLt" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	static struct block_run r;
	struct error e = { 0 };
	int rc = block_open(&r, target, &e);

	if (rc == 0)
		rc = measure(&r, &e);
	block_close(&r);
	return rc < 0 ? bench_fail("block", &e) : 0;
}

static const char *const examples[] = {
	"petals-bench block --shape bloom-176b --device cuda:0 --weights int8 --rows 1,8,32",
	"petals-bench block --shape llama-2-70b --prefill --rows 2048 --device cuda:0 --json",
	NULL,
};

const struct program bench_block = {
	.name = "block", .summary = "a step through blocks of a model's dimensions, random weights",
	.description =
		"Needs no checkpoint: weights are seeded random numbers.  Ceilings are measured "
		"in the same run unless they are given.\n\n"
		"megabytes: every weight and every cached key and value, once.  share_of_ceiling: "
		"the time that moving them, or the arithmetic, takes at the device's own rate, "
		"over the median.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct block_flags), .examples = examples, .run = run,
};
