/* jinja_run.h - the state of one rendering: its memory, its limits, its first
 * failure, its scopes.
 *
 * A failure is sticky: run_fail() keeps the first, everything after it is
 * cheap and harmless, and whoever loops checks run_failed().
 *
 * Threads    A run belongs to one rendering.
 * Ownership  run_open() / run_close().
 * Units      Steps are evaluated nodes, plus one for each 16 bytes of text work.
 * Errors     run_failed(): -EINVAL, -ENOMEM, -EMSGSIZE with a sentence.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_RUN_H
#define PETALS_COMPUTE_TEXT_JINJA_RUN_H

#include "compute/text/bag.h"
#include "compute/text/jinja_value.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct node;

enum {
	RUN_STEPS_MAX = 5 * 1000 * 1000,
	RUN_DEPTH_MAX = 600,
	RUN_OUTPUT_BYTES_MAX = 64 << 20,
	RUN_MEMORY_BYTES_MAX = 256 << 20,
};

struct variable {
	struct text name;
	struct value value;
	struct variable *next;
};

struct scope {
	const struct scope *outer;
	struct variable *variables;
};

struct run {
	struct bag bag;
	struct error *error;
	int rc;                      /* the first failure, 0 */
	uint64_t steps;
	unsigned depth;
	unsigned line, column;       /* of what is being evaluated */
	struct buffer *out;          /* where printed text goes */
	struct scope *scope;         /* the innermost */
	int64_t now_s;               /* since 1970; only with a clock */
};

void run_open(struct run *r, struct error *e);
void run_close(struct run *r);

void run_fail(struct run *r, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Without line and column: the template's own words. */
void run_raise(struct run *r, struct text sentence);
int run_failed(const struct run *r);
void run_charge(struct run *r, size_t bytes);
/* Enters something nested; false (and failed) when it is too deep. */
bool run_descend(struct run *r, const struct node *node);
void run_ascend(struct run *r);

void *run_take(struct run *r, size_t bytes);          /* zeroed, or NULL and failed */
/* What was written to b, as a value; closes b. */
struct value run_text(struct run *r, struct buffer *b);

struct variable *scope_find(const struct scope *s, struct text name);
void scope_set(struct run *r, struct scope *s, struct text name, struct value value);

#endif
