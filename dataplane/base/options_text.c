/* options_text.c - help for a terminal and the man page, from the tables. */
#include "dataplane/base/options_parts.h"

#include <ctype.h>
#include <string.h>

enum {
	LINE_COLUMNS = 80,
	LEFT_COLUMNS_MAX = 34,     /* longer flags stand on a line of their own */
	GAP_COLUMNS = 2,
};

void buffer_print(struct buffer *b, FILE *out)
{
	fputs(buffer_failed(b) ? "out of memory\n" : buffer_string(b), out);
	buffer_close(b);
}

void program_print_name(const struct program *p, const struct program *parent,
			struct buffer *out)
{
	if (parent)
		buffer_printf(out, "%s ", parent->name);
	buffer_text(out, p->name);
}

/* Columns a text takes: UTF-8 continuation bytes take none. */
static size_t columns(const char *text, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

static void spaces(struct buffer *out, size_t n)
{
	buffer_printf(out, "%*s", (int)n, "");
}

/* Writes words from column `at` on, breaking lines so that all begin at
 * `indent`.  Returns the column after the last word.
 */
static size_t wrap(struct buffer *out, const char *text, size_t bytes, size_t indent, size_t at)
{
	const char *end = text + bytes;
	bool first = true;

	while (text < end) {
		const char *word = text;
		size_t width;

		if (isspace((unsigned char)*text)) {
			text++;
			continue;
		}
		while (text < end && !isspace((unsigned char)*text))
			text++;
		width = columns(word, (size_t)(text - word));
		if (!first && at + 1 + width > LINE_COLUMNS - 1) {
			buffer_char(out, '\n');
			spaces(out, indent);
			at = indent;
		} else if (!first) {
			buffer_char(out, ' ');
			at++;
		}
		buffer_append(out, word, (size_t)(text - word));
		at += width;
		first = false;
	}
	return at;
}

/* Calls for each paragraph: for (p = text; next_paragraph(&p, &bytes); p += bytes). */
static bool next_paragraph(const char **text, size_t *bytes)
{
	const char *end;

	while (**text == '\n')
		(*text)++;
	if (!**text)
		return false;
	end = strstr(*text, "\n\n");
	*bytes = end ? (size_t)(end - *text) : strlen(*text);
	return true;
}

static void option_left(const struct option *o, struct buffer *out)
{
	const char *metavar = option_metavar(o);

	buffer_printf(out, "--%s%s%s", o->name, *metavar ? " " : "", metavar);
}

/* What the table knows beside the sentence: "1 to 256, default 16". */
static void option_facts(const struct option *o, struct buffer *out)
{
	/* That a flag is off unless given goes without saying. */
	bool off = o->kind == OPTION_FLAG && o->initial && strcmp(o->initial, "false") == 0;
	size_t before = out->length;

	option_print_bounds(o, out);
	if (!o->required && (!o->initial || off))
		return;
	if (out->length > before)
		buffer_text(out, ", ");
	if (o->required)
		buffer_text(out, "required");
	else
		buffer_printf(out, "default %s", o->initial);
}

static size_t left_columns(const struct option *rows, uint32_t count, size_t least)
{
	size_t widest = least;

	for (uint32_t i = 0; i < count; i++) {
		struct buffer left = { 0 };
		size_t width;

		if (rows[i].kind == OPTION_HEADING)
			continue;
		option_left(&rows[i], &left);
		width = columns(buffer_string(&left), left.length);
		if (width <= LEFT_COLUMNS_MAX)
			widest = MAX(widest, width);
		buffer_close(&left);
	}
	return widest;
}

/* "  left    right", the right part wrapped under itself. */
static void help_row(struct buffer *out, const char *left, const char *right, size_t left_width)
{
	size_t indent = GAP_COLUMNS + left_width + GAP_COLUMNS;
	size_t width = columns(left, strlen(left));

	buffer_printf(out, "  %s", left);
	if (width > left_width) {
		buffer_char(out, '\n');
		spaces(out, indent);
	} else {
		spaces(out, left_width - width + GAP_COLUMNS);
	}
	wrap(out, right, strlen(right), indent, indent);
	buffer_char(out, '\n');
}

static void help_options(struct buffer *out, const struct option *rows, uint32_t count,
			 size_t left_width)
{
	if (count && rows[0].kind != OPTION_HEADING)
		buffer_text(out, "\nOptions\n");
	for (uint32_t i = 0; i < count; i++) {
		struct buffer left = { 0 }, right = { 0 }, facts = { 0 };

		if (rows[i].kind == OPTION_HEADING) {
			buffer_printf(out, "\n%s\n", rows[i].help);
			continue;
		}
		option_left(&rows[i], &left);
		option_facts(&rows[i], &facts);
		buffer_text(&right, rows[i].help);
		if (facts.length)
			buffer_printf(&right, " (%s)", buffer_string(&facts));
		help_row(out, buffer_string(&left), buffer_string(&right), left_width);
		buffer_close(&left);
		buffer_close(&right);
		buffer_close(&facts);
	}
}

/* Verbs the program lists, then those that every program with verbs has. */
static const char *const own_verbs[][2] = {
	{ "help", "show the commands, or the options of one" },
	{ "version", "print the version" },
};

static void help_verbs(struct buffer *out, const struct program *p)
{
	size_t width = 0;

	for (uint32_t i = 0; i < p->verb_count; i++)
		width = MAX(width, strlen(p->verbs[i]->name));
	width = MAX(width, sizeof("version") - 1);
	buffer_text(out, "\nCommands\n");
	for (uint32_t i = 0; i < p->verb_count; i++)
		help_row(out, p->verbs[i]->name, p->verbs[i]->summary, width);
	for (size_t i = 0; i < ARRAY_LENGTH(own_verbs); i++)
		if (!program_has_verb(p, own_verbs[i][0]))
			help_row(out, own_verbs[i][0], own_verbs[i][1], width);
	buffer_printf(out, "\n'%s help COMMAND' shows the options of one command.\n", p->name);
}

/* "petals-server --model PATH [OPTION...] [OPERANDS]" */
static void usage(struct buffer *out, const struct program *p, const struct program *parent)
{
	program_print_name(p, parent, out);
	if (p->verb_count) {
		buffer_text(out, " COMMAND [OPTION...]");
		return;
	}
	for (uint32_t i = 0; i < p->option_count; i++) {
		if (!p->options[i].required)
			continue;
		buffer_char(out, ' ');
		option_left(&p->options[i], out);
	}
	buffer_text(out, " [OPTION...]");
	if (p->operands)
		buffer_printf(out, " %s", p->operands);
}

static void help_usage(struct buffer *out, const struct program *p, const struct program *parent)
{
	struct buffer line = { 0 };
	const size_t indent = sizeof("Usage: ") - 1;

	usage(&line, p, parent);
	buffer_text(out, "Usage: ");
	wrap(out, buffer_string(&line), line.length, indent + 4, indent);
	buffer_char(out, '\n');
	buffer_close(&line);
}

static void help_examples(struct buffer *out, const struct program *p)
{
	if (!p->examples || !p->examples[0])
		return;
	buffer_text(out, "\nExamples\n");
	for (const char *const *example = p->examples; *example; example++)
		buffer_printf(out, "  %s\n", *example);
}

void program_help(const struct program *p, const struct program *parent, FILE *out)
{
	struct buffer text = { 0 };
	size_t width, bytes;

	program_print_name(p, parent, &text);
	buffer_printf(&text, " - %s\n\n", p->summary);
	help_usage(&text, p, parent);
	for (const char *d = p->description ? p->description : ""; next_paragraph(&d, &bytes);
	     d += bytes) {
		buffer_char(&text, '\n');
		wrap(&text, d, bytes, 0, 0);
		buffer_char(&text, '\n');
	}
	if (p->verb_count) {
		help_verbs(&text, p);
	} else {
		width = left_columns(common_options, common_option_count, 0);
		width = left_columns(p->options, p->option_count, width);
		help_options(&text, p->options, p->option_count, width);
		help_options(&text, common_options, common_option_count, width);
	}
	help_examples(&text, p);
	buffer_print(&text, out);
}

void options_help(const struct program *p, FILE *out)
{
	program_help(p, NULL, out);
}

/* roff reads backslashes everywhere, dots and quotes at the start of a line,
 * and would turn our hyphens into typographic ones.
 */
static void roff(struct buffer *out, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		bool line_start = i == 0 || text[i - 1] == '\n';

		if (line_start && (text[i] == '.' || text[i] == '\''))
			buffer_text(out, "\\&");
		if (text[i] == '\\')
			buffer_text(out, "\\e");
		else if (text[i] == '-')
			buffer_text(out, "\\-");
		else
			buffer_char(out, text[i]);
	}
}

