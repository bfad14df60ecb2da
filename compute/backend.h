/* backend.h - a device that runs blocks: one table of verbs per kind of device.
 *
 * A span holds the weights of blocks [first, end) laid out as the device's
 * kernels want them, and the arena of KV cache pages.  An edge holds the
 * embedding, the final norm and the LM head.  A batch lists the sequences
 * that step together; rows are read from wherever they landed and written to
 * wherever they leave from.
 *
 * The identity promise: an output row depends on its own sequence's rows
 * alone, bit for bit: not on the other entries of the batch, not on how its
 * rows were chunked, not on where the span was cut.  For the last, hidden states
 * are rounded to `round` after every block, cut or not.
 *
 * Threads    Tables are constant.  One thread at a time uses a span; edges may
 *            be read by any thread (edge_embed) but one at a time runs logits.
 * Ownership  open / close in pairs; a span or edge dies before its device.  The model
 *            must outlive span_open() only: weights are copied into the layout.
 * Units      Rows and positions are tokens; _bytes.
 * Errors     -ENOMEM, -ENOTSUP, -EINVAL, -EIO with a sentence (sizes, device, what to do).
 *            A step that ends with -EIO has lost its device: so will every step after it,
 *            and what its pages held is gone.
 */
#ifndef PETALS_COMPUTE_BACKEND_H
#define PETALS_COMPUTE_BACKEND_H

#include "compute/measure.h"
#include "compute/model/model.h"
#include "compute/quantise.h"
#include "compute/row.h"
#include "compute/sampler_math.h"
#include "dataplane/base/error.h"
#include "dataplane/base/module.h"

enum compute_mode { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_BF16, COMPUTE_INT8, COMPUTE_MODES };

struct device;
struct span;
struct edge;

/* How a cuda device is sent a step of few rows; but for the first, to be measured with. */
enum launch_mode {
	LAUNCH_GRAPHS,                  /* one graph, recorded at load */
	LAUNCH_EARLY,                   /* kernel by kernel, placed while the one before drains */
	LAUNCH_PLAIN,                   /* kernel by kernel, each after the one before */
};

struct device_options {
	uint32_t index;                 /* cuda:N */
	uint32_t threads;               /* cpu: that compute; cuda: that lay weights out; 0: one
					 * per core the process may use
					 */
	enum compute_mode compute;
	enum weight_format weights;     /* of every matrix that is multiplied */
	bool fast;                      /* cuda: gives the identity promise up for speed */
	enum launch_mode launches;
	const char *tuning;             /* cuda: file of who won which race; NULL: in the user's
					 * cache */
};

/* What `petalsctl devices` tells of one. */
struct device_info {
	char device[16];                /* "cuda:0" */
	char name[128];                 /* "NVIDIA H100 80GB HBM3" */
	char detail[256];               /* "sm_90, 132 processors, ..."; or why it is of no use */
	uint64_t memory_bytes, free_bytes;      /* free 0: not to be used */
};

/* What load progress reports: bytes laid out so far, of how many. */
struct load_progress {
	void (*report)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *ctx;
};

struct span_options {
	const struct model *model;
	uint32_t first, end;            /* blocks hosted */
	uint32_t page_tokens;           /* tokens of a KV page; a multiple of 16 */
	uint64_t kv_bytes;              /* arena; rounded down to whole pages */
	uint32_t rows_max;              /* of one batch */
	uint32_t entries_max;
	uint32_t tokens_max;            /* longest sequence */
	enum row_encoding round;        /* ROW_F32: none */
	struct load_progress progress;
};

struct span_info {
	uint32_t first, end, hidden;
	uint32_t pages, page_tokens;
	uint64_t page_bytes;            /* of all blocks of the span */
	uint64_t weight_bytes;          /* laid out */
	uint64_t step_bytes;            /* weights read by a step of one row */
	const char *compute;            /* "int8": what auto became */
	const char *kind;               /* identity class: equal strings give equal bits.
					 * "cpu/int8/f32" (device kind, mode, round), or with
					 * a weight format that is not kept "cpu/int4/int8/f32"
					 */
};
enum { KIND_BYTES = 32 };               /* at most, with the NUL */

