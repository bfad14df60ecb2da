/* options.c - the command line, the config file and the dump.
 *
 * A command line is first taken apart into settings, without storing any;
 * then defaults, the config file and the settings are stored in that order,
 * so that the later one wins.
 */
#include "dataplane/base/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options_parts.h"

enum { CONFIG_BYTES_MAX = 1 << 20, NAME_BYTES_MAX = 64 };

#define AT(field) offsetof(struct common_options, field)
const struct option common_options[] = {
	{ .kind = OPTION_HEADING, .help = "Common options" },
	{ "help", OPTION_FLAG, AT(help), .help = "show this help" },
	{ "version", OPTION_FLAG, AT(version), .help = "print the version" },
	{ "man", OPTION_FLAG, AT(man), .help = "print the man page (roff)" },
	{ "config", OPTION_TEXT, AT(config), .metavar = "FILE",
	  .help = "read options from FILE, one \"name = value\" a line" },
	{ "dump-options", OPTION_FLAG, AT(dump),
	  .help = "print every option as a config file" },
	{ "log-level", OPTION_CHOICE, AT(log_level), "info", .metavar = "LEVEL",
	  .choices = "debug|info|warn|error|off",
	  .help = "least grave lines to log: debug, info, warn, error or off" },
	{ "log-json", OPTION_FLAG, AT(log_json), .help = "log one JSON object a line" },
};
#undef AT
const uint32_t common_option_count = ARRAY_LENGTH(common_options);

/* One "--name value" of the command line. */
struct setting {
	uint32_t index;
	const char *value;
};

/* A program's own rows come first, then the common ones, under one index. */
struct parse {
	const struct program *program;
	const struct program *parent;
	void *target;
	struct common_options common;
	bool *given;                  /* by index */
	bool *in_file;                /* by index */
	struct setting *settings;
	int setting_count;
};

static uint32_t row_count(const struct parse *s)
{
	return s->program->option_count + common_option_count;
}

static const struct option *row(const struct parse *s, uint32_t index)
{
	uint32_t own = s->program->option_count;

	return index < own ? &s->program->options[index] : &common_options[index - own];
}

static void *target_of(struct parse *s, uint32_t index)
{
	return index < s->program->option_count ? s->target : (void *)&s->common;
}

/* Its index, or row_count(). */
static uint32_t find_row(const struct parse *s, const char *name, size_t length)
{
	uint32_t i;

	for (i = 0; i < row_count(s); i++) {
		const struct option *o = row(s, i);

		if (o->kind != OPTION_HEADING && strlen(o->name) == length &&
		    memcmp(o->name, name, length) == 0)
			break;
	}
	return i;
}

static int unknown_option(const struct parse *s, const char *dashes, const char *name,
			  size_t length, struct error *e)
{
	struct nearest n = { 0 };

	for (uint32_t i = 0; i < row_count(s); i++)
		if (row(s, i)->kind != OPTION_HEADING)
			nearest_consider(&n, name, length, row(s, i)->name);
	length = MIN(length, (size_t)NAME_BYTES_MAX);
	if (n.name)
		return error_set(e, -EINVAL, "unknown option %s%.*s; did you mean %s%s?", dashes,
				 (int)length, name, dashes, n.name);
	return error_set(e, -EINVAL, "unknown option %s%.*s; --help lists the options", dashes,
			 (int)length, name);
}

/* Takes argv[*i], and the next when it is the value. */
static int take_option(struct parse *s, int argc, char **argv, int *i, struct error *e)
{
	const char *arg = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i], *name = arg + 2;
	size_t length = strcspn(name, "=");
	struct setting *set = &s->settings[s->setting_count];
	const struct option *o;

	if (arg[1] != '-')
		return error_set(e, -EINVAL, "unknown option '%.60s'; options begin with --", arg);
	set->index = find_row(s, name, length);
	if (set->index == row_count(s))
		return unknown_option(s, "--", name, length, e);
	o = row(s, set->index);
	if (name[length] == '=')
		set->value = name + length + 1;
	else if (o->kind == OPTION_FLAG)
		set->value = "true";
	else if (*i + 1 < argc)
		set->value = argv[++*i];
	else
		return error_set(e, -EINVAL, "--%s needs a value: %s", o->name, option_metavar(o));
	s->setting_count++;
	return 0;
}