static void roff_text(struct buffer *out, const char *text)
{
	roff(out, text, strlen(text));
}

static void man_options(struct buffer *out, const struct option *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const char *metavar = option_metavar(&rows[i]);
		struct buffer facts = { 0 };

		if (rows[i].kind == OPTION_HEADING) {
			buffer_text(out, ".SS ");
			roff_text(out, rows[i].help);
			buffer_char(out, '\n');
			continue;
		}
		buffer_text(out, ".TP\n\\fB\\-\\-");
		roff_text(out, rows[i].name);
		buffer_text(out, "\\fR");
		if (*metavar) {
			buffer_text(out, " \\fI");
			roff_text(out, metavar);
			buffer_text(out, "\\fR");
		}
		buffer_char(out, '\n');
		roff_text(out, rows[i].help);
		option_facts(&rows[i], &facts);
		if (facts.length) {
			buffer_text(out, " (");
			roff_text(out, buffer_string(&facts));
			buffer_char(out, ')');
		}
		buffer_text(out, ".\n");
		buffer_close(&facts);
	}
}

static void man_paragraphs(struct buffer *out, const char *text)
{
	size_t bytes;

	for (; next_paragraph(&text, &bytes); text += bytes) {
		buffer_text(out, ".PP\n");
		roff(out, text, bytes);
		buffer_char(out, '\n');
	}
}

