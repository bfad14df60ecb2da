#!/bin/sh
# gpu-check.sh - tests and measures the CUDA backend on a GPU in one go, without a network.
#
#	tools/gpu-check.sh [--list] [--stand-in] [PART...]
#	tools/gpu-check.sh --pack FILE.tar.gz
#
# Runs every part, or those named, each bounded in time and all within LIMIT_S (520)
# seconds, and writes report.md, report.json, log.txt and cuda-tuning into the folder that OUT
# names (build/gpu-check).  A part that fails does not stop the others; exit status 1
# says that one did.  What a host lacks is skipped aloud.
#
# Needs this source tree (for tests/data) and what was built: BUILD names the folder
# (build).  Where neither compiler nor libraries are, bring a pack: --pack writes the programs,
# the CUDA module, the tests and the shared libraries they need; unpacked, it is a
# BUILD folder.  MODEL names SmolLM2 or another model; else a small one of tests/data is taken.
# DEVICE is cuda:0 unless it says otherwise.  --stand-in runs all of it, with tiny sizes, on the
# CPU that stands in for a GPU.
set -u
cd "$(dirname "$0")/.." || exit 2
self=$PWD/tools/gpu-check.sh

parts="host tests machine tune agree products blocks attention offload sanitizer"
BUILD=${BUILD:-build}
OUT=${OUT:-$BUILD/gpu-check}
DEVICE=${DEVICE:-cuda:0}
LIMIT_S=${LIMIT_S:-520}
bench=$BUILD/bin/petals-bench
tests=$BUILD/release/tests/compute/cuda
export BUILD OUT DEVICE LIMIT_S

die() {
	echo "gpu-check: $*" >&2
	exit 2
}

skip() { # REASON: ends a part that cannot be run here
	echo "SKIP $*"
	exit 77
}

# ---- sizes: a GPU's, and the stand-in's ----

if [ -n "${STAND_IN:-}" ]; then
	machine_sizes="--bytes 64k --product 32"
	decode_shapes="tiny-llama tiny-bloom"
	product_shapes="tiny-llama:up,down"
	product_rows=1,3 library_rows=1,64 fp8_rows=16
	decode_rows=1,3 prefill_rows=40 decode_context=20 steps=2
	attention="tiny-bloom:decode:3:48 tiny-llama:decode:3:48 tiny-llama:prefill:40:48"
	offload_shapes=tiny-llama
	weights="bf16"
	agree_tokens=6
	wanted_tests="norm_test gate_test"
	sanitized_tests=
else
	machine_sizes=
	decode_shapes="bloom-176b llama-2-70b llama-3.1-405b opt-175b"
	product_shapes="llama-2-70b:up,down,q,k bloom-176b:up,down llama-3.1-405b:up"
	product_rows=1,4,16,64 library_rows=1,4,16,64,256,2048 fp8_rows=16,64,256,2048
	decode_rows=1,8,32 prefill_rows=512,2048 decode_context=128 steps=20
	attention="bloom-176b:decode:16:4096 llama-2-70b:decode:64:4096
llama-2-70b:prefill:2048:14336"
	offload_shapes="llama-2-70b bloom-176b"
	weights="bf16 q8_0 q4_0"
	agree_tokens=128
	wanted_tests=
	sanitized_tests="norm_test linear_test attention_test"
fi

# ---- what the host has ----

# NVIDIA's libraries, where the loader does not look by itself.
find_libraries() {
	ldconfig -p 2>/dev/null | grep -q 'libcublasLt\.so\.13' && return
	for folder in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
		/usr/lib/x86_64-linux-gnu; do
		[ -e "$folder/libcublasLt.so.13" ] && { echo "$folder"; return; }
	done
	found=$(timeout 20 find / -xdev -name libcublasLt.so.13 2>/dev/null | head -n 1)
	[ -z "$found" ] || dirname "$found"
}

