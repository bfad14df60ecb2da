/* stop.c - one Knuth-Morris-Pratt automaton per stop string.
 *
 * The furthest automaton says how many of the last bytes may yet become a stop
 * string.  Those bytes are the beginning of that very string, so nothing
 * but its number and the count need be kept.
 */
#include "compute/text/stop.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct pattern {
	const char *text;               /* in the matcher's own copy */
	uint32_t length;
	uint32_t *fallback;             /* (length) longest proper border of text[0..i] */
	uint32_t matched;               /* last bytes of the input that begin the text */
};

struct stop {
	uint32_t count;
	int found;
	struct pattern patterns[STOP_STRINGS_MAX];
	/* the texts and fallbacks follow */
};

static int check(const char *const *strings, uint32_t count, size_t *bytes, struct error *e)
{
	*bytes = 0;
	if (count > STOP_STRINGS_MAX)
		return error_set(e, -EINVAL, "%u stop strings were given; at most %d are allowed",
				 count, STOP_STRINGS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		size_t length = strlen(strings[i]);

		if (length == 0)
			return error_set(e, -EINVAL, "stop string %u is empty", i);
		if (length > STOP_STRING_BYTES_MAX)
			return error_set(e, -EINVAL, "stop string %u has %zu bytes; at most %d are "
					 "allowed", i, length, STOP_STRING_BYTES_MAX);
		*bytes += length;
	}
	return 0;
}

static void find_fallbacks(struct pattern *p)
{
	uint32_t border = 0;

	p->fallback[0] = 0;
	for (uint32_t i = 1; i < p->length; i++) {
		while (border > 0 && p->text[i] != p->text[border])
			border = p->fallback[border - 1];
		border += p->text[i] == p->text[border];
		p->fallback[i] = border;
	}
}

int stop_open(struct stop **out, const char *const *strings, uint32_t count,
	      struct error *e)
{
	uint32_t *fallbacks;
	size_t bytes;
	char *texts;
	struct stop *s;
	int rc;

	*out = NULL;
	rc = check(strings, count, &bytes, e);
	if (rc < 0)
		return rc;
	s = mem_calloc(1, sizeof(*s) + bytes * (sizeof(uint32_t) + 1));
	if (!s)
		return error_set(e, -ENOMEM, "out of memory for %u stop strings", count);
	fallbacks = (uint32_t *)(s + 1);
	texts = (char *)(fallbacks + bytes);
	s->count = count;
	s->found = -1;
	for (uint32_t i = 0; i < count; i++) {
		struct pattern *p = &s->patterns[i];

		p->length = (uint32_t)strlen(strings[i]);
		p->text = memcpy(texts, strings[i], p->length);
		p->fallback = fallbacks;
		find_fallbacks(p);
		texts += p->length;
		fallbacks += p->length;
	}
	*out = s;
	return 0;
}

void stop_close(struct stop *s)
{
	mem_free(s);
}

static void advance(struct pattern *p, char c)
{
	while (p->matched > 0 && p->text[p->matched] != c)
		p->matched = p->fallback[p->matched - 1];
	p->matched += p->text[p->matched] == c;
}

/* The pattern that matched most; NULL when there are no patterns. */
static const struct pattern *furthest(const struct stop *s)
{
	const struct pattern *best = NULL;

	for (uint32_t i = 0; i < s->count; i++)
		if (!best || s->patterns[i].matched > best->matched)
			best = &s->patterns[i];
	return best;
}

size_t stop_held(const struct stop *s)
{
	const struct pattern *p = furthest(s);

	return p && s->found < 0 ? p->matched : 0;
}

/* Takes one byte; what is no longer held goes out. */
static void push_byte(struct stop *s, char c, struct buffer *out)
{
	const struct pattern *before = furthest(s);
	const char *held = before->text;
	size_t held_bytes = before->matched, keep;
	const struct pattern *complete = NULL;

	for (uint32_t i = 0; i < s->count; i++) {
		struct pattern *p = &s->patterns[i];

		advance(p, c);
		if (p->matched < p->length)
			continue;
		if (!complete || p->length > complete->length)
			complete = p;
	}
	if (complete)
		s->found = (int)(complete - s->patterns);
	keep = complete ? complete->length : furthest(s)->matched;
	buffer_append(out, held, MIN(held_bytes, held_bytes + 1 - keep));
	if (keep == 0)
		buffer_append(out, &c, 1);
	if (complete)
		for (uint32_t i = 0; i < s->count; i++)
			s->patterns[i].matched = 0;
}

bool stop_push(struct stop *s, const char *text, size_t bytes, struct buffer *out)
{
	if (s->count == 0)
		buffer_append(out, text, bytes);
	for (size_t i = 0; i < bytes && s->count > 0 && s->found < 0; i++)
		push_byte(s, text[i], out);
	return s->found >= 0;
}

void stop_finish(struct stop *s, struct buffer *out)
{
	const struct pattern *p = furthest(s);

	if (!p || s->found >= 0)
		return;
	buffer_append(out, p->text, p->matched);
	for (uint32_t i = 0; i < s->count; i++)
		s->patterns[i].matched = 0;
}

int stop_found(const struct stop *s)
{
	return s->found;
}