struct batch_entry {
	const uint32_t *pages;          /* page table, covers position + rows */
	uint32_t position;              /* tokens cached before this step */
	uint32_t rows;
	const void *in;                 /* rows x hidden, in_encoding */
	void *out;                      /* last out_rows rows x hidden, out_encoding */
	uint32_t out_rows;
	enum row_encoding in_encoding, out_encoding;
};

struct batch {
	struct batch_entry *entries;
	uint32_t count;
	uint32_t rows;                  /* summed */
	uint32_t first, end;            /* blocks to run, within the span */
};

struct backend {
	const char *name;               /* "cpu", "cuda" */
	/* The host's devices of this kind, `room` at most; how many, or -errno. */
	int (*list)(struct device_info *out, uint32_t room, struct error *e);
	int (*device_open)(struct device **out, const struct device_options *o,
			   struct error *e);
	void (*device_close)(struct device *d);
	/* Lets the device read and write host memory in place (pins it). */
	int (*host_register)(struct device *d, void *base, size_t bytes, struct error *e);
	void (*host_unregister)(struct device *d, void *base);
	/* What the device itself can do (measure.h); NULL: nobody asks this kind. */
	int (*measure)(struct device *d, const struct measure *m, struct measured *out,
		       struct error *e);

	/* The kind that a span of these options will have; writes KIND_BYTES at most. */
	int (*kind)(const struct device *d, const struct span_options *o, char *kind,
		    struct error *e);
	int (*span_open)(struct span **out, struct device *d, const struct span_options *o,
			 struct error *e);
	void (*span_close)(struct span *s);
	const struct span_info *(*span_info)(const struct span *s);
	/* Queues a batch; entries and rows stay valid until span_wait() returned. */
	int (*span_submit)(struct span *s, const struct batch *b);
	int (*span_wait)(struct span *s);
	/* Copies page contents within the arena, and out of and into host memory. */
	int (*page_copy)(struct span *s, uint32_t to, uint32_t from);
	int (*page_export)(struct span *s, uint32_t page, void *out);
	int (*page_import)(struct span *s, uint32_t page, const void *in);

	int (*edge_open)(struct edge **out, struct device *d, const struct model *m,
			 uint32_t rows_max, struct load_progress progress, struct error *e);
	void (*edge_close)(struct edge *g);
	uint64_t (*edge_bytes)(const struct edge *g);
	/* Embeds tokens at positions position, position + 1, ...; out is rows x hidden
	 * f32 (embedding norm, learned positions and projections applied).
	 */
	int (*edge_embed)(struct edge *g, const uint32_t *tokens, uint32_t rows,
			  uint32_t position, float *out);
	/* rows x hidden f32 to rows x vocabulary logits (final norm included). */
	int (*edge_logits)(struct edge *g, const float *rows_in, uint32_t rows, float *logits);
	/* A summary of each row's logits, its token drawn as draws[row] says, where that is
	 * cheaper than all of them; the logits, too, of rows for which whole[row], which is set
	 * for those whose token it could not draw.  NULL: edge_logits is as good.
	 */
	int (*edge_summary)(struct edge *g, const float *rows_in, uint32_t rows,
			    const struct logits_draw *draws, bool *whole,
			    struct logits_summary *summary, float *logits);
};

/* The CPU backend, built in. */
extern const struct backend backend_cpu;

/* The CUDA backend is a module (module.h): petals-cuda.so, opened at the first call, or what
 * the environment variable PETALS_CUDA_MODULE names.  -ENOTSUP: there is none, or it is not of
 * this build.
 */
int backend_cuda_open(const struct backend **out, struct error *e);

/* What the module exports as petals_backend_module. */
struct backend_module {
	struct module_head head;        /* layout: struct backend */
	const struct backend *backend;
};

/* "cpu", "cuda:0": finds the backend and the device index. */
int backend_find(const char *device, const struct backend **out, uint32_t *index,
		 struct error *e);
const char *compute_mode_name(enum compute_mode m);

#endif
