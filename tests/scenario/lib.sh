#!/bin/sh
# lib.sh - what the scenarios share: where the programs are, the model, and how to skip aloud.
#
# Sourced by the scenarios beside it, on loopback, and by tests/net.sh, in network namespaces.
# Each of them starts real processes, kills only those, and exits 77 with a reason when something
# it needs cannot be had.
set -eu
cd "$(dirname "$0")"
until [ -e tests/scenario/lib.sh ]; do cd ..; done

skip() { # REASON
	echo "# SKIP $*"
	exit 77
}

case ${BUILD:-build} in
/*) build=${BUILD:-build} ;;
*) build=$PWD/${BUILD:-build} ;;
esac
PETALS_BIN=$build/bin
export PETALS_BIN
[ -x "$PETALS_BIN/petalsctl" ] || {
	echo "$PETALS_BIN/petalsctl is not built: run make" >&2
	exit 1
}
command -v python3 >/dev/null || skip "python3 is missing: run tools/setup.sh test"

# Sets PETALS_MODEL to SmolLM2's path.
need_model() {
	PETALS_MODEL=$(tools/fetch-model.sh 2>/dev/null) ||
		skip "SmolLM2 cannot be fetched: name a copy by PETALS_SMOLLM2=FILE"
	export PETALS_MODEL
}

run() { # SCRIPT ARG...: a Python scenario of this folder, by $PYTHON
	script=$1
	shift
	PYTHONPATH=tests/scenario PYTHONDONTWRITEBYTECODE=1 \
		"${PYTHON:-python3}" -u "tests/scenario/$script" "$@"
}