static void man_verbs(struct buffer *out, const struct program *p)
{
	buffer_text(out, ".SH COMMANDS\n");
	for (uint32_t i = 0; i < p->verb_count; i++) {
		const struct program *verb = p->verbs[i];
		struct buffer line = { 0 };

		usage(&line, verb, p);
		buffer_text(out, ".SS ");
		roff_text(out, buffer_string(&line));
		buffer_char(out, '\n');
		roff_text(out, verb->summary);
		buffer_text(out, ".\n");
		man_paragraphs(out, verb->description ? verb->description : "");
		for (uint32_t o = 0; o < verb->option_count; o++)
			if (verb->options[o].kind != OPTION_HEADING)
				man_options(out, &verb->options[o], 1);
		buffer_close(&line);
	}
}

static void man_examples(struct buffer *out, const struct program *p)
{
	if (!p->examples || !p->examples[0])
		return;
	buffer_text(out, ".SH EXAMPLES\n");
	for (const char *const *example = p->examples; *example; example++) {
		buffer_text(out, ".PP\n.nf\n");
		roff_text(out, *example);
		buffer_text(out, "\n.fi\n");
	}
}

static const char man_end[] =
	".SH CONFIGURATION FILE\n"
	"Each line holds \\fIname\\fR = \\fIvalue\\fR, where the name is that of an option "
	"without its dashes.\n"
	"A # begins a comment; a value with spaces around it or with a # stands in double quotes.\n"
	"The command line wins over the file, the file over the default.\n"
	"\\fB\\-\\-dump\\-options\\fR prints such a file.\n"
	".SH EXIT STATUS\n"
	"0 on success, 1 on failure, 2 on a command line that was not understood.\n";

void program_man(const struct program *p, const struct program *parent, FILE *out)
{
	struct buffer text = { 0 }, line = { 0 };
	size_t title;

	buffer_text(&text, ".TH ");
	title = text.length;
	if (parent)
		buffer_printf(&text, "%s-", parent->name);
	buffer_text(&text, p->name);
	for (size_t i = title; i < text.length; i++)
		text.data[i] = text.data[i] == ' ' ? '-' :
				(char)toupper((unsigned char)text.data[i]);
	buffer_text(&text, " 1 \"\" \"petals " PETALS_VERSION "\" \"User Commands\"\n.SH NAME\n");
	if (parent)
		buffer_printf(&text, "%s\\-", parent->name);
	roff_text(&text, p->name);
	buffer_text(&text, " \\- ");
	roff_text(&text, p->summary);
	buffer_text(&text, "\n.SH SYNOPSIS\n");
	usage(&line, p, parent);
	roff_text(&text, buffer_string(&line));
	buffer_text(&text, "\n.SH DESCRIPTION\n");
	man_paragraphs(&text, p->description ? p->description : p->summary);
	if (p->verb_count)
		man_verbs(&text, p);
	buffer_text(&text, ".SH OPTIONS\n");
	man_options(&text, p->options, p->option_count);
	man_options(&text, common_options, common_option_count);
	man_examples(&text, p);
	buffer_text(&text, man_end);
	buffer_print(&text, out);
	buffer_close(&line);
}

void options_man(const struct program *p, FILE *out)
{
	program_man(p, NULL, out);
}
