#!/bin/sh
# run.sh - builds and runs every test of every variant.
#
#	tests/run.sh [--variants "asan tsan release"] [--runs N] [PATTERN...]
#
# Runs tests/**/*_test.c, the fuzz drivers (under asan), tests/scenario/*.sh and
# tests/net.sh (with the release variant; exit 77 skips).  A PATTERN is part of a name.
# Shows one line per program, the output of what failed, every skip with its
# reason, and closes with "N passed, N failed, N skipped", which counts test
# cases.  Exit status 1 when anything failed.
set -u
cd "$(dirname "$0")/.." || exit 2

variants="asan tsan release"
fuzz_runs=4000
while [ $# -gt 0 ]; do
	case $1 in
	--variants) variants=${2-}; shift 2 || exit 2 ;;
	--runs) fuzz_runs=${2-}; shift 2 || exit 2 ;;
	-*)
		echo 'usage: tests/run.sh [--variants "V..."] [--runs N] [PATTERN...]' >&2
		exit 2 ;;
	*) break ;;
	esac
done
for variant in $variants; do
	case $variant in
	asan | tsan | release) ;;
	*)
		echo "tests/run.sh: no variant '$variant'; there are asan, tsan and release" >&2
		exit 2 ;;
	esac
done

build=${BUILD:-build}
export BUILD="$build"
limit_s=${TEST_LIMIT_S:-600}
scenario_limit_s=${SCENARIO_LIMIT_S:-600}
work=$(mktemp -d "${TMPDIR:-/tmp}/petals-tests.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0

# Operators' settings must not soften the sanitizers; suppressions may be added.
# The handlers are 2, "ours whatever the program installs", since cmocka would
# otherwise turn a crash into a line without a stack.
export ASAN_OPTIONS="abort_on_error=0:exitcode=99:detect_leaks=1:detect_stack_use_after_return=1\
:strict_string_checks=1:allocator_may_return_null=1:handle_segv=2:handle_sigbus=2:handle_abort=2\
:handle_sigfpe=2:handle_sigill=2${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="halt_on_error=1:exitcode=99:second_deadlock_stack=1\
:allocator_may_return_null=1:handle_segv=2:handle_abort=2${TSAN_OPTIONS:+:$TSAN_OPTIONS}"

wanted() { # NAME PATTERN...: whether a pattern is part of the name
	candidate=$1
	shift
	[ $# -gt 0 ] || return 0
	for pattern; do
		case $candidate in *"$pattern"*) return 0 ;; esac
	done
	return 1
}

seconds() { # START END, in nanoseconds: "1.2"
	echo $((($2 - $1) / 10000000)) | awk '{ printf "%.1f", $1 / 100 }'
}

seconds_since() { # START
	seconds "$1" "$(date +%s%N)"
}

why() { # STATUS: what an exit status of timeout(1) means, for a failed program
	case $1 in
	124 | 137) echo "did not end in time" ;;
	99) echo "a sanitizer stopped it" ;;
	134) echo "aborted (an assertion?)" ;;
	139) echo "crashed: segmentation fault" ;;
	*) [ "$1" -gt 128 ] && echo "killed by signal $(($1 - 128))" || echo "exit status $1" ;;
	esac
}

report() { # VERDICT LABEL SECONDS [DETAIL]
	printf '%-4s %-58s %6ss%s\n' "$1" "$2" "$3" "${4:+  $4}"
}

quote() {
	sed 's/^/     | /'
}

# Counts what cmocka printed.  A program that ended otherwise than by its own
# count of failures failed once more, in the test it had begun last.
count_cases() { # STATUS LABEL SECONDS OUTPUT
	ok=$(grep -c '^\[       OK \]' "$4")
	# These are told when they happen and again in the summary.
	skip=$(grep '^\[  SKIPPED \] [^0-9]' "$4" | sort -u | wc -l)
	fail=$(grep '^\[  FAILED  \] [^0-9]' "$4" | sort -u | wc -l)
	detail=
	if ! grep -q '^\[==========\] .* run\.$' "$4"; then
		begun=$(sed -n 's/^\[ RUN      \] //p' "$4" | tail -n 1)
		detail="$(why "$1")${begun:+ in $begun}"
		fail=$((fail + 1))
	elif [ "$1" -gt 1 ] || { [ "$1" -eq 1 ] && [ "$fail" -eq 0 ]; }; then
		detail="$(why "$1") after the last test"
		fail=$((fail + 1))
	fi
	passed=$((passed + ok)) failed=$((failed + fail)) skipped=$((skipped + skip))
	if [ "$fail" -gt 0 ]; then
		report FAIL "$2" "$3" "$detail"
		grep -v -e '^\[       OK \]' -e '^\[==========\]' "$4" | tail -n 200 | quote
	else
		report ok "$2" "$3" "$ok passed"
	fi
	sed -n 's/^# SKIP /     # SKIP /p' "$4"
}

