#!/bin/sh
# gpu-parts.sh - what gpu-check.sh does and measures, part by part, and with which sizes:
# sourced by it.
#
# A part prints what the log is to keep, adds result lines (gpu-report.sh), and sets `failed`
# or ends by skip.  What matters most comes first: time may end.

skip() { # REASON: ends a part that cannot be run here
	echo "SKIP $*"
	exit 77
}

# ---- sizes: a GPU's, and the stand-in's ----

# products: SHAPE:MATRIX,..:FORMAT,..   attention: SHAPE:STEP:ROWS:CONTEXT:PAGE
if [ -n "${STAND_IN:-}" ]; then
	machine_sizes="--bytes 64k --product 32"
	products="tiny-llama:up,down:bf16,int8,q4_1"
	product_rows=1,3 library_rows=1,64 fp8_rows=16
	decode_shapes="tiny-llama tiny-bloom" decode_formats="bf16 int4"
	prefill_shapes=tiny-llama
	decode_rows=1,3 prefill_rows=40 decode_context=20 steps=2
	attention="tiny-bloom:decode:3:48:16 tiny-llama:decode:3:48:64 tiny-llama:prefill:40:48:16"
	offload_shapes=tiny-llama launch_shape=tiny-llama launch_blocks=2
	agree_tokens=6
	wanted_tests="norm_test gate_test"
	sanitized_tests=
else
	machine_sizes=
	products="llama-2-70b:up:bf16,f16,int8,q8_0,int4,q4_1 bloom-176b:up,down:bf16,q8_0,int4
llama-2-70b:down,q,k:bf16,q8_0,int4 llama-3.1-405b:up:bf16,q8_0,int4"
	product_rows=1,4,16,64 library_rows=1,4,16,64,256,2048 fp8_rows=16,64,256,2048
	decode_shapes="bloom-176b llama-2-70b llama-3.1-405b opt-175b"
	decode_formats="bf16 int4 q8_0"
	prefill_shapes=$decode_shapes
	decode_rows=1,8,32 prefill_rows=512,2048 decode_context=128 steps=20
	attention="bloom-176b:decode:16:4096:16 llama-2-70b:decode:64:4096:16
llama-2-70b:prefill:2048:14336:16 llama-2-70b:decode:64:4096:64 bloom-176b:decode:1:16384:16"
	offload_shapes="llama-2-70b bloom-176b" launch_shape=llama-2-70b launch_blocks=4
	agree_tokens=128
	wanted_tests=
	sanitized_tests="norm_test linear_test attention_test"
fi
bench=$BUILD/bin/petals-bench
tests=$BUILD/release/tests/compute/cuda

# ---- measuring ----

# Runs a measurement; its JSON lines are results, what it says on the side is the log's.
# A format or a library that is not there is no failure, but is told.
measure() { # VERB ARGUMENT...
	if "$bench" "$@" --device "$DEVICE" --json >"$WORK/line" 2>"$WORK/said"; then
		:
	elif grep -q -e ' not there on cuda' -e 'needs libcublasLt' "$WORK/said"; then
		echo "SKIP $(tail -n 1 "$WORK/said")"
	else
		echo "FAIL $*: $(tail -n 1 "$WORK/said")"
		failed=1
	fi
	cat "$WORK/line" >>"$WORK/results.jsonl"
	cat "$WORK/line" "$WORK/said"
}

# A number of the machine part, 0 when it has not run.
ceiling() { # KEY
	sed -n "s/.*\"what\":\"machine\".*\"$1\":\([0-9.e+-]*\).*/\1/p" "$WORK/results.jsonl" |
		tail -n 1 | grep . || echo 0
}

# Without the machine part each measurement asks for itself: gigabytes, not for the stand-in.
ceilings() {
	read_gb=$(ceiling read_gb_per_second)
	[ "$read_gb" != 0 ] || [ -z "${STAND_IN:-}" ] || read_gb=1
	[ "$read_gb" = 0 ] || echo "--ceiling-read $read_gb --ceiling-product \
$(ceiling bf16_tflop_per_second)"
}

# What a checkpoint holds is kept; int8 and int4 are made at load.
weights_of() { # FORMAT
	case $1 in
	int8 | int4) echo "--weights $1" ;;
	*) echo "--stored $1" ;;
	esac
}

words() { # A,B,...
	echo "$1" | tr , ' '
}

# ---- what is right ----

part_host() {
	uname -srm
	[ -z "${STAND_IN:-}" ] || echo "a CPU stands in for the GPU: no figure here means anything"
	echo "source: $(commit)"
	gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem \
		--format=csv,noheader 2>/dev/null | tr '\n' ' ')
	echo "nvidia-smi: ${gpu:-none}"
	echo "nvcc: $(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || echo none)"
	echo "libraries of NVIDIA's: ${PETALS_CUDA_LIBRARIES:-where the loader looks}"
	echo "model: ${MODEL:-none}"
	"$BUILD/bin/petalsctl" devices
	result host system "$(uname -srm)" cores "#$(nproc)" gpu "${gpu:-none}" \
		source "$(commit)" date "$(date -u '+%Y-%m-%dT%H:%M:%SZ')"
}

