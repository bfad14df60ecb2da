/* golden.c - JSON and base64 into arrays. */
#include "tests/support/golden.h"

#include <jansson.h>

#include "dataplane/base/memory.h"
#include "tests/test.h"

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

float *golden_floats(const char *base64, size_t *count)
{
	size_t length = strlen(base64), at = 0;
	uint8_t *bytes = mem_calloc(length / 4 * 3 + 4, 1);

	CHECK(bytes != NULL);
	for (size_t i = 0; i + 4 <= length; i += 4) {
		uint32_t group = 0;
		int padding = 0;

		for (int j = 0; j < 4; j++) {
			int d = digit(base64[i + j]);

			padding += d < 0;
			group = group << 6 | (uint32_t)(d < 0 ? 0 : d);
		}
		for (int j = 0; j < 3 - padding; j++)
			bytes[at++] = (uint8_t)(group >> (16 - 8 * j));
	}
	CHECK_EQ(at % sizeof(float), 0);
	*count = at / sizeof(float);
	return (float *)bytes;
}

static uint32_t number(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static uint32_t *ids_of(const json_t *array, uint32_t *count)
{
	uint32_t *out;

	*count = (uint32_t)json_array_size(array);
	out = mem_calloc(*count + 1, sizeof(*out));
	CHECK(out != NULL);
	for (uint32_t i = 0; i < *count; i++)
		out[i] = (uint32_t)json_integer_value(json_array_get(array, i));
	return out;
}

static void read_prompt(const struct golden *g, const json_t *json, struct golden_prompt *p)
{
	const json_t *states = json_object_get(json, "states");
	const json_t *logits = json_object_get(json, "logits");
	const json_t *tokens = json_object_get(json, "continuation");
	const json_t *logprobs = json_object_get(json, "logprobs");
	size_t count;

	p->ids = ids_of(json_object_get(json, "ids"), &p->count);
	p->rows = ids_of(json_object_get(json, "rows"), &p->row_count);
	p->continuation = ids_of(tokens ? tokens : json_object_get(json, "tokens"), &p->steps);
	p->logprobs = mem_calloc(p->steps + 1, sizeof(*p->logprobs));
	for (uint32_t i = 0; i < p->steps; i++)
		p->logprobs[i] = json_number_value(json_array_get(logprobs, i));
	if (states) {
		CHECK_EQ(json_array_size(states), g->blocks + 1);
		p->states = mem_calloc(g->blocks + 1, sizeof(*p->states));
		for (uint32_t b = 0; b <= g->blocks; b++) {
			const char *text = json_string_value(json_array_get(states, b));

			p->states[b] = golden_floats(text, &count);
			CHECK_EQ(count, p->row_count * g->hidden);
		}
	}
	if (logits) {
		p->logits = golden_floats(json_string_value(logits), &count);
		CHECK_EQ(count, p->row_count * g->vocabulary);
	}
}

void golden_open(struct golden *g, const char *path)
{
	json_error_t error;
	json_t *json = json_load_file(path, 0, &error), *prompts;

	if (!json)
		fail_msg("%s: line %d: %s", path, error.line, error.text);
	prompts = json_object_get(json, "prompts");
	*g = (struct golden){
		number(json, "hidden"), number(json, "blocks"), number(json, "vocabulary"),
		(uint32_t)json_array_size(prompts), NULL,
	};
	CHECK(g->prompt_count > 0);
	g->prompts = mem_calloc(g->prompt_count, sizeof(*g->prompts));
	CHECK(g->prompts != NULL);
	for (uint32_t i = 0; i < g->prompt_count; i++)
		read_prompt(g, json_array_get(prompts, i), &g->prompts[i]);
	json_decref(json);
}

void golden_close(struct golden *g)
{
	for (uint32_t i = 0; i < g->prompt_count; i++) {
		struct golden_prompt *p = &g->prompts[i];

		for (uint32_t b = 0; p->states && b <= g->blocks; b++)
			mem_free(p->states[b]);
		mem_free(p->states);
		mem_free(p->logits);
		mem_free(p->logprobs);
		mem_free(p->continuation);
		mem_free(p->rows);
		mem_free(p->ids);
	}
	mem_free(g->prompts);
}
