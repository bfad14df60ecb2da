/* device.c - opens the CPU as a device, and the table that makes it a backend. */
#include "compute/cpu/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/memory.h"

/* "AMD EPYC 9554" */
static void processor_name(char *out, size_t room)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, room, "processor");
	while (f && fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');

		if (!value || strncmp(line, "model name", 10) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, room, "%s", value + 2);
		break;
	}
	if (f)
		(void)fclose(f);
}

/* What the kernel thinks can be had without swapping. */
static void memory(struct device_info *out)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			out->memory_bytes = kib * 1024;
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			out->free_bytes = kib * 1024;
	}
	if (f)
		(void)fclose(f);
}

static int cpu_list(struct device_info *out, uint32_t room, struct error *e)
{
	if (room == 0)
		return 0;
	*out = (struct device_info){ .device = "cpu" };
	processor_name(out->name, sizeof(out->name));
	snprintf(out->detail, sizeof(out->detail), "%u cores, %s kernels", team_cores(),
		 kernels_name(kernels_best()));
	memory(out);
	return 1;
}

static int cpu_device_open(struct device **out, const struct device_options *o, struct error *e)
{
	int rc, threads;
	struct device *d;
	fenv_t saved;

	*out = NULL;
	if (o->fast)
		return error_set(e, -EINVAL, "the fast mode is the cuda backend's; cpu keeps the "
				 "identity promise");
	threads = team_size(o->threads, e);
	if (threads < 0)
		return threads;
	d = mem_calloc(1, sizeof(*d));
	if (!d)
		return error_set(e, -ENOMEM, "out of memory for the cpu device");
	fegetenv(&saved);
	kernels_thread_init();
	rc = team_open(&d->team, (uint32_t)threads);
	fesetenv(&saved);
	if (rc < 0) {
		mem_free(d);
		return error_errno(e, rc, "cannot start %d compute threads", threads);
	}
	d->kernels = kernels_best();
	d->compute = o->compute;
	d->weights = o->weights;
	pthread_mutex_init(&d->busy, NULL);
	*out = d;
	return 0;
}

static void cpu_device_close(struct device *d)
{
	if (!d)
		return;
	pthread_mutex_destroy(&d->busy);
	team_close(d->team);
	mem_free(d);
}

bool device_use_path(struct device *d, enum cpu_path path)
{
	const struct kernels *k = kernels_path(path);

	if (k)
		d->kernels = k;
	return k != NULL;
}

int device_mode(const struct device *d, const struct model *m, enum compute_mode *out,
		struct error *e)
{
	enum dtype dtype = d->weights == WEIGHTS_BF16 ? DTYPE_BF16 : model_dtype(m);
	bool bf16_pays = d->kernels == kernels_path(PATH_AVX512);
	bool quantised = d->weights == WEIGHTS_INT8 || d->weights == WEIGHTS_INT4 ||
			 dtype_is_quantised(dtype);

	*out = d->compute;
	if (d->compute == COMPUTE_INT8 && !quantised)
		return error_set(e, -EINVAL, "%s: its matrices are %s here; --compute int8 needs "
				 "quantised ones: use --weights int8 or int4, a quantised "
				 "checkpoint (q8_0, q4_0 or q4_1), or --compute auto, bf16 or f32",
				 model_path(m), dtypes[dtype].name);
	if (d->compute != COMPUTE_AUTO)
		return 0;
	if (quantised)
		*out = COMPUTE_INT8;
	else
		*out = dtype != DTYPE_F32 && bf16_pays ? COMPUTE_BF16 : COMPUTE_F32;
	return 0;
}

int device_kind(const struct device *d, const struct span_options *o, char *kind, struct error *e)
{
	enum compute_mode mode;
	int rc = device_mode(d, o->model, &mode, e);

	if (rc < 0)
		return rc;
	snprintf(kind, KIND_BYTES, "cpu/%s%s%s/%s",
		 d->weights == WEIGHTS_KEEP ? "" : weight_format_name(d->weights),
		 d->weights == WEIGHTS_KEEP ? "" : "/", compute_mode_name(mode),
		 row_encoding_name(o->round));
	return 0;
}

void device_enter(struct device *d, fenv_t *saved)
{
	pthread_mutex_lock(&d->busy);
	fegetenv(saved);
	kernels_thread_init();
}

void device_leave(struct device *d, const fenv_t *saved)
{
	fesetenv(saved);
	pthread_mutex_unlock(&d->busy);
}

struct split {
	void (*task)(void *ctx, uint32_t first, uint32_t end, uint32_t worker);
	void *ctx;
	uint32_t count, each;
};

static void split_task(void *ctx, uint32_t index, uint32_t worker)
{
	const struct split *s = ctx;
	uint32_t first = index * s->each;

	s->task(s->ctx, first, MIN(first + s->each, s->count), worker);
}

void device_split(struct device *d, uint32_t count, uint32_t each,
		  void (*task)(void *ctx, uint32_t first, uint32_t end, uint32_t worker),
		  void *ctx)
{
	struct split s = { task, ctx, count, each };

	if (count <= each)
		task(ctx, 0, count, 0);
	else
		team_run(d->team, (count + each - 1) / each, split_task, &s);
}

/* Host memory needs no preparation: the kernels read it where it is. */
static int cpu_host_register(struct device *d, void *base, size_t bytes, struct error *e)
{
	return 0;
}

static void cpu_host_unregister(struct device *d, void *base)
{
}

const struct backend backend_cpu = {
	.name = "cpu",
	.list = cpu_list,
	.device_open = cpu_device_open,
	.device_close = cpu_device_close,
	.host_register = cpu_host_register,
	.host_unregister = cpu_host_unregister,
	.kind = device_kind,
	.span_open = cpu_span_open,
	.span_close = cpu_span_close,
	.span_info = cpu_span_info,
	.span_submit = cpu_span_submit,
	.span_wait = cpu_span_wait,
	.page_copy = cpu_page_copy,
	.page_export = cpu_page_export,
	.page_import = cpu_page_import,
	.edge_open = cpu_edge_open,
	.edge_close = cpu_edge_close,
	.edge_bytes = cpu_edge_bytes,
	.edge_embed = cpu_edge_embed,
	.edge_logits = cpu_edge_logits,
};
