"""gguf_files.py - small GGUF files in every tensor type, with tokenizers.

Owns the files under tests/data/gguf/: how a transformers model is laid out in
GGUF (names, interleaved rows of q and k, types) and the small tokenizers inside.
The numbers beside them are golden.py's.
"""
import io
import json

import gguf
import numpy as np
import sentencepiece
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

import golden
import templates

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 288
PARAGRAPH = """\
A region owns many machines, and at night most of them are idle. Each server holds a span of
blocks, and a route of servers holds the whole model. When a server leaves, another server takes
the span, the sender replays what it sent, and the session goes on with the same tokens. Nothing
is lost but a little time. In 2024 there were 70 blocks on 12 hosts; by 2025 there were 126 on 31.
The router measures each hop, the scheduler forms a batch, and the sampler picks the next token.
"""
TEXTS = [
    "The server holds 12 blocks.",
    "When the session goes on, the sender replays 31 tokens: nothing is lost but time.",
]
VECTORS = TEXTS + [
    "", " ", "  ", "a", "the the  the", "2024", "1 22 333", "x1y2", "\n", "\n\n a", "\ttab\r\n",
    "don't we'll I'M", "caf\u00e9 na\u00efve", "\u65e5\u672c\u8a9e", "\U0001f600!", "a\u0301",
    "\u00a0nbsp", "semi;colon::", "\u0663\u0664", "\u00bd \u2168", "...!?  ", "The  servers hold",
]
SPECIAL = ["<|im_start|>user\nhi<|im_end|>", "<|endoftext|>", "<|im_start|", "a <|im_end|> b"]
CHAT = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] | trim + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "bf16": 32}
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
             bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5)
LLAMA = LlamaConfig(**SHAPE, tie_word_embeddings=True,
                    rope_parameters=dict(rope_type="default", rope_theta=30000.0))
QWEN2 = Qwen2Config(**dict(SHAPE, hidden_size=32), tie_word_embeddings=False,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0))


def gguf_name(name):
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, block, part = stem.split(".", 3)
        return f"blk.{block}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def interleave(rows, heads):
    """Rotary halves (i, i + half) of each head become neighbours (2 i, 2 i + 1)."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(shape)


def deinterleave(rows, heads):
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)


def heads_of(config, name):
    """How many heads a llama tensor's rows interleave over; 0: none."""
    if config.model_type == "llama" and name.endswith("q_proj.weight"):
        return config.num_attention_heads
    if config.model_type == "llama" and name.endswith("k_proj.weight"):
        return config.num_key_value_heads
    return 0


def tensor_type(name, shape, want):
    """As converters choose: vectors stay f32; q4_1 files keep a q8_0 embedding."""
    if len(shape) == 1:
        return Type.F32
    if want == "q4_1" and "embed_tokens" in name:
        return Type.Q8_0
    return Type[want.upper()]


def store(config, name, values, want):
    """(type, stored bytes, the f32 values a reader gets back)."""
    kind = tensor_type(name, values.shape, want)
    heads = heads_of(config, name)
    stored = quantize(interleave(values, heads) if heads else values, kind)
    back = dequantize(stored, kind).astype(np.float32).reshape(values.shape)
    return kind, stored, deinterleave(back, heads) if heads else back


