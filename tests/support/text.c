/* text.c - owns what the tests of tokenizers and chat templates share. */
#include "tests/support/text.h"

#include <string.h>

#include "compute/text/chat_template.h"
#include "compute/text/pretokenizer.h"
#include "compute/text/regex.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

void check_ids(const struct tokenizer *t, const char *text, size_t bytes, unsigned flags,
	       const json_t *ids)
{
	struct token_list list = { 0 };
	struct error e = { 0 };
	bool same;

	CHECK_OK(tokenizer_encode(t, text, bytes, flags, &list, &e), &e);
	same = list.count == json_array_size(ids);
	for (size_t i = 0; same && i < list.count; i++)
		same = json_integer_value(json_array_get(ids, i)) == list.ids[i];
	if (!same) {
		for (size_t i = 0; i < list.count; i++)
			print_message(" %u", list.ids[i]);
		fail_msg("ids of \"%.*s\" (flags %u) differ; the above came out", (int)bytes, text,
			 flags);
	}
	token_list_close(&list);
}

void check_id_lines(const struct tokenizer *t, const char *path, unsigned flags)
{
	struct error e = { 0 };
	char *data, *line, *rest;
	size_t bytes, lines = 0;

	CHECK_OK(file_read(path, 64 * MIB, &data, &bytes, &e), &e);
	for (line = strtok_r(data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		json_t *vector = json_loads(line, JSON_ALLOW_NUL, NULL);
		const json_t *text = json_object_get(vector, "text");

		CHECK(text);
		check_ids(t, json_string_value(text), json_string_length(text), flags,
			  json_object_get(vector, "ids"));
		json_decref(vector);
		lines++;
	}
	CHECK(lines > 0);
	mem_free(data);
}

void check_decoded(const struct tokenizer *t, const json_t *ids, bool skip_special,
		   const char *text, size_t bytes)
{
	size_t count = json_array_size(ids);
	uint32_t *list = mem_alloc(count * sizeof(*list));
	struct buffer whole = { 0 }, streamed = { 0 };
	struct detokenizer d;

	detokenizer_start(&d, t, skip_special);
	for (size_t i = 0; i < count; i++) {
		list[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
		detokenizer_push(&d, list[i], &streamed);
	}
	detokenizer_finish(&d, &streamed);
	CHECK_EQ(tokenizer_decode(t, list, count, skip_special, &whole), 0);
	if (whole.length != bytes || memcmp(buffer_string(&whole), text, bytes) != 0)
		fail_msg("decoded \"%s\", expected \"%s\"", buffer_string(&whole), text);
	CHECK_EQ(streamed.length, whole.length);
	CHECK_BYTES(buffer_string(&streamed), buffer_string(&whole), whole.length);
	buffer_close(&whole);
	buffer_close(&streamed);
	mem_free(list);
}

static int render(const char *template, size_t bytes, const json_t *variables,
		  struct buffer *out, struct error *e)
{
	struct chat_template *t;
	int rc = chat_template_open(&t, template, bytes, e);

	if (rc == 0)
		rc = chat_template_render(t, variables, out, e);
	chat_template_close(t);
	return rc;
}

const char *rendered(const char *template, const char *variables)
{
	static char text[16384];
	json_t *json = json_loads(variables ? variables : "{}", 0, NULL);
	struct buffer out = { 0 };
	struct error e = { 0 };

	CHECK(json);
	if (render(template, strlen(template), json, &out, &e) < 0)
		snprintf(text, sizeof(text), "error: %s", e.text);
	else
		snprintf(text, sizeof(text), "%s", buffer_string(&out));
	buffer_close(&out);
	json_decref(json);
	return text;
}

static void check_rendering(const json_t *template, const json_t *one)
{
	const json_t *own = json_object_get(one, "template");
	const char *text = json_string_value(json_object_get(one, "text"));
	const char *error = json_string_value(json_object_get(one, "error"));
	struct buffer out = { 0 };
	struct error e = { 0 };
	int rc;

	template = own ? own : template;
	rc = render(json_string_value(template), json_string_length(template),
		    json_object_get(one, "variables"), &out, &e);
	if (text && (rc < 0 || strcmp(text, buffer_string(&out)) != 0))
		fail_msg("%s\n-- renders to\n%s\n-- instead of\n%s\n-- %s",
			 json_string_value(template), buffer_string(&out), text, e.text);
	if (!text && (rc == 0 || !error || strcmp(error, e.text) != 0))
		fail_msg("%s\n-- renders to\n%s\n-- instead of failing with %s (but: %s)",
			 json_string_value(template), buffer_string(&out), error, e.text);
	buffer_close(&out);
}

void check_renderings(const char *path)
{
	json_error_t why;
	json_t *file = json_load_file(path, 0, &why), *one;
	size_t i;

	if (!file)
		fail_msg("%s: %s", path, why.text);
	CHECK(json_array_size(json_object_get(file, "cases")) > 0);
	json_array_foreach(json_object_get(file, "cases"), i, one)
		check_rendering(json_object_get(file, "template"), one);
	json_decref(file);
}

const char *cuts_of(const char *json, const char *text)
{
	static char result[512];
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	struct pieces pieces = { 0 }, spare = { 0 };
	struct pretokenizer p = { 0 };
	struct regex_scratch *s;
	struct error e = { 0 };
	size_t n = 0;

	CHECK(node);
	CHECK_OK(pretokenizer_read(&p, node, "pre_tokenizer", &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	pieces_start(&pieces, text, strlen(text), true);
	CHECK_OK(pretokenizer_run(&p, s, &pieces, &spare, &e), &e);
	result[0] = '\0';
	for (size_t i = 0; i < pieces.count; i++)
		n += (size_t)snprintf(result + n, sizeof(result) - n, "%s%.*s", i ? "|" : "",
				      (int)(pieces.list[i].end - pieces.list[i].start),
				      pieces.text.data + pieces.list[i].start);
	pieces_close(&pieces);
	pieces_close(&spare);
	regex_scratch_close(s);
	pretokenizer_close(&p);
	json_decref(node);
	return result;
}

const char *matches(const char *pattern, const char *text)
{
	static char out[512];
	struct regex_scratch *s;
	struct regex_match m;
	struct regex *r;
	struct error e = { 0 };
	size_t from = 0, n = 0;

	CHECK_OK(regex_open(&r, pattern, strlen(pattern), &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	out[0] = '\0';
	while (from <= strlen(text) && regex_find(r, s, text, strlen(text), from, &m, &e) > 0) {
		n += (size_t)snprintf(out + n, sizeof(out) - n, "[%.*s]", (int)(m.end - m.start),
				      text + m.start);
		from = m.end > m.start ? m.end : m.end + 1;
	}
	regex_scratch_close(s);
	regex_close(r);
	return out;
}

json_t *json_data(const char *name)
{
	json_error_t why;
	json_t *file = json_load_file(test_data(name), JSON_ALLOW_NUL, &why);

	if (!file)
		fail_msg("%s: %s", name, why.text);
	return file;
}
