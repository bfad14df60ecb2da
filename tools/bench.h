/* bench.h - the verbs of petals-bench, one program table each, and the measurements they share.
 *
 * Threads    main()'s; nothing here is called from two threads.
 * Ownership  Results are json_t objects the caller json_decref()s; the rest as noted.
 * Units      Field and key names end in them; rates are per second.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_H
#define PETALS_TOOLS_BENCH_H

#include <jansson.h>

#include "dataplane/base/error.h"
#include "dataplane/base/options.h"

extern const struct program bench_machine, bench_decode, bench_prefill, bench_block,
	bench_product, bench_agree, bench_quality, bench_serve, bench_swarm, bench_transport,
	bench_diary;

/* What this machine can do now: read bandwidth of one and two threads, copying. */
int bench_machine_measure(json_t **out, struct error *e);
/* How fast so many threads read memory. */
int bench_read_measure(uint32_t threads, double *gb_per_second, struct error *e);

struct bench_local {
	char *model, *device;
	struct option_span blocks;      /* not given: all, with embedding and head */
	int64_t threads, tokens, sequences, rows, repeats;
	int compute, weights;           /* enum compute_mode, enum weight_format */
	bool fast, json;
};
int bench_local_measure(const struct bench_local *l, bool prefill, json_t **out, struct error *e);

struct bench_swarm_flags {
	char *model, *compute;
	int64_t servers, threads, gateway_threads, tokens, prompt_tokens, clients;
	bool json;
};
enum { BENCH_SWARM_OPTIONS = 9 };
extern const struct option bench_swarm_options[BENCH_SWARM_OPTIONS];
/* One swarm of --servers beside one server: rates, hop, memory, start, pause, busy loop. */
int bench_swarm_measure(const struct bench_swarm_flags *f, json_t **out, struct error *e);

/* Prints "petals-bench VERB: sentence"; returns 1. */
int bench_fail(const char *verb, const struct error *e);
/* Prints an object on one line for scripts, or its keys and values for people; releases it;
 * returns 0.
 */
int bench_print(json_t *object, bool json);

#endif
