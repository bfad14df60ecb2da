#!/bin/sh
# make demo: chats with a real model over three servers, kills one in the middle of the
# answer, and shows that no token changed.
#
# MODEL=PATH uses another model; QUESTION=TEXT asks something else; TOKENS=N bounds the answer.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${PETALS_BIN:-$top/build/bin}
question=${QUESTION:-"Write a long story about a bee that cannot find its way home."}
tokens=${TOKENS:-300}
work=$(mktemp -d)
swarm=

finish() {
	status=$?
	if [ -n "$swarm" ]; then
		kill "$swarm" 2>/dev/null || true
		wait "$swarm" 2>/dev/null || true
	fi
	rm -rf "$work"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
	echo "demo: $*" >&2
	[ -s "$work/log" ] && sed 's/^/  /' "$work/log" >&2
	exit 1
}

json() { # FILE KEY: a value of the swarm's JSON line
	python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."): value = value[key]
print(value)' "$1" "$2"
}

generate() { # FILE for the token ids
	"$bin/petalsctl" generate --gateway "$gateway" --chat "$question" \
		--max-tokens "$tokens" --temperature 0.7 --seed 7 --ids "$1"
}

model=${MODEL:-$("$top/tools/fetch-model.sh")}

echo "Starting a directory, six servers (three spans, two replicas each) and a gateway ..."
"$bin/petalsctl" up --json --model "$model" --servers 3 --replicas 2 --base-port 0 \
	--listen 127.0.0.1:0 --threads 1 >"$work/up" 2>"$work/log" &
swarm=$!
waited=0
until [ -s "$work/up" ]; do
	kill -0 "$swarm" 2>/dev/null || { swarm=; fail "the swarm did not start:"; }
	sleep 0.1
	waited=$((waited + 1))
	[ $waited -lt 1200 ] || fail "the swarm was not ready within two minutes:"
done
gateway=$(json "$work/up" gateway)
directory=$(json "$work/up" directory)
"$bin/petalsctl" blocks --directory "$directory"

echo
echo "Undisturbed:"
echo "> $question"
generate "$work/quiet.ids" || fail "the first answer failed:"

echo
echo "Again; now one server is killed (kill -9) in the middle of the answer:"
echo "> $question"
: >"$work/answer"
generate "$work/killed.ids" >"$work/answer" 2>"$work/summary" &
answer=$!
# Show the answer as it grows; after some of it, kill the server of the middle span that
# carries it.
shown=0
victim=
while kill -0 "$answer" 2>/dev/null || [ "$(wc -c <"$work/answer")" -gt $shown ]; do
	size=$(wc -c <"$work/answer")
	if [ "$size" -gt $shown ]; then
		tail -c +$((shown + 1)) "$work/answer" | head -c $((size - shown))
		shown=$size
	fi
	if [ -z "$victim" ] && [ "$shown" -gt 300 ]; then
		victim=$(python3 - "$work/up" <<'PY'
import json, sys, urllib.request

servers = json.load(open(sys.argv[1]))["servers"]
middle = sorted({s["first"] for s in servers})[1]
for server in servers:
    if server["first"] != middle:
        continue
    for line in urllib.request.urlopen(server["metrics"], timeout=5).read().decode().splitlines():
        if line.startswith("petals_server_sessions ") and float(line.split()[1]) > 0:
            print(server["pid"])
PY
)
		if [ -n "$victim" ]; then
			kill -9 "$victim"
			printf '\n  [server %s with the middle blocks is killed]\n' "$victim"
		fi
	fi
	sleep 0.02
done
wait "$answer" || fail "the answer broke off:"
cat "$work/summary" >&2
[ -n "$victim" ] || fail "the answer was over before a server was killed; try TOKENS=600"

echo
"$bin/petalsctl" blocks --directory "$directory"
if cmp -s "$work/quiet.ids" "$work/killed.ids"; then
	echo "Both answers have the same $(wc -l <"$work/quiet.ids") tokens."
else
	fail "the tokens differ: $(cmp "$work/quiet.ids" "$work/killed.ids")"
fi
