"""smollm2.py - what transformers says with SmolLM2-135M-Instruct's Q4_1 weights.

Owns tests/data/smollm2/: greedy tokens of a few prompts, tokenizer vectors and
renderings of the chat template.  The model file is read, never copied.
"""
import hashlib
import json
import os

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM, LlamaConfig

import golden
import gguf_files
import templates
import texts

STEPS = 64
TOP = 5
MARGIN_MIN = 0.005      # of a step; f32's own error here is some 1e-4


def config_of(fields):
    def field(name):
        return fields["llama." + name].contents()

    return LlamaConfig(
        vocab_size=field("vocab_size"), hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=field("context_length"), tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2,
        rope_parameters=dict(rope_type="default", rope_theta=field("rope.freq_base")))


def tokenizers_of(fields):
    """(special tokens parsed, special tokens as plain text)"""
    def field(name):
        return fields["tokenizer.ggml." + name].contents()

    if (field("model"), field("pre")) != ("gpt2", "smollm"):
        raise ValueError("not SmolLM2's tokenizer")
    tokens, merges = field("tokens"), field("merges")
    specials = [t for t, kind in zip(tokens, field("token_type")) if kind == 3]
    return (gguf_files.smollm_tokenizer(tokens, merges, specials),
            gguf_files.smollm_tokenizer(tokens, merges, []))


def load(reader):
    config = config_of(reader.fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    tensors = {t.name: t for t in reader.tensors}
    for name, p in model.named_parameters():
        t = tensors.pop(gguf_files.gguf_name(name))
        values = dequantize(t.data, t.tensor_type).astype(np.float32).reshape(p.shape)
        heads = gguf_files.heads_of(config, name)
        values = gguf_files.deinterleave(values, heads) if heads else values
        p.data = torch.from_numpy(np.ascontiguousarray(values))
    if tensors:
        raise ValueError(f"tensors left over: {sorted(tensors)}")
    return model


def generate(model, ids):
    """Greedy with a KV cache, then confirmed by one pass over everything."""
    tokens, cache, step = [], None, torch.tensor([ids])
    with torch.no_grad():
        for _ in range(STEPS):
            out = model(step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            tokens.append(int(out.logits[0, -1].argmax()))
            step = torch.tensor([tokens[-1:]])
        logits = model(torch.tensor([ids + tokens[:-1]]), use_cache=False).logits[0]
    logits = logits[len(ids) - 1:]
    if logits.argmax(-1).tolist() != tokens:
        raise ValueError("the cache changes tokens")
    return tokens, logits


def prompt_of(name, text, tokenizer, model, messages):
    ids = gguf_files.encode(tokenizer, text)
    tokens, logits = generate(model, ids)
    best = torch.topk(torch.log_softmax(logits.double(), -1), TOP)
    steps = [[[int(i), round(float(p), 6)] for i, p in zip(*row)]
             for row in zip(best.indices, best.values)]
    margins = [golden.next_token(row)[2] for row in logits]
    print(f"  {name}: {len(ids)} ids, smallest margin {min(margins):.4f}", flush=True)
    if min(margins) < MARGIN_MIN:
        raise ValueError(f"{name}: a near tie, choose another prompt")
    return {
        "name": name, "prompt": text, "ids": ids,
        **({"messages": messages} if messages else {}),
        "tokens": tokens,
        "text": tokenizer.decode(tokens, skip_special_tokens=False),
        "logprobs": [s[0][1] for s in steps],
        "margins": [round(x, 6) for x in margins],
        "top": steps,
    }


def make(path):
    reader = gguf.GGUFReader(path)
    tokenizer, plain = tokenizers_of(reader.fields)
    chat = reader.fields["tokenizer.chat_template"].contents()
    bos, eos = "<|im_start|>", "<|im_end|>"

    gguf_files.write_vectors(golden.path("smollm2", "tokenizer-vectors.jsonl"), tokenizer,
                             texts.VECTORS + texts.SPECIAL)
    gguf_files.write_vectors(golden.path("smollm2", "tokenizer-plain.jsonl"), plain,
                             texts.SPECIAL)
    golden.write_json(golden.path("smollm2", "chat.json"), {
        "name": "smollm2", "about": "the model's own chat template",
        "template": chat, "cases": templates.chat_cases(chat, bos, eos)})

    model = load(reader)
    prompts = []
    for name, prompt in texts.PROMPTS.items():
        messages = prompt if isinstance(prompt, list) else None
        text = prompt if messages is None else templates.render(chat, dict(
            messages=messages, add_generation_prompt=True, bos_token=bos,
            eos_token=eos))["text"]
        prompts.append(prompt_of(name, text, tokenizer, model, messages))
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    golden.write_json(golden.path("smollm2", "golden.json"), {
        "model": os.path.basename(path), "sha256": digest, "bytes": os.path.getsize(path),
        "prompts": prompts})
    print(f"smollm2: {len(prompts)} prompts", flush=True)
