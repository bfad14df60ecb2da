#!/usr/bin/env python3
"""Compares ways of keeping weights in 4 bits by the error they make, as a Markdown table.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy
    /tmp/venv/bin/python tests/golden/weight_formats.py [model.safetensors]

The choice in compute/quantise.h rests on it; tools/diary.md has a run.  Figures are
norm-relative errors of normal numbers, of a heavy-tailed distribution (Student's t, 6
degrees) and, if a file of f32 tensors is given, of its matrices, each scaled to variance 1.
"""
import json
import struct
import sys

import numpy as np

F32 = np.float32


def f16(x):
    return x.astype(np.float16).astype(F32)


def affine(x):
    """scale and minimum in f16, 0..15"""
    low, high = x.min(1, keepdims=True), x.max(1, keepdims=True)
    d, m = f16((high - low) / 15), f16(low)
    d = np.where(d == 0, F32(1), d)
    return np.clip(np.rint((x - m) / d), 0, 15) * d + m


def symmetric(x, divisors=(8,)):
    """a signed scale in f16, -8..7: the best of most / -divisor"""
    most = np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1)
    best = least = None
    for divisor in divisors:
        d = f16(most / F32(-divisor))
        d = np.where(d == 0, F32(1), d)
        back = np.clip(np.rint(x / d), -8, 7) * d
        error = ((x - back) ** 2).sum(1, keepdims=True)
        if best is None:
            best, least = back, error
        best, least = np.where(error < least, back, best), np.minimum(error, least)
    return best


def searched(x):
    return symmetric(x, (8, 7, 7.25, 7.5, 7.75, 8.25, 8.5, 8.75, 9))


def rows(x):
    """8 bits and one scale a row"""
    d = np.abs(x).max(1, keepdims=True) / F32(127)
    return np.rint(x / d) * d


WAYS = [
    # label, group, bits per weight, how
    ("scale, 128", 128, 4.125, symmetric),
    ("scale, best of 9, 128", 128, 4.125, searched),
    ("scale and minimum, 128", 128, 4.25, affine),
    ("scale, 64", 64, 4.25, symmetric),
    ("scale, best of 9, 64", 64, 4.25, searched),
    ("scale and minimum, 64", 64, 4.5, affine),
    ("scale, 32", 32, 4.5, symmetric),
    ("scale, best of 9, 32 (int4)", 32, 4.5, searched),
    ("scale and minimum, 32", 32, 5.0, affine),
    ("8 bits, scale a row of 1024 (int8)", 1024, 8.03, rows),
]


def matrices(path):
    with open(path, "rb") as f:
        length, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        base = f.read()
    found = []
    for name, t in header.items():
        if name == "__metadata__" or len(t["shape"]) != 2 or t["dtype"] != "F32":
            continue
        w = np.frombuffer(base[slice(*t["data_offsets"])], F32)
        found.append(w / w.std())
    w = np.concatenate(found)
    return w[:len(w) // 1024 * 1024]


def main():
    rng = np.random.default_rng(1)
    sources = [("normal", rng.standard_normal(2 ** 21).astype(F32)),
               ("t(6)", rng.standard_t(6, 2 ** 21).astype(F32))]
    if len(sys.argv) > 1:
        sources.append(("model", matrices(sys.argv[1])))
    print("| way, group | bits/weight |", " | ".join(s for s, _ in sources), "|")
    print("|---|---|" + "---|" * len(sources))
    for label, group, bits, way in WAYS:
        errors = []
        for _, w in sources:
            x = w.reshape(-1, group)
            error = np.sqrt(((x - way(x)) ** 2).mean() / (w ** 2).mean())
            errors.append(f"{100 * error:.2f} %")
        print(f"| {label} | {bits} |", " | ".join(errors), "|")


if __name__ == "__main__":
    main()