set_environment() {
	case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
	case $OUT in /*) ;; *) OUT=$PWD/$OUT ;; esac
	bench=$BUILD/bin/petals-bench
	tests=$BUILD/release/tests/compute/cuda
	# Who won the races is part of the result, and what an earlier run knows.
	XDG_CACHE_HOME=$OUT/cache
	mkdir -p "$XDG_CACHE_HOME/petals" || exit 2
	[ ! -e "$OUT/cuda-tuning" ] || cp "$OUT/cuda-tuning" "$XDG_CACHE_HOME/petals"
	[ ! -d "$BUILD/libraries" ] ||
		LD_LIBRARY_PATH=$BUILD/libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	if [ -n "${STAND_IN:-}" ]; then
		PETALS_CUDA_LIBRARIES=$BUILD/release/stand-in
	else
		PETALS_GPU=1
		export PETALS_GPU
		: "${PETALS_CUDA_LIBRARIES=$(find_libraries)}"
	fi
	export BUILD OUT XDG_CACHE_HOME LD_LIBRARY_PATH PETALS_CUDA_LIBRARIES
}

# ---- parts ----

# What the context of the last result added to the one before it.
attention_between() {
	tail -n 2 "$OUT/results.jsonl" | awk '
		function number(key,    at) {
			at = index($0, "\"" key "\":")
			return at ? substr($0, at + length(key) + 3) + 0 : 0
		}
		function text(key) {
			return substr($0, index($0, "\"" key "\":") + length(key) + 4)
		}
		/"what":"block"/ {
			n++
			us[n] = number("median_us")
			mb[n] = number("megabytes")
			flop[n] = number("tflop_per_second") * us[n]
			context[n] = number("context")
			shape = text("shape"); sub(/".*/, "", shape)
			step = text("step"); sub(/".*/, "", step)
			rows = number("rows")
		}
		END {
			if (n != 2 || context[1] != 0 || context[2] == 0 || us[2] <= us[1])
				exit
			more = us[2] - us[1]
			printf "{\"what\":\"attention\",\"shape\":\"%s\",", shape
			printf "\"step\":\"%s\",\"rows\":%d,", step, rows
			printf "\"context\":%d,\"us\":%.1f,", context[2], more
			printf "\"gb_per_second\":%.3f,", (mb[2] - mb[1]) / more * 1e3
			printf "\"tflop_per_second\":%.3f}\n", (flop[2] - flop[1]) / more
		}'
}

# Runs a measurement; its JSON lines are results, what it says on the side is the log's.
# A format or a library that is not there is no failure, but is told.
measure() { # COMMAND...
	said=$OUT/said.$$
	if "$@" --json >"$OUT/line.$$" 2>"$said"; then
		status=0
	elif grep -q -e ' not there on cuda' -e 'needs libcublasLt' "$said"; then
		echo "SKIP $(tail -n 1 "$said")"
		status=0
	else
		echo "FAIL $*: $(tail -n 1 "$said")"
		status=1
	fi
	cat "$OUT/line.$$" >>"$OUT/results.jsonl"
	cat "$OUT/line.$$" "$said"
	rm -f "$OUT/line.$$" "$said"
	[ $status -eq 0 ] || failed=1
	return 0
}

# A number of the machine part, 0 when it has not run.
ceiling() { # KEY
	sed -n "s/.*\"what\":\"machine\".*\"$1\":\([0-9.e+-]*\).*/\1/p" "$OUT/results.jsonl" |
		tail -n 1 | grep . || echo 0
}

ceilings() {
	read_gb=$(ceiling read_gb_per_second)
	# Measuring them takes gigabytes, which are not for the stand-in.
	[ "$read_gb" != 0 ] || [ -z "${STAND_IN:-}" ] || read_gb=1
	[ "$read_gb" = 0 ] || echo "--ceiling-read $read_gb --ceiling-product \
$(ceiling bf16_tflop_per_second)"
}

# Of a block: f32 .. q4_0 are stored so and kept.
block_weights() { # FORMAT
	case $1 in
	int8 | int4) echo "--weights $1" ;;
	*) echo "--stored $1" ;;
	esac
}

part_host() {
	uname -srm
	[ -n "${STAND_IN:-}" ] && echo "a CPU stands in for the GPU: no figure here means anything"
	nvidia-smi --format=csv \
		--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,temperature.gpu \
		2>/dev/null || echo "no nvidia-smi"
	echo "nvcc: $(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || echo none)"
	echo "libraries of NVIDIA's: ${PETALS_CUDA_LIBRARIES:-where the loader looks}"
	"$BUILD/bin/petalsctl" devices
}

