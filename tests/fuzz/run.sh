#!/bin/sh
# run.sh - builds every harness with libFuzzer and runs each one.
#
#	tests/fuzz/run.sh [NAME...]
#
# FUZZ_RUNS inputs each (default 1000000), under ASan and UBSan, starting from
# the harness's own seeds and from what earlier runs found (build/fuzz/corpus).
# An input that crashes is kept in build/fuzz/crashes.
set -u
cd "$(dirname "$0")/../.." || exit 2

build=${BUILD:-build}/fuzz
runs=${FUZZ_RUNS:-1000000}
sanitizers=address,undefined
make_fuzz() {
	# The Makefile's own rules, with clang and its coverage in place of asan's flags.  Which
	# warnings count is gcc's to say.
	make --no-print-directory -s -j"$(nproc)" BUILD="$build" CC=clang \
		FLAGS_asan="-O1 -DPETALS_FAULTS -fsanitize=fuzzer-no-link,$sanitizers \
-fno-sanitize-recover=all -fno-omit-frame-pointer" \
		CFLAGS="-Wno-unknown-warning-option -Wno-missing-field-initializers" "$@"
}
libraries=$(sed -n 's/^LIBS *:= *//p' Makefile)

[ $# -gt 0 ] || set -- $(cd tests/fuzz && ls ./*_fuzz.c 2>/dev/null | sed 's|^\./||; s|_fuzz\.c$||')
if [ $# -eq 0 ]; then
	echo "fuzz: no harness in tests/fuzz" >&2
	exit 1
fi
make_fuzz "$build/asan/libpetals.a" "$build/asan/tests/fuzz/driver.o" || exit 1

failed=0
for name; do
	name=${name%_fuzz}
	object=$build/asan/tests/fuzz/${name}_fuzz.o
	corpus=$build/corpus/$name
	mkdir -p "$corpus" "$build/crashes" "$build/bin"
	make_fuzz "$object" || exit 1
	# The driver knows the seeds; libFuzzer wants them as files.
	# shellcheck disable=SC2086 # a list of flags
	clang -fsanitize=$sanitizers -o "$build/bin/${name}_seeds" "$object" \
		"$build/asan/tests/fuzz/driver.o" "$build/asan/libpetals.a" $libraries &&
	clang -fsanitize=fuzzer,$sanitizers -o "$build/bin/${name}_fuzz" "$object" \
		"$build/asan/libpetals.a" $libraries &&
	"$build/bin/${name}_seeds" --write "$corpus" || exit 1

	echo "fuzz: $name, $runs runs from $(find "$corpus" -type f | wc -l) inputs"
	if ! "$build/bin/${name}_fuzz" -runs="$runs" -timeout=20 -rss_limit_mb=2048 \
		-artifact_prefix="$build/crashes/$name-" -print_final_stats=1 "$corpus" \
		>"$build/$name.log" 2>&1; then
		failed=1
		grep -v '^#' "$build/$name.log" | tail -n 60
		echo "fuzz: $name FAILED; the input is in $build/crashes" >&2
	else
		sed -n 's/^stat::\(number_of_executed_units\|peak_rss_mb\)/  \1/p' \
			"$build/$name.log"
	fi
done
exit $failed
