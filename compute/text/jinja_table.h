/* jinja_table.h - everything a template may call, as tables: filters, tests,
 * methods, functions.
 *
 * A row names its parameters, so that calls are checked when the template is
 * compiled and arguments can be given by position or by name.
 *
 * Threads    Constant tables.
 * Ownership  None.
 * Units      None.
 * Errors     Rows fail through the run.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_TABLE_H
#define PETALS_COMPUTE_TEXT_JINJA_TABLE_H

#include "compute/text/jinja_run.h"

enum { PARAMETERS_MAX = 5 };

struct named_value {
	struct text name;
	struct value value;
};

/* The evaluated arguments of one call. */
struct arguments {
	struct value *positional;
	size_t count;
	struct named_value *named;
	size_t named_count;
};

struct signature {
	const char *parameters[PARAMETERS_MAX];
	unsigned required;           /* how many of them must be given */
	bool open;                   /* takes any arguments; the row checks them */
};

typedef struct value call_function(struct run *r, struct value subject,
				   const struct arguments *a);

struct filter_row {
	const char *name;
	call_function *call;
	struct signature signature;
};

struct test_row {
	const char *name;
	bool (*call)(struct run *r, struct value subject, const struct arguments *a);
	struct signature signature;
};

struct method_row {
	const char *name;
	unsigned kinds;              /* bits of enum value_kind that have it */
	call_function *call;
	struct signature signature;
};

struct function_row {
	const char *name;
	call_function *call;         /* subject: the function itself */
	struct signature signature;
};

const struct filter_row *find_filter(struct text name);
const struct test_row *find_test(struct text name);
/* kind < 0: of any kind. */
const struct method_row *find_method(struct text name, int kind);
const struct function_row *find_function(struct text name);

/* The tables behind them, each ended by an empty row. */
extern const struct filter_row jinja_text_filters[], jinja_list_filters[];
extern const struct test_row jinja_tests[];
extern const struct method_row jinja_methods[];
extern const struct function_row jinja_functions[];

/* The argument at a position or with that name; undefined when not given. */
struct value argument(const struct arguments *a, size_t position, const char *name);
bool argument_given(const struct arguments *a, size_t position, const char *name);
int64_t argument_whole(struct run *r, const struct arguments *a, size_t position,
		       const char *name, int64_t fallback);
bool argument_truth(const struct arguments *a, size_t position, const char *name, bool fallback);
struct text argument_text(struct run *r, const struct arguments *a, size_t position,
			  const char *name, struct text fallback);

/* item.name or item[name] for "a.b.0"; a number picks an item. */
struct value jinja_pick(struct run *r, struct value item, struct value path);

#endif
