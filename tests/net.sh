#!/bin/sh
# net.sh - a sealed swarm between hosts that are network namespaces: over io_uring, over DPDK,
# over a bad network, with hosts killed and links pulled, while the wire is listened to.
#
#                   switch: two bridges in a namespace of their own
#        ┌─────────┬───────────┬───────────┬───────────┬─── ... ───┐
#      user    directory    gateway    server-0    server-1    server-5
#
# Every host has two NICs, each on a bridge of its own (a kernel answers ARP for any of its
# addresses at any NIC); their other ends in the switch are called HOST-0 and HOST-1:
#	eth0  10.77.0.N/24, the kernel's: TCP
#	eth1  10.77.1.N/24, DPDK's by af_packet; the kernel has an address there on `user` alone
# Each end lets through a gigabit (tbf) and leaves no checksum to a NIC.
#
# The namespaces' names begin with petals-PID-; they go when this ends, however it ends, and
# with them every process that runs inside.
. "$(dirname "$0")/scenario/lib.sh"

hosts="user directory gateway server-0 server-1 server-2 server-3 server-4 server-5"
prefix=petals-$$
export PETALS_NET="$prefix"
python=

# Only what bears our prefix: processes first, then the namespaces, and with them all links.
clean_up() {
	trap '' INT TERM HUP
	[ -z "$python" ] || kill "$python" 2>/dev/null || :
	for space in $(ip netns list 2>/dev/null | sed -n "s/^\($prefix-[a-z0-9-]*\).*/\1/p"); do
		for pid in $(ip netns pids "$space"); do
			kill -9 "$pid" 2>/dev/null || :
		done
		ip netns del "$space" || :
	done
	rm -rf "$work"
}

# What one host needs, in the words of `ip -batch`.
link() { # HOST NUMBER
	for nic in 0 1; do
		echo "link add name $1-$nic type veth peer name eth$nic netns $prefix-$1"
		echo "link set $1-$nic master bridge$nic up"
	done
}

rate="tbf rate 1gbit burst 256kb latency 50ms"

limit() { # SPACE DEVICE
	# shellcheck disable=SC2086 # a list of words
	ip netns exec "$prefix-$1" tc qdisc add dev "$2" root $rate
	ip netns exec "$prefix-$1" ethtool -K "$2" tx off >/dev/null
}

build_network() {
	ip netns add "$prefix-switch"
	for nic in 0 1; do
		echo "link add name bridge$nic type bridge"
		echo "link set bridge$nic up"
	done >"$work/batch"
	for host in $hosts; do
		ip netns add "$prefix-$host"
		link "$host" >>"$work/batch"
	done
	ip -n "$prefix-switch" -batch "$work/batch"
	number=0
	for host in $hosts; do
		number=$((number + 1))
		{
			echo "link set lo up"
			echo "link set eth0 up"
			echo "link set eth1 up"
			echo "addr add 10.77.0.$number/24 dev eth0"
			[ "$host" != user ] || echo "addr add 10.77.1.$number/24 dev eth1"
		} >"$work/batch"
		ip -n "$prefix-$host" -batch "$work/batch"
		# A host that forwards would send DPDK's packets on, once more.
		ip netns exec "$prefix-$host" sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'
		for nic in 0 1; do
			limit "$host" "eth$nic"
			limit switch "$host-$nic"
		done
	done
}

for tool in ip tc ethtool; do
	command -v $tool >/dev/null || skip "no $tool here: tools/setup.sh test"
done
work=$(mktemp -d "${TMPDIR:-/tmp}/petals-net.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
# shellcheck disable=SC2086 # a list of words
{ ip netns add "$prefix-try" && ip -n "$prefix-try" link add name try0 type veth peer name try1 &&
	ip -n "$prefix-try" link add name bridge type bridge &&
	ip netns exec "$prefix-try" tc qdisc add dev try0 root $rate
} >"$work/try" 2>&1 ||
	skip "no network namespaces (root, veth, bridge, tbf) here: $(tail -n 1 "$work/try")"
ip netns del "$prefix-try"

need_model
# All that programs leave behind, and DPDK's own files.
export TMPDIR="$work" RUNTIME_DIRECTORY="$work"
build_network
# Python runs beside this shell, so that a signal is heard while it does.
cat >"$work/run" <<END
export PYTHONPATH=tests/scenario PYTHONDONTWRITEBYTECODE=1
exec ${PYTHON:-python3} -u tests/scenario/net.py
END
ip netns exec "$prefix-user" sh "$work/run" &
python=$!
status=0
wait "$python" || status=$?
python=
exit "$status"
