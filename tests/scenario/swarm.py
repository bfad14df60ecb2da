"""Real petals processes for scenarios: started, watched, killed, and only those.

Everything listens on 127.0.0.1 at ports left to chance.  `start()` runs any of the programs,
`Swarm` a whole swarm by petalsctl up; `ask()` streams a completion.  What a scenario started
is killed when it ends, however it ends.
"""

import atexit
import contextlib
import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from http import client

BIN = os.environ["PETALS_BIN"]
MODEL = os.environ.get("PETALS_MODEL", "")
READY_S = 60
_started = []
_https = None
# Throw-away certificates of swarms; nobody's own are touched.
_home = tempfile.TemporaryDirectory()
os.environ["PETALS_HOME"] = _home.name
os.environ.pop("PETALS_CREDENTIALS", None)


class Failed(Exception):
    """What was expected did not happen; the text is for people."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def check_equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


class Process:
    """One program, in a network namespace if one is named.  Its standard error is kept for
    messages."""

    def __init__(self, program, *args, ready=True, inside=None):
        self.errors = tempfile.TemporaryFile()
        self.name = program
        self.process = subprocess.Popen(
            [
                *(["ip", "netns", "exec", inside] if inside else []),
                os.path.join(BIN, program),
                *map(str, args),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
        )
        _started.append(self)
        self.pid = self.process.pid
        self.ready = None
        if ready:
            self.ready = self._wait_ready()

    def _wait_ready(self):
        line, end = b"", time.monotonic() + READY_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            check(readable, f"{self.name} is not ready after {READY_S} s: {self.said()}")
            byte = os.read(self.process.stdout.fileno(), 1)
            check(byte, f"{self.name} ended before it was ready: {self.said()}")
            line += byte
        return json.loads(line)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def send(self, number):
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def wait(self, within_s=60):
        """Exit status; -N: ended by signal N."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {within_s} s: {self.said()[-2000:]}")

    def stop(self, number=signal.SIGTERM, within_s=60):
        self.send(number)
        return self.wait(within_s)


def start(program, *args, inside=None):
    """A program that says in one JSON line when it is ready."""
    return Process(program, "--json", *args, inside=inside)


def refuse(program, *args, within_s=30):
    """Runs a program that must give up by itself; (exit status, what it said)."""
    process = Process(program, *args, ready=False)
    status = process.wait(within_s)
    return status, process.said()


@atexit.register
def _kill_all():
    for process in _started:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGCONT)
        with contextlib.suppress(OSError):
            process.process.poll() is None and os.killpg(process.pid, signal.SIGKILL)
    for process in _started:
        if isinstance(process, Swarm):
            process.kill_members()


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Swarm(Process):
    """petalsctl up: `servers` spans, each hosted `replicas` times."""

    def __init__(
        self,
        servers=3,
        replicas=1,
        compute="auto",
        threads=1,
        model=None,
        server_flags=(),
        insecure=False,
    ):
        super().__init__(
            "petalsctl",
            "up",
            "--json",
            "--model",
            model or MODEL,
            "--servers",
            servers,
            "--replicas",
            replicas,
            "--compute",
            compute,
            "--threads",
            threads,
            "--gateway-threads",
            1,
            "--base-port",
            0,
            "--listen",
            "127.0.0.1:0",
            *(["--insecure"] if insecure else []),
            *(["--", *server_flags] if server_flags else []),
        )
        self.gateway = self.ready["gateway"]
        self.directory = self.ready["directory"]
        self.spans, self.compute = servers, compute
        self.servers = list(self.ready["servers"])

    def pids(self):
        return [self.ready["gateway_pid"], self.ready["directory_pid"]] + [
            s["pid"] for s in self.ready["servers"]
        ]

    def kill_members(self):
        if not self.ready:
            return
        for pid in self.pids():
            if alive(pid) and program_of(pid).startswith("petals-"):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def carriers(self):
        """The server that carries each hop of the one session that is open."""
        found = {}
        for server in self.servers:
            if alive(server["pid"]) and metric(server["metrics"], "petals_server_sessions") > 0:
                found[server["first"]] = server
        return [found[first] for first in sorted(found)]

    def replace(self, server):
        """A new process for the span of a killed one."""
        fresh = start(
            "petals-server",
            "--directory",
            self.directory,
            "--model",
            MODEL,
            "--blocks",
            f"{server['first']}:{server['end']}",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--threads",
            1,
            "--compute",
            self.compute,
            "--log-level",
            "warn",
        )
        self.servers[self.servers.index(server)] = dict(fresh.ready, pid=fresh.pid)
        return fresh

    def close(self):
        """SIGTERM; nothing may be left behind."""
        status = self.stop()
        left = [pid for pid in self.pids() if alive(pid)]
        check(not left, f"petalsctl up left processes behind: {left}")
        return status