run_test() { # PROGRAM
	name=${1##*/}
	log=$WORK/$name.log
	start=$(date +%s)
	status=0
	timeout --foreground -k 5 90 "$1" >"$log" 2>&1 || status=$?
	verdict=passed
	[ $status -eq 0 ] || verdict="failed ($status)"
	result test name "$name" verdict "$verdict" cases "#$(grep -c '^\[       OK \]' "$log")" \
		seconds "#$(($(date +%s) - start))"
	{
		[ $status -eq 0 ] || echo "FAIL $name: $(grep -m 1 '^\[  FAILED  \]' "$log")"
		[ $status -eq 0 ] || tail -n 40 "$log"
		grep '^# SKIP' "$log"
		echo "$name $verdict"
	} >"$log.told"
	cat "$log.told"
	return $status
}

# A few at a time: what takes time there is the slow twins on the CPU.
part_tests() {
	for program in "$tests"/*_test; do
		[ -x "$program" ] || skip "no tests were built, for want of nvcc"
		name=${program##*/}
		case " ${wanted_tests:-$name} " in *" $name "*) echo "$program" ;; esac
	done >"$WORK/tests"
	xargs -P 4 -n 1 "$self" --test <"$WORK/tests" || failed=1
}

part_sanitizer() {
	sanitizer=$(command -v compute-sanitizer ||
		ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
	[ -n "$sanitizer" ] || skip "no compute-sanitizer on this host"
	[ -n "$sanitized_tests" ] || skip "the stand-in has its own sanitizer: make cuda-check"
	for name in $sanitized_tests; do
		verdict=passed
		timeout --foreground -k 5 60 "$sanitizer" --error-exitcode 9 "$tests/$name" \
			>"$WORK/said" 2>&1 || verdict="failed ($?)" failed=1
		echo "$name under compute-sanitizer: $verdict"
		[ "$verdict" = passed ] || tail -n 40 "$WORK/said"
		result sanitizer name "$name" verdict "$verdict"
	done
}

part_agree() {
	model=$MODEL
	if [ -z "$model" ]; then
		model=tests/data/llama-gqa-tied
		echo "no MODEL: $model instead of SmolLM2"
	fi
	measure agree --model "$model" --compute f32 --tokens $agree_tokens
	for weights in keep int8 int4; do
		measure agree --model "$model" --compute bf16 --weights $weights \
			--tokens $agree_tokens
	done
}

# ---- how fast ----

part_machine() {
	# shellcheck disable=SC2086 # lists of words, here and below
	measure machine $machine_sizes
}

part_blocks() {
	for format in $decode_formats; do
		for shape in $decode_shapes; do
			# shellcheck disable=SC2046
			measure block --shape "$shape" $(weights_of "$format") \
				--rows $decode_rows --context $decode_context --steps $steps \
				$(ceilings)
		done
	done
	for fast in "" --fast; do
		for shape in $prefill_shapes; do
			# shellcheck disable=SC2046,SC2086
			measure block --shape "$shape" --prefill --rows $prefill_rows --steps 5 \
				$fast $(ceilings)
		done
	done
}

# What a graph saves, and what kernels that start early do: the smallest block, where it shows.
part_launches() {
	for launches in graphs early plain; do
		# shellcheck disable=SC2046
		measure block --shape $launch_shape --stored q8_0 --blocks $launch_blocks \
			--rows $decode_rows --launches $launches --steps $steps $(ceilings)
	done
}

part_products() {
	for product in $products; do
		IFS=: read -r shape matrices formats <<-END
			$product
		END
		for format in $(words "$formats"); do
			for matrix in $(words "$matrices"); do
				# shellcheck disable=SC2046
				measure product --shape "$shape" --matrix "$matrix" \
					$(weights_of "$format") --rows $product_rows \
					$(ceilings)
			done
		done
	done
}

# The library's candidates raced, at few rows too: it is a question whether they are any good.
part_tune() {
	for product in $products; do
		for matrix in $(words "$(echo "$product" | cut -d: -f2)"); do
			# shellcheck disable=SC2046
			measure product --shape "${product%%:*}" --matrix "$matrix" --by library \
				--rows $library_rows $(ceilings)
		done
	done
	# shellcheck disable=SC2046
	measure product --shape "${products%%:*}" --by fp8 --rows $fp8_rows $(ceilings)
}

# Steps with a context and without: the difference is attention's.
part_attention() {
	for case in $attention; do
		IFS=: read -r shape step rows context page <<-END
			$case
		END
		[ "$step" = prefill ] && step=--prefill || step=
		for tokens in 0 "$context"; do
			# shellcheck disable=SC2046,SC2086
			measure block --shape "$shape" $step --rows "$rows" --context "$tokens" \
				--kv-page-tokens "$page" --stored q8_0 --steps 10 $(ceilings)
		done
		attention_between >>"$WORK/results.jsonl"
	done
}

# What the context of the last result added to the one before it.
attention_between() {
	tail -n 2 "$WORK/results.jsonl" | awk '
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
			page = number("page_tokens")
		}
		END {
			if (n != 2 || context[1] != 0 || context[2] == 0 || us[2] <= us[1])
				exit
			more = us[2] - us[1]
			printf "{\"what\":\"attention\",\"shape\":\"%s\",", shape
			printf "\"step\":\"%s\",\"rows\":%d,", step, rows
			printf "\"context\":%d,\"page_tokens\":%d,", context[2], page
			printf "\"us\":%.1f,", more
			printf "\"gb_per_second\":%.3f,", (mb[2] - mb[1]) / more * 1e3
			printf "\"tflop_per_second\":%.3f}\n", (flop[2] - flop[1]) / more
		}'
}

# The same blocks, from host memory in every step.
part_offload() {
	for shape in $offload_shapes; do
		for streamed in "" --streamed; do
			# shellcheck disable=SC2046,SC2086
			measure block --shape "$shape" --stored bf16 $streamed --steps 10 \
				$(ceilings)
		done
	done
}
