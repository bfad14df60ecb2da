#!/bin/sh
# gpu-report.sh - gpu-check.sh's result lines, and the Markdown and JSON made of them: sourced by
# it.
#
# A result is a flat JSON object on a line; "what" says of which kind it is.

# Adds one; values that begin with # are numbers.
result() { # WHAT KEY VALUE...
	line="{\"what\":\"$1\""
	shift
	while [ $# -gt 1 ]; do
		case $2 in
		'#'*) line="$line,\"$1\":${2#?}" ;;
		*) line="$line,\"$1\":\"$(printf %s "$2" | tr -d '"\\' | tr '\n\t' '  ')\"" ;;
		esac
		shift 2
	done
	printf '%s}\n' "$line" >>"$WORK/results.jsonl"
}

# Prints a table: rows of the lines whose "what" is $1 and that match $2, columns as named.
table() { # WHAT PATTERN KEY...
	what=$1 pattern=$2
	shift 2
	grep "\"what\":\"$what\"" "$WORK/results.jsonl" | grep -e "$pattern" |
		awk -v keys="$*" '
		function value(key,    at, rest) {
			at = index($0, "\"" key "\":")
			if (!at)
				return "-"
			rest = substr($0, at + length(key) + 3)
			if (substr(rest, 1, 1) == "\"") {
				rest = substr(rest, 2)
				return substr(rest, 1, index(rest, "\"") - 1)
			}
			sub(/[,}].*/, "", rest)
			if (rest !~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/ || rest !~ /[.e]/)
				return rest
			return sprintf(rest * rest >= 10000 ? "%.0f" : "%.3g", rest)
		}
		BEGIN { n = split(keys, key, " ") }
		NR == 1 {
			head = line = "|"
			for (i = 1; i <= n; i++) {
				title = key[i]
				gsub(/_/, " ", title)
				head = head " " title " |"
				line = line "---|"
			}
			print head
			print line
		}
		{
			row = "|"
			for (i = 1; i <= n; i++)
				row = row " " value(key[i]) " |"
			print row
		}
		END { if (NR) print "" }'
}

section() { # TITLE WHAT PATTERN KEY...
	title=$1
	shift
	rows=$(table "$@")
	[ -z "$rows" ] || printf '## %s\n\n%s\n\n' "$title" "$rows"
}

# One key a line of what the machine part found.
machine_list() {
	grep '"what":"machine"' "$WORK/results.jsonl" | tail -n 1 | tr -d '{}"' | tr , '\n' |
		sed -n '/^what/d; s/^\([^:]*\):\(.*\)/| \1 | \2 |/p' | tr _ ' '
}

# What the first release is to reach: label; percent; what; pattern; key of a share, or of a rate;
# the ceiling that a rate is a share of.
targets='
products of 1 row, 16 bits;88;product;"kernel","format":"b?f16","rows":1,;share_of_ceiling
products of 1 row, 8 bits;82;product;"kernel","format":"(int8|q8_0)","rows":1,;share_of_ceiling
products of 1 row, 4 bits;70;product;"kernel","format":"(int4|q4_.)","rows":1,;share_of_ceiling
products of 16 rows, 16 bits;85;product;"kernel","format":"b?f16","rows":16,;share_of_ceiling
products of 16 rows, 8 bits;75;product;"kernel","format":"(int8|q8_0)","rows":16,;share_of_ceiling
products of 16 rows, 4 bits;62;product;"kernel","format":"(int4|q4_.)","rows":16,;share_of_ceiling
blocks, 1 row, 16 bits;82;block;"b?f16","step":"decode".*"blocks":1,"rows":1,;share_of_ceiling
blocks, 1 row, 8 bits;75;block;"(int8|q8_0)","step":"decode".*"blocks":1,"rows":1,;share_of_ceiling
blocks, 1 row, 4 bits;60;block;"(int4|q4_.)","step":"decode".*"blocks":1,"rows":1,;share_of_ceiling
blocks, 2048 rows of a prompt;80;block;"step":"prefill".*"rows":2048,"context":0,;share_of_ceiling
attention of decode steps;75;attention;"step":"decode";gb_per_second;read_gb_per_second
attention of prompts;38;attention;"step":"prefill";tflop_per_second;bf16_tflop_per_second'

