/* device.h - the CPU as a device: its team of threads and its kernels.
 *
 * Threads    device_enter() lets one thread at a time use the team; computing happens
 *            between it and device_leave(), with denormals flushed.
 * Ownership  As backend.h says.
 * Units      None.
 * Errors     device_mode(): -EINVAL with a sentence that says what to use.
 */
#ifndef PETALS_COMPUTE_CPU_DEVICE_H
#define PETALS_COMPUTE_CPU_DEVICE_H

#include <fenv.h>
#include <pthread.h>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

struct device {
	struct team *team;
	const struct kernels *kernels;
	enum compute_mode compute;      /* as asked for: may be auto */
	enum weight_format weights;
	pthread_mutex_t busy;
};

/* What the device's mode becomes for a model; never auto. */
int device_mode(const struct device *d, const struct model *m, enum compute_mode *out,
		struct error *e);
int device_kind(const struct device *d, const struct span_options *o, char *kind,
		struct error *e);
void device_enter(struct device *d, fenv_t *saved);
void device_leave(struct device *d, const fenv_t *saved);
/* Takes a path other than the best; false when this host cannot.  For tests. */
bool device_use_path(struct device *d, enum cpu_path path);

/* task(ctx, i, worker) for `count` things, `each` of them at a time; in the calling
 * thread when that is all of them.
 */
void device_split(struct device *d, uint32_t count, uint32_t each,
		  void (*task)(void *ctx, uint32_t first, uint32_t end, uint32_t worker),
		  void *ctx);

/* span.c and edge.c, for the table */
int cpu_span_open(struct span **out, struct device *d, const struct span_options *o,
		  struct error *e);
void cpu_span_close(struct span *s);
const struct span_info *cpu_span_info(const struct span *s);
int cpu_span_submit(struct span *s, const struct batch *b);
int cpu_span_wait(struct span *s);
int cpu_page_copy(struct span *s, uint32_t to, uint32_t from);
int cpu_page_export(struct span *s, uint32_t page, void *out);
int cpu_page_import(struct span *s, uint32_t page, const void *in);

int cpu_edge_open(struct edge **out, struct device *d, const struct model *m, uint32_t rows_max,
		  struct load_progress progress, struct error *e);
void cpu_edge_close(struct edge *g);
uint64_t cpu_edge_bytes(const struct edge *g);
int cpu_edge_embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		   float *out);
int cpu_edge_logits(struct edge *g, const float *rows_in, uint32_t rows, float *logits);

#endif
