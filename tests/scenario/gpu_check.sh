#!/bin/sh
# gpu_check.sh - all of tools/gpu-check.sh, with tiny sizes, on the CPU that stands in for a GPU:
# every part does its work, what fails or hangs is told and stops nothing, parts run alone, and
# so they do from a pack.
. "$(dirname "$0")/lib.sh"
[ -e "$build/release/stand-in/libcublasLt.so.13" ] || skip "no nvcc on this host"
make --no-print-directory -s BUILD="$build" "$build/release/tests/compute/cuda/norm_test" \
	"$build/release/tests/compute/cuda/gate_test"
BUILD=$build
export BUILD
run gpu_check.py
