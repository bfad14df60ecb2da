"""golden.py - runs one transformers model over prompts and writes golden.json.

Owns the golden.json format of small models (README.md describes it) and the
rule by which seeds are chosen.  Leaves making the models to the other files.
"""
import base64
import json
import os

import numpy as np
import torch

STEPS = 24              # greedy tokens after each prompt
MARGIN_MIN = 0.01       # best logit minus second best, at every step
DISTINCT_MIN = 5       # different tokens in a continuation
ROUNDING_MAX = 5e-6     # f32 against f64 of the same model, relative to the norm

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def path(*names):
    """tests/data/..., its folder made."""
    full = os.path.join(DATA, *names)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def base64_f32(tensor):
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


def write_json(full_path, value):
    """Objects and long lists one item a line, the leaves compact: small and diffable."""
    def render(v, depth):
        pad = " " * (depth + 1)
        if isinstance(v, dict) and v and depth < 3:
            items = [f"{json.dumps(k, ensure_ascii=False)}: {render(x, depth + 1)}"
                     for k, x in v.items()]
            return "{\n" + pad + (",\n" + pad).join(items) + "\n" + " " * depth + "}"
        if isinstance(v, list) and v and isinstance(v[0], (dict, str)) and depth < 3:
            items = [render(x, depth + 1) for x in v]
            return "[\n" + pad + (",\n" + pad).join(items) + "\n" + " " * depth + "]"
        return json.dumps(v, ensure_ascii=False)

    with open(full_path, "w", encoding="utf-8") as f:
        f.write(render(value, 0) + "\n")


def blocks_of(model):
    """The list of transformer blocks, wherever the family keeps it."""
    for name in ("model.layers", "model.decoder.layers", "transformer.h"):
        try:
            return model.get_submodule(name)
        except AttributeError:
            continue
    raise ValueError(f"no blocks found in {type(model).__name__}")


def forward(model, ids):
    """Logits of every position, and what enters block 0 and leaves each block."""
    blocks = blocks_of(model)
    states = [None] * (len(blocks) + 1)

    def entering(_module, args, kwargs):
        states[0] = (args[0] if args else kwargs["hidden_states"])[0].clone()

    def leaving(index):
        def hook(_module, _args, output):
            states[index + 1] = (output[0] if isinstance(output, tuple) else output)
            if states[index + 1].dim() == 3:
                states[index + 1] = states[index + 1][0]
            states[index + 1] = states[index + 1].clone()
        return hook

    hooks = [blocks[0].register_forward_pre_hook(entering, with_kwargs=True)]
    hooks += [b.register_forward_hook(leaving(i)) for i, b in enumerate(blocks)]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    for h in hooks:
        h.remove()
    return logits, states


def next_token(logits):
    """(id, logprob, margin) of the greedy choice from one row of logits."""
    best = torch.topk(logits, 2)
    logprob = torch.log_softmax(logits.double(), -1)[best.indices[0]]
    return int(best.indices[0]), float(logprob), float(best.values[0] - best.values[1])


def greedy(model, ids, steps=STEPS):
    """Lists of ids, logprobs and margins; each token a pass over the whole sequence."""
    ids, chosen = list(ids), []
    for _ in range(steps):
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        chosen.append(next_token(logits))
        ids.append(chosen[-1][0])
    return [list(column) for column in zip(*chosen)]


def good(model, prompts):
    """Are the continuations clear of ties, and lively?"""
    for ids in prompts:
        tokens, _, margins = greedy(model, ids)
        if min(margins) < MARGIN_MIN or len(set(tokens)) < DISTINCT_MIN:
            return False
    return True


def rows_kept(n):
    """Both ends of the prompt, and around position 16, mistral's window."""
    return [i for i in (0, 1, 6, 15, 16, 17) if i < n - 1] + [n - 1]


def check_rounding(name, model, ids, states, logits):
    """f32's own error must be far below the tolerance that tests use."""
    logits64, states64 = forward(model.double(), ids)
    model.float()
    for got, want in zip(states + [logits], states64 + [logits64]):
        error = float((got.double() - want).norm() / want.norm())
        if error > ROUNDING_MAX:
            raise ValueError(f"{name}: f32 differs from f64 by {error:.2g}")


def golden_prompt(name, model, ids):
    logits, states = forward(model, ids)
    check_rounding(name, model, ids, states, logits)
    tokens, logprobs, margins = greedy(model, ids)
    if min(margins) < MARGIN_MIN:
        raise ValueError(f"{name}: margin {min(margins):.3g}")
    rows = rows_kept(len(ids))
    return {
        "ids": ids,
        "rows": rows,
        "states": [base64_f32(s[rows]) for s in states],
        "logits": base64_f32(logits[rows]),
        "continuation": tokens,
        "logprobs": [round(x, 6) for x in logprobs],
        "margins": [round(x, 6) for x in margins],
    }


def golden(name, seed, model, prompts):
    """The whole golden.json of a model, as a dictionary."""
    config = model.config
    return {
        "name": name,
        "seed": seed,
        "hidden": config.hidden_size,
        "blocks": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "prompts": [golden_prompt(name, model, ids) for ids in prompts],
    }


def fill(model, seed):
    """Seeded weights that keep activations lively; see the table for each kind's spread."""
    rng = np.random.default_rng(seed)
    tied = model.config.tie_word_embeddings
    for name, p in model.named_parameters():
        draw = torch.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32))
        fan_in = p.shape[0] if "c_" in name and p.dim() == 2 else p.shape[-1]
        if p.dim() == 1:
            draw = 1 + 0.3 * draw if name.endswith("weight") else 0.1 * draw
        elif "embed_positions" in name or "wpe" in name:
            draw *= 0.5
        elif "embed" in name or "wte" in name:
            draw *= 0.6 if tied else 1.0
        elif "lm_head" in name:
            draw *= 3.0 / fan_in ** 0.5
        elif "query_key_value" in name:
            draw *= 2.5 / fan_in ** 0.5
        else:
            draw *= 1.6 / fan_in ** 0.5
        with torch.no_grad():
            p.copy_(draw)


def prompts_of(seed, vocabulary):
    rng = np.random.default_rng(seed + 1000)
    return [[int(x) for x in rng.integers(0, vocabulary, n)] for n in (12, 44)]