/* Sorts argv into settings and operands. */
static int take_apart(struct parse *s, int argc, char **argv, int *operands, struct error *e)
{
	bool only_operands = false;

	for (int i = 1; i < argc; i++) {
		char *arg = argv[i];

		if (!only_operands && strcmp(arg, "--") == 0) {
			only_operands = true;
		} else if (!only_operands && arg[0] == '-' && arg[1]) {
			int rc = take_option(s, argc, argv, &i, e);

			if (rc < 0)
				return rc;
		} else if (s->program->operands) {
			argv[(*operands)++] = arg;
		} else {
			return error_set(e, -EINVAL, "unexpected argument '%.60s'", arg);
		}
	}
	return 0;
}

static int store_defaults(struct parse *s, struct error *e)
{
	for (uint32_t i = 0; i < row_count(s); i++) {
		const struct option *o = row(s, i);
		int rc;

		if (o->kind == OPTION_HEADING || !o->initial)
			continue;
		rc = option_store(o, target_of(s, i), o->initial, e);
		assert(rc != -EINVAL);   /* the table's own default breaks its rules */
		if (rc < 0)
			return rc;
	}
	return 0;
}

static char *trim(char *text)
{
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
	return text;
}

/* Unquotes in place; what follows the closing quote must be a comment. */
static int unquote(char *text, struct error *e)
{
	char *to = text, *from = text + 1;

	for (; *from && *from != '"'; from++) {
		if (*from != '\\' || !from[1]) {
			*to++ = *from;
			continue;
		}
		from++;
		*to++ = *from == 'n' ? '\n' : *from == 'r' ? '\r' : *from == 't' ? '\t' : *from;
	}
	if (*from != '"')
		return error_set(e, -EINVAL, "the closing quote is missing");
	from = trim(from + 1);
	if (*from && *from != '#')
		return error_set(e, -EINVAL, "'%.60s' follows the closing quote", from);
	*to = '\0';
	return 0;
}

/* A # begins a comment where a word could begin, so a#b is a value. */
static void cut_comment(char *value)
{
	for (char *c = value; *c; c++) {
		if (*c == '#' && (c == value || isspace((unsigned char)c[-1]))) {
			*c = '\0';
			break;
		}
	}
	trim(value);
}

static bool only_on_command_line(const char *name)
{
	static const char *const names[] = { "help", "version", "man", "config", "dump-options" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* "name = value # comment" */
static int store_line(struct parse *s, char *line, struct error *e)
{
	char *equals = strchr(line, '='), *name, *value;
	uint32_t index;
	int rc = 0;

	if (!equals)
		return error_set(e, -EINVAL, "'%.60s' is not \"name = value\"", line);
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	index = find_row(s, name, strlen(name));
	if (index == row_count(s))
		return unknown_option(s, "", name, strlen(name), e);
	if (index >= s->program->option_count && only_on_command_line(name))
		return error_set(e, -EINVAL, "%s belongs on the command line", name);
	if (s->in_file[index])
		return error_set(e, -EINVAL, "%s is given twice", name);
	if (*value == '"')
		rc = unquote(value, e);
	else
		cut_comment(value);
	if (rc == 0)
		rc = option_store(row(s, index), target_of(s, index), value, e);
	if (rc < 0) {
		error_wrap(e, "%s", name);
		return rc;
	}
	s->in_file[index] = s->given[index] = true;
	return 0;
}

static int store_file(struct parse *s, const char *path, struct error *e)
{
	char *text, *rest, *line;
	size_t bytes;
	int number = 0, rc;

	rc = file_read(path, CONFIG_BYTES_MAX, &text, &bytes, e);
	if (rc < 0) {
		error_wrap(e, "--config");
		return rc;
	}
	if (strlen(text) != bytes)
		rc = error_set(e, -EINVAL, "%s holds a NUL byte: it is no config file", path);
	rest = text;
	while (rc == 0 && (line = strsep(&rest, "\n"))) {
		number++;
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		rc = store_line(s, line, e);
		if (rc < 0)
			error_wrap(e, "%s:%d", path, number);
	}
	mem_free(text);
	return rc;
}

/* The settings of the common options (true) or of the program's own. */
static int store_settings(struct parse *s, bool common, struct error *e)
{
	for (int i = 0; i < s->setting_count; i++) {
		const struct setting *set = &s->settings[i];
		int rc;

		if (common != (set->index >= s->program->option_count))
			continue;
		rc = option_store(row(s, set->index), target_of(s, set->index), set->value, e);
		if (rc < 0) {
			error_wrap(e, "--%s", row(s, set->index)->name);
			return rc;
		}
		s->given[set->index] = true;
	}
	return 0;
}

static int check_required(const struct parse *s, struct error *e)
{
	for (uint32_t i = 0; i < s->program->option_count; i++) {
		const struct option *o = &s->program->options[i];

		if (o->required && !s->given[i])
			return error_set(e, -EINVAL, "--%s %s is needed: %s", o->name,
					 option_metavar(o), o->help);
	}
	return 0;
}

void program_print_version(const struct program *p, const struct program *parent)
{
	printf("%s %s\n", parent ? parent->name : p->name, PETALS_VERSION);
}

static void dump_rows(const struct option *rows, uint32_t count, const void *target,
		      struct buffer *out)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t before;

		if (rows[i].kind == OPTION_HEADING) {
			buffer_printf(out, "%s# %s\n", out->length ? "\n" : "", rows[i].help);
			continue;
		}
		before = out->length;
		buffer_printf(out, "%s = ", rows[i].name);
		option_print(&rows[i], target, out);
		if (!buffer_failed(out) && out->length == before + strlen(rows[i].name) + 3) {
			out->length = before;
			buffer_printf(out, "# %s is not set", rows[i].name);
		}
		buffer_char(out, '\n');
	}
}

