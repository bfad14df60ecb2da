/* options.h - one table per program: flags, config file, help, man page and
 * dump all derive from it.
 *
 * A program is a struct program with its option rows; a program with verbs
 * (petalsctl) lists one struct program per verb, named by one word or two ("ca
 * init").  "--name value", "--name=value" and, for OPTION_FLAG, bare "--name"
 * are accepted; "--config FILE" reads
 * "name = value" lines (# starts a comment); the command line wins over the
 * file, the file over the default.  Every program also knows --help, --version,
 * --dump-options, --config, --log-level and --log-json without rows of its own.
 *
 * Threads    Used at start, by one thread.
 * Ownership  Strings stored into the target are owned by it until
 *            options_release().
 * Units      OPTION_DURATION takes 250ms, 10s, 2m, 1h, 3d and stores _ns (uint64_t);
 *            OPTION_BYTES takes 64k, 16M, 2G and stores bytes (uint64_t).
 * Errors     options_parse(): -EINVAL with a sentence that names the option,
 *            the value and what would be accepted (and the nearest name for an
 *            unknown one).
 */
#ifndef PETALS_BASE_OPTIONS_H
#define PETALS_BASE_OPTIONS_H

#include <stdio.h>

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

enum option_kind {
	OPTION_FLAG,       /* bool */
	OPTION_INTEGER,    /* int64_t, within [least, most] */
	OPTION_REAL,       /* double, within [least, most] */
	OPTION_TEXT,       /* char *, NULL when not given and no default */
	OPTION_CHOICE,     /* int: index into choices */
	OPTION_DURATION,   /* uint64_t ns, within [least, most] seconds */
	OPTION_BYTES,      /* uint64_t, within [least, most] bytes */
	OPTION_ADDRESS,    /* char *, HOST:PORT, checked; port 0..65535 */
	OPTION_SPAN,       /* struct option_span, FIRST:END */
	OPTION_HEADING,    /* no storage: `help` starts a group in help and man */
};

struct option_span {
	bool given;
	uint32_t first, end;     /* [first, end) */
};

struct option {
	const char *name;
	enum option_kind kind;
	size_t offset;              /* of the field in the target struct */
	const char *initial;        /* default in the syntax of the flag, or NULL */
	double least, most;         /* both 0: no bounds */
	const char *choices;        /* "cpu|cuda", for OPTION_CHOICE */
	const char *metavar;        /* "PATH"; NULL: by kind */
	const char *help;           /* one sentence, lower case, no full stop */
	bool required;
};

struct program {
	const char *name;             /* "petals-server" */
	const char *summary;          /* one line, for help and man NAME */
	const char *description;      /* paragraphs separated by blank lines */
	const char *operands;         /* "HOST ...", or NULL: none are accepted */
	const struct option *options; uint32_t option_count;
	size_t target_bytes;          /* sizeof the target struct */
	const struct program *const *verbs; uint32_t verb_count;
	const char *const *examples;  /* NULL-terminated "comment\0"-free command lines */
	int (*run)(void *target, int operand_count, char **operands); /* verbs: the work */
};

enum options_outcome {
	OPTIONS_RUN,       /* go on */
	OPTIONS_DONE,      /* help, version or dump was printed: exit 0 */
};

/* Fills a zeroed target.  Returns an outcome or -EINVAL.  argv[0] is skipped.
 * Operands are moved to the front of argv and counted.
 */
int options_parse(const struct program *p, int argc, char **argv, void *target,
		  int *operand_count, struct error *e);
void options_release(const struct program *p, void *target);

void options_help(const struct program *p, FILE *out);
void options_man(const struct program *p, FILE *out);           /* roff, section 1 */
void options_dump(const struct program *p, const void *target, FILE *out);

/* A whole program's main(): parses, dispatches to a verb or to p->run, prints
 * "name: sentence" and exits 2 on a bad command line.
 */
int options_main(const struct program *p, int argc, char **argv);

#endif