# Kernels on a CPU run in one thread and check themselves: under asan alone, and only where
# CUDA's headers and compiler are.
runs_here() { # VARIANT NAME
	case $2 in compute/cuda/*) ;; *) return 0 ;; esac
	[ "$1" = asan ] || return 1
	make --no-print-directory -s has-cuda >/dev/null 2>&1 && return 0
	skipped=$((skipped + 1))
	report skip "$1 $2" 0
	echo "     # SKIP no nvcc on this host"
	return 1
}

# Kernels on a CPU keep a core busy for minutes and do not look at a clock: as many of their
# tests at a time as there are cores, each with its output, seconds and status in $work/cuda.
run_cuda() { # VARIANT
	mkdir "$work/cuda"
	while read -r source; do
		name=${source#tests/compute/cuda/}
		[ "$name" = "$source" ] || echo "${name%.c}"
	done <"$work/wanted" |
		LIMIT_S="$limit_s" OUT="$work/cuda" FOLDER="$build/$1/tests/compute/cuda" \
			xargs -P "$(nproc)" -I{} sh -c 'start=$(date +%s%N)
			timeout -k 10 "$LIMIT_S" "$FOLDER/{}" </dev/null >"$OUT/{}" 2>&1
			echo "$? $start $(date +%s%N)" >"$OUT/{}.took"'
}

# The result of one, once all have run.
take_cuda() { # VARIANT NAME
	[ -d "$work/cuda" ] || run_cuda "$1"
	read -r status start end <"$work/cuda/${2##*/}.took"
	count_cases "$status" "$1 $2" "$(seconds "$start" "$end")" "$work/cuda/${2##*/}"
}

run_tests() { # VARIANT PATTERN...
	variant=$1
	shift
	find tests -name '*_test.c' | LC_ALL=C sort >"$work/list"
	: >"$work/wanted"
	while read -r source; do
		name=${source#tests/}
		name=${name%.c}
		wanted "$name" "$@" || continue
		runs_here "$variant" "$name" || continue
		if [ -x "$build/$variant/tests/$name" ]; then
			echo "$source" >>"$work/wanted"
		else
			failed=$((failed + 1))
			report FAIL "$variant $name" 0 "was not built"
		fi
	done <"$work/list"
	while read -r source; do
		name=${source#tests/}
		name=${name%.c}
		start=$(date +%s%N)
		case $name in compute/cuda/*) take_cuda "$variant" "$name"; continue ;; esac
		timeout -k 10 "$limit_s" "$build/$variant/tests/$name" </dev/null >"$work/out" 2>&1
		count_cases $? "$variant $name" "$(seconds_since "$start")" "$work/out"
	done <"$work/wanted"
}

run_one() { # LABEL LIMIT COMMAND...: a program that is one test case
	label=$1 limit=$2
	shift 2
	start=$(date +%s%N)
	timeout -k 10 "$limit" "$@" </dev/null >"$work/out" 2>&1
	status=$?
	took=$(seconds_since "$start")
	if [ $status -eq 0 ]; then
		passed=$((passed + 1))
		report ok "$label" "$took"
	elif [ $status -eq 77 ]; then
		skipped=$((skipped + 1))
		report skip "$label" "$took"
		grep -q '^# SKIP ' "$work/out" || tail -n 1 "$work/out" | sed 's/^/     # SKIP /'
	else
		failed=$((failed + 1))
		report FAIL "$label" "$took" "$(why $status)"
		tail -n 200 "$work/out" | quote
	fi
	sed -n 's/^# SKIP /     # SKIP /p' "$work/out"
}

run_fuzzers() { # PATTERN...
	for source in tests/fuzz/*_fuzz.c; do
		[ -e "$source" ] || continue
		name=$(basename "$source" .c)
		wanted "fuzz/$name" "$@" || continue
		run_one "asan fuzz/$name" "$limit_s" "$build/asan/fuzz/$name" --runs "$fuzz_runs"
	done
}

run_scenarios() { # PATTERN...
	for script in tests/scenario/*.sh tests/net.sh; do
		[ -x "$script" ] || continue
		name=${script#tests/} name=${name%.sh}
		wanted "$name" "$@" || continue
		run_one "release $name" "$scenario_limit_s" "$script"
	done
}

compile() { # LABEL MAKE-ARGUMENTS...
	label=$1
	shift
	start=$(date +%s%N)
	if ! make --no-print-directory -s -k -j"$(nproc)" BUILD="$build" "$@" \
		>"$work/make" 2>&1; then
		failed=$((failed + 1))
		report FAIL "$label" "$(seconds_since "$start")" "does not compile"
		tail -n 100 "$work/make" | quote
		return 1
	fi
	report ok "$label" "$(seconds_since "$start")"
}

# All of a variant's programs, or those that the patterns ask for.
targets() { # VARIANT PATTERN...
	variant=$1
	shift
	[ $# -gt 0 ] || { echo "tests-$variant"; return; }
	find tests -name '*_test.c' | sed 's|^tests/||; s|\.c$||' | while read -r name; do
		wanted "$name" "$@" && runs_here "$variant" "$name" >/dev/null &&
			echo "$build/$variant/tests/$name"
	done
	[ "$variant" = asan ] && find tests/fuzz -name '*_fuzz.c' | while read -r source; do
		name=fuzz/$(basename "$source" .c)
		wanted "$name" "$@" && echo "$build/$variant/$name"
	done
}

# What a variant could not build is reported by its own line, the rest runs.
start_all=$(date +%s%N)
for variant in $variants; do
	programs=$(targets "$variant" "$@")
	# shellcheck disable=SC2086 # a list of words
	[ -z "$programs" ] || compile "build $variant" $programs
	run_tests "$variant" "$@"
	[ "$variant" = asan ] && run_fuzzers "$@"
	if [ "$variant" = release ] && ls tests/scenario/*.sh >/dev/null 2>&1; then
		compile "build programs" all stand-in && run_scenarios "$@"
	fi
done
echo "took $(seconds_since "$start_all") s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
