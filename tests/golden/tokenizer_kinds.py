"""Small tokenizers of every kind that compute/text reads, with what Hugging Face's own
library makes of many texts.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3
    /tmp/venv/bin/python tests/golden/tokenizer_kinds.py

writes tests/data/tokenizers/NAME.json:

    {"name", "about",
     "tokenizer": the tokenizer.json,
     "vectors": [{"text", "ids",
                  "specials": was the post-processor on?
                  "plain": were special tokens in the text taken as plain text?
                  "skip": are special tokens left out of "decoded"?
                  "decoded"}, ...]}

Vocabularies are trained on the texts themselves.  The texts are the same each time; the
library's trainer breaks ties as it likes, so a new run gives other ids, equally right.
Texts keep to characters that Unicode had long ago, so that a newer table on either side
changes nothing.
"""
import json
import os
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = os.path.join(os.path.dirname(__file__), "..", "data", "tokenizers")
VOCABULARY = 420
VECTORS = 36

WORDS = [
    "the", " a", "Hello", " hop", "server", " session", "don't", "I'LL", "we've", "123",
    "4567890", " 42", "3.14", "\n", "\n\n", " \n", "\t", "\r\n", "   ", "...", "!?", "==",
    "()", "//", "'s", "'S", "ſ", "\u212a", "İ", "ß", "Ⓐ", "①", "½", "٣", "e\u0301",
    "\u0301\u0323", "a\u0323\u0301", "가", "\u1100\u1161\u11a8", "\u00a0", "\u2009",
    "\u3000", "\u200b", "\u200d", "👩\u200d👧", "🇩🇪", "_x_", "x_y", "日本語", "中文。",
    "हिन्दी", "…", "。", "、", "<0x0A>", "▁", "▁▁a", "Ġ", "grün", "naïve",
]
MARKS = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "[X]", "wörd", "  ", "<a>",
         " <a> "]
RANGES = [(0x20, 0x7f), (0x20, 0x7f), (0xa0, 0x180), (0x370, 0x400), (0x3040, 0x3090),
          (0x4e00, 0x4e40), (0x1f600, 0x1f640)]
NEWER = "Ⓐ👩👧🇩🇪"          # newer than Unicode 3.2, kept all the same

SENTENCE_PIECE = decoders.Sequence([
    decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
    decoders.Strip(" ", 1, 0)])
TEMPLATE = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A $B", special_tokens=[("<s>", 1), ("</s>", 2)])
ADDED = [
    AddedToken("<|im_start|>", special=True),
    AddedToken("[X]", lstrip=True, rstrip=True, special=True),
    AddedToken("wörd", single_word=True, normalized=True),
    AddedToken("  ", normalized=False),
    AddedToken("<a>", rstrip=True, normalized=True),
]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
FALLBACK = dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert)


def chain(*steps):
    return pre_tokenizers.Sequence(list(steps))


def byte_level_kinds():
    """name, about, parts"""
    bare = byte_level(use_regex=False)
    yield "gpt2", "byte-level, the GPT-2 expression", dict(pre=byte_level())
    yield "llama3", "ignore_merges, numbers by three", dict(
        pre=chain(split(Regex(LLAMA3), "isolated"), bare), model=dict(ignore_merges=True),
        post=processors.Sequence([processors.ByteLevel(), TEMPLATE]))
    yield "bloom", "a class inside a class", dict(
        pre=chain(split(Regex(BLOOM), "isolated"), bare))
    yield "smollm", "digits one by one; added tokens with every flag", dict(
        pre=chain(pre_tokenizers.Digits(True), byte_level()), added=ADDED)
    yield "qwen2", "NFC", dict(
        pre=chain(split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), bare),
        norm=normalizers.NFC())
    yield "falcon", "steps that look at byte-level text", dict(pre=chain(
        pre_tokenizers.Punctuation("contiguous"), byte_level(), pre_tokenizers.Digits(False),
        split(Regex("[0-9][0-9][0-9]"), "isolated")))
    yield "prefix", "prefix space, lower case", dict(
        pre=byte_level(add_prefix_space=True), added=ADDED, post=TEMPLATE,
        norm=normalizers.Lowercase())
    yield "forms", "NFKD, stripped, replaced", dict(
        pre=chain(pre_tokenizers.WhitespaceSplit(), bare),
        norm=normalizers.Sequence([
            normalizers.Strip(), normalizers.NFKD(), normalizers.Replace(Regex(r"\d+"), "#"),
            normalizers.Replace("ll", "L")]))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next",
                     "contiguous"):
        for invert in (False, True):
            name = f"split-{behavior}" + ("-inverted" if invert else "")
            yield name, "one splitting behaviour", dict(
                pre=chain(split(Regex(r"\s|\w\w"), behavior, invert), bare))
    yield "whitespace", "words and symbols", dict(
        pre=chain(pre_tokenizers.Whitespace(), bare))


