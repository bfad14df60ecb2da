/* chat_template.c - owns a compiled template: its text, its tree, and one
 * rendering after another.
 */
#include "compute/text/chat_template.h"

#include <errno.h>
#include <string.h>

#include "compute/text/jinja_eval.h"
#include "compute/text/jinja_parse.h"
#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

enum { TEMPLATE_BYTES_MAX = 4 << 20 };

struct chat_template {
	struct bag bag;          /* text and tree */
	struct node *root;
};

/* Every line end becomes "\n" and a last one goes, as Jinja has it. */
static struct text copy_source(struct bag *bag, const char *text, size_t bytes)
{
	char *copy = bag_take(bag, bytes + 1);
	size_t n = 0;

	for (size_t i = 0; copy && i < bytes; i++) {
		copy[n++] = text[i] == '\r' ? '\n' : text[i];
		if (text[i] == '\r' && i + 1 < bytes && text[i + 1] == '\n')
			i++;
	}
	if (n > 0 && copy[n - 1] == '\n')
		n--;
	return (struct text){ copy, n };
}

static int compile(struct chat_template *t, const char *text, size_t bytes, struct error *e)
{
	struct text source = copy_source(&t->bag, text, bytes);
	struct token_run tokens;
	int rc;

	if (!source.data)
		return error_errno(e, -ENOMEM, "compiling a chat template");
	rc = jinja_lex(&tokens, source, &t->bag, e);
	return rc < 0 ? rc : jinja_parse(&t->root, tokens.list, &t->bag, e);
}

int chat_template_open(struct chat_template **out, const char *text, size_t bytes,
		       struct error *e)
{
	struct chat_template *t;
	int rc;

	*out = NULL;
	if (bytes > TEMPLATE_BYTES_MAX)
		return error_set(e, -EINVAL,
				 "line 1, column 1: the template has %zu bytes, more than %d",
				 bytes, TEMPLATE_BYTES_MAX);
	if (!utf8_valid(text, bytes))
		return error_set(e, -EINVAL, "line 1, column 1: the template is not UTF-8 text");
	t = mem_calloc(1, sizeof(*t));
	if (!t)
		return error_errno(e, -ENOMEM, "compiling a chat template");
	rc = compile(t, text, bytes, e);
	if (rc < 0) {
		chat_template_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void chat_template_close(struct chat_template *t)
{
	if (!t)
		return;
	bag_close(&t->bag);
	mem_free(t);
}

/* The caller's variables as the outermost scope. */
static void set_variables(struct run *r, const json_t *variables)
{
	const char *name;
	size_t bytes;
	json_t *value;

	json_object_keylen_foreach((json_t *)variables, name, bytes, value) {
		struct text text = { name, bytes };
		struct value v = value_of_json(r, value);

		if (text_is(text, "strftime_now") && v.kind == VALUE_INTEGER) {
			r->now_s = v.integer;
			v = (struct value){ .kind = VALUE_FUNCTION,
					    .function = find_function(text) };
		}
		scope_set(r, r->scope, text, v);
		if (run_failed(r))
			break;
	}
}

int chat_template_render(const struct chat_template *t, const json_t *variables,
			 struct buffer *out, struct error *e)
{
	struct buffer text = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct run r;
	int rc;

	if (!json_is_object(variables))
		return error_set(e, -EINVAL, "the variables of a chat template are no object");
	run_open(&r, e);
	r.out = &text;
	r.scope = scope_open(&r, NULL);
	if (r.scope)
		set_variables(&r, variables);
	if (!run_failed(&r))
		r.scope = scope_open(&r, r.scope);
	if (!run_failed(&r))
		jinja_execute(&r, t->root);
	rc = run_failed(&r);
	if (rc == 0) {
		buffer_append(out, buffer_string(&text), text.length);
		rc = buffer_failed(out);
		if (rc < 0)
			error_errno(e, rc, "rendering a chat template of %zu bytes", text.length);
	}
	buffer_close(&text);
	run_close(&r);
	return rc;
}