# Products that read less than 50 MB are as quick as a launch, and not meant; nor is what
# streams.
target_rows() {
	echo "$targets" | awk -F';' '
		function number(line, key,    at) {
			at = index(line, "\"" key "\":")
			return at ? substr(line, at + length(key) + 3) + 0 : 0
		}
		NR == FNR {
			if (NF)
				n++
			label[n] = $1; least[n] = $2; what[n] = "\"what\":\"" $3 "\""
			pattern[n] = $4; key[n] = $5; over[n] = $6
			next
		}
		/"what":"machine"/ { machine = $0 }
		/"streamed":true/ || (/"what":"product"/ && number($0, "megabytes") < 50) { next }
		{
			for (i = 1; i <= n; i++) {
				if (!index($0, what[i]) || $0 !~ pattern[i])
					continue
				v = number($0, key[i])
				if (!seen[i]++ || v < low[i])
					low[i] = v
				if (v > high[i])
					high[i] = v
			}
		}
		END {
			for (i = 1; i <= n; i++) {
				unit = over[i] ? number(machine, over[i]) : 1
				if (!seen[i] || !unit)
					continue
				printf "| %s | %d %% | %.0f to %.0f %% |\n", label[i], least[i],
				       low[i] / unit * 100, high[i] / unit * 100
			}
		}' - "$WORK/results.jsonl"
}

write_markdown() {
	echo "# CUDA on $(uname -n), $(date -u '+%Y-%m-%d %H:%M') UTC"
	echo
	[ -z "${STAND_IN:-}" ] ||
		printf 'A CPU stood in for the GPU: no figure here means anything.\n\n'
	sed -n '/^== host/,/^== [^h]/{/^==/!s/^/    /p}' "$OUT/log.txt"
	echo
	section Parts part . name verdict seconds
	rows=$(machine_list)
	[ -z "$rows" ] || printf '## Ceilings\n\n| | |\n|---|---|\n%s\n\n' "$rows"
	rows=$(target_rows)
	[ -z "$rows" ] || printf '## Shares of reading or of bf16 products\n\n%s\n%s\n%s\n\n' \
		"| | is to be | seen, lowest to highest |" "|---|---|---|" "$rows"
	section Tests test . name verdict cases seconds
	section "Tests under compute-sanitizer" sanitizer . name verdict
	section "Tokens beside f32 on the CPU" agree . model compute tokens same \
		first_difference first_margin widest_margin logits_relative_error
	section "Products by our kernels" product '"by":"kernel"' format features columns rows \
		median_us best_us megabytes gb_per_second tflop_per_second share_of_ceiling
	section "Products by cuBLASLt" product '"by":"library"' features columns rows median_us \
		best_us gb_per_second tflop_per_second share_of_ceiling
	section "Products by cuBLASLt, e4m3 with scales by row and feature" product '"by":"fp8"' \
		features columns rows median_us best_us gb_per_second tflop_per_second
	section "Blocks, decode" block '"step":"decode".*"blocks":1,.*"streamed":false' \
		shape compute format rows context median_us best_us megabytes gb_per_second \
		share_of_ceiling
	section "Blocks, prefill" block '"step":"prefill"' shape compute format rows context \
		median_us best_us tflop_per_second share_of_ceiling
	section "A step of several blocks: one graph, kernels that start early, kernels in turn" \
		block '"step":"decode".*"blocks":[2-9]' shape blocks rows launches median_us \
		best_us share_of_ceiling
	section "Attention: what a context adds to a step" attention . shape step rows context \
		page_tokens us gb_per_second tflop_per_second
	section "Offloading: weights streamed from host memory in every step" block \
		'"streamed":true' shape compute rows median_us best_us megabytes gb_per_second
}

# Of all results so far.
write_report() {
	write_markdown >"$OUT/report.md"
	{
		echo '['
		sed '$!s/$/,/' "$WORK/results.jsonl"
		echo ']'
	} >"$OUT/report.json"
	[ ! -e "$XDG_CACHE_HOME/petals/cuda-tuning" ] ||
		cp "$XDG_CACHE_HOME/petals/cuda-tuning" "$OUT/cuda-tuning"
}
