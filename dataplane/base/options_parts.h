/* options_parts.h - what the files behind options.h share; nobody else
 * includes it.
 *
 *	options.c         command line, config file, dump
 *	options_main.c    verbs, messages, exit status, nearest names
 *	options_value.c   one value, from text and to text
 *	options_text.c    help and man page
 *
 * Threads    As options.h.
 * Ownership  option_release() frees what option_store() put into the field.
 * Units      As options.h.
 * Errors     option_store(): -EINVAL or -ENOMEM with a sentence that does not
 *            name the option: the caller knows where the value stood.
 */
#ifndef PETALS_BASE_OPTIONS_PARTS_H
#define PETALS_BASE_OPTIONS_PARTS_H

#include "dataplane/base/buffer.h"
#include "dataplane/base/options.h"

/* What every program knows without rows of its own. */
struct common_options {
	bool help, version, man, dump;
	char *config;
	int log_level;
	bool log_json;
};
extern const struct option common_options[];
extern const uint32_t common_option_count;

int option_store(const struct option *o, void *target, const char *text, struct error *e);
/* As a config file spells it; nothing for a text that was not given. */
void option_print(const struct option *o, const void *target, struct buffer *out);
void option_release(const struct option *o, void *target);
/* "N", "cpu|cuda"; "" for a flag. */
const char *option_metavar(const struct option *o);
/* "1 to 256", "" without bounds. */
void option_print_bounds(const struct option *o, struct buffer *out);

/* The candidate nearest to what was typed; name is NULL while none is near. */
struct nearest {
	const char *name;
	size_t distance;
};

void nearest_consider(struct nearest *n, const char *typed, size_t length,
		      const char *candidate);

/* options_parse() for a verb of parent. */
int program_parse(const struct program *p, const struct program *parent, int argc, char **argv,
		  void *target, int *operand_count, struct error *e);
void program_print_version(const struct program *p, const struct program *parent);

/* The name people type: "petalsctl up" for a verb, parent NULL otherwise. */
void program_print_name(const struct program *p, const struct program *parent,
			struct buffer *out);
bool program_has_verb(const struct program *p, const char *name);
void program_help(const struct program *p, const struct program *parent, FILE *out);
void program_man(const struct program *p, const struct program *parent, FILE *out);
/* Writes what was collected and frees it. */
void buffer_print(struct buffer *b, FILE *out);

#endif
