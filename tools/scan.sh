#!/bin/sh
# scan.sh - clang's static analyser over every source.
#
# Compiles with gcc and analyses with clang, in a build folder of its own, so
# that only changed files are analysed again.  A finding fails; the report is
# in build/scan/report.
set -u
cd "$(dirname "$0")/.." || exit 2

build=${BUILD:-build}/scan
report=$build/report
if ! command -v scan-build >/dev/null 2>&1; then
	echo "scan.sh: scan-build is missing (Debian: clang-tools); run tools/setup.sh check" >&2
	exit 1
fi
rm -rf "$report"
# A finding leaves its object built: the next run must look at it again.
if [ -e "$build/found" ]; then
	rm -rf "$build"
fi
mkdir -p "$build"
if scan-build --status-bugs --use-cc=gcc -o "$report" \
	make --no-print-directory -s -j"$(nproc)" BUILD="$build" objects >"$build/log" 2>&1; then
	echo "scan: nothing found"
	exit 0
fi
touch "$build/found"
grep -E 'error|warning:|scan-build:' "$build/log"
echo "scan: findings above; the full report is in $report" >&2
exit 1
