/* bench_child.h - processes that a measurement starts, and what it may read about them: the
 * line they print when ready, their memory, their metrics.  Only children are looked at.
 *
 * Threads    main()'s.
 * Ownership  child_start() / child_stop(); children die with this process.
 * Units      Bytes; _ns.
 * Errors     -errno with a sentence that names the program.
 */
#ifndef PETALS_TOOLS_BENCH_CHILD_H
#define PETALS_TOOLS_BENCH_CHILD_H

#include <sys/types.h>

#include <jansson.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct child {
	pid_t pid;                      /* 0: not running */
	int out;                        /* its standard output */
	char name[32];
	uint64_t started_ns;
};

/* args[0] is the program, found beside this one; NULL-terminated. */
int child_start(struct child *c, char *const *args, struct error *e);
/* Its first line of output, one JSON object, within `within_ns`. */
int child_ready(struct child *c, uint64_t within_ns, json_t **out, struct error *e);
/* SIGTERM, and SIGKILL when that does not help; its exit status, 128 + signal, or -1. */
int child_stop(struct child *c);
/* A process that does nothing but use up the core it is on. */
int child_busy_loop(struct child *c, struct error *e);

struct child_memory { uint64_t rss, pss_anonymous, pss_shared, pss_file; };
/* Of a child, or a child's child. */
int child_memory(pid_t pid, struct child_memory *out, struct error *e);

/* GET url; buffer_close() the body. */
int http_get(const char *url, struct buffer *body, struct error *e);
/* A sample of a metrics page, summed over its labels; 0 when there is none. */
double metric_sum(const char *page, const char *name);

#endif