void options_dump(const struct program *p, const void *target, FILE *out)
{
	struct buffer text = { 0 };

	dump_rows(p->options, p->option_count, target, &text);
	buffer_print(&text, out);
}

/* Of the common options only those that a config file may hold. */
static void dump_common(const struct common_options *common, FILE *out)
{
	struct buffer text = { 0 };

	buffer_text(&text, "\n# Common options\n");
	for (uint32_t i = 0; i < common_option_count; i++)
		if (common_options[i].kind != OPTION_HEADING &&
		    !only_on_command_line(common_options[i].name))
			dump_rows(&common_options[i], 1, common, &text);
	buffer_print(&text, out);
}

/* What asks for text rather than work; OPTIONS_RUN when nothing does. */
static enum options_outcome answer(const struct parse *s)
{
	if (s->common.help)
		program_help(s->program, s->parent, stdout);
	else if (s->common.version)
		program_print_version(s->program, s->parent);
	else if (s->common.man)
		program_man(s->program, s->parent, stdout);
	else
		return OPTIONS_RUN;
	return OPTIONS_DONE;
}

static int store_all(struct parse *s, struct error *e)
{
	int rc = store_settings(s, true, e);

	if (rc < 0)
		return rc;
	if (answer(s) == OPTIONS_DONE)
		return OPTIONS_DONE;
	if (s->common.config)
		rc = store_file(s, s->common.config, e);
	if (rc == 0)
		rc = store_settings(s, true, e);     /* again: they win over the file */
	if (rc == 0)
		rc = store_settings(s, false, e);
	if (rc < 0)
		return rc;
	if (s->common.dump) {
		options_dump(s->program, s->target, stdout);
		dump_common(&s->common, stdout);
		return OPTIONS_DONE;
	}
	rc = check_required(s, e);
	if (rc < 0)
		return rc;
	log_configure((enum log_level)s->common.log_level, s->common.log_json);
	return OPTIONS_RUN;
}

int program_parse(const struct program *p, const struct program *parent, int argc, char **argv,
		  void *target, int *operand_count, struct error *e)
{
	struct parse s = { .program = p, .parent = parent, .target = target };
	int operands = 0, rc = -ENOMEM;

	s.given = mem_calloc(row_count(&s), sizeof(*s.given));
	s.in_file = mem_calloc(row_count(&s), sizeof(*s.in_file));
	s.settings = mem_calloc((size_t)argc + 1, sizeof(*s.settings));
	if (!s.given || !s.in_file || !s.settings) {
		error_errno(e, rc, "cannot read the options");
		goto out;
	}
	rc = store_defaults(&s, e);
	if (rc == 0)
		rc = take_apart(&s, argc, argv, &operands, e);
	if (rc == 0)
		rc = store_all(&s, e);
	if (rc < 0)
		options_release(p, target);
	if (operand_count)
		*operand_count = rc < 0 ? 0 : operands;

out:
	mem_free(s.common.config);
	mem_free(s.settings);
	mem_free(s.in_file);
	mem_free(s.given);
	return rc;
}

int options_parse(const struct program *p, int argc, char **argv, void *target,
		  int *operand_count, struct error *e)
{
	return program_parse(p, NULL, argc, argv, target, operand_count, e);
}

void options_release(const struct program *p, void *target)
{
	for (uint32_t i = 0; i < p->option_count; i++)
		option_release(&p->options[i], target);
}
