#!/bin/sh
# golden.sh - SmolLM2 in f32 through several servers gives the tokens of transformers, and the
# same log-probabilities, to the last bit, through 1, 2, 3 and 5 of them.
. "$(dirname "$0")/lib.sh"
need_model
run golden.py
