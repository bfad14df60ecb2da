/* ctl_devices.c - petalsctl devices: what this host has to compute with, and what fits there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/backend.h"
#include "compute/fit.h"
#include "tools/ctl.h"

enum { DEVICES_MAX = 32 };

struct devices_flags {
	char *model;
	int64_t tokens;
	bool json;
};

#define AT(field) offsetof(struct devices_flags, field)

static const struct option options[] = {
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH",
	  .help = "a model to fit besides those that everybody knows" },
	{ "kv-tokens", OPTION_INTEGER, AT(tokens), "8192", 0, 1 << 30, .metavar = "TOKENS",
	  .help = "tokens that KV pages are kept for, over all sessions" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print JSON" },
};

/* What is asked about: the published models, and the one that was named. */
struct question {
	const struct devices_flags *flags;
	struct fit_shape shapes[16];
	uint32_t count;
};

static double gb(uint64_t bytes)
{
	return (double)bytes / 1e9;
}

static void print_fits(const struct question *q, const struct device_info *d)
{
	printf("        %-24s", "blocks that fit");
	for (uint32_t f = 0; f < fit_format_count; f++)
		printf("%7s", fit_formats[f].name);
	printf("   with pages for %lld tokens\n", (long long)q->flags->tokens);
	for (uint32_t i = 0; i < q->count; i++) {
		printf("        %-16.16s of %4u", q->shapes[i].name, q->shapes[i].blocks);
		for (uint32_t f = 0; f < fit_format_count; f++)
			printf("%7u", fit_blocks(&q->shapes[i], &fit_formats[f], d->free_bytes,
						 (uint64_t)q->flags->tokens));
		printf("\n");
	}
}

static json_t *pack_fits(const struct question *q, const struct device_info *d)
{
	json_t *fits = json_array();

	for (uint32_t i = 0; i < q->count; i++)
		for (uint32_t f = 0; f < fit_format_count; f++)
			json_array_append_new(fits, json_pack(
				"{s:s,s:i,s:s,s:i}", "model", q->shapes[i].name, "blocks",
				q->shapes[i].blocks, "format", fit_formats[f].name, "fit",
				fit_blocks(&q->shapes[i], &fit_formats[f], d->free_bytes,
					   (uint64_t)q->flags->tokens)));
	return fits;
}

static void tell(const struct question *q, const struct device_info *d, json_t *devices)
{
	if (q->flags->json) {
		json_array_append_new(devices, json_pack(
			"{s:s,s:s,s:s,s:I,s:I,s:o}", "device", d->device, "name", d->name,
			"detail", d->detail, "memory_bytes", (json_int_t)d->memory_bytes,
			"free_bytes", (json_int_t)d->free_bytes, "fits",
			pack_fits(q, d)));
		return;
	}
	printf("%-7s %s: %s; %.1f of %.1f GB free\n", d->device, d->name, d->detail,
	       gb(d->free_bytes), gb(d->memory_bytes));
	if (d->free_bytes > 0)
		print_fits(q, d);
}

/* A backend that is not there is a note, not an error. */
static void tell_backend(const struct question *q, const struct backend *b, json_t *devices)
{
	static struct device_info found[DEVICES_MAX];
	struct error e = { 0 };
	int count = b->list(found, DEVICES_MAX, &e);

	for (int i = 0; i < count; i++)
		tell(q, &found[i], devices);
	if (count < 0 && !q->flags->json)
		printf("%-7s none: %s\n", b->name, e.text);
}

static int ask_about(struct question *q, struct model **m, struct error *e)
{
	int rc;

	memcpy(q->shapes, fit_shapes, sizeof(*fit_shapes) * fit_shape_count);
	q->count = fit_shape_count;
	if (!q->flags->model)
		return 0;
	rc = model_open(m, q->flags->model, e);
	if (rc == 0)
		fit_shape_of(model_config(*m), &q->shapes[q->count++]);
	return rc;
}

static int run(void *target, int operand_count, char **operands)
{
	struct question q = { .flags = target };
	const struct backend *cuda;
	struct model *m = NULL;
	struct error e = { 0 };
	json_t *devices;

	static_assert(ARRAY_LENGTH(q.shapes) > 8, "the published models and one more");
	if (ask_about(&q, &m, &e) < 0)
		return ctl_fail("devices", &e);
	devices = json_array();
	tell_backend(&q, &backend_cpu, devices);
	if (backend_cuda_open(&cuda, &e) == 0)
		tell_backend(&q, cuda, devices);
	else if (!q.flags->json)
		printf("cuda    none: %s\n", e.text);
	if (q.flags->json)
		ctl_print(json_pack("{s:O}", "devices", devices));
	json_decref(devices);
	model_close(m);
	return 0;
}

static const char *const examples[] = {
	"petalsctl devices",
	"petalsctl devices --model SmolLM2.gguf --kv-tokens 65536 --json",
	NULL,
};

const struct program ctl_devices = {
	.name = "devices", .summary = "shows what this host has to compute with, and what fits",
	.description =
		"Lists the processor and the GPUs of this host with their memory, and for each "
		"how many blocks of well-known models fit into what is free, by the format that "
		"weights are kept in.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct devices_flags), .examples = examples, .run = run,
};
