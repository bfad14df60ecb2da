/* bench_device.c - asks each kind of device for its ceilings. */
#include "tools/bench_device.h"

#include <errno.h>

#include "compute/team.h"
#include "tools/bench.h"

enum { REPEATS = 10, ROUND_TRIPS = 200, LAUNCHES = 200, PRODUCT = 8192 };
#define READ_BYTES (1ull << 30)

/* One square bf16 product; by the vendor's library where there is one, else by our kernel. */
static int measure_product(const struct backend *b, struct device *d, uint32_t size,
			   double *tflop, bool *library, struct error *e)
{
	struct measure m = {
		.kind = MEASURE_LIBRARY, .rows = size, .features = size, .columns = size,
		.stored = DTYPE_BF16, .repeats = REPEATS,
	};
	struct measured got;
	int rc = b->measure(d, &m, &got, e);

	*library = rc == 0;
	if (rc == -ENOTSUP) {
		m.kind = MEASURE_PRODUCT;
		rc = b->measure(d, &m, &got, e);
	}
	if (rc == 0)
		*tflop = got.flop / got.best_us / 1e6;
	return rc;
}

int bench_rates_measure(struct bench_rates *out, const struct backend *b, struct device *d,
			uint32_t threads, struct error *e)
{
	struct measure m = { .kind = MEASURE_READ, .bytes = READ_BYTES, .repeats = REPEATS };
	struct measured got;
	bool library;
	int rc;

	*out = (struct bench_rates){ 0 };
	if (!b->measure)
		return bench_read_measure(threads ? threads : team_cores(), &out->read_gb, e);
	rc = b->measure(d, &m, &got, e);
	if (rc < 0)
		return rc;
	out->read_gb = got.bytes / got.best_us / 1e3;
	return measure_product(b, d, PRODUCT, &out->tflop, &library, e);
}

/* What a device is asked, and under which names it answers. */
static const struct {
	enum measure_kind kind;
	uint32_t repeats;
	const char *rate;               /* GB/s of the best; NULL: not of interest */
	const char *median_us, *best_us;
} questions[] = {
	{ MEASURE_READ, REPEATS, "read_gb_per_second", NULL, NULL },
	{ MEASURE_COPY, REPEATS, "copy_gb_per_second", NULL, NULL },
	{ MEASURE_COPY_IN, REPEATS, "copy_in_gb_per_second", NULL, NULL },
	{ MEASURE_COPY_OUT, REPEATS, "copy_out_gb_per_second", NULL, NULL },
	{ MEASURE_MAPPED_READ, REPEATS, "mapped_read_gb_per_second", NULL, NULL },
	{ MEASURE_MAPPED_WRITE, REPEATS, "mapped_write_gb_per_second", NULL, NULL },
	{ MEASURE_ROUND_TRIP, ROUND_TRIPS, NULL, "round_trip_us", "round_trip_best_us" },
	{ MEASURE_WAIT, ROUND_TRIPS, NULL, "launch_and_wait_us", "launch_and_wait_best_us" },
	{ MEASURE_LAUNCH, REPEATS, NULL, "launch_us", "launch_best_us" },
	{ MEASURE_GRAPH, REPEATS, NULL, "graph_launch_us", "graph_launch_best_us" },
};

int bench_device_measure(json_t **out, const struct backend *b, struct device *d,
			 struct bench_sizes sizes, struct error *e)
{
	json_t *all = json_pack("{s:s}", "what", "machine");
	double tflop = 0;
	bool library = false;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(questions) && rc == 0; i++) {
		struct measure m = {
			.kind = questions[i].kind, .bytes = sizes.bytes, .count = LAUNCHES,
			.repeats = questions[i].repeats,
		};
		struct measured got;

		rc = b->measure(d, &m, &got, e);
		if (rc < 0)
			break;
		if (questions[i].rate)
			json_object_set_new(all, questions[i].rate,
					    json_real(got.bytes / got.best_us / 1e3));
		if (questions[i].median_us) {
			json_object_set_new(all, questions[i].median_us,
					    json_real(got.median_us));
			json_object_set_new(all, questions[i].best_us, json_real(got.best_us));
		}
	}
	if (rc == 0)
		rc = measure_product(b, d, sizes.product, &tflop, &library, e);
	if (rc < 0) {
		json_decref(all);
		return rc;
	}
	json_object_set_new(all, "bf16_tflop_per_second", json_real(tflop));
	json_object_set_new(all, "bf16_by", json_string(library ? "cuBLASLt" : "our kernel"));
	*out = all;
	return 0;
}
