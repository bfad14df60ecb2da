/* bench_quality.c - petals-bench quality: how well a model predicts a text when its weights and
 * arithmetic are made smaller, beside the same checkpoint in f32.
 *
 * The text runs through both models in windows of --context tokens, each from an empty
 * cache; every token but a window's first is predicted from those before it.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "compute/sampler_math.h"
#include "compute/text/tokenizer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tools/bench.h"
#include "tools/bench_model.h"
#include "tools/bench_prose.h"
#include "tools/progress.h"

struct quality_flags {
	char *model, *text, *device;
	int64_t threads, tokens, context, rows;
	int compute, weights, head;
	bool fast, json;
};

/* What was found out over all predictions. */
struct score {
	uint64_t predictions, agreed;   /* agreed: both models' first choices are the same */
	double loss, loss_f32;          /* sums of -log p(token) */
	double divergence;              /* sum of KL(f32 || this) */
};

struct quality {
	const struct quality_flags *flags;
	struct model *model;
	struct tokenizer *tokenizer;
	struct token_list text;
	struct bench_model tried, f32;
	uint32_t context, rows, hidden, vocabulary, windows;
	uint32_t *window;               /* (context) ids */
	float *in, *out;                /* (rows, hidden) */
	float *logits, *logits_f32;     /* (rows, vocabulary) */
	float *likely;                  /* (vocabulary) */
	struct progress progress;
	struct score score;
};

/* ---- opening ---- */

static int open_text(struct quality *q, struct error *e)
{
	const char *path = q->flags->text, *text = bench_prose;
	size_t bytes = (size_t)(bench_prose_end - bench_prose);
	const struct gguf *gguf = model_gguf(q->model);
	struct file_map map = { 0 };
	int rc = gguf ? tokenizer_open_gguf(&q->tokenizer, gguf, e) :
			tokenizer_open_hf(&q->tokenizer, q->flags->model, e);

	if (rc == 0 && path) {
		rc = file_map(&map, path, e);
		text = (const char *)map.data;
		bytes = map.bytes;
	}
	if (rc == 0)
		rc = tokenizer_encode(q->tokenizer, text, bytes, ENCODE_SPECIALS | ENCODE_NO_ADDED,
				      &q->text, e);
	file_unmap(&map);
	if (rc < 0)
		return rc;
	q->text.count = MIN(q->text.count, (size_t)q->flags->tokens);
	if (q->text.count < 2)
		return error_set(e, -EINVAL, "%s holds %zu tokens; two are the least that say "
				 "anything", path ? path : "the text", q->text.count);
	return 0;
}

static int open_models(struct quality *q, struct error *e)
{
	const struct quality_flags *f = q->flags;
	struct bench_model_options o = {
		.model = q->model, .device = f->device, .fast = f->fast,
		.compute = (enum compute_mode)f->compute,
		.weights = (enum weight_format)f->weights, .head = (enum weight_format)f->head,
		.threads = f->threads, .tokens = q->context, .sequences = 1, .rows = q->rows,
		.head_rows = q->rows,
	};
	int rc = bench_model_open(&q->tried, &o, e);

	/* What is measured against is always the same. */
	o.device = "cpu";
	o.fast = false;
	o.compute = COMPUTE_F32;
	o.weights = o.head = WEIGHTS_KEEP;
	return rc < 0 ? rc : bench_model_open(&q->f32, &o, e);
}

