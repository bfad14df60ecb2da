/* chat_template_test.c - tests of compute/text/chat_template.c, and of whole
 * templates against what jinja2 renders.
 */
#include "compute/text/chat_template.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>

#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

/* Goal: templates in the manner of published ones render as in jinja2. */
TEST(chat_template_render__like_jinja2)
{
	DIR *dir = opendir(test_data("templates"));
	const struct dirent *entry;
	char name[512];
	unsigned files = 0;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "refused.json") == 0 ||
		    strcmp(entry->d_name, "expressions.json") == 0)
			continue;
		snprintf(name, sizeof(name), "templates/%s", entry->d_name);
		check_renderings(test_data(name));
		files++;
	}
	closedir(dir);
	CHECK(files > 10);
	check_renderings(test_data("smollm2/chat.json"));
	check_renderings(test_data("gguf/chat.json"));
}

/* Goal: single expressions give jinja2's text; rare ones may be refused, but
 * only by name.
 */
TEST(chat_template_render__expressions)
{
	json_t *file = json_data("templates/expressions.json"), *one;
	unsigned same = 0;
	size_t i;

	json_array_foreach(json_object_get(file, "cases"), i, one) {
		const char *template = json_string_value(json_object_get(one, "template"));
		const char *text = json_string_value(json_object_get(one, "text"));
		bool rare = json_is_true(json_object_get(one, "rare"));
		char *variables = json_dumps(json_object_get(one, "variables"), 0);
		const char *got = rendered(template, variables);
		bool failed = strncmp(got, "error: ", 7) == 0;

		if (failed && rare)
			CHECK(strstr(got, "not supported") || strstr(got, "not known") ||
			      strstr(got, "are supported") || strstr(got, "too large"));
		else if (text)
			CHECK_TEXT(got, text);
		else
			CHECK(failed);
		same += !failed;
		free(variables);
	}
	json_decref(file);
	CHECK(same > 50);
}

/* Goal: nothing is appended when rendering fails; a bound of the buffer holds. */
TEST(chat_template_render__failure_leaves_out_alone)
{
	const char *fails = "some text {{ gone.x }}", *good = "0123456789";
	json_t *variables = json_object();
	struct buffer out = { .bound = 12 };
	struct chat_template *t;
	struct error e = { 0 };

	buffer_text(&out, "kept");
	CHECK_OK(chat_template_open(&t, fails, strlen(fails), &e), &e);
	CHECK_EQ(chat_template_render(t, variables, &out, &e), -EINVAL);
	CHECK_TEXT(buffer_string(&out), "kept");
	chat_template_close(t);
	CHECK_OK(chat_template_open(&t, good, strlen(good), &e), &e);
	CHECK_EQ(chat_template_render(t, variables, &out, &e), -EMSGSIZE);
	chat_template_close(t);
	buffer_close(&out);
	json_decref(variables);
}

struct renderer {
	const struct chat_template *template;
	const json_t *variables;
	struct buffer out;
	pthread_t thread;
	int rc;
};

static void *render_often(void *context)
{
	struct renderer *r = context;
	struct error e = { 0 };

	for (int i = 0; i < 50 && r->rc == 0; i++)
		r->rc = chat_template_render(r->template, r->variables, &r->out, &e);
	return NULL;
}

/* Goal: any number of threads render one template at once. */
TEST(chat_template_render__threads)
{
	const char *text = "{% for m in messages %}{{ m.content | trim | upper }}{% endfor %}"
			   "{{ messages | tojson }}";
	json_t *variables = json_loads("{\"messages\":[{\"content\":\" a \"}]}", 0, NULL);
	struct renderer renderers[4];
	struct chat_template *t;
	struct error e = { 0 };

	CHECK_OK(chat_template_open(&t, text, strlen(text), &e), &e);
	for (size_t i = 0; i < ARRAY_LENGTH(renderers); i++) {
		renderers[i] = (struct renderer){ .template = t, .variables = variables };
		CHECK_EQ(pthread_create(&renderers[i].thread, NULL, render_often, &renderers[i]),
			 0);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(renderers); i++)
		CHECK_EQ(pthread_join(renderers[i].thread, NULL), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(renderers); i++) {
		CHECK_EQ(renderers[i].rc, 0);
		CHECK_TEXT(buffer_string(&renderers[i].out), buffer_string(&renderers[0].out));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(renderers); i++)
		buffer_close(&renderers[i].out);
	chat_template_close(t);
	json_decref(variables);
}

/* Goal: what is no text is refused. */
TEST(chat_template_open__refuses)
{
	struct chat_template *t;
	struct error e = { 0 };

	CHECK_EQ(chat_template_open(&t, "a\xFF", 2, &e), -EINVAL);
	CHECK(!t);
	CHECK(strstr(e.text, "not UTF-8"));
	CHECK_OK(chat_template_open(&t, "", 0, &e), &e);
	chat_template_close(t);
}

#ifdef PETALS_FAULTS
static const char everything[] =
	"{% macro m(a, b=1) %}{{ a }}{{ b }}{% endmacro %}{% set ns = namespace(x='') %}"
	"{% for i in l %}{% set ns.x = ns.x ~ m(i) %}{% endfor %}{{ ns.x | upper }}"
	"{{ {'a': [1, 2.5]} | tojson(indent=2) }}{{ 'a,b'.split(',') | join('-') | indent }}"
	"{% set y %}{{ '%s' % l | length }}{% endset %}{{ y }}"
	"{{ l | sort | map('string') | list }}";

/* Goal: whichever allocation fails, compiling and rendering leak nothing. */
TEST(chat_template_render__survives_every_failure)
{
	json_t *variables = json_loads("{\"l\":[\"x\",\"y\"]}", 0, NULL);
	uint64_t live = mem_live_blocks();

	for (int nth = 1;; nth++) {
		struct chat_template *t = NULL;
		struct buffer out = { 0 };
		struct error e = { 0 };
		bool fired;
		int rc;

		fault_arm(nth);
		rc = chat_template_open(&t, everything, sizeof(everything) - 1, &e);
		if (rc == 0)
			rc = chat_template_render(t, variables, &out, &e);
		fired = fault_fired();
		fault_disarm();
		CHECK_EQ(rc, fired ? -ENOMEM : 0);
		chat_template_close(t);
		buffer_close(&out);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fired)
			break;
	}
	json_decref(variables);
}
#endif
