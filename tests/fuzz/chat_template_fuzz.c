/* chat_template_fuzz.c - feeds texts to the template compiler; what compiles
 * is rendered with a small conversation.
 */
#include <jansson.h>
#include <string.h>

#include "compute/text/chat_template.h"
#include "compute/text/utf8.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

static const char *const seeds[] = {
	"{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
	"{{ '<s>' }}{% endif %}{{ message.role + '\\n' + message['content'] | trim }}{% else %}x"
	"{% endfor %}{% if add_generation_prompt %}{{- 'go' -}}{% endif %}",

	"{%- set ns = namespace(i=0, l=[]) %}{%- for m in messages[::-1] if m.content is string %}"
	"{%- set ns.i = ns.i + loop.index0 // 2 %}{{ ns.i ~ m.content.split(' ')[-1:] }}{% break %}"
	"{%- endfor %}{{ tools | tojson(indent=2) }}",

	"{% macro m(a, b={'x': (1, 2.5)}) %}{{ a }}{{ b | items | list }}{% endmacro %}{{ m(1) }}"
	"{% call m(2) %}{{ caller is defined }}{% endcall %}"
	"{% set x | upper %}b{% endset %}{{ x }}",

	"{{ messages | selectattr('role', 'equalto', 'user') "
	"| map(attribute='content') | join(', ') }}"
	"{{ 'a,b'.replace(',', '-').title() }}"
	"{{ [3, 1] | sort(reverse=true) | first | default(1) }}",

	"  {%+ raw %}{{ x }}{% endraw -%}  {# note -#}\n"
	"{{ raise_exception('no ' ~ bos_token) if false }}"
	"{{ '%5.2f|%s' % (1.5, none) }}{{ '{} {0}'.format(1) }}{{ range(3) | list }}",

	"{% with a = 1, b = [2] %}{{ a in b or not b == 2 ** 3 }}{% endwith %}"
	"{% filter indent(2) %}\n"
	"x\n{% endfilter %}{{ -7 % 3 }}{{ 'h\\u00e4' [::-1] | tojson }}{{ 1 < 2 < 3 }}",
};

static const char variables[] =
	"{\"messages\":[{\"role\":\"system\",\"content\":\" Be brief. \"},{\"role\":\"user\","
	"\"content\":\"h\\u00e4 \\ud83d\\ude42\"},{\"role\":\"assistant\",\"content\":null,"
	"\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.5}}}]}],"
	"\"tools\":[{\"type\":\"function\",\"x\":[true,null]}],\"add_generation_prompt\":true,"
	"\"bos_token\":\"<s>\",\"x\":7}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chat_template *t;
	struct buffer out = { .bound = 1 << 20 };
	struct error e = { 0 };
	json_t *json;

	if (chat_template_open(&t, (const char *)data, size, &e) < 0) {
		assert(e.text[0]);
		return 0;
	}
	json = json_loads(variables, 0, NULL);
	assert(json);
	if (chat_template_render(t, json, &out, &e) == 0)
		assert(utf8_valid(buffer_string(&out), out.length));
	else
		assert(e.code < 0);
	buffer_close(&out);
	json_decref(json);
	chat_template_close(t);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	return text_seed(seeds, ARRAY_LENGTH(seeds), index, out, capacity);
}
