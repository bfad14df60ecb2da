/* jinja_run.c - owns the limits and the sticky failure of a rendering. */
#include "compute/text/jinja_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/text/jinja_node.h"

void run_open(struct run *r, struct error *e)
{
	*r = (struct run){ .bag.bound = RUN_MEMORY_BYTES_MAX, .error = e };
}

void run_close(struct run *r)
{
	bag_close(&r->bag);
}

void run_fail(struct run *r, int code, const char *format, ...)
{
	char sentence[ERROR_TEXT_BYTES - 64];
	va_list args;

	if (r->rc)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	r->rc = code;
	error_set(r->error, code, "line %u, column %u: %s", r->line, r->column, sentence);
}

void run_raise(struct run *r, struct text sentence)
{
	if (r->rc)
		return;
	r->rc = -EINVAL;
	error_set(r->error, -EINVAL, "%.*s", (int)MIN(sentence.bytes, (size_t)ERROR_TEXT_BYTES),
		  sentence.data ? sentence.data : "");
}

int run_failed(const struct run *r)
{
	return r->rc;
}

void run_charge(struct run *r, size_t bytes)
{
	r->steps += 1 + bytes / 16;
	if (r->steps > RUN_STEPS_MAX)
		run_fail(r, -EMSGSIZE, "the template takes more than %d steps", RUN_STEPS_MAX);
}

bool run_descend(struct run *r, const struct node *node)
{
	if (node) {
		r->line = node->line;
		r->column = node->column;
	}
	run_charge(r, 0);
	if (r->depth >= RUN_DEPTH_MAX)
		run_fail(r, -EINVAL, "nested more than %d deep", RUN_DEPTH_MAX);
	if (r->rc)
		return false;
	r->depth++;
	return true;
}

void run_ascend(struct run *r)
{
	r->depth--;
}

void *run_take(struct run *r, size_t bytes)
{
	void *block = r->rc ? NULL : bag_take(&r->bag, bytes);

	if (!block && r->bag.failed == -EMSGSIZE)
		run_fail(r, -EMSGSIZE, "the template needs more than %d bytes",
			 RUN_MEMORY_BYTES_MAX);
	else if (!block)
		run_fail(r, -ENOMEM, "out of memory");
	return block;
}

struct value run_text(struct run *r, struct buffer *b)
{
	struct text text = { "", 0 };

	if (buffer_failed(b) == -EMSGSIZE)
		run_fail(r, -EMSGSIZE, "a text grows beyond %zu bytes", b->bound);
	else if (buffer_failed(b))
		run_fail(r, -ENOMEM, "out of memory");
	run_charge(r, b->length);
	if (!r->rc && b->length > 0) {
		char *copy = run_take(r, b->length);

		if (copy) {
			memcpy(copy, b->data, b->length);
			text = (struct text){ copy, b->length };
		}
	}
	buffer_close(b);
	return value_text(text);
}

struct variable *scope_find(const struct scope *s, struct text name)
{
	for (; s; s = s->outer)
		for (struct variable *v = s->variables; v; v = v->next)
			if (text_equal(v->name, name))
				return v;
	return NULL;
}

void scope_set(struct run *r, struct scope *s, struct text name, struct value value)
{
	struct scope alone = { NULL, s->variables };
	struct variable *v = scope_find(&alone, name);

	if (!v) {
		v = run_take(r, sizeof(*v));
		if (!v)
			return;
		v->name = name;
		v->next = s->variables;
		s->variables = v;
	}
	v->value = value;
}
