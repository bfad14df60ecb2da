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
	section Tests test . name verdict cases seconds
	section "Tests under compute-sanitizer" sanitizer . name verdict
	section "Tokens beside f32 on the CPU" agree . model compute tokens same \
		first_difference first_margin widest_margin logits_relative_error
	section "Products by our kernels" product '"by":"kernel"' weights features columns rows \
		median_us best_us megabytes gb_per_second tflop_per_second share_of_ceiling
	section "Products by cuBLASLt" product '"by":"library"' features columns rows median_us \
		best_us gb_per_second tflop_per_second share_of_ceiling
	section "Products by cuBLASLt, e4m3 with scales by row and feature" product '"by":"fp8"' \
		features columns rows median_us best_us gb_per_second tflop_per_second
	section "Blocks, decode" block '"step":"decode".*"streamed":false' shape compute stored \
		rows context median_us best_us megabytes gb_per_second share_of_ceiling
	section "Blocks, prefill" block '"step":"prefill"' shape compute rows context median_us \
		best_us tflop_per_second share_of_ceiling
	section "Attention: what a context adds to a step" attention . shape step rows context \
		us gb_per_second tflop_per_second
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
