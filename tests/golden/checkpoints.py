"""checkpoints.py - small seeded Hugging Face checkpoints, one per architecture.

Owns the table of models and the spellings of their directories.  The numbers
beside them are golden.py's.
"""
import copy
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, BloomConfig, GPT2Config, LlamaConfig,
                          MistralConfig, OPTConfig, Qwen2Config)

import golden

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=None)
SMALL = dict(vocab_size=96, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, **IDS)
LLAMA = dict(SMALL, intermediate_size=48, max_position_embeddings=256)
GQA = dict(LLAMA, intermediate_size=40, num_key_value_heads=2, head_dim=16,
           num_hidden_layers=5, tie_word_embeddings=True, rms_norm_eps=1e-5)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=64)
BLOOM = dict(vocab_size=96, hidden_size=48, n_head=6, **IDS)
OPT = dict(SMALL, ffn_dim=64, max_position_embeddings=128, activation_function="relu")

# name: (config, dtypes in which it is saved; the first has no suffix)
MODELS = {
    "llama-plain": (LlamaConfig(**LLAMA, num_key_value_heads=4), ["f32"]),
    "llama-gqa-tied": (LlamaConfig(**GQA), ["f32", "bf16", "f16"]),
    "llama3-rope": (LlamaConfig(**dict(GQA, num_hidden_layers=3), rope_parameters=LLAMA3),
                    ["f16"]),
    "llama-linear-rope": (LlamaConfig(
        **LLAMA, num_key_value_heads=2,
        rope_parameters=dict(rope_type="linear", rope_theta=20000.0, factor=4.0)), ["f16"]),
    "llama-biases": (LlamaConfig(**LLAMA, num_key_value_heads=2, attention_bias=True,
                                 mlp_bias=True), ["f16"]),
    "mistral": (MistralConfig(**LLAMA, num_key_value_heads=2, sliding_window=16), ["bf16"]),
    "qwen2": (Qwen2Config(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True,
                          use_sliding_window=False), ["bf16"]),
    "gpt2": (GPT2Config(vocab_size=96, n_embd=32, n_layer=3, n_head=4, n_inner=80,
                        n_positions=128, **IDS), ["f32"]),
    "bloom": (BloomConfig(**BLOOM, n_layer=3), ["bf16"]),
    "bloom-bare": (BloomConfig(**dict(BLOOM, hidden_size=24, n_head=3), n_layer=2), ["bf16"]),
    "opt": (OPTConfig(**OPT, do_layer_norm_before=True, word_embed_proj_dim=32), ["f16"]),
    "opt-350m": (OPTConfig(**OPT, do_layer_norm_before=False, word_embed_proj_dim=16), ["f16"]),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SEEDS = 400             # tried per model


def build(config, seed, dtype):
    """The model with weights that dtype can hold, as f32."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model.eval()
    golden.fill(model, seed)
    for p in model.parameters():        # not buffers: rotary frequencies stay f32
        p.data = p.data.to(DTYPES[dtype]).float()
    return model


def choose_seed(name, config, dtypes):
    for seed in range(1, SEEDS):
        prompts = golden.prompts_of(seed, config.vocab_size)
        if all(golden.good(build(config, seed, d), prompts) for d in dtypes):
            return seed
    raise ValueError(f"{name}: no seed below {SEEDS} gives clear margins")


def save(model, dtype, name, **how):
    folder = golden.path(name, "")
    shutil.rmtree(folder)
    os.makedirs(folder)
    copy.deepcopy(model).to(DTYPES[dtype]).save_pretrained(folder, **how)


def edit_config(name, edit):
    full = golden.path(name, "config.json")
    with open(full, encoding="utf-8") as f:
        config = json.load(f)
    edit(config)
    with open(full, "w", encoding="utf-8") as f:
        json.dump(config, f, indent=2, sort_keys=True)
        f.write("\n")


def check_same(name, want, prompt):
    """What lies on disk computes what golden.json says."""
    model = AutoModelForCausalLM.from_pretrained(golden.path(name, ""), dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    logits, _ = golden.forward(model, prompt)
    if not torch.equal(logits, want):
        raise ValueError(f"{name}: the saved directory gives other logits")


def copy_golden(source, name):
    with open(golden.path(source, "golden.json"), encoding="utf-8") as f:
        text = json.load(f)
    text["name"] = name
    golden.write_json(golden.path(name, "golden.json"), text)


def legacy_spelling(config):
    """config.json as transformers 4 wrote it."""
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    config["rope_scaling"] = scaling
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.43.0"


def make_legacy():
    source, folder = golden.path("llama3-rope", ""), golden.path("llama-rope-legacy", "")
    shutil.rmtree(folder)
    shutil.copytree(source, folder)
    edit_config("llama-rope-legacy", legacy_spelling)
    copy_golden("llama3-rope", "llama-rope-legacy")


def strip_prefix(name):
    """Published BLOOM checkpoints are saved from the bare model."""
    full = golden.path(name, "model.safetensors")
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(full).items()}
    save_file(tensors, full, metadata={"format": "pt"})


def make_one(name, config, dtypes):
    seed = choose_seed(name, config, dtypes)
    prompts = golden.prompts_of(seed, config.vocab_size)
    for dtype in dtypes:
        full_name = name if dtype == dtypes[0] else f"{name}-{dtype}"
        model = build(config, seed, dtype)
        save(model, dtype, full_name)
        if name == "bloom-bare":
            strip_prefix(full_name)
        golden.write_json(golden.path(full_name, "golden.json"),
                          golden.golden(full_name, seed, model, prompts))
        logits, _ = golden.forward(model, prompts[1])
        check_same(full_name, logits, prompts[1])
        if full_name == "llama-gqa-tied-f16":
            save(model, dtype, "llama-gqa-tied-sharded", max_shard_size="40KB")
            copy_golden(full_name, "llama-gqa-tied-sharded")
            check_same("llama-gqa-tied-sharded", logits, prompts[1])
        if full_name == "llama3-rope":
            make_legacy()
            check_same("llama-rope-legacy", logits, prompts[1])
    print(f"{name}: seed {seed}", flush=True)


def make():
    for name, (config, dtypes) in MODELS.items():
        make_one(name, config, dtypes)