def build(config, seed, want):
    """The model over what the file will hold, and the tensors to write."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    golden.fill(model, seed)
    tensors = []
    for name, p in model.named_parameters():
        kind, stored, back = store(config, name, p.detach().numpy(), want)
        p.data = torch.from_numpy(back.copy())
        tensors.append((gguf_name(name), kind, stored))
    return model, tensors


def train_tokenizer():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = smollm_split()
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([PARAGRAPH], trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return t


def smollm_split():
    return pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


def smollm_tokenizer(tokens, merges, specials):
    """What GGUF metadata with model "gpt2", pre "smollm" means; specials may be []."""
    t = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)},
                             merges=[tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = smollm_split()
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    return t


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def add_tokenizer(w, tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3 if t in SPECIALS else 1 for t in tokens])
    w.add_token_merges([" ".join(m) for m in model["merges"]])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(CHAT)


def write(full_path, name, config, want, tensors, tokenizer):
    w = gguf.GGUFWriter(full_path, config.model_type)
    w.add_name(name)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    w.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    w.add_file_type(FILE_TYPES[want])
    w.add_quantization_version(2)
    add_tokenizer(w, tokenizer)
    for tensor_name, kind, stored in tensors:
        raw = stored.view(np.float32) if kind == Type.F32 else stored
        w.add_tensor(tensor_name, raw, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_back(full_path, config):
    """A model built from the file alone."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    tensors = {t.name: t for t in gguf.GGUFReader(full_path).tensors}
    for name, p in model.named_parameters():
        t = tensors[gguf_name(name)]
        values = dequantize(t.data, t.tensor_type).astype(np.float32).reshape(p.shape)
        heads = heads_of(config, name)
        p.data = torch.from_numpy((deinterleave(values, heads) if heads else values).copy())
    return model


def make_family(config, wants, tokenizer, prompts):
    seed = next(s for s in range(1, 400)
                if all(golden.good(build(config, s, w)[0], prompts) for w in wants))
    for want in wants:
        name = f"{config.model_type}-{want}"
        full_path = golden.path("gguf", name + ".gguf")
        model, tensors = build(config, seed, want)
        write(full_path, name, config, want, tensors, tokenizer)
        result = golden.golden(name, seed, read_back(full_path, config), prompts)
        for text, prompt in zip(TEXTS, result["prompts"]):
            prompt["text"] = text
        golden.write_json(golden.path("gguf", name + ".golden.json"), result)
        if not torch.equal(golden.forward(model, prompts[1])[0],
                           golden.forward(read_back(full_path, config), prompts[1])[0]):
            raise ValueError(f"{name}: the file does not hold the model")
    print(f"{config.model_type} gguf: seed {seed}", flush=True)


def write_vectors(full_path, tokenizer, texts):
    with open(full_path, "w", encoding="utf-8") as f:
        for text in texts:
            line = {"text": text, "ids": encode(tokenizer, text)}
            f.write(json.dumps(line, ensure_ascii=False) + "\n")


def make_sentencepiece():
    """A file with nothing but a SentencePiece vocabulary, trained as Llama's was."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PARAGRAPH.splitlines()), model_writer=trained, model_type="bpe",
        vocab_size=400, byte_fallback=True, character_coverage=1.0, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
        allow_whitespace_only_pieces=True, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    kinds = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1
             for i in range(len(sp))]
    w = gguf.GGUFWriter(golden.path("gguf", "vocabulary-spm.gguf"), "llama")
    w.add_name("vocabulary-spm")
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list([sp.id_to_piece(i) for i in range(len(sp))])
    w.add_token_scores([sp.get_score(i) for i in range(len(sp))])
    w.add_token_types(kinds)
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    w.add_add_bos_token(True)
    w.add_add_space_prefix(True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    with open(golden.path("gguf", "vocabulary-spm.jsonl"), "w", encoding="utf-8") as f:
        for text in VECTORS:
            f.write(json.dumps({"text": text, "ids": sp.encode(text)}, ensure_ascii=False) + "\n")


def make():
    tokenizer = train_tokenizer()
    prompts = [encode(tokenizer, text) for text in TEXTS]
    make_family(LLAMA, list(FILE_TYPES), tokenizer, prompts)
    make_family(QWEN2, ["f16"], tokenizer, prompts)
    write_vectors(golden.path("gguf", "tokenizer-vectors.jsonl"), tokenizer, VECTORS + SPECIAL)
    golden.write_json(golden.path("gguf", "chat.json"), {
        "name": "gguf", "about": "the chat template inside the files of this folder",
        "template": CHAT, "cases": templates.chat_cases(CHAT, "<|im_start|>", "<|im_end|>")})
    make_sentencepiece()
