"""templates.py - chat templates in the manner of published ones, and what they render to.

Owns the templates, the conversations they are tried on, and tests/data/templates/.
Rendering is jinja2 exactly as transformers configures it.
"""
import jinja2
from transformers.utils.chat_template_utils import _compile_jinja_template

import expressions
import golden

ONE = [{"role": "user", "content": "  What is a hop?\n"}]
SYSTEM = [{"role": "system", "content": "Answer briefly."},
          {"role": "user", "content": "Name a colour."}]
LONG = SYSTEM + [{"role": "assistant", "content": " Blue. "},
                 {"role": "user", "content": "Another \"one\", <please> & 'thanks'!"},
                 {"role": "assistant", "content": "Grün \U0001f7e2"},
                 {"role": "user", "content": "Why?"}]
TWICE = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"},
                                      {"type": "text", "text": "what is it?"}]}]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "Tells the weather; <b>\"now\"</b>",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"], "limit": 2.5, "strict": True, "default": None}}}]
CALLS = [{"role": "user", "content": "Weather in Zürich?"},
         {"role": "assistant", "content": None, "tool_calls": [
             {"id": "c1", "type": "function",
              "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}]},
         {"role": "tool", "content": "sunny", "tool_call_id": "c1"}]

CHATML = """\
{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
        {{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {% endif %}
    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
    {{ '<|im_start|>assistant\\n' }}
{% endif %}
"""

LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}\
{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}\
{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
{% for message in loop_messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}\
{% endfor %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message comes first, if there is one. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You may call these functions:\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ \
message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or (message.content is iterable \
and message.content is not string) %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" -%}
    {%- set system_message = messages[0]["content"] -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- set ns = namespace(index=0, seen="") -%}
{%- for message in loop_messages -%}
    {%- if message.role not in ["user", "assistant"] -%}
        {{- raise_exception("Only user and assistant roles are known, not " ~ message.role) -}}
    {%- endif -%}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) -%}
        {{- raise_exception("After the system message, roles must alternate \
(at message " ~ ns.index ~ ")") -}}
    {%- endif -%}
    {%- set ns.index = ns.index + 1 -%}
    {%- set ns.seen = ns.seen ~ message.role[0] -%}
{%- endfor -%}
{{- bos_token -}}
{%- for message in loop_messages -%}
    {%- if message["role"] == "user" -%}
        {%- if loop.last and system_message is defined -%}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" -}}
        {%- else -%}
            {{- "[INST] " + message["content"] + "[/INST]" -}}
        {%- endif -%}
    {%- else -%}
        {{- " " + message["content"]|trim + eos_token -}}
    {%- endif -%}
{%- endfor -%}
"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}\
{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}
"""

QWEN = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n')\
.split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and reasoning %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
            {{- '<tool_call>\\n{"name": "' ~ call.function.name ~ '", "arguments": ' }}
            {{- call.function.arguments if call.function.arguments is string \
else call.function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (loop.previtem.role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (loop.nextitem.role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

PHI = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}\
{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}\
{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}\
{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

PARTED = """\
{%- macro render(content) -%}
    {%- if content is string -%}{{ content }}
    {%- else -%}
        {%- for part in content -%}
            {%- if part.type == 'text' -%}{{ part['text'] }}
            {%- elif part['type'] in ('image', 'image_url') -%}<image>
            {%- endif -%}
            {%- if not loop.last %} {% endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{ loop.index }}/{{ loop.length }} {{ message.role | upper }}: {{ render(message.content) }}
{% endfor -%}
{{ 'ASSISTANT:' if add_generation_prompt }}"""

ALPACA = """\
{% set intro = 'Below is an instruction.' -%}
{{ intro }}{% if system is defined and system %} {{ system }}{% endif %}

{% for message in messages if message.role != 'system' -%}
### {{ 'Instruction' if message['role'] == 'user' else 'Response' }}:
{{ message.content.strip() }}

{% else -%}
(nothing was said)
{% endfor -%}
{% if add_generation_prompt -%}
### Response:
{% endif %}"""

SCOPES = """\
{% set x = 'outer' %}
{% set ns = namespace(found=false, count=0) %}
{% for m in messages %}
{% set x = 'inner' ~ loop.index %}
[{{ x }}]
{% if m.role == 'system' %}
{% continue %}
{% endif %}
{% set ns.count = ns.count + 1 %}
{% if ns.count >= 2 %}
{% set ns.found = true %}
{% break %}
{% endif %}
{{ m.content }}
{% endfor %}
{{ x }} {{ ns.found }} {{ ns.count }}
{% if ns.found %}{% set y = 'set in if' %}{% endif %}
{{ y }}
{% set block %}
 captured {{ ns.count }}
{% endset %}
[{{ block | trim }}]
{% for a in [1, 2] %}{% for b in [3, 4] %}\
{{ a }}{{ b }}{{ loop.index }} {% endfor %}{{ loop.index }};{% endfor %}

    {% if true %}    kept
    {% endif -%}
    joined   {%- if true %}  tight{% endif +%}
{{ 'end' }}
"""

SPACES = ("a\n  {% if true %}\n  b\n  {% endif %}\n  c {% if true %} d {% endif %} e\n"
          "{%- if true -%}   f   {%- endif -%}\n g {{- 'h' -}} i\n\n{# note #}\n  j\n"
          "\t{%+ if true %}k{% endif %}\n{{ 'l' }}\nm  {#- tight -#}  n\n\n")

FLAGS = dict(bos_token="<s>", eos_token="</s>")
TALKS = [ONE, SYSTEM, LONG]
# name: (about, template, conversations, further variables of every case)
TEMPLATES = {
    "chatml": ("ChatML; indented blocks, default system message", CHATML, TALKS, {}),
    "llama2": ("[INST] with the system message folded in; alternation is checked", LLAMA2,
               TALKS + [TWICE], {}),
    "llama3": ("header tokens; tools, filters with arguments, attribute access", LLAMA3,
               TALKS + [CALLS], {}),
    "llama3-tools": ("the same with tools and a date", LLAMA3, [ONE, CALLS],
                     {"tools": TOOLS, "date_string": "1 Jan 2025"}),
    "mistral": ("namespace counters, raise_exception, every tag tight", MISTRAL,
                TALKS + [TWICE, CALLS], {}),
    "zephyr": ("tags on lines of their own: trim_blocks decides", ZEPHYR, TALKS, {}),
    "gemma": ("a role renamed, system refused", GEMMA, [ONE, SYSTEM, TWICE], {}),
    "qwen": ("negative steps, string methods, loop.previtem, tool calls", QWEN,
             TALKS + [CALLS, LONG[:-1] + [{"role": "assistant", "content":
                                           "<think>\nhm\n</think>\n\nDone."}]], {}),
    "qwen-tools": ("the same with tools, thinking off", QWEN, [SYSTEM, CALLS],
                   {"tools": TOOLS, "enable_thinking": False}),
    "phi": ("one line, else branch at the end", PHI, TALKS, {}),
    "parts": ("a macro, content in parts, loop.index / loop.length", PARTED,
              [ONE, LONG, PARTS], {}),
    "alpaca": ("for with a condition and else; strip()", ALPACA, [ONE, SYSTEM[:1], LONG],
               {"system": "Be kind."}),
    "scopes": ("set inside loops and ifs, namespace, break, continue, set blocks", SCOPES,
               [LONG], {}),
    "spaces": ("trim_blocks, lstrip_blocks and the signs that overrule them", SPACES, [ONE], {}),
}

REFUSED = [
    "{% if x %}never closed", "{{ 'open }}", "line one\n{{ 1 + }}", "a\nb\n{% endfor %}",
    "{% for in x %}{% endfor %}", "{{ x | nosuchfilter }}", "\n\n{{ x is nosuchtest }}",
    "{% unknown %}", "{{ x. }}", "{% if x %}{% else %}{% else %}{% endif %}", "{# open",
    "{{ (1, 2 }}", "{% set %}", "{{ [1, 2 }}", "ok\n{% for a in b %}\n{% endif %}",
]


def expression_cases(sources, rare):
    """One small template each, over the same variables."""
    variables = dict(messages=LONG, names=["b", "a", "c"], empty=[],
                     d={"x": 1, "y": [2, 3.5, None, True], "z": {}}, **FLAGS)
    return [dict(template=source, **({"rare": True} if rare else {}), **render(source, variables))
            for source in sources]


def render(template, variables):
    """A case: its text, or the sentence of its raise_exception()."""
    case = {"variables": variables}
    try:
        case["text"] = _compile_jinja_template(template).render(**variables)
    except jinja2.TemplateError as e:
        if type(e) is not jinja2.TemplateError:
            raise
        case["error"] = e.message
    return case


def chat_cases(template, bos, eos):
    return [render(template, dict(messages=talk, add_generation_prompt=flag, bos_token=bos,
                                  eos_token=eos))
            for talk in TALKS + [TWICE, LONG[:3]] for flag in (True, False)]


def refused():
    cases = []
    for template in REFUSED:
        try:
            _compile_jinja_template(template)
        except jinja2.TemplateSyntaxError as e:
            cases.append({"template": template, "line": e.lineno})
            continue
        raise ValueError(f"jinja2 accepts {template!r}")
    return {"name": "refused", "about": "what jinja2 refuses to compile", "cases": cases}


def make():
    for name, (about, template, talks, extra) in TEMPLATES.items():
        cases = [render(template, dict(messages=talk, add_generation_prompt=flag, **FLAGS, **extra))
                 for talk in talks for flag in (True, False)]
        golden.write_json(golden.path("templates", name + ".json"),
                          {"name": name, "about": about, "template": template, "cases": cases})
    golden.write_json(golden.path("templates", "expressions.json"), {
        "name": "expressions", "about": "filters, tests, methods and operators one by one",
        "cases": expression_cases(expressions.COMMON, False) +
                 expression_cases(expressions.RARE, True)})
    golden.write_json(golden.path("templates", "refused.json"), refused())
    print(f"templates: {len(TEMPLATES)}", flush=True)
