#!/bin/sh
# metrics.sh - what every program tells about itself: /metrics that promtool accepts, /live,
# /health, /ready and /version that tell the truth.
#
# promtool is taken from PATH, or out of Debian's package prometheus into the build folder.
. "$(dirname "$0")/lib.sh"
need_model

# Prints promtool's path, or nothing.
find_promtool() {
	command -v promtool && return
	cache=$build/cache/promtool
	if [ ! -x "$cache/usr/bin/promtool" ] && command -v apt-get >/dev/null; then
		mkdir -p "$cache"
		(cd "$cache" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . &&
			rm -f prometheus_*.deb) >/dev/null 2>&1 || return 0
	fi
	if [ -x "$cache/usr/bin/promtool" ]; then
		echo "$cache/usr/bin/promtool"
	fi
}

PROMTOOL=$(find_promtool)
export PROMTOOL
[ -n "$PROMTOOL" ] ||
	echo "     # SKIP promtool: neither installed nor fetched (apt-get download prometheus)"
run metrics.py