static int quality_open(struct quality *q, const struct quality_flags *f, struct error *e)
{
	const struct model_config *config;
	int rc = model_open(&q->model, f->model, e);

	q->flags = f;
	if (rc == 0)
		rc = open_text(q, e);
	if (rc < 0)
		return rc;
	config = model_config(q->model);
	q->context = (uint32_t)MIN(MIN((size_t)f->context, q->text.count), config->positions);
	q->rows = (uint32_t)MIN(f->rows, q->context);
	q->hidden = config->hidden;
	q->vocabulary = config->vocabulary;
	rc = open_models(q, e);
	if (rc < 0)
		return rc;
	q->window = mem_calloc(q->context, sizeof(*q->window));
	q->in = mem_calloc((size_t)q->rows * q->hidden, sizeof(*q->in));
	q->out = mem_calloc((size_t)q->rows * q->hidden, sizeof(*q->out));
	q->logits = mem_calloc((size_t)q->rows * q->vocabulary, sizeof(*q->logits));
	q->logits_f32 = mem_calloc((size_t)q->rows * q->vocabulary, sizeof(*q->logits_f32));
	q->likely = mem_calloc(q->vocabulary, sizeof(*q->likely));
	if (!q->window || !q->in || !q->out || !q->logits || !q->logits_f32 || !q->likely)
		return error_errno(e, -ENOMEM, "logits of %u rows", q->rows);
	return 0;
}

static void quality_close(struct quality *q)
{
	mem_free(q->likely);
	mem_free(q->logits_f32);
	mem_free(q->logits);
	mem_free(q->out);
	mem_free(q->in);
	mem_free(q->window);
	bench_model_close(&q->f32);
	bench_model_close(&q->tried);
	token_list_close(&q->text);
	tokenizer_close(q->tokenizer);
	model_close(q->model);
}

/* ---- scoring ---- */

/* Tokens [at, at + rows) of the window through one model, to logits. */
static int run_rows(struct quality *q, struct bench_model *m, uint32_t at, uint32_t rows,
		    float *logits)
{
	struct batch_entry entry = {
		.pages = m->pages, .position = at, .rows = rows, .in = q->in, .out = q->out,
		.out_rows = rows, .in_encoding = ROW_F32, .out_encoding = ROW_F32,
	};
	int rc = m->backend->edge_embed(m->edge, q->window + at, rows, at, q->in);

	if (rc == 0)
		rc = bench_model_step(m, &entry, 1, rows);
	return rc < 0 ? rc : m->backend->edge_logits(m->edge, q->out, rows, logits);
}

static void score_row(struct quality *q, const float *logits, const float *f32, uint32_t next)
{
	uint32_t count = q->vocabulary, best = logits_best(f32, count);
	double sum = (double)logits_log_sum(logits, count);
	double sum_f32 = (double)logits_log_sum(f32, count), divergence = 0, weight;

	weight = logits_weigh(f32, count, f32[best], 1, 0, q->likely);
	for (uint32_t i = 0; i < count; i++)
		divergence += (double)q->likely[i] * ((double)f32[i] - (double)logits[i]);
	q->score.divergence += divergence / weight - sum_f32 + sum;
	q->score.loss += sum - (double)logits[next];
	q->score.loss_f32 += sum_f32 - (double)f32[next];
	q->score.agreed += logits_best(logits, count) == best;
	q->score.predictions++;
}

static int score_window(struct quality *q, uint32_t tokens, uint64_t done)
{
	struct load_progress progress = progress_reporter(&q->progress);

	for (uint32_t at = 0; at < tokens; at += q->rows) {
		uint32_t rows = MIN(q->rows, tokens - at);
		int rc = run_rows(q, &q->tried, at, rows, q->logits);

		if (rc == 0)
			rc = run_rows(q, &q->f32, at, rows, q->logits_f32);
		if (rc < 0)
			return rc;
		for (uint32_t r = 0; r < rows && at + r + 1 < tokens; r++)
			score_row(q, q->logits + (size_t)r * q->vocabulary,
				  q->logits_f32 + (size_t)r * q->vocabulary,
				  q->window[at + r + 1]);
		progress.report(progress.ctx, done + at + rows, q->text.count);
	}
	return 0;
}