def program_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def credentials_for_https(folder):
    """Who asks from now on, where an address is https://."""
    global _https
    _https = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    _https.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))


def connect(url, timeout_s=60):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        connection = client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout_s, context=_https
        )
        return connection, parts.path or "/"
    return client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s), parts.path or "/"


def request(url, body=None, method=None, headers=()):
    """(status, text); a body that is no bytes becomes JSON."""
    connection, path = connect(url)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    connection.request(
        method or ("GET" if body is None else "POST"),
        path,
        body,
        {"Content-Type": "application/json", **dict(headers)},
    )
    reply = connection.getresponse()
    text = reply.read().decode(errors="replace")
    connection.close()
    return reply.status, text


def metric(url, name):
    """A sample of a metrics page, summed over its labels."""
    status, text = request(url)
    check_equal(status, 200, url)
    return sum(
        float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M)
    )


class Answer:
    """A streamed completion: tokens as they came, with the gaps between them."""

    def __init__(self):
        self.tokens, self.logprobs, self.text = [], [], ""
        self.when, self.finish, self.usage, self.error = [], None, None, None

    def same(self, other):
        return self.tokens == other.tokens and self.logprobs == other.logprobs

    def pause_ms(self):
        """The longest gap between two tokens, beyond the usual one."""
        gaps = sorted(b - a for a, b in zip(self.when, self.when[1:]))
        return 1e3 * (gaps[-1] - gaps[len(gaps) // 2]) if gaps else 0.0


def ask(gateway, prompt, tokens, on_token=None, **fields):
    """Streams a greedy completion; on_token(answer) is called after each token."""
    body = {
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "logprobs": 0,
        "return_token_ids": True,
        "stream_options": {"include_usage": True},
        **fields,
    }
    connection, _ = connect(gateway)
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    reply = connection.getresponse()
    answer = Answer()
    if reply.status != 200:
        raise Failed(
            f"the gateway answered {reply.status}: {reply.read().decode(errors='replace')[:500]}"
        )
    for line in reply:
        if not line.startswith(b"data: "):
            continue
        if line.strip() == b"data: [DONE]":
            break
        take_event(answer, json.loads(line[6:]), on_token)
    connection.close()
    return answer


def take_event(answer, event, on_token):
    if "error" in event:
        answer.error = event["error"]
        return
    answer.usage = event.get("usage") or answer.usage
    for choice in event["choices"]:
        answer.text += choice.get("text", "")
        answer.logprobs += (choice.get("logprobs") or {}).get("token_logprobs") or []
        answer.finish = choice.get("finish_reason") or answer.finish
        for token in choice.get("token_ids") or []:
            answer.tokens.append(token)
            answer.when.append(time.monotonic())
            if on_token:
                on_token(answer)


def wait_until(what, true, within_s=10):
    end = time.monotonic() + within_s
    while not true():
        check(time.monotonic() < end, f"{what}: not within {within_s} s")
        time.sleep(0.02)


def report(text):
    print(text, flush=True)


def main(*parts):
    """Runs the parts of a scenario; the first that fails ends it, with its name."""
    for part in parts:
        begun = time.monotonic()
        try:
            part()
        except (Failed, OSError, ValueError, KeyError, client.HTTPException) as problem:
            report(f"FAILED {part.__name__}: {type(problem).__name__}: {problem}")
            sys.exit(1)
        report(f"ok {part.__name__} ({time.monotonic() - begun:.1f} s)")
