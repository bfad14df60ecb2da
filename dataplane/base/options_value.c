/* options_value.c - one option's value: from text into its field and back.
 *
 * Each kind is a row of kinds[]; what is written here reads back as the same
 * value, so that a dump can be used as a config file.
 */
#include "dataplane/base/options_parts.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/address.h"
#include "dataplane/base/memory.h"

struct suffix {
	const char *name;
	uint64_t factor;
};

/* Largest first: the first that divides a value prints it. */
static const struct suffix time_suffixes[] = {
	{ "d", 86400 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
	{ NULL, 0 },
};
static const struct suffix size_suffixes[] = {
	{ "T", GIB << 10 }, { "G", GIB }, { "M", MIB }, { "k", KIB }, { "", 1 }, { NULL, 0 },
};

static void *field(const struct option *o, void *target)
{
	return (char *)target + o->offset;
}

static const void *field_const(const struct option *o, const void *target)
{
	return (const char *)target + o->offset;
}

static bool bounded(const struct option *o)
{
	return o->least != 0 || o->most != 0;
}

/* `value` in the unit of the bounds. */
static int check_bounds(const struct option *o, const char *text, double value, struct error *e)
{
	struct buffer range = { .bound = 128 };

	if (!bounded(o) || (value >= o->least && value <= o->most))
		return 0;
	option_print_bounds(o, &range);
	error_set(e, -EINVAL, "'%.60s' is out of bounds: %s is accepted", text,
		  buffer_string(&range));
	buffer_close(&range);
	return -EINVAL;
}

static int store_flag(const struct option *o, void *at, const char *text, struct error *e)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*(bool *)at = i % 2;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "'%.60s' is neither true nor false", text);
}

static int store_integer(const struct option *o, void *at, const char *text, struct error *e)
{
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end == text || *end || isspace((unsigned char)*text))
		return error_set(e, -EINVAL, "'%.60s' is not a whole number", text);
	if (errno == ERANGE)
		return error_set(e, -EINVAL, "'%.60s' does not fit into 64 bits", text);
	if (check_bounds(o, text, (double)value, e) < 0)
		return -EINVAL;
	*(int64_t *)at = value;
	return 0;
}

static int store_real(const struct option *o, void *at, const char *text, struct error *e)
{
	double value;
	char *end;

	value = strtod(text, &end);
	if (end == text || *end || isspace((unsigned char)*text) || !isfinite(value))
		return error_set(e, -EINVAL, "'%.60s' is not a number", text);
	if (check_bounds(o, text, value, e) < 0)
		return -EINVAL;
	*(double *)at = value;
	return 0;
}

static int store_text(const struct option *o, void *at, const char *text, struct error *e)
{
	char *copy = mem_strdup(text);

	if (!copy)
		return error_errno(e, -ENOMEM, "cannot keep '%.60s'", text);
	mem_free(*(char **)at);
	*(char **)at = copy;
	return 0;
}

static int store_address(const struct option *o, void *at, const char *text, struct error *e)
{
	struct address parsed;
	int rc = address_parse(&parsed, text, e);

	return rc < 0 ? rc : store_text(o, at, text, e);
}

/* Visits the words of "cpu|cuda": for (s = choices; s; s = next_choice(s)). */
static const char *next_choice(const char *choice)
{
	const char *bar = strchr(choice, '|');

	return bar ? bar + 1 : NULL;
}

