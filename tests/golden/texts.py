"""texts.py - prompts for the real model and texts for its tokenizer.

Owns the texts only; smollm2.py runs them.
"""

LONG = """\
The night shift at the lighthouse began, as always, with a list. Mara checked the lamp, wound the
clock that turned the lens, and wrote the height of the tide in a book whose first page was older
than the village below. She had been told that nobody read those pages any more: the ships had
satellites, the harbour had cameras, and the sea did what it pleased. But she liked the order of
it, the small figures in their columns, the way a storm looked like nothing but a few numbers that
leaned to one side. Tonight the numbers leaned. The wind had turned to the north-west after supper,
the glass had fallen by nine points in an hour, and out beyond the reef a light was moving where no
light should be. She counted its flashes twice, to be sure, and then she reached for the telephone
on the wall and turned the handle. It rang for a long time. When at last somebody answered, it was
not the harbour master, it was a child, who said
"""

PROMPTS = {
    "plain-capital": "The capital of France is",
    "plain-code": "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "plain-numbers": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,",
    "plain-long": LONG,
    "chat-question": [{"role": "user", "content": "Why is the sky blue? Answer in two sentences."}],
    "chat-talk": [{"role": "system", "content": "You are a patient teacher of geography."},
                  {"role": "user", "content": "Which is the longest river in Africa?"},
                  {"role": "assistant", "content": "The Nile, at about 6,650 kilometres."},
                  {"role": "user", "content": "Through which countries does it flow?"}],
}

VECTORS = [
    # plain words and spaces
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\t\t\tx", "a", " a", "a ", "  a",
    "a  b",
    "Hello, world!", "Hello,world!", " Hello", "hello HELLO HeLLo",
    "The quick brown fox jumps over the lazy dog.",
    "trailing spaces   ", "   leading spaces", "in     the     middle",
    "tabs\tand\nnewlines\r\nmixed \t \n end",
    "\n \n  \n   \nx", "x\n\n\n\n\ny", "a\u00a0b\u2003c\u3000d", "zero\u200bwidth\u200djoin",
    "\u2028line\u2029para", "\x0b\x0c\x1f",
    "line one\nline two\n", "  indented\n    more\n\tagain", " \u00a0 x", "end \u00a0",
    # contractions and punctuation
    "don't I'll you're we've he'd she's I'm", "DON'T I'LL YOU'RE", "'s 't 're", "rock'n'roll",
    "it''s", "'tis",
    "don\u2019t", "...", "!!!???", "a.b.c", "e.g., i.e.; etc.", "(a)[b]{c}<d>",
    "\"quoted\" 'single' `tick`",
    "-- --- \u2013 \u2014", "@user #tag $5.00 50% ^ & * ~", "foo_bar __init__ snake_case_name",
    "C++ C# .NET a/b\\c",
    " !", "! ", " .x", "a,b , c ,d", ":-) ;-P <3", "http://example.org/path?q=1&r=two#frag",
    "me@example.org",
    # digits
    "0", "1", "12", "123", "1234567890", " 1", "  1", "1 2 3", "a1b2c3", "1a", "3.14159",
    "1,000,000", "-5 +7",
    "2024-01-31T23:59:59Z", "0x1F 0b101 1e-9", "x1 y22 z333", "v1.2.3-rc4", "10%",
    "\u0661\u0662\u0663 \u0967\u0968\u0969", "\u00bd \u00be \u00b2 \u2166 \u2460",
    "\u4e00\u4e8c\u4e09", "\uff11\uff12\uff13", "1\u202f000", "9 \n 9", "  99  99",
    "\U0001d7d8\U0001d7d9",
    # Latin with marks
    "caf\u00e9", "cafe\u0301", "na\u00efve fa\u00e7ade",
    "\u00c0\u00c9\u00ce\u00d5\u00dc \u00e0\u00e9\u00ee\u00f5\u00fc", "Stra\u00dfe GR\u00d6SSE",
    "\u0141\u00f3d\u017a \u017b\u00f3\u0142\u0107", "\u0130stanbul \u0131\u015f\u0131k",
    "\u01c5 \ufb01 \u017f", "e\u0301\u0302\u0303", "\u0301alone", "a\u0308\u0323 o\u0323\u0308",
    "Ti\u1ebfng Vi\u1ec7t", "\u212b \u00c5 A\u030a",
    # other scripts
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d world \u4e16\u754c",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\u30ab\u30bf\u30ab\u30ca \u3072\u3089\u304c\u306a",
    "\uff76\uff80\uff76\uff85", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\u1112\u1161\u11ab",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u0627\u0644\u0633\u064e\u0651\u0644\u064e\u0627\u0645\u064f",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0", "\u0540\u0561\u0575",
    "\u1230\u120b\u121d", "\U00010330\U00010331 \U00010400\U00010428",
    "mixed: abc\u4e2d\u6587\u0430\u0431\u0432123",
    # emoji and symbols
    "\U0001f600", "\U0001f600\U0001f600 \U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\U0001f44d\U0001f3fd ok", "\u2764\ufe0f \u2603",
    "a\U0001f680b",
    "\u2200x\u2208\u211d: x\u00b2\u22650", "\u2190\u2191\u2192\u2193 \u2588\u2591 \u2500\u2502",
    "\u20ac\u00a3\u00a5\u20bf", "\u00ab\u00bb\u201e\u201c", "\ufeffbom", "\ue000private",
    "\ufffd\uffff", "\U0010ffff",
    # code
    "int main(void)\n{\n\treturn 0;\n}\n", "for i in range(10):\n    print(i)\n",
    "if (a && !b || c != d) { x->y += 1; }",
    "<div class=\"x\">text</div>", "SELECT * FROM t WHERE id = 42;",
    "{\"key\": [1, 2.5, null, true]}",
    "$ ls -la | grep '^d' > out.txt", "#!/bin/sh\nset -eu\n", "\\frac{a}{b} \\alpha",
    "a = b ? c : d;", "    \n        deep\n",
    "/* comment */ // line", "std::vector<std::pair<int, int>>", "x = [i**2 for i in y if i%2==0]",
    # bytes that SmolLM2's vocabulary has no token for: they are dropped
    "a\x04b\x13", "\U00040001x",
    # long runs
    "a" * 70, " " * 70, "=" * 40, "\n" * 12, "ab" * 30, "1" * 30, "antidisestablishmentarianism",
    "\u4e2d" * 20,
    "Donaudampfschifffahrtsgesellschaft", "aAaAaAaA", "thethethe", "\u00e9" * 10,
]

SPECIAL = [
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "a<|endoftext|>b",
    "<|im_start|><|im_end|>", " <|im_start|> x", "<|im_start|", "<|IM_START|>",
    "<|im_start|>1<|im_end|>2",
    "<repo_name>petals<file_sep>main.c", "<reponame><filename><gh_stars>12",
    "<issue_start><issue_comment>x<issue_closed>",
    "<jupyter_start><jupyter_text>t<jupyter_code>c<jupyter_output>o<jupyter_script>",
    "<empty_output>", "<<|im_end|>>",
    "don't<|im_end|>'s", "\u00e9<|im_end|>\u0301", "  <|im_end|>  ",
]
