"""What tests/net.sh runs, from the host `user`: the network is there, the programs are started
here, each inside its host's namespace."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time

from swarm import (
    BIN,
    MODEL,
    Failed,
    Swarm,
    alive,
    ask,
    check,
    check_equal,
    credentials_for_https,
    main,
    metric,
    report,
    request,
    start,
    wait_until,
)

NET = os.environ["PETALS_NET"]
HOME = os.environ["PETALS_HOME"]
CA = os.path.join(HOME, "ca")
HOSTS = ["user", "directory", "gateway", *(f"server-{i}" for i in range(6))]
PROMPT = "Here is how a violin is made, step by step:"
BLOCKS = 30
SPANS, TOKENS = 3, 96
BAD = "drop=5%,reorder=2%,corrupt=1%,seed=7"

# wire.h
MAGIC, STEP, F32, HEADER_BYTES = b"PTLS", 9, 1, 64
WIDTH_AT, ENCODING_AT = 40, 44

state = {}


# ---- hosts ----


def space(host):
    return f"{NET}-{host}"


def address(host, nic=0):
    return f"10.77.{nic}.{HOSTS.index(host) + 1}"


def ctl(*args):
    done = subprocess.run(
        [os.path.join(BIN, "petalsctl"), *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    check_equal(done.returncode, 0, f"petalsctl {args}: {done.stderr}")
    return done.stdout.strip()


def credentials(host, role):
    """A folder of them, issued once."""
    folder = os.path.join(HOME, "of", host)
    if not os.path.exists(folder):
        ctl("ca", "issue", "--ca", CA, "--name", host, "--role", role, "--out", folder,
            "--host", address(host))  # fmt: skip
    return folder


def set_link(host, nic, up_or_down):
    """A cable at the switch."""
    subprocess.run(
        ["ip", "-n", space("switch"), "link", "set", f"{host}-{nic}", up_or_down], check=True
    )


class Capture:
    """What goes over every link of a namespace, until asked for."""

    def __init__(self, host):
        self.path = os.path.join(HOME, "capture")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", space(host), sys.executable, "tests/scenario/capture.py",
             self.path],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        check_equal(self.process.stdout.readline(), b"ready\n", "the capture")

    def end(self):
        """All of it."""
        self.process.send_signal(signal.SIGTERM)
        missed = int(self.process.communicate(timeout=30)[0])
        check_equal(missed, 0, "frames that the capture missed")
        with open(self.path, "rb") as f:
            return f.read()


# ---- the swarm ----


class Hosts:
    """Servers and a gateway on hosts of their own: each of three spans `replicas` times."""

    def __init__(self, replicas, datagrams=False, impair=None):
        self.impair, self.datagrams = impair, datagrams
        self.spans = SPANS
        self.programs, self.servers = [], []
        for number in range(replicas * SPANS):
            self.start_server(f"server-{number}", number % SPANS)
        gateway = self.start("petals-gateway", "gateway", "--listen", address("gateway") + ":8080",
                             "--log-level", "info")  # fmt: skip
        self.gateway = gateway.ready["gateway"]
        check(self.gateway.startswith("https://"), f"a gateway in plain text: {self.gateway}")
        wait_until("ready gateway", lambda: request(self.gateway + "/ready")[0] == 200, 30)

    def start(self, program, host, *args):
        network = []
        if self.datagrams:
            network = ["--dpdk-address", address(host, 1) + "/24:7900", "--dpdk-args",
                       "--no-huge -m 128 --no-pci --vdev=net_af_packet0,iface=eth1,"
                       "framesz=2048,framecnt=1024,blocksz=4096", "--near", "1s"]  # fmt: skip
        if self.impair:
            network += ["--impair", self.impair]
        process = start(program, "--directory", address("directory") + ":7700", "--model", MODEL,
                        "--threads", 1, *args, *self.identity(host), *network,
                        inside=space(host))  # fmt: skip
        self.programs.append(process)
        return process

    def identity(self, host):
        """The first server is let in by a token, the others have had their certificates."""
        if host != "server-0":
            return ["--credentials", credentials(host, host.split("-")[0])]
        folder = os.path.join(HOME, "of", host)
        if os.path.exists(folder):
            return ["--credentials", folder]
        token = ctl("ca", "token", "--ca", CA, "--directory", address("directory") + ":7700")
        return ["--join", token, "--name", host, "--credentials", folder]

    def start_server(self, host, span):
        first, end = (BLOCKS * at // SPANS for at in (span, span + 1))
        process = self.start(
            "petals-server", host, "--blocks", f"{first}:{end}", "--listen",
            address(host) + ":7701", "--metrics", address(host) + ":7801", "--log-level", "info",
        )  # fmt: skip
        self.servers.append(dict(process.ready, pid=process.pid, host=host, span=span))

    carriers = Swarm.carriers

    def total(self, name, gateway=True):
        urls = [server["metrics"] for server in self.servers if alive(server["pid"])]
        return sum(metric(url, name) for url in urls + [self.gateway + "/metrics"] * gateway)

    def ask(self, on_token=None):
        return ask(self.gateway, PROMPT, TOKENS, on_token)

    def replaced(self):
        return metric(self.gateway + "/metrics", "petals_session_hops_replaced_total")

    def stop(self):
        for process in reversed(self.programs):
            if process.process.poll() is None:
                check_equal(process.stop(), 0, f"exit status of {process.name}: {process.said()}")


def check_same(answer, what):
    check(answer.error is None, f"{what}: error: {answer.error}")
    check_equal(answer.tokens, state["plain"].tokens, f"tokens {what}")
    check_equal(answer.logprobs, state["plain"].logprobs, f"log-probabilities {what}")


# ---- what must not be seen ----


def hidden_rows(capture):
    """The f32 rows of steps in plain text."""
    rows, at = [], capture.find(MAGIC)
    while at >= 0:
        width = struct.unpack_from("<I", capture, at + WIDTH_AT)[0]
        if capture[at + 5] == STEP and capture[at + ENCODING_AT] == F32:
            rows.append(capture[at + HEADER_BYTES : at + HEADER_BYTES + 4 * width])
        at = capture.find(MAGIC, at + 4)
    return rows


def needles(rows):
    """What tells, by name: of some rows, eight numbers here and there."""
    found = {
        "a prompt": PROMPT.encode(),
        "tokens": b'"token_ids":',
        "the magic of messages": MAGIC,
        "a JSON method": b'"watch"',
    }
    for number in range(0, len(rows), len(rows) // 16):
        for at in range(0, len(rows[number]) - 31, 512):
            found[f"row {number} from byte {at}"] = rows[number][at : at + 32]
    return found


def check_sealed(capture, what):
    """Nothing in clear, though there was enough to see."""
    check(len(capture) > TOKENS * SPANS * state["row_bytes"], f"{what}: little was captured")
    seen = [name for name, needle in state["needles"].items() if needle in capture]
    check(not seen, f"{what}: in clear on the wire: {seen}")
    report(f"   {len(capture) >> 10} KiB of frames listened to: nothing in clear")


# ---- parts ----


def plain():
    """Loopback, in plain text: the tokens, and what a listener must be able to see there."""
    capture = Capture("user")
    swarm = Swarm(SPANS, insecure=True)
    state["plain"] = ask(swarm.gateway, PROMPT, TOKENS)
    check_equal(len(state["plain"].tokens), TOKENS, "tokens")
    check_equal(swarm.close(), 0, "exit status of petalsctl up")
    seen = capture.end()
    rows = hidden_rows(seen)
    check(len(rows) >= SPANS * TOKENS, f"only {len(rows)} hidden rows in plain text")
    state["row_bytes"], state["needles"] = len(rows[0]), needles(rows)
    missing = [name for name, needle in state["needles"].items() if needle not in seen]
    check(not missing, f"not to be seen in plain text, either: {missing}")


def an_operator_sets_up():
    ctl("ca", "init", "--ca", CA, "--name", "region-1")
    state["directory"] = start(
        "petals-directory", "--listen", address("directory") + ":7700", "--store", ":memory:",
        "--credentials", credentials("directory", "directory"), "--ca", CA,
        inside=space("directory"),
    )  # fmt: skip
    credentials_for_https(credentials("user", "operator,tenant"))


def sealed_over_tcp():
    capture = Capture("switch")
    swarm = state["swarm"] = Hosts(replicas=2)
    check_same(swarm.ask(), "over io_uring between hosts")
    check_sealed(capture.end(), "io_uring")


def wait_for_flows(swarm):
    """Both ends of a path between the gateway and each server, where there are to be any."""
    if not swarm.datagrams:
        return
    wait_until(
        "flows of the gateway to all servers",
        lambda: metric(swarm.gateway + "/metrics", "petals_transport_flows") == len(swarm.servers),
        30,
    )


def all_by_datagrams(swarm):
    """Asks until every step of an answer went by datagrams, at each hop: servers find out about
    each other, and then about the path between them, while they are asked."""
    for _ in range(20):
        before = swarm.total("petals_transport_flow_received_messages_total")
        check_same(swarm.ask(), "over DPDK")
        went = swarm.total("petals_transport_flow_received_messages_total") - before
        # Steps into each hop and results out of the last.
        if went >= (SPANS + 1) * TOKENS:
            report(f"   {went:.0f} messages of an answer of {TOKENS} tokens went by datagrams")
            return
    raise Failed(f"of an answer of {TOKENS} tokens only {went} messages went by datagrams")


def sealed_over_dpdk():
    swarm = state["swarm"] = Hosts(replicas=2, datagrams=True)
    wait_for_flows(swarm)
    capture = Capture("switch")
    all_by_datagrams(swarm)
    check_sealed(capture.end(), "DPDK")


def a_kernel_is_a_neighbour():
    """This host's kernel asks for the port's address and is answered; nobody else could: the
    kernel of that host has no such address."""
    at = address("server-0", 1)

    def answered():
        shown = subprocess.run(
            ["ip", "neigh", "show", at], capture_output=True, text=True, check=True
        )
        return "lladdr" in shown.stdout and "REACHABLE" in shown.stdout

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"who has this address?", (at, 7900))
    wait_until(f"an answer to ARP from {at}", answered)


class During:
    """Does something to what carries a hop, in the middle of an answer."""

    def __init__(self, swarm, hop, act):
        self.swarm, self.hop, self.act, self.victim = swarm, hop, act, None

    def __call__(self, answer):
        if self.victim or len(answer.tokens) < TOKENS // 4:
            return
        self.victim = self.swarm.carriers()[self.hop]
        self.act(self.victim)


def disturbed(what, hop, act):
    """(whom it met, how many hops were replaced)"""
    swarm = state["swarm"]
    before = swarm.replaced()
    during = During(swarm, hop, act)
    answer = swarm.ask(during)
    check_same(answer, what)
    replaced = swarm.replaced() - before
    report(f"   {what}: pause {answer.pause_ms():.0f} ms, {replaced:.0f} hops replaced")
    return during.victim, replaced


def a_server_is_killed():
    swarm = state["swarm"]
    victim, replaced = disturbed(
        "after kill -9", 1, lambda server: os.kill(server["pid"], signal.SIGKILL)
    )
    check(replaced > 0, "a hop was killed and none replaced")
    swarm.servers.remove(victim)
    swarm.start_server(victim["host"], victim["span"])
    wait_for_flows(swarm)


def the_path_is_cut():
    """Datagrams get nowhere, TCP does: the connection carries on and no hop is replaced, unless
    this machine held a program up for so long that it was taken for dead; so not every time."""
    swarm = state["swarm"]
    ends = "petals_transport_flow_ends_total"
    replaced = None
    for _ in range(3):
        before = swarm.total(ends)
        victim, replaced = disturbed(
            "after a path was cut", 1, lambda server: set_link(server["host"], 1, "down")
        )
        check(swarm.total(ends) > before, "no flow noticed that its path was cut")
        set_link(victim["host"], 1, "up")
        wait_for_flows(swarm)
        if replaced == 0:
            break
    check_equal(replaced, 0, "hops replaced though only datagrams were cut off, each time")
    all_by_datagrams(swarm)


def a_host_is_cut_off():
    def cut_off(server):
        for nic in (0, 1):
            set_link(server["host"], nic, "down")

    swarm = state["swarm"]
    victim, replaced = disturbed("after a host was cut off", 2, cut_off)
    check(replaced > 0, "a hop was cut off and none replaced")
    for nic in (0, 1):
        set_link(victim["host"], nic, "up")
    wait_for_flows(swarm)
    check_same(swarm.ask(), "once all are back")
    swarm.stop()


def over_a_bad_network():
    swarm = state["swarm"] = Hosts(replicas=2, datagrams=True, impair=BAD)
    wait_for_flows(swarm)
    all_by_datagrams(swarm)
    for name in ("lost", "refused"):
        count = swarm.total(f"petals_transport_{name}_datagrams_total")
        check(count > 0, f"{BAD}, and no datagram was {name}")
        report(f"   {BAD}: {count:.0f} datagrams {name}")


def a_server_is_killed_on_a_bad_network():
    a_server_is_killed()
    state["swarm"].stop()


def everybody_stops():
    check_equal(state["directory"].stop(), 0, "exit status of the directory")


def with_dpdk():
    """All that follows needs the module."""
    if os.path.exists(os.path.join(BIN, "../lib/petals-dpdk.so")):
        return
    everybody_stops()
    report("# SKIP DPDK between hosts: lib/petals-dpdk.so was not built (tools/setup.sh dpdk)")
    sys.exit(77)


main(
    plain,
    an_operator_sets_up,
    sealed_over_tcp,
    a_server_is_killed,
    a_host_is_cut_off,
    with_dpdk,
    sealed_over_dpdk,
    a_kernel_is_a_neighbour,
    a_server_is_killed,
    the_path_is_cut,
    a_host_is_cut_off,
    over_a_bad_network,
    a_server_is_killed_on_a_bad_network,
    everybody_stops,
)
