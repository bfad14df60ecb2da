#!/bin/sh
# cuda.sh - the released CUDA module in real processes, on the CPU that stands in for a GPU:
# SmolLM2 over three servers on cuda:0 gives the tokens of transformers, a kill -9 changes none,
# nor does a GPU that is lost, and hosts that will not do are refused with the figures.
. "$(dirname "$0")/lib.sh"
stand_in=$build/release/stand-in
[ -e "$stand_in/libcublasLt.so.13" ] || skip "no nvcc on this host"
need_model
PETALS_CUDA_LIBRARIES=$stand_in
export PETALS_CUDA_LIBRARIES
run cuda.py