def sentence_piece_kinds():
    """name, about, parts"""
    yield "llama2", "SentencePiece style by normaliser", dict(
        dec=SENTENCE_PIECE, model=FALLBACK, post=TEMPLATE, added=ADDED[:2],
        norm=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]))
    for scheme in ("always", "first", "never"):
        yield f"metaspace-{scheme}", "Metaspace both ways, unknown characters fused", dict(
            pre=pre_tokenizers.Metaspace("▁", prepend_scheme=scheme),
            dec=decoders.Metaspace("▁", prepend_scheme=scheme),
            model=dict(unk_token="<unk>", fuse_unk=True), added=ADDED, post=TEMPLATE)
    yield "mistral", "Metaspace unsplit, byte fallback", dict(
        pre=pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False),
        dec=SENTENCE_PIECE, model=FALLBACK, post=TEMPLATE)
    yield "no-decoder", "tokens joined by spaces, unknown characters one by one", dict(
        pre=pre_tokenizers.WhitespaceSplit(), dec=None, model=dict(unk_token="<unk>"))


def text(rng):
    out = []
    for _ in range(rng.randint(0, 9)):
        pick = rng.random()
        if pick < 0.65:
            out.append(rng.choice(WORDS))
        elif pick < 0.78:
            out.append(rng.choice(MARKS))
        else:
            first, end = rng.choice(RANGES)
            out += [chr(rng.randrange(first, end)) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.3:
            out.append(" " * rng.randint(1, 3))
    old = unicodedata.ucd_3_2_0.category
    return "".join(c for c in "".join(out) if old(c) != "Cn" or c in NEWER)


def train(corpus, pre=None, norm=None, dec=decoders.ByteLevel(), added=(), post=None, model=None):
    model = model or {}
    t = Tokenizer(models.BPE(**model))
    if norm is not None:
        t.normalizer = norm
    if pre is not None:
        t.pre_tokenizer = pre
    specials = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{i:02X}>" for i in range(256)] if model.get("byte_fallback") else []
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(dec, decoders.ByteLevel) else []
    t.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=specials + fallback,
        show_progress=False, limit_alphabet=256 if alphabet else 120))
    j = json.loads(t.to_str())
    j["added_tokens"] = j["added_tokens"][:len(specials)]
    t = Tokenizer.from_str(json.dumps(j))
    if dec is not None:
        t.decoder = dec
    t.add_special_tokens([a for a in added if a.special])
    t.add_tokens([a for a in added if not a.special])
    if post is not None:
        t.post_processor = post
    return t


def vectors(t, rng):
    for i in range(VECTORS):
        v = {"text": text(rng), "specials": i % 2 == 1, "plain": i % 6 == 5, "skip": i % 4 > 1}
        t.encode_special_tokens = v["plain"]
        v["ids"] = t.encode(v["text"], add_special_tokens=v["specials"]).ids
        v["decoded"] = t.decode(v["ids"], skip_special_tokens=v["skip"])
        yield v


def main():
    os.makedirs(OUT, exist_ok=True)
    rng = random.Random(20)
    corpus = [text(rng) for _ in range(1500)]
    for name, about, parts in [*byte_level_kinds(), *sentence_piece_kinds()]:
        t = train(corpus, **parts)
        found = list(vectors(t, rng))
        t.encode_special_tokens = False
        with open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8") as f:
            json.dump({"name": name, "about": about, "tokenizer": json.loads(t.to_str()),
                       "vectors": found}, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")


main()
