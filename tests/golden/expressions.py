"""expressions.py - small templates that try one filter, test or operator each.

Owns the two lists; templates.py renders them.  Variables: messages, names
(["b", "a", "c"]), empty ([]), d (an object), bos_token, eos_token.
"""

COMMON = [
    "{{ names | join(', ') }}|{{ names|join }}|{{ empty | join('x') }}|{{ [1, 'a', 2.5] | "
    "join('-') }}",
    "{{ names|length }} {{ messages | length }} {{ 'h\u00e4\u00df\U0001f600' | length }} "
    "{{ d | length }}",
    "{{ 'MiXed \u00c4'|upper }} {{ 'MiXed \u00c4' | lower }}",
    "[{{ '  x ' | trim }}] [{{ '  x '.strip() }}] [{{ '  x '.lstrip() }}] [{{ '  x '.rstrip() }}]",
    "[{{ 'xxaxx'.strip('x') }}] [{{ '\\n\\na\\n'.lstrip('\\n') }}] [{{ 'ab\\t\\n'.rstrip() }}]",
    "{{ missing | default('d1') }} {{ '' | default('d2') }}|{{ '' | default('d3', true) }}",
    "[{{ missing }}] [{{ missing | default }}] [{{ d.missing }}] [{{ d['missing'] }}]",
    "{{ d | tojson }} {{ '\u00e9<\\\"&\\'/' | tojson }} {{ 7|tojson }} {{ none | tojson }} "
    "{{ empty | tojson }}",
    "{{ d | tojson(indent=2) }} {{ names | tojson(indent=4) }} {{ empty | tojson(indent=2) }}",
    "{{ '\\t\\n\\r\\\\ \\u00e9 \\x41' | tojson }}",
    "{{ names[0] }} {{ names[-1] }} {{ d.x }} {{ d['x'] }} {{ d['y'][1] }} {{ d.y[0] }} "
    "{{ 'abc'[1] }}",
    "{{ names[1:] | join }} {{ names[:-1] | join }} {{ names[:1] | join }} {{ names[5:] | join }}",
    "{{ names[::-1] | join }} {{ names[::2] | join }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[-2:] }}",
    "{{ messages[-1]['content'] }} {{ messages[0].role }} {{ messages[1:][0].role }}",
    "{% for n in names %}{{ loop.index }}{{ loop.index0 }}{{ n }}{{ ';' if loop.last else ',' "
    "}}{% endfor %}",
    "{% for n in names %}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.length }}{{ loop.first "
    "}} {% endfor %}",
    "{% for n in names %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %}",
    "{% for n in empty %}{{ n }}{% else %}nothing{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }} {% endfor %}",
    "{{ 7 + 2 * 3 }} {{ 7 // 2 }} {{ 7 % 3 }} {{ (1 + 2) * 3 }} {{ 1 - -1 }} {{ 7 - 2 - 1 }} "
    "{{ -7 // 2 }} {{ -7 % 3 }}",
    "{{ 7 / 2 }} {{ 6 / 3 }} {{ 1.0 }} {{ 2.50 }} {{ 0.1 }} {{ 1 + 0.5 }} {{ 3 * 1.5 }}",
    "{{ 1 < 2 }} {{ 2 <= 1 }} {{ 1 == 1.0 }} {{ 1 != 2 }} {{ 2 >= 2 }} {{ 'a' < 'b' }} "
    "{{ 'b' > 'a' }}",
    "{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ none == none }} {{ 'a' == 'a' }} {{ 'a' == none }} "
    "{{ true == 1 }}",
    "{{ names == ['b', 'a', 'c'] }} {{ names != empty }} {{ missing == none }}",
    "{{ 'a' in 'cat' }} {{ 'x' in d }} {{ 'q' in d }} {{ 4 not in [1, 2] }} {{ 'a' in names }} "
    "{{ not 'a' in names }}",
    "{{ true and false }} {{ false or 'either' }} {{ not '' }} {{ 0 or empty or 'last' }} "
    "{{ 1 and 2 }}",
    "{{ not true or true }} {{ not (true and false) }} {{ not 1 == 2 }} "
    "{{ false and false or true }}",
    "{{ 'yes' if 1 > 2 else 'no' }} "
    "[{{ 'shown' if false }}] {{ 'a' if false else 'b' if false else 'c' }}",
    "{% if empty %}1{% elif '' %}2{% elif 0 %}3{% elif none %}4{% elif missing %}5{% else %}6{% "
    "endif %}",
    "{{ missing is defined }} {{ names is defined }} {{ missing is undefined }} "
    "{{ names is not defined }}",
    "{{ d.q is defined }} {{ d.x is defined }} {{ messages[0].name is defined }} "
    "{{ d['x'] is not none }}",
    "{{ none is none }} {{ d is mapping }} {{ 'a' is string }} {{ names is string }} "
    "{{ names is iterable }} {{ 'a' is iterable }}",
    "{{ 1 is number }} {{ names is sequence }} {{ d is iterable }} {{ true is boolean }} "
    "{{ false is false }} {{ true is true }} {{ 1 is true }}",
    "{{ not names is none and true }} {{ 'a' is string and 1 is number }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 2.5 }} {{ 'a' + 'b' }} {{ ('a' ~ 'b') | upper }} "
    "{{ 'a' ~ 'b' | upper }}",
    "{{ (names + ['d']) | join }} {{ 'ab' * 2 }} {{ '-' * 5 }}",
    "{{ 'a,b,c'.split(',') | join('|') }} {{ ' a b  c '.split() | join('|') }} "
    "{{ 'a</t>b'.split('</t>')[-1] }}",
    "{{ 'Abc'.lower() }} {{ 'abc'.upper() }} {{ 'abc'.startswith('ab') }} "
    "{{ 'abc'.endswith('x') }}",
    "{{ 'abcb'.replace('b', 'd') }} {{ 'abc' | replace('c', 'C') }} {{ 'aaa'.replace('aa', 'b') }}",
    "{{ d.get('x') }} {{ d.get('q', 'none') }} {{ d.get('q') }} {{ d.keys() | list | join }}",
    "{{ messages | map(attribute='role') | join('-') }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}",
    "{{ (messages | selectattr('role', '==', 'user') | list)[0].content }}",
    "{{ names | first }} {{ names | last }} {{ names | reverse | join }} {{ names | sort | join }}",
    "{{ true }} {{ none }} {{ false }} {{ 1 }} {{ -5 }} {{ 'it\"s' }} {{ \"it's\" }} "
    "{{ 'tab\\tnew' }}",
    "{{ names }} {{ d }} {{ ['it\\'s', 'a\"b', \"q'\\\"\", '\\n'] }} {{ empty }} {{ {} }}",
    "{{ range(3) | list }} "
    "{% for i in range(1, 6, 2) %}{{ i }}{% endfor %} {% for i in range(2, 4) %}{{ i }}{% "
    "endfor %}",
    "{{ '12' | int + 1 }} {{ 3.7 | int }} {{ 'x' | int }} {{ 5 | string + 'a' }}",
    "{% raw %}{{ not rendered }} {% if %}{% endraw %}",
    "a{# a comment\n   of two lines #}b {#- tight -#} c",
    "{% set x = 1 %}{% for i in names %}{% set x = 2 %}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(n=0) %}{% for i in names %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ "
    "ns.n }}",
    "{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s ~ m.role[0] %}{% "
    "endfor %}{{ ns.s }}",
    "{% set a, b = 1, 'two' %}{{ a }}{{ b }}",
    "{%- set x = 'v' -%}   {{- x }}  {{ x -}}   end\n",
    "{{ bos_token }}{{ eos_token }}{{- '\\n' }}{{ '' }}\n\n",
    "{{ (messages | length) - 1 }} {{ messages|length > 3 }} {{ loop is defined }}",
    "{{ 'a' }}{{ \"b\" }}{{ 'multi\nline' }}",
    "{{ ('a', 'b')[1] }} {{ [1, 2,][1] }} {{ {'k': 'v',}['k'] }} {{ {'a': {'b': 'deep'}}.a.b }}",
    "{% macro m(a, b='x') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('1') }}{{ m('2', 'y') }}{{ "
    "m(b='z', a='3') }}",
    "{% for a in names %}{% for b in names %}{{ loop.index }}{% endfor %}{{ loop.index }} "
    "{% endfor %}",
    "{% generation %}kept{% endgeneration %}",
]