part_tests() {
	for program in "$tests"/*_test; do
		name=${program##*/}
		case " ${wanted_tests:-$name} " in *" $name "*) ;; *) continue ;; esac
		start=$(date +%s)
		if timeout --foreground -k 5 90 "$program" >"$OUT/test.$$" 2>&1; then
			verdict=passed
		else
			verdict="failed ($?)" failed=1
			tail -n 40 "$OUT/test.$$"
		fi
		grep '^# SKIP' "$OUT/test.$$"
		echo "$name $verdict"
		echo "{\"what\":\"test\",\"name\":\"$name\",\"verdict\":\"$verdict\",\
\"cases\":$(grep -c '^\[       OK \]' "$OUT/test.$$"),\
\"seconds\":$(($(date +%s) - start))}" >>"$OUT/results.jsonl"
		rm -f "$OUT/test.$$"
	done
}

part_machine() {
	# shellcheck disable=SC2086 # lists of words, here and below
	measure "$bench" machine --device "$DEVICE" $machine_sizes
}

# The library's candidates raced, at few rows too: it is a question whether they are any good.
part_tune() {
	for shape in $product_shapes; do
		for matrix in $(echo "${shape#*:}" | tr , ' '); do
			# shellcheck disable=SC2046
			measure "$bench" product --device "$DEVICE" --shape "${shape%%:*}" \
				--by library --matrix "$matrix" --rows $library_rows $(ceilings)
		done
	done
	# shellcheck disable=SC2046
	measure "$bench" product --device "$DEVICE" --shape "${product_shapes%%:*}" --by fp8 \
		--rows $fp8_rows $(ceilings)
}

part_agree() {
	model=${MODEL:-}
	if [ -z "$model" ]; then
		model=tests/data/llama-gqa-tied
		echo "no MODEL: $model instead of SmolLM2"
	fi
	for compute in f32 bf16; do
		measure "$bench" agree --model "$model" --device "$DEVICE" --compute $compute \
			--tokens $agree_tokens
	done
}

part_products() {
	for format in bf16 int8 int4; do
		for shape in $product_shapes; do
			for matrix in $(echo "${shape#*:}" | tr , ' '); do
				# shellcheck disable=SC2046
				measure "$bench" product --device "$DEVICE" --shape "${shape%%:*}" \
					--matrix "$matrix" --weights $format --rows $product_rows \
					$(ceilings)
			done
		done
	done
}

part_blocks() {
	for shape in $decode_shapes; do
		for format in $weights; do
			# shellcheck disable=SC2046
			measure "$bench" block --device "$DEVICE" --shape "$shape" \
				$(block_weights "$format") --rows $decode_rows \
				--context $decode_context --steps $steps $(ceilings)
		done
		for fast in "" --fast; do
			# shellcheck disable=SC2046,SC2086
			measure "$bench" block --device "$DEVICE" --shape "$shape" --prefill \
				--rows $prefill_rows --steps 5 $fast $(ceilings)
		done
	done
}

# Steps with a context and without: the difference is attention's.
part_attention() {
	for case in $attention; do
		IFS=: read -r shape step rows context <<-END
			$case
		END
		[ "$step" = prefill ] && step=--prefill || step=
		for tokens in 0 "$context"; do
			# shellcheck disable=SC2046,SC2086
			measure "$bench" block --device "$DEVICE" --shape "$shape" $step \
				--rows "$rows" --context "$tokens" --steps 10 $(ceilings)
		done
		attention_between >>"$OUT/results.jsonl"
	done
}

part_offload() {
	for shape in $offload_shapes; do
		for streamed in "" --streamed; do
			# shellcheck disable=SC2046,SC2086
			measure "$bench" block --device "$DEVICE" --shape "$shape" --stored bf16 \
				$streamed --steps 10 $(ceilings)
		done
	done
}