/* Every window begins as the text does, with the token that begins texts if there is one. */
static int score_text(struct quality *q, struct error *e)
{
	const uint32_t *ids = q->text.ids;
	bool begins = tokenizer_is_special(q->tokenizer, ids[0]);
	size_t at = 0;
	int rc = 0;

	progress_begin(&q->progress, "scoring the text", "tokens");
	while (rc == 0 && at + 1 < q->text.count) {
		uint32_t tokens = 0;

		if (begins && at > 0)
			q->window[tokens++] = ids[0];
		while (tokens < q->context && at < q->text.count)
			q->window[tokens++] = ids[at++];
		rc = score_window(q, tokens, at - tokens);
		q->windows++;
	}
	progress_end(&q->progress);
	return rc < 0 ? error_errno(e, rc, "scoring the text") : 0;
}

static json_t *describe(const struct quality *q)
{
	const struct score *s = &q->score;
	double n = (double)s->predictions;
	double blocks = q->tried.info->end - q->tried.info->first;

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f}",
			 "what", "quality", "model", model_config(q->model)->name,
			 "device", q->flags->device, "compute", q->tried.info->kind,
			 "head", weight_format_name((enum weight_format)q->flags->head),
			 "text", q->flags->text ? q->flags->text : "built in",
			 "predictions", (json_int_t)s->predictions,
			 "windows", (json_int_t)q->windows, "context", (json_int_t)q->context,
			 "perplexity", exp(s->loss / n), "perplexity_f32", exp(s->loss_f32 / n),
			 "perplexity_ratio", exp((s->loss - s->loss_f32) / n),
			 "mean_divergence", s->divergence / n,
			 "same_first_choice", (double)s->agreed / n,
			 "block_megabytes", (double)q->tried.info->step_bytes / blocks * 1e-6,
			 "head_megabytes",
			 (double)q->tried.backend->edge_bytes(q->tried.edge) * 1e-6);
}

/* ---- the verb ---- */

#define AT(field) offsetof(struct quality_flags, field)

static const struct option options[] = {
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file" },
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE",
	  .help = "cpu, or cuda:N; f32 beside it is the cpu's" },
	{ "fast", OPTION_FLAG, AT(fast), NULL,
	  .help = "cuda: products of many rows by cuBLASLt" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what the blocks' matrices are loaded as" },
	{ "head-weights", OPTION_CHOICE, AT(head), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what the LM head is loaded as, and the embedding where it is the same matrix" },
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",
	  .help = "arithmetic; under int8 a head that is not quantised has auto's" },
	{ "text", OPTION_TEXT, AT(text), NULL, .metavar = "FILE",
	  .help = "UTF-8 text to predict; without it, prose that comes with this program" },
	{ "tokens", OPTION_INTEGER, AT(tokens), "4000", 2, 1 << 30,
	  .help = "most tokens of the text to use" },
	{ "context", OPTION_INTEGER, AT(context), "2048", 2, 1 << 20, .metavar = "TOKENS",
	  .help = "length of a window, at most what the model was made for" },
	{ "rows", OPTION_INTEGER, AT(rows), "64", 1, 4096, .help = "tokens of a step" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	const struct quality_flags *f = target;
	struct quality q = { 0 };
	struct error e = { 0 };
	json_t *result = NULL;
	int rc = quality_open(&q, f, &e);

	if (rc == 0)
		rc = score_text(&q, &e);
	if (rc == 0)
		result = describe(&q);
	quality_close(&q);
	return rc < 0 ? bench_fail("quality", &e) : bench_print(result, f->json);
}

const struct program bench_quality = {
	.name = "quality",
	.summary = "how well smaller weights and faster arithmetic predict a text, beside f32",
	.description =
		"Runs a text through the model twice: as asked for, and as stored with f32 "
		"arithmetic on the cpu.\n\n"
		"perplexity: e to the mean loss per token.  mean_divergence: KL(f32 || this) of "
		"the next token's distribution, in nats.  same_first_choice: how often both would "
		"choose the same token.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct quality_flags), .run = run,
};
