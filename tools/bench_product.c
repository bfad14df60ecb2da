/* bench_product.c - petals-bench product: rows times one matrix of random weights, on a device,
 * by our kernels or by the vendor's library.
 */
#include <errno.h>
#include <string.h>

#include "tools/bench.h"
#include "tools/bench_device.h"
#include "tools/bench_shape.h"

enum { DIMENSION_MAX = 1 << 20, ROWS_MAX = 16384 };
/* As --matrix and --by list them. */
enum matrix { MATRIX_Q, MATRIX_K, MATRIX_O, MATRIX_UP, MATRIX_DOWN };
enum by { BY_KERNEL, BY_LIBRARY, BY_FP8 };

struct product_flags {
	char *device, *shape, *rows;
	int matrix, weights, stored, by;
	int64_t features, columns, repeats;
	double read_gb, tflop;
	bool json;
};

/* A matrix of a model's block, when one is named. */
static int find_matrix(const struct product_flags *f, struct measure *m, struct error *e)
{
	const struct fit_shape *s;
	int rc;

	m->features = (uint32_t)f->features;
	m->columns = (uint32_t)f->columns;
	if (!f->shape)
		return 0;
	rc = bench_shape_find(f->shape, &s, e);
	if (rc < 0)
		return rc;
	m->features = m->columns = s->hidden;
	if (f->matrix == MATRIX_Q)
		m->features = s->heads * s->head_dim;
	else if (f->matrix == MATRIX_K)
		m->features = s->kv_heads * s->head_dim;
	else if (f->matrix == MATRIX_O)
		m->columns = s->heads * s->head_dim;
	else if (f->matrix == MATRIX_UP)
		m->features = s->intermediate;
	else
		m->columns = s->intermediate;
	return 0;
}

static json_t *describe(const struct product_flags *f, const struct measure *m,
			const struct measured *got)
{
	static const char *const names[] = { "kernel", "library", "fp8" };
	double floor_us = 0;
	json_t *o = json_pack(
		"{s:s,s:s,s:s,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f}", "what", "product",
		"by", names[f->by],
		"format", f->by == BY_FP8 ? "fp8" : bench_format_name(m->stored, m->weights),
		"rows", (json_int_t)m->rows,
		"features", (json_int_t)m->features, "columns", (json_int_t)m->columns,
		"median_us", got->median_us, "best_us", got->best_us,
		"megabytes", got->bytes / 1e6, "gb_per_second", got->bytes / got->median_us / 1e3,
		"tflop_per_second", got->flop / got->median_us / 1e6);

	if (f->read_gb > 0)
		floor_us = got->bytes / f->read_gb / 1e3;
	if (f->tflop > 0)
		floor_us = MAX(floor_us, got->flop / f->tflop / 1e6);
	if (floor_us > 0)
		json_object_set_new(o, "share_of_ceiling", json_real(floor_us / got->median_us));
	return o;
}

static int measure_all(const struct product_flags *f, const struct backend *b, struct device *d,
		       struct error *e)
{
	static const enum measure_kind kinds[] = { MEASURE_PRODUCT, MEASURE_LIBRARY, MEASURE_FP8 };
	struct measure m = {
		.kind = kinds[f->by],
		.stored = bench_stored(f->stored, (enum weight_format)f->weights),
		.weights = (enum weight_format)f->weights,
		.repeats = (uint32_t)f->repeats,
	};
	uint32_t rows[BENCH_ROWS_MAX];
	int count = bench_rows_parse(f->rows, ROWS_MAX, rows, e);
	int rc = count < 0 ? count : find_matrix(f, &m, e);

	for (int i = 0; i < count && rc == 0; i++) {
		struct measured got;

		m.rows = rows[i];
		rc = b->measure(d, &m, &got, e);
		if (rc == 0)
			bench_print(describe(f, &m, &got), f->json);
	}
	return rc;
}

static int measure(const struct product_flags *f, struct error *e)
{
	struct device_options o = { 0 };
	const struct backend *b;
	struct device *d;
	int rc = backend_find(f->device, &b, &o.index, e);

	if (rc < 0)
		return rc;
	if (!b->measure)
		return error_set(e, -ENOTSUP, "--device %s: single products are not measured "
				 "there; petals-bench block measures blocks", f->device);
	rc = b->device_open(&d, &o, e);
	if (rc < 0)
		return rc;
	rc = measure_all(f, b, d, e);
	b->device_close(d);
	return rc;
}

#define AT(field) offsetof(struct product_flags, field)

static const struct option options[] = {
	{ "device", OPTION_TEXT, AT(device), "cuda:0", .metavar = "DEVICE", .help = "cuda:N" },
	{ "shape", OPTION_TEXT, AT(shape), NULL, .metavar = "NAME",
	  .help = "a model's, as petals-bench block knows them; instead of --features, --columns" },
	{ "matrix", OPTION_CHOICE, AT(matrix), "up", .choices = "q|k|o|up|down",
	  .help = "with it: which matrix of a block" },
	{ "features", OPTION_INTEGER, AT(features), "4096", 1, DIMENSION_MAX, .help = "outputs" },
	{ "columns", OPTION_INTEGER, AT(columns), "4096", 1, DIMENSION_MAX, .help = "inputs" },
	{ "rows", OPTION_TEXT, AT(rows), "1", .metavar = "ROWS",
	  .help = "rows of activations; several, as in 1,8,64: one after another" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what the matrix is loaded as" },
	{ "stored", OPTION_CHOICE, AT(stored), "auto", .choices = BENCH_STORED,
	  .help = "what a checkpoint would hold; auto: bf16, for int4 q4_0" },
	{ "by", OPTION_CHOICE, AT(by), "kernel", .choices = "kernel|library|fp8",
	  .help = "our kernel; cuBLASLt's best candidate in bf16, or in e4m3 with scales by row" },
	{ "repeats", OPTION_INTEGER, AT(repeats), "20", 1, MEASURE_REPEATS_MAX,
	  .help = "timed products, each with a cold cache; the median counts" },
	{ "ceiling-read", OPTION_REAL, AT(read_gb), "0", 0, 1e6, .metavar = "GB/S",
	  .help = "read bandwidth to compare with" },
	{ "ceiling-product", OPTION_REAL, AT(tflop), "0", 0, 1e6, .metavar = "TFLOP/S",
	  .help = "rate of bf16 products to compare with" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	struct error e = { 0 };

	return measure(target, &e) < 0 ? bench_fail("product", &e) : 0;
}

static const char *const examples[] = {
	"petals-bench product --shape bloom-176b --matrix down --weights int4",
	"petals-bench product --shape llama-2-70b --rows 1,8,64 --by library --json",
	NULL,
};

const struct program bench_product = {
	.name = "product", .summary = "rows times one matrix on a GPU, by kernel or by library",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct product_flags), .examples = examples, .run = run,
};