RARE = [
    "{{ 2 ** 3 }} {{ 2 ** -1 }} {{ +3 }}",
    "{{ -3 | abs }} {{ 2.567 | round(1) }} {{ 2.5 | float }}",
    "{{ 'two words' | title }} {{ 'hello world'.title() }}", "{{ 'two Words' | capitalize }}",
    "{{ [3, 1] | max }} {{ [3, 1] | min }} {{ [3, 1] | sum }}", "{{ names | count }}",
    "{{ 3 is odd }} {{ 4 is even }} {{ 4 is divisibleby 2 }} {{ 1 is integer }} {{ 1.5 is float }}",
    "{{ 1 is sameas 1 }} {{ 'a' is eq 'a' }} {{ 1 is lt 2 }} {{ 'a' is in 'abc' }}",
    "{{ 'x' | indent(2) }}|{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}",
    "{{ names | unique | list }} {{ d | items | list }} {{ d | dictsort }}",
    "{{ names | map('upper') | join }} {{ [0, 1] | select | list }} "
    "{{ [1, 2] | reject('odd') | list }}",
    "{{ 'a%sb' | format('x') }} {{ '%d-%s' % (1, 'y') }}", "{{ '<&>' | escape }} {{ 'a' | safe }}",
    "{{ 'abc'.find('c') }} {{ 'a.b'.count('.') }} {{ 'abc' | list }} {{ 'abc'.index('b') }}",
    "{% filter upper %}filtered{% endfilter %}", "{% with z = 3 %}{{ z }}{% endwith %}[{{ z }}]",
    "{% set block %} captured {% endset %}[{{ block }}]",
    "{% set t | upper %}abc{% endset %}{{ t }}",
    "{% for i in names recursive %}{{ i }}{% endfor %}",
    "{% for i in names %}{{ loop.cycle('x', 'y') }}{% endfor %}",
    "{% for i in names %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in names %}{% if loop.index == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{{ 'b' 'c' }} {{ 1_000 }} {{ 1e3 }} {{ 0x1f }}", "{{ 1e20 }} {{ 1e-7 }} {{ 10 ** 20 }}",
    "{{ d.values() | list }} {{ d | list }} {{ joiner is defined }} {{ dict(a=1) }}",
    "{% if true %}a{% endif +%}\nb", "x\n  {%+ if true %}a{% endif %}",
    "{{ messages | groupby('role') | length }}",
    "{{ '  a b ' | wordcount }} {{ 'abcdef' | truncate(3) }}",
    "{{ (1,) }} {{ () }}",
]
