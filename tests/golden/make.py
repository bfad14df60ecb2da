#!/usr/bin/env python3
"""make.py - writes the golden files under tests/data/; README.md has their formats.

Not part of `make test`: run it by hand when a golden has to change, and commit
what it wrote.  It needs a few gigabytes of Python packages:

    python3 -m venv /tmp/golden-venv
    /tmp/golden-venv/bin/pip install torch transformers tokenizers sentencepiece \\
        numpy gguf safetensors protobuf jinja2
    /tmp/golden-venv/bin/python tests/golden/make.py [PART...] [--smollm2 FILE.gguf]

Parts: checkpoints, gguf, templates, smollm2; without any, all of them (smollm2
only when its file is given).  One thread, about a minute; the same versions of
the packages give the same bytes.
"""
import argparse
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import torch
import transformers

import golden

PARTS = ["checkpoints", "gguf", "templates", "smollm2"]


def versions():
    import importlib.metadata as metadata
    names = ["torch", "transformers", "tokenizers", "sentencepiece", "gguf", "safetensors",
             "jinja2", "numpy"]
    golden.write_json(golden.path("VERSIONS.json"),
                      {n: metadata.version(n) for n in names})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--smollm2", metavar="FILE.gguf")
    args = parser.parse_args()
    parts = args.parts or [p for p in PARTS if p != "smollm2" or args.smollm2]
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if "smollm2" in parts and not args.smollm2:
        parser.error("part smollm2 needs --smollm2 FILE.gguf")

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for part in parts:
        if part == "checkpoints":
            import checkpoints
            checkpoints.make()
        elif part == "gguf":
            import gguf_files
            gguf_files.make()
        elif part == "templates":
            import templates
            templates.make()
        else:
            import smollm2
            smollm2.make(args.smollm2)
    versions()


if __name__ == "__main__":
    main()