part_sanitizer() {
	sanitizer=$(command -v compute-sanitizer ||
		ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
	[ -n "$sanitizer" ] || skip "no compute-sanitizer on this host"
	[ -n "$sanitized_tests" ] || skip "the stand-in has its own sanitizer: make cuda-check"
	for name in $sanitized_tests; do
		if timeout --foreground -k 5 60 "$sanitizer" --error-exitcode 9 "$tests/$name" \
			>"$OUT/test.$$" 2>&1; then
			verdict=passed
		else
			verdict="failed ($?)" failed=1
			tail -n 40 "$OUT/test.$$"
		fi
		echo "$name under compute-sanitizer: $verdict"
		echo "{\"what\":\"sanitizer\",\"name\":\"$name\",\"verdict\":\"$verdict\"}" \
			>>"$OUT/results.jsonl"
		rm -f "$OUT/test.$$"
	done
}

limit_of() { # PART: seconds
	case $1 in
	host) echo 40 ;;
	tests) echo 150 ;;
	tune) echo 80 ;;
	products | attention) echo 60 ;;
	blocks) echo 120 ;;
	*) echo 45 ;;
	esac
}

. tools/gpu-report.sh

# ---- the whole ----

pack() { # FILE: everything but the source tree
	work=$(mktemp -d) || exit 2
	mkdir -p "$work/bin" "$work/lib" "$work/libraries" "$work/release/lib" \
		"$work/release/tests/compute/cuda"
	strip -o "$work/bin/petals-bench" "$bench" &&
		strip -o "$work/bin/petalsctl" "$BUILD/bin/petalsctl" &&
		strip -g -o "$work/lib/petals-cuda.so" "$BUILD/lib/petals-cuda.so" ||
		die "nothing is built: make gpu-pack"
	ln -s ../../lib/petals-cuda.so "$work/release/lib/petals-cuda.so"
	for program in "$tests"/*_test; do
		strip -o "$work/release/tests/compute/cuda/${program##*/}" "$program" || exit 2
	done
	# glibc's own parts belong to the host.
	ldd "$work"/bin/* "$work"/release/tests/compute/cuda/*_test |
		awk '$3 ~ /^\// { print $3 }' | sort -u |
		grep -v -E '/lib(c|m|dl|pthread|rt|resolv)\.so' |
		xargs cp -L -t "$work/libraries" || exit 2
	tar -C "$work" -czf "$1" . || exit 2
	rm -rf "$work"
	echo "$1: $(($(wc -c <"$1") / 1000000)) MB; unpack it and name the folder: BUILD=FOLDER \
tools/gpu-check.sh"
}

# Why something failed or was skipped, each reason once with the first that had it.
reasons() { # LOG
	[ ! -e "$1" ] || grep -E '^(FAIL|SKIP) ' "$1" |
		awk '{ why = $0; sub(/^.*: petals-bench [a-z]*: /, "", why) } !seen[why]++' |
		sed 's/^/     /' | head -n 8
}

run_part() { # PART: in a process of its own, so that it can be stopped
	left=$((deadline - $(date +%s)))
	limit=$(limit_of "$1")
	[ "$left" -ge "$limit" ] || limit=$left
	start=$(date +%s)
	if [ "$limit" -lt 5 ]; then
		status=75
	else
		timeout -k 5 "$limit" "$self" --part "$1" >"$OUT/part.$$" 2>&1
		status=$?
	fi
	case $status in
	0) verdict=ok ;;
	75) verdict="not run: no time left" failed=1 ;;
	77) verdict="skipped: $(sed -n 's/^SKIP //p' "$OUT/part.$$" | tail -n 1)" ;;
	124 | 137) verdict="stopped after $limit s" failed=1 ;;
	*) verdict=failed failed=1 ;;
	esac
	took=$(($(date +%s) - start))
	echo "$1: $verdict, $took s"
	reasons "$OUT/part.$$"
	{
		echo "== $1: $verdict, $took s"
		cat "$OUT/part.$$" 2>/dev/null
	} >>"$OUT/log.txt"
	echo "{\"what\":\"part\",\"name\":\"$1\",\"verdict\":\"$(echo "$verdict" | tr -d '"\\')\",\
\"seconds\":$took}" >>"$OUT/results.jsonl"
	rm -f "$OUT/part.$$"
}

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
[ $# -gt 0 ] || set -- $parts
set_environment
[ -x "$bench" ] || die "$bench is not built: make gpu-check, or bring a pack (--pack)"
rm -f "$OUT/results.jsonl" "$OUT/log.txt"
: >"$OUT/results.jsonl"
deadline=$(($(date +%s) + LIMIT_S))
failed=0
for part; do
	run_part "$part"
done
write_report
echo "written: $OUT/report.md, report.json, log.txt"
exit $failed
