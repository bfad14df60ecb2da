#!/bin/sh
# gpu-check.sh - tests and measures the CUDA backend on a GPU in one go, without a network.
#
#	tools/gpu-check.sh [--list] [--stand-in] [PART...]
#	tools/gpu-check.sh --pack FILE.tar.gz
#
# Runs every part (gpu-parts.sh), or those named, within LIMIT_S (520) seconds, and writes
# report.md, report.json, log.txt and cuda-tuning into the folder that OUT names
# (build/gpu-check): after each part, so that an end from outside costs the part it meets.  Every
# part has a share of the time; what one leaves, those behind it may take.  A part that fails or
# is stopped does not stop the others; exit status 1 says that there was one.  What a host
# lacks is skipped aloud.
#
# Needs this source tree (for tests/data; no git) and what was built: BUILD names the folder
# (build).  Where compilers or libraries are missing, bring a pack: --pack writes the programs,
# the CUDA module, the tests and the shared libraries they need; unpacked, it is a BUILD
# folder.  MODEL names SmolLM2 or another model, which then goes into a pack, too; without it
# SmolLM2 is taken from where tools/fetch-model.sh left it, else a small model of tests/data.
# DEVICE is cuda:0 unless it says otherwise.  --stand-in runs all of it, with tiny sizes, on the
# CPU that stands in for a GPU.
set -u
cd "$(dirname "$0")/.." || exit 2
self=$PWD/tools/gpu-check.sh

# The parts in their order, each with its share of the time.
shares="host:3 tests:17 machine:5 agree:7 blocks:20 launches:4 products:12 attention:8 tune:12
offload:5 sanitizer:7"
BUILD=${BUILD:-build}
OUT=${OUT:-$BUILD/gpu-check}
DEVICE=${DEVICE:-cuda:0}
LIMIT_S=${LIMIT_S:-520}

die() {
	echo "gpu-check: $*" >&2
	exit 2
}

parts_of() { # SHARES: their names
	echo "$1" | tr ' ' '\n' | sed 's/:.*//' | tr '\n' ' ' | sed 's/ $//'
}

. tools/gpu-parts.sh
. tools/gpu-report.sh

# ---- what the host has ----

# NVIDIA's libraries, where the loader does not look by itself.
find_libraries() {
	ldconfig -p 2>/dev/null | grep -q 'libcublasLt\.so\.13' && return
	for folder in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
		/usr/lib/x86_64-linux-gnu; do
		[ -e "$folder/libcublasLt.so.13" ] && { echo "$folder"; return; }
	done
	found=$(timeout 15 find / -xdev -name libcublasLt.so.13 -print -quit 2>/dev/null)
	[ -z "$found" ] || dirname "$found"
}

find_model() {
	[ -z "${MODEL:-}" ] || [ -r "$MODEL" ] || die "MODEL=$MODEL cannot be read"
	[ -z "${STAND_IN:-}" ] || { echo "${MODEL:-}"; return; }
	for file in "${MODEL:-}" "$BUILD/model" "$BUILD/model.gguf" "${PETALS_SMOLLM2:-}" \
		"${XDG_CACHE_HOME:-${HOME:-}/.cache}/petals/SmolLM2-135M-Instruct.Q4_1.gguf"; do
		[ -z "$file" ] || [ ! -r "$file" ] || { echo "$file"; return; }
	done
}

