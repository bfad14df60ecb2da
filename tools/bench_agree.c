/* bench_agree.c - petals-bench agree: a model on a device beside the same in f32 on the cpu, token
 * by token: where the first choices part, and how near they were.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "compute/sampler_math.h"
#include "dataplane/base/memory.h"
#include "tools/bench.h"
#include "tools/bench_model.h"

struct agree_flags {
	char *model, *device;
	int64_t tokens, threads;
	int compute, weights;
	bool fast, json;
};

struct agree {
	const struct agree_flags *flags;
	struct model *model;
	struct bench_model tried, f32;
	float *row, *logits, *logits_f32;
	int64_t same, first;            /* tokens; first: -1 when none differs */
	double first_margin, widest_margin;     /* of f32's two best, where they differ */
	double off, norm;               /* of all logits, squared */
};

static int agree_open(struct agree *a, const struct agree_flags *f, struct error *e)
{
	struct bench_model_options o = {
		.device = f->device, .fast = f->fast, .compute = (enum compute_mode)f->compute,
		.weights = (enum weight_format)f->weights, .head = (enum weight_format)f->weights,
		.threads = f->threads, .tokens = (uint32_t)f->tokens, .sequences = 1, .rows = 1,
		.head_rows = 1,
	};
	const struct model_config *c;
	int rc = model_open(&a->model, f->model, e);

	a->flags = f;
	a->first = -1;
	if (rc < 0)
		return rc;
	o.model = a->model;
	c = model_config(a->model);
	rc = bench_model_open(&a->tried, &o, e);
	o.device = "cpu";
	o.fast = false;
	o.compute = COMPUTE_F32;
	o.weights = o.head = WEIGHTS_KEEP;
	if (rc == 0)
		rc = bench_model_open(&a->f32, &o, e);
	if (rc < 0)
		return rc;
	a->row = mem_calloc(c->hidden, sizeof(*a->row));
	a->logits = mem_calloc(c->vocabulary, sizeof(*a->logits));
	a->logits_f32 = mem_calloc(c->vocabulary, sizeof(*a->logits_f32));
	if (!a->row || !a->logits || !a->logits_f32)
		return error_errno(e, -ENOMEM, "logits of %u tokens", c->vocabulary);
	return 0;
}

static void agree_close(struct agree *a)
{
	mem_free(a->logits_f32);
	mem_free(a->logits);
	mem_free(a->row);
	bench_model_close(&a->f32);
	bench_model_close(&a->tried);
	model_close(a->model);
}

static int run_token(struct agree *a, struct bench_model *m, uint32_t token, uint32_t at,
		     float *logits)
{
	struct batch_entry entry = {
		.pages = m->pages, .position = at, .rows = 1, .in = a->row, .out = a->row,
		.out_rows = 1, .in_encoding = ROW_F32, .out_encoding = ROW_F32,
	};
	int rc = m->backend->edge_embed(m->edge, &token, 1, at, a->row);

	if (rc == 0)
		rc = bench_model_step(m, &entry, 1, 1);
	return rc < 0 ? rc : m->backend->edge_logits(m->edge, a->row, 1, logits);
}

static void compare(struct agree *a, int64_t at, uint32_t best)
{
	uint32_t count = model_config(a->model)->vocabulary;
	uint32_t other = logits_best(a->logits, count);
	double margin;

	for (uint32_t i = 0; i < count; i++) {
		a->off += pow((double)a->logits[i] - (double)a->logits_f32[i], 2);
		a->norm += pow((double)a->logits_f32[i], 2);
	}
	a->same += other == best;
	if (other == best)
		return;
	margin = (double)a->logits_f32[best] - (double)a->logits_f32[other];
	a->widest_margin = MAX(a->widest_margin, margin);
	if (a->first < 0) {
		a->first = at;
		a->first_margin = margin;
	}
}

/* Both are given what f32 chose, so that one difference is not the next one's cause. */
static int generate(struct agree *a, struct error *e)
{
	uint32_t vocabulary = model_config(a->model)->vocabulary, token = 7 % vocabulary;
	int rc = 0;

	for (int64_t at = 0; at < a->flags->tokens && rc == 0; at++) {
		rc = run_token(a, &a->tried, token, (uint32_t)at, a->logits);
		if (rc == 0)
			rc = run_token(a, &a->f32, token, (uint32_t)at, a->logits_f32);
		if (rc < 0)
			break;
		token = logits_best(a->logits_f32, vocabulary);
		compare(a, at, token);
	}
	return rc < 0 ? error_errno(e, rc, "a token on %s and on the cpu", a->flags->device) : 0;
}

static json_t *describe(const struct agree *a)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:f}", "what", "agree",
			      "model", model_config(a->model)->name, "device", a->flags->device,
			      "compute", a->tried.info->kind,
			      "tokens", (json_int_t)a->flags->tokens,
			      "same", (json_int_t)a->same,
			      "first_difference", (json_int_t)a->first,
			      "logits_relative_error", sqrt(a->off / a->norm));

	if (a->first >= 0) {
		json_object_set_new(o, "first_margin", json_real(a->first_margin));
		json_object_set_new(o, "widest_margin", json_real(a->widest_margin));
	}
	return o;
}

#define AT(field) offsetof(struct agree_flags, field)

static const struct option options[] = {
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file" },
	{ "device", OPTION_TEXT, AT(device), "cuda:0", .metavar = "DEVICE",
	  .help = "cuda:N, or cpu" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what its matrices are loaded as" },
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",
	  .help = "its arithmetic" },
	{ "tokens", OPTION_INTEGER, AT(tokens), "128", 1, 1 << 20,
	  .help = "tokens to generate, from an empty context" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core" },
	{ "fast", OPTION_FLAG, AT(fast), NULL, .help = "cuda: products of many rows by cuBLASLt" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	struct agree a = { 0 };
	struct error e = { 0 };
	json_t *result = NULL;
	int rc = agree_open(&a, target, &e);

	if (rc == 0)
		rc = generate(&a, &e);
	if (rc == 0)
		result = describe(&a);
	agree_close(&a);
	return rc < 0 ? bench_fail("agree", &e) : bench_print(result, a.flags->json);
}

const struct program bench_agree = {
	.name = "agree", .summary = "a device's tokens beside those of f32 on the cpu",
	.description =
		"Generates greedily with f32 on the cpu and gives the device the same tokens.\n\n"
		"first_difference: the first step at which it would have chosen another, -1 when "
		"there is none; margin: how much better f32 finds its own choice there, in "
		"logits.  logits_relative_error: of all of them, by norm.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct agree_flags), .run = run,
};
