/* regex.c - owns compiled patterns and the memory a match needs.
 *
 * PCRE2 gets its memory from memory.h, so that a fault sweep reaches it.
 * Patterns are compiled to machine code where the host can; a match that
 * outgrows the small default stack of that code is run by the interpreter.
 */
#include "compute/text/regex.h"

#include <errno.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "dataplane/base/memory.h"

/* A match may take this many steps, and as many again for each byte: enough
 * for every linear pattern, and an end for those that explode.
 */
enum { MATCH_STEPS_BASE = 1000000, MATCH_STEPS_PER_BYTE = 32, MATCH_HEAP_KIB = 65536 };

struct regex {
	pcre2_general_context *memory;
	pcre2_code *code;
};

struct regex_scratch {
	pcre2_general_context *memory;
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

static void *take(PCRE2_SIZE bytes, void *context)
{
	return mem_alloc(bytes);
}

static void give(void *block, void *context)
{
	mem_free(block);
}

static int compile(struct regex *r, const struct buffer *pattern, struct error *e)
{
	pcre2_compile_context *settings = pcre2_compile_context_create(r->memory);
	PCRE2_SIZE offset;
	PCRE2_UCHAR why[128];
	int code;

	if (!settings)
		return error_errno(e, -ENOMEM, "compiling a regular expression");
	pcre2_set_newline(settings, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(settings, 64);
	r->code = pcre2_compile((PCRE2_SPTR)buffer_string(pattern), pattern->length,
				PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE |
					PCRE2_NEVER_BACKSLASH_C,
				&code, &offset, settings);
	pcre2_compile_context_free(settings);
	if (r->code) {
		/* Refusal is fine: the interpreter gives the same matches. */
		(void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
		return 0;
	}
	if (code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY)
		return error_errno(e, -ENOMEM, "compiling a regular expression");
	pcre2_get_error_message(code, why, sizeof(why));
	return error_set(e, -EINVAL, "PCRE2 refuses \"%s\" at byte %zu: %s",
			 buffer_string(pattern), offset, (const char *)why);
}

int regex_open(struct regex **out, const char *pattern, size_t bytes, struct error *e)
{
	struct regex *r = mem_calloc(1, sizeof(*r));
	struct buffer translated = { .bound = 64 * KIB };
	int rc;

	*out = NULL;
	if (!r)
		return error_errno(e, -ENOMEM, "compiling a regular expression");
	rc = regex_translate(&translated, pattern, bytes, e);
	if (rc < 0)
		goto err;
	r->memory = pcre2_general_context_create(take, give, NULL);
	if (!r->memory) {
		rc = error_errno(e, -ENOMEM, "compiling a regular expression");
		goto err;
	}
	rc = compile(r, &translated, e);
	if (rc < 0)
		goto err;
	buffer_close(&translated);
	*out = r;
	return 0;

err:
	buffer_close(&translated);
	regex_close(r);
	return rc;
}

void regex_close(struct regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	pcre2_general_context_free(r->memory);
	mem_free(r);
}

int regex_scratch_open(struct regex_scratch **out, struct error *e)
{
	struct regex_scratch *s = mem_calloc(1, sizeof(*s));

	*out = NULL;
	if (!s)
		goto err;
	s->memory = pcre2_general_context_create(take, give, NULL);
	if (!s->memory)
		goto err;
	s->match = pcre2_match_data_create(1, s->memory);
	s->limits = pcre2_match_context_create(s->memory);
	if (!s->match || !s->limits)
		goto err;
	pcre2_set_heap_limit(s->limits, MATCH_HEAP_KIB);
	*out = s;
	return 0;

err:
	regex_scratch_close(s);
	return error_errno(e, -ENOMEM, "preparing to match");
}

void regex_scratch_close(struct regex_scratch *s)
{
	if (!s)
		return;
	pcre2_match_context_free(s->limits);
	pcre2_match_data_free(s->match);
	pcre2_general_context_free(s->memory);
	mem_free(s);
}

int regex_find(const struct regex *r, struct regex_scratch *s, const char *text, size_t bytes,
	       size_t from, struct regex_match *out, struct error *e)
{
	uint64_t steps = MATCH_STEPS_BASE + (uint64_t)MATCH_STEPS_PER_BYTE * bytes;
	PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->match);
	int rc;

	pcre2_set_match_limit(s->limits, (uint32_t)MIN(steps, (uint64_t)UINT32_MAX));
	rc = pcre2_match(r->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, s->match,
			 s->limits);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(r->code, (PCRE2_SPTR)text, bytes, from,
				 PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return error_errno(e, -ENOMEM, "matching a regular expression");
	if (rc < 0)
		return error_set(e, -E2BIG,
				 "a regular expression gave up at byte %zu of %zu (PCRE2 error %d)",
				 from, bytes, rc);
	out->start = ends[0];
	out->end = ends[1];
	return 1;
}