static int store_choice(const struct option *o, void *at, const char *text, struct error *e)
{
	size_t length = strlen(text);
	int index = 0;

	for (const char *s = o->choices; s; s = next_choice(s), index++) {
		if (strcspn(s, "|") == length && strncmp(s, text, length) == 0) {
			*(int *)at = index;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "'%.60s' is none of %s", text, o->choices);
}

/* Digits, perhaps with a point, then one of the suffixes ("iB" may follow a
 * size).  False: not that.
 */
static bool parse_scaled(const char *text, const struct suffix *suffixes, bool is_size,
			 uint64_t *out)
{
	size_t digits = strspn(text, "0123456789."), length;
	const char *rest = text + digits;
	long double value;
	char *end;

	value = strtold(text, &end);
	if (!isdigit((unsigned char)text[0]) || end != rest)
		return false;
	length = strlen(rest);
	if (is_size && length == 3 && strcmp(rest + 1, "iB") == 0)
		length = 1;
	if (!is_size && length == 0 && value == 0) {
		*out = 0;
		return true;
	}
	for (const struct suffix *s = suffixes; s->name; s++) {
		int differs = is_size ? strncasecmp(s->name, rest, length) :
					strncmp(s->name, rest, length);

		if (differs || strlen(s->name) != length)
			continue;
		value = roundl(value * (long double)s->factor);
		*out = value < 0x1p64L ? (uint64_t)value : UINT64_MAX;
		return value < 0x1p64L;
	}
	return false;
}

static int store_duration(const struct option *o, void *at, const char *text, struct error *e)
{
	uint64_t ns;

	if (!parse_scaled(text, time_suffixes, false, &ns))
		return error_set(e, -EINVAL,
				 "'%.60s' is not a time (such as 250ms, 10s, 2m or 1h)", text);
	if (check_bounds(o, text, (double)ns / (double)NS_PER_S, e) < 0)
		return -EINVAL;
	*(uint64_t *)at = ns;
	return 0;
}

static int store_bytes(const struct option *o, void *at, const char *text, struct error *e)
{
	uint64_t bytes;

	if (!parse_scaled(text, size_suffixes, true, &bytes))
		return error_set(e, -EINVAL,
				 "'%.60s' is not a size (such as 64k, 16M or 2G)", text);
	if (check_bounds(o, text, (double)bytes, e) < 0)
		return -EINVAL;
	*(uint64_t *)at = bytes;
	return 0;
}

static bool parse_u32(const char *text, char stop, const char **end, uint32_t *out)
{
	unsigned long long value;
	char *after;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &after, 10);
	if (*after != stop || value > UINT32_MAX || errno == ERANGE)
		return false;
	*end = after + 1;
	*out = (uint32_t)value;
	return true;
}

static int store_span(const struct option *o, void *at, const char *text, struct error *e)
{
	struct option_span span = { .given = true };
	const char *rest;

	if (!parse_u32(text, ':', &rest, &span.first) || !parse_u32(rest, '\0', &rest, &span.end))
		return error_set(e, -EINVAL, "'%.60s' is not FIRST:END (such as 0:10)", text);
	if (span.first >= span.end)
		return error_set(e, -EINVAL, "'%.60s' is empty: FIRST must be below END", text);
	*(struct option_span *)at = span;
	return 0;
}

static void print_scaled(uint64_t value, const struct suffix *s, const char *zero,
			 struct buffer *out)
{
	if (value == 0) {
		buffer_text(out, zero);
		return;
	}
	while (value % s->factor != 0)
		s++;
	buffer_printf(out, "%ju%s", (uintmax_t)(value / s->factor), s->name);
}

static void print_real(double value, struct buffer *out)
{
	char text[40];

	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	buffer_text(out, text);
}

/* Quoted where a config file would otherwise read something else. */
static void print_text(const char *text, struct buffer *out)
{
	size_t length = strlen(text);
	bool plain = length > 0 && text[0] != '"' && !isspace((unsigned char)text[0]) &&
		     !isspace((unsigned char)text[length - 1]) && !strpbrk(text, "#\n\r\t\\");

	if (plain) {
		buffer_text(out, text);
		return;
	}
	buffer_char(out, '"');
	for (; *text; text++) {
		if (*text == '\n' || *text == '\r' || *text == '\t') {
			buffer_text(out, *text == '\n' ? "\\n" : *text == '\r' ? "\\r" : "\\t");
			continue;
		}
		if (*text == '"' || *text == '\\')
			buffer_char(out, '\\');
		buffer_char(out, *text);
	}
	buffer_char(out, '"');
}

