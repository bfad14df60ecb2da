#!/usr/bin/env python3
"""The weight formats of compute/quantise.h, made independently with numpy.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy
    /tmp/venv/bin/python tests/golden/quantise.py

writes tests/data/quantise.json, the same bytes each time:

    [{"name", "columns",
      "x":      hex of little-endian f32, one row
      "bf16":   {"values", "scales", "not_finite"},   hex of the canonical layout
      "int8", "int4": likewise}, ...]

Written from the header's text, number by number and without a look at the C.
"""
import json
import os

import numpy as np

OUT = os.path.join(os.path.dirname(__file__), "..", "data", "quantise.json")
GROUP = 32
F32 = np.float32
LEAST_NORMAL = np.finfo(F32).tiny
LARGEST = np.finfo(F32).max
DIVISORS = [-8, -7, -7.25, -7.5, -7.75, -8.25, -8.5, -8.75, -9]


def tame(x):
    """Absurd numbers as what they mean, among their own."""
    finite = x[np.isfinite(x)]
    most = F32(np.abs(finite).max()) if finite.size else F32(0)
    if most < LEAST_NORMAL:
        most = F32(0)
    x = np.where(np.isnan(x), F32(0), x)
    x = np.where(np.isinf(x), np.sign(x) * most, x).astype(F32)
    return np.where(np.abs(x) < LEAST_NORMAL, F32(0), x).astype(F32)


def bf16(x):
    bits = x.view(np.uint32).astype(np.uint64)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    quiet = bits >> 16 | 0x40
    return np.where(np.isnan(x), quiet, near).astype(np.uint16), np.zeros(0, F32)


def int8(x):
    x = tame(x)
    most = np.abs(x).max()
    if most < F32(127) * LEAST_NORMAL:
        return np.zeros(len(x), np.int8), np.zeros(1, F32)
    scale = F32(most / F32(127))
    q = np.rint(x * F32(F32(1) / scale))
    return np.clip(q, -127, 127).astype(np.int8), np.array([scale], F32)


def int4_steps(x, scale):
    return np.clip(np.rint(x * F32(F32(1) / scale)), -8, 7).astype(F32)


def int4_error(x, scale):
    lanes = [F32(0)] * 4
    with np.errstate(over="ignore"):
        difference = (x - F32(scale) * int4_steps(x, scale)).astype(F32)
        for i, d in enumerate(difference):
            if abs(d) >= F32(2.0 ** -60):
                lanes[i % 4] = F32(lanes[i % 4] + F32(d * d))
        return F32(F32(lanes[0] + lanes[2]) + F32(lanes[1] + lanes[3]))


def int4_group(x):
    most, best, least = F32(0), None, None
    for v in x:
        if abs(v) > abs(most):
            most = v
    for divisor in DIVISORS:
        with np.errstate(over="ignore"):
            scale = np.float16(F32(most / F32(divisor)))
        if np.isinf(scale):
            scale = np.copysign(np.float16(65504), scale)
        if scale == 0:
            continue
        error = int4_error(x, F32(scale))
        if best is None or error < least:
            best, least = scale, error
    if best is None:
        return np.zeros(GROUP, int), np.float16(0)
    return int4_steps(x, F32(best)).astype(int), best


def int4(x):
    values, scales = [], []
    for k in range(0, len(x), GROUP):
        part = tame(x[k:k + GROUP])
        group = np.zeros(GROUP, F32)
        group[:len(part)] = part
        q, scale = int4_group(group)
        q += 8
        values += [int(q[j]) | int(q[j + 16]) << 4 for j in range(GROUP // 2)]
        scales.append(scale)
    return np.array(values, np.uint8), np.array(scales, np.float16)


def rows():
    rng = np.random.default_rng(20261127)

    def normal(n, size=0.05):
        return (rng.standard_normal(n) * size).astype(F32)

    for n in (1, 31, 32, 33, 64, 576, 1000):
        yield f"normal, {n} columns", normal(n)
    yield "heavy tails", (rng.standard_t(2, 512) * 0.02).astype(F32)
    yield "bf16 weights", (normal(256).view(np.uint32) & 0xFFFF0000).view(F32)
    yield "one outlier", np.concatenate([normal(99), F32([7.5]), normal(60)])
    q = rng.integers(-8, 8, 128)
    q[::32] = -8
    yield "on the grid of 4 bits", (q * np.repeat(F32([0.0123, -0.5, 0.25, 1]).astype(np.float16)
                                                  .astype(F32), 32)).astype(F32)
    yield "ties between integers", (np.arange(-127, 128) * F32(0.5)).astype(F32)
    yield "equal magnitudes", F32([1, -1] * 32)
    yield "all equal", np.full(40, F32(0.3))
    yield "all zero", np.zeros(64, F32)
    yield "negative zero", np.full(33, F32(-0.0))
    huge, tiny = normal(64, 1e30), normal(64, 1e-30)
    yield "huge", huge
    yield "tiny", tiny
    yield "the largest", np.concatenate([F32([LARGEST, -LARGEST]), huge])
    yield "scales in f16's denormals", normal(96, 1e-6)
    yield "scales that round to 0", normal(96, 3e-8)
    yield "the least scale of 8 bits", F32([127, 63, -64, 1, 0]) * LEAST_NORMAL
    yield "below it", F32([126, 63, -64, 1, 0]) * LEAST_NORMAL
    denormals = np.arange(1, 70, dtype=np.uint32).view(F32)
    yield "denormals", denormals
    yield "denormals among others", np.concatenate([denormals, normal(30)])
    yield "tiny ones among others", np.concatenate([normal(40, 1e-20), normal(40)])
    absurd = normal(100)
    absurd[[3, 50, 99]] = np.nan
    absurd[[7, 51]] = np.inf
    absurd[[40, 98]] = -np.inf
    yield "NaN and infinity", absurd
    yield "only NaN", np.full(40, F32(np.nan))
    yield "only infinity", F32([np.inf, -np.inf] * 20)
    yield "infinity among denormals", np.concatenate([denormals, F32([np.inf])])
    yield "infinity among zeros", F32([0, np.inf, 0, -np.inf])
    yield "any bits", rng.integers(0, 2 ** 32, 640, dtype=np.uint32).view(F32)


def main():
    cases = []
    for name, x in rows():
        case = {"name": name, "columns": len(x), "x": x.astype("<f4").tobytes().hex()}
        for make in (bf16, int8, int4):
            values, scales = make(x)
            case[make.__name__] = {
                "values": values.tobytes().hex(), "scales": scales.tobytes().hex(),
                "not_finite": 0 if make is bf16 else int(np.count_nonzero(~np.isfinite(x))),
            }
        cases.append(case)
    with open(OUT, "w", encoding="ascii") as out:
        json.dump(cases, out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