absolute() {
	case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

set_environment() {
	BUILD=$(absolute "$BUILD")
	OUT=$(absolute "$OUT")
	MODEL=$(find_model) || exit 2
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/petals-gpu-check.XXXXXX") || exit 2
	trap 'rm -rf "$WORK"' EXIT
	trap 'exit 130' INT TERM
	# Who won the races is part of the result, and what an earlier run knows.
	XDG_CACHE_HOME=$WORK/cache
	mkdir -p "$OUT" "$XDG_CACHE_HOME/petals" || exit 2
	[ ! -e "$OUT/cuda-tuning" ] || cp "$OUT/cuda-tuning" "$XDG_CACHE_HOME/petals"
	[ ! -d "$BUILD/libraries" ] ||
		LD_LIBRARY_PATH=$BUILD/libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	if [ -n "${STAND_IN:-}" ]; then
		: "${PETALS_CUDA_LIBRARIES=$BUILD/release/stand-in}"
	else
		PETALS_GPU=1
		export PETALS_GPU
		: "${PETALS_CUDA_LIBRARIES=$(find_libraries)}"
	fi
	export BUILD OUT WORK DEVICE MODEL XDG_CACHE_HOME LD_LIBRARY_PATH PETALS_CUDA_LIBRARIES
}

commit() {
	cat "$BUILD/commit" 2>/dev/null || git describe --always --dirty 2>/dev/null ||
		echo unknown
}

# ---- a pack ----

strip_to() { # FOLDER PROGRAM...
	folder=$1
	shift
	for program; do
		[ -e "$program" ] || die "$program is not built: make gpu-pack, where nvcc is"
		strip -o "$folder/${program##*/}" "$program" || exit 2
	done
}

pack() { # FILE: everything but the source tree
	work=$(mktemp -d) || exit 2
	trap 'rm -rf "$work"' EXIT
	tests=release/tests/compute/cuda
	mkdir -p "$work/bin" "$work/lib" "$work/libraries" "$work/release/lib" "$work/$tests"
	strip_to "$work/bin" "$BUILD/bin/petals-bench" "$BUILD/bin/petalsctl"
	strip_to "$work/lib" "$BUILD/lib/petals-cuda.so"
	strip_to "$work/release/lib" "$BUILD/release/lib/cuda-images.so"
	strip_to "$work/$tests" "$BUILD/$tests"/*_test
	ln -s ../../lib/petals-cuda.so "$work/release/lib/petals-cuda.so"
	# glibc's own parts belong to the host.
	ldd "$work"/bin/* "$work/$tests"/*_test >"$work/needed" || exit 2
	! grep 'not found' "$work/needed" || die "libraries are missing"
	awk '$3 ~ /^\// { print $3 }' "$work/needed" | sort -u | grep -v -e "^$work/" |
		grep -v -E '/lib(c|m|dl|pthread|rt|resolv)\.so' |
		xargs cp -L -t "$work/libraries" || exit 2
	rm "$work/needed"
	commit >"$work/commit"
	[ ! -d "${MODEL:-}" ] || cp -r "$MODEL" "$work/model" || exit 2
	[ ! -f "${MODEL:-}" ] || cp "$MODEL" "$work/model.gguf" || exit 2
	tar -C "$work" -czf "$1" . || exit 2
	echo "$1: $(($(wc -c <"$1") / 1000000)) MB; on the host, unpack it beside this source tree \
and name the folder: BUILD=FOLDER tools/gpu-check.sh"
}

# ---- the whole ----

share_of() { # PART
	for share in $shares; do
		[ "${share%:*}" != "$1" ] || echo "${share#*:}"
	done
}

sum_of() { # PART...: of their shares
	sum=0
	for part; do
		sum=$((sum + $(share_of "$part")))
	done
	echo $sum
}

# Why something failed or was skipped, each reason once with the first that had it.
reasons() { # LOG
	[ ! -e "$1" ] || grep -E '^(FAIL|SKIP) ' "$1" |
		awk '{ why = $0; sub(/^.*: petals-bench [a-z]*: /, "", why) } !seen[why]++' |
		sed 's/^/     /' | head -n 8
}

# In a process of its own, so that it can be stopped.  Those behind it keep their shares.
run_part() { # PART BEHIND...
	part=$1
	shift
	start=$(date +%s)
	limit=$((deadline - start - $(sum_of "$@") * LIMIT_S / all_shares))
	[ "$limit" -ge 5 ] || limit=5
	if [ $((deadline - start)) -lt 5 ]; then
		status=75
	else
		timeout -k 5 "$limit" "$self" --part "$part" >"$WORK/part" 2>&1
		status=$?
	fi
	case $status in
	0) verdict=ok ;;
	75) verdict="not run: no time left" failed=1 ;;
	77) verdict="skipped: $(sed -n 's/^SKIP //p' "$WORK/part" | tail -n 1)" ;;
	124 | 137) verdict="stopped after $limit s" failed=1 ;;
	*) verdict=failed failed=1 ;;
	esac
	took=$(($(date +%s) - start))
	echo "$part: $verdict, $took s"
	reasons "$WORK/part"
	{
		echo "== $part: $verdict, $took s"
		cat "$WORK/part" 2>/dev/null
	} >>"$OUT/log.txt"
	result part name "$part" verdict "$verdict" seconds "#$took"
	rm -f "$WORK/part"
	write_report
}

run_parts() { # PART...
	all_shares=$(sum_of "$@")
	deadline=$(($(date +%s) + LIMIT_S))
	while [ $# -gt 0 ]; do
		run_part "$@"
		shift
	done
}

parts=$(parts_of "$shares")
case ${1:-} in
--list)
	echo "$parts"
	exit 0 ;;
--pack)
	pack "${2:?--pack FILE.tar.gz}"
	exit 0 ;;
--part)
	failed=0
	"part_$2"
	exit $failed ;;
--test)
	run_test "$2"
	exit ;;
--stand-in)
	STAND_IN=1
	export STAND_IN
	shift
	exec "$self" "$@" ;;
-*) die "usage: tools/gpu-check.sh [--list] [--stand-in] [PART...], or --pack FILE.tar.gz" ;;
esac

for part; do
	case " $parts " in *" $part "*) ;; *) die "no part '$part'; there are: $parts" ;; esac
done
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $parts
set_environment
bring="make gpu-check where compilers are, or bring a pack (--pack)"
[ -x "$BUILD/bin/petals-bench" ] || die "$BUILD/bin/petals-bench is not built: $bring"
[ -e "${PETALS_CUDA_MODULE:-$BUILD/lib/petals-cuda.so}" ] ||
	die "the CUDA module is not built, for want of nvcc: $bring"
rm -f "$OUT/log.txt"
: >"$WORK/results.jsonl"
failed=0
run_parts "$@"
echo "written: $OUT/report.md, report.json, log.txt"
exit $failed