static void print_choice(const struct option *o, int index, struct buffer *out)
{
	const char *s = o->choices;

	while (index-- > 0 && s)
		s = next_choice(s);
	if (s)
		buffer_append(out, s, strcspn(s, "|"));
}

static const struct {
	int (*store)(const struct option *o, void *at, const char *text, struct error *e);
	const char *metavar;
} kinds[] = {
	[OPTION_FLAG] = { store_flag, "" },
	[OPTION_INTEGER] = { store_integer, "N" },
	[OPTION_REAL] = { store_real, "X" },
	[OPTION_TEXT] = { store_text, "TEXT" },
	[OPTION_CHOICE] = { store_choice, NULL },
	[OPTION_DURATION] = { store_duration, "TIME" },
	[OPTION_BYTES] = { store_bytes, "SIZE" },
	[OPTION_ADDRESS] = { store_address, "HOST:PORT" },
	[OPTION_SPAN] = { store_span, "FIRST:END" },
	[OPTION_HEADING] = { NULL, "" },
};

int option_store(const struct option *o, void *target, const char *text, struct error *e)
{
	assert(kinds[o->kind].store);
	return kinds[o->kind].store(o, field(o, target), text, e);
}

void option_print(const struct option *o, const void *target, struct buffer *out)
{
	const void *at = field_const(o, target);
	const struct option_span *span = at;

	switch (o->kind) {
	case OPTION_FLAG:
		buffer_text(out, *(const bool *)at ? "true" : "false");
		break;
	case OPTION_INTEGER:
		buffer_printf(out, "%jd", (intmax_t)*(const int64_t *)at);
		break;
	case OPTION_REAL:
		print_real(*(const double *)at, out);
		break;
	case OPTION_TEXT:
	case OPTION_ADDRESS:
		if (*(char *const *)at)
			print_text(*(char *const *)at, out);
		break;
	case OPTION_CHOICE:
		print_choice(o, *(const int *)at, out);
		break;
	case OPTION_DURATION:
		print_scaled(*(const uint64_t *)at, time_suffixes, "0s", out);
		break;
	case OPTION_BYTES:
		print_scaled(*(const uint64_t *)at, size_suffixes, "0", out);
		break;
	case OPTION_SPAN:
		if (span->given)
			buffer_printf(out, "%u:%u", span->first, span->end);
		break;
	case OPTION_HEADING:
		break;
	}
}

void option_release(const struct option *o, void *target)
{
	char **at = field(o, target);

	if (o->kind != OPTION_TEXT && o->kind != OPTION_ADDRESS)
		return;
	mem_free(*at);
	*at = NULL;
}

const char *option_metavar(const struct option *o)
{
	if (o->kind == OPTION_FLAG || o->kind == OPTION_HEADING)
		return "";
	if (o->metavar)
		return o->metavar;
	return o->kind == OPTION_CHOICE ? o->choices : kinds[o->kind].metavar;
}

static void print_bound(const struct option *o, double bound, struct buffer *out)
{
	if (o->kind == OPTION_DURATION)
		print_scaled((uint64_t)llround(bound * (double)NS_PER_S), time_suffixes, "0s", out);
	else if (o->kind == OPTION_BYTES)
		print_scaled((uint64_t)bound, size_suffixes, "0", out);
	else
		print_real(bound, out);
}

void option_print_bounds(const struct option *o, struct buffer *out)
{
	/* Beyond this a bound says "as far as the type goes" and helps nobody. */
	const double far = 0x1p52;
	bool scalar = o->kind == OPTION_INTEGER || o->kind == OPTION_REAL ||
		      o->kind == OPTION_DURATION || o->kind == OPTION_BYTES;

	if (!scalar || !bounded(o))
		return;
	if (o->most >= far) {
		buffer_text(out, "at least ");
		print_bound(o, o->least, out);
		return;
	}
	if (o->least > -far) {
		print_bound(o, o->least, out);
		buffer_text(out, " to ");
	} else {
		buffer_text(out, "at most ");
	}
	print_bound(o, o->most, out);
}
