/* impair.c - the table of impairments, and dice. */
#include "dataplane/impair.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES_MAX = 48, REORDER_DEFAULT_NS = 1000000 };

enum word_kind { CHANCE, DURATION, RATE, NUMBER, WORD_KINDS };

static const struct word {
	const char *name;
	enum word_kind kind;
	size_t offset;
} words[] = {
	{ "drop",      CHANCE,   offsetof(struct impair_options, drop) },
	{ "duplicate", CHANCE,   offsetof(struct impair_options, duplicate) },
	{ "reorder",   CHANCE,   offsetof(struct impair_options, reorder) },
	{ "corrupt",   CHANCE,   offsetof(struct impair_options, corrupt) },
	{ "delay",     DURATION, offsetof(struct impair_options, delay_ns) },
	{ "jitter",    DURATION, offsetof(struct impair_options, jitter_ns) },
	{ "hold",      DURATION, offsetof(struct impair_options, reorder_ns) },
	{ "rate",      RATE,     offsetof(struct impair_options, bytes_per_ns) },
	{ "seed",      NUMBER,   offsetof(struct impair_options, seed) },
};

/* What a value of each kind looks like, and the units that may follow it. */
static const struct {
	const char *shape, *example;
	struct { const char *name; double factor; } units[4];
} kinds[WORD_KINDS] = {
	[CHANCE]   = { "CHANCE%", "2.5%", { { "%", 0.01 } } },
	[DURATION] = { "TIME", "50us",
		       { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } } },
	[RATE]     = { "BITS", "10G",
		       { { "k", 1e3 / 8e9 }, { "M", 1e6 / 8e9 }, { "G", 1e9 / 8e9 } } },
	[NUMBER]   = { "N", "7", { { "", 1 } } },
};

static int bad_value(const struct word *w, const char *text, struct error *e)
{
	return error_set(e, -EINVAL, "impairment '%s' makes no sense: %s takes a value like %s",
			 text, w->name, kinds[w->kind].example);
}

static int store(struct impair_options *o, const struct word *w, const char *text,
		 const char *value, struct error *e)
{
	void *at = (char *)o + w->offset;
	double number, factor = 0;
	char *unit;

	number = strtod(value, &unit);
	for (size_t i = 0; i < ARRAY_LENGTH(kinds[w->kind].units); i++)
		if (kinds[w->kind].units[i].name && strcmp(kinds[w->kind].units[i].name, unit) == 0)
			factor = kinds[w->kind].units[i].factor;
	if (unit == value || factor == 0 || !isfinite(number) || number < 0)
		return bad_value(w, text, e);
	number *= factor;
	if (w->kind == CHANCE ? number > 1 : number > 1e18)
		return bad_value(w, text, e);
	if (w->kind == CHANCE || w->kind == RATE)
		*(double *)at = number;
	else
		*(uint64_t *)at = (uint64_t)number;
	return 0;
}

static int parse_word(struct impair_options *o, const char *text, struct error *e)
{
	const char *equals = strchr(text, '=');
	char known[256];

	for (size_t i = 0; equals && i < ARRAY_LENGTH(words); i++)
		if (strlen(words[i].name) == (size_t)(equals - text) &&
		    strncmp(words[i].name, text, (size_t)(equals - text)) == 0)
			return store(o, &words[i], text, equals + 1, e);
	impair_words(known, sizeof(known));
	return error_set(e, -EINVAL, "there is no impairment '%s'; known are %s", text, known);
}

int impair_parse(struct impair_options *o, const char *text, struct error *e)
{
	char word[WORD_BYTES_MAX + 1];
	size_t length;
	int rc;

	for (; *text; text += length + (text[length] == ',')) {
		length = strcspn(text, ",");
		if (length > WORD_BYTES_MAX)
			return error_set(e, -EINVAL, "impairment '%.40s...' is too long", text);
		memcpy(word, text, length);
		word[length] = '\0';
		rc = parse_word(o, word, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void impair_words(char *out, size_t bytes)
{
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(words) && at < bytes; i++) {
		int wrote = snprintf(out + at, bytes - at, "%s%s=%s", i ? " " : "", words[i].name,
				     kinds[words[i].kind].shape);

		at += (size_t)wrote;
	}
}

bool impair_is_none(const struct impair_options *o)
{
	return o->drop == 0 && o->duplicate == 0 && o->reorder == 0 && o->corrupt == 0 &&
	       o->delay_ns == 0 && o->jitter_ns == 0 && o->bytes_per_ns == 0;
}

void impair_start(struct impair *i, const struct impair_options *o)
{
	*i = (struct impair){ .options = *o };
	if (i->options.reorder_ns == 0)
		i->options.reorder_ns = REORDER_DEFAULT_NS;
	random_seed(&i->random, o->seed);
}

static uint64_t draw_due(struct impair *i, uint64_t start_ns)
{
	const struct impair_options *o = &i->options;
	uint64_t due_ns = start_ns + o->delay_ns;

	if (o->jitter_ns)
		due_ns += random_below(&i->random, o->jitter_ns + 1);
	if (random_chance(&i->random, o->reorder))
		due_ns += random_below(&i->random, o->reorder_ns + 1);
	return due_ns;
}

struct impair_fate impair_fate(struct impair *i, uint32_t bytes, uint64_t now_ns)
{
	const struct impair_options *o = &i->options;
	struct impair_fate fate = { .copies = 1 };
	uint64_t start_ns = now_ns;

	if (o->bytes_per_ns > 0) {
		start_ns = MAX(now_ns, i->busy_until_ns) + (uint64_t)(bytes / o->bytes_per_ns);
		i->busy_until_ns = start_ns;
	}
	if (random_chance(&i->random, o->drop))
		fate.copies = 0;
	else if (random_chance(&i->random, o->duplicate))
		fate.copies = 2;
	for (uint32_t copy = 0; copy < fate.copies; copy++)
		fate.due_ns[copy] = draw_due(i, start_ns);
	if (bytes > 0 && random_chance(&i->random, o->corrupt)) {
		fate.corrupt = true;
		fate.bit = random_below(&i->random, 8ull * bytes);
	}
	return fate;
}
