#!/bin/sh
# bench.sh - measures this machine and appends a dated block to tools/diary.md.
#
#	tools/bench.sh [petals-bench diary FLAGS]
#
# MODEL=PATH measures another model than SmolLM2; DIARY=FILE writes elsewhere.
set -eu
cd "$(dirname "$0")/.."

bin=${BUILD:-build}/bin
diary=${DIARY:-tools/diary.md}
[ -x "$bin/petals-bench" ] || {
	echo "bench: $bin/petals-bench is not built: run make" >&2
	exit 1
}
model=${MODEL:-$(tools/fetch-model.sh)}
cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
load=$(cut -d' ' -f1 /proc/loadavg)
commit=$(git describe --always --dirty 2>/dev/null || echo "no commit")

block=$(mktemp)
trap 'rm -f "$block"' EXIT
{
	echo
	echo "## $(date -u '+%Y-%m-%d %H:%M') UTC, $commit"
	echo
	echo "$(nproc) x ${cpu:-unknown CPU}, Linux $(uname -r), load $load before the run."
	echo "\`make bench\`: \`petals-bench diary --model $(basename "$model")${*:+ $*}\`,"
} >"$block"
"$bin/petals-bench" diary --model "$model" "$@" >>"$block"
cat "$block" >>"$diary"
cat "$block"
echo "appended to $diary" >&2
