"""What bad_input.sh runs."""

import json
import os
import random
import shutil
import socket
import struct
import tempfile
import threading
import time

from swarm import (
    MODEL,
    Swarm,
    ask,
    check,
    check_equal,
    connect,
    main,
    metric,
    refuse,
    report,
    request,
    wait_until,
)

PROMPT = "The lighthouse keeper climbed the stairs and"
TOKENS = 40
SMALL = "tests/data/llama-gqa-tied"
state = {}


def undisturbed():
    state["swarm"] = Swarm(3)
    state["quiet"] = ask(state["swarm"].gateway, PROMPT, TOKENS)
    check_equal(len(state["quiet"].tokens), TOKENS, "tokens")


def still_well():
    check(
        ask(state["swarm"].gateway, PROMPT, TOKENS).same(state["quiet"]), "other tokens afterwards"
    )
    check_equal(state["swarm"].process.poll(), None, "petalsctl up")


def refused(sentence, program, *args, status=1):
    """The program gives up with this status, and its last line names what is wrong."""
    got, said = refuse(program, *args)
    check_equal(got, status, f"exit status of {program} {args}; it said: {said}")
    check(sentence in said, f"{program} {args} does not say '{sentence}': {said}")
    for mark in ("AddressSanitizer", "Assertion", "Segmentation"):
        check(mark not in said, f"{program} {args}: {said}")


def a_port_that_is_taken_is_named():
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    directory = state["swarm"].directory
    refused(
        address, "petals-directory", "--insecure", "--listen", address, "--store", ":memory:"
    )
    refused(
        address,
        "petals-directory",
        "--insecure",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        address,
        "--store",
        ":memory:",
    )
    refused(
        address,
        "petals-server",
        "--directory",
        directory,
        "--model",
        MODEL,
        "--blocks",
        "0:2",
        "--listen",
        address,
    )
    refused(
        address,
        "petals-server",
        "--directory",
        directory,
        "--model",
        MODEL,
        "--blocks",
        "0:2",
        "--metrics",
        address,
    )
    refused(
        address, "petals-gateway", "--directory", directory, "--model", MODEL, "--listen", address
    )
    refused(address, "petalsctl", "up", "--model", MODEL, "--base-port", 0, "--listen", address)
    taken.close()


def absurd_flags_are_named():
    refused("--blokcs", "petals-server", "--model", MODEL, "--blokcs", "0:2", status=2)
    refused("--model", "petals-server", status=2)
    refused("--threads", "petals-server", "--model", MODEL, "--threads", "many", status=2)
    refused("--blocks", "petals-server", "--model", MODEL, "--blocks", "7:3", status=2)
    refused("0:30", "petals-server", "--model", MODEL, "--blocks", "20:31")
    refused("abacus:0", "petals-server", "--insecure", "--model", MODEL, "--device", "abacus:0")
    refused(
        "loopback",
        "petals-directory",
        "--insecure",
        "--listen",
        "0.0.0.0:0",
        "--store",
        ":memory:",
    )
    refused("petalsctl ca init", "petals-directory", "--listen", "0.0.0.0:0", "--store", ":memory:")
    refused(
        "loopback",
        "petals-server",
        "--insecure",
        "--model",
        MODEL,
        "--blocks",
        "0:2",
        "--listen",
        "0.0.0.0:0",
    )
    refused("--servers", "petalsctl", "up", "--model", MODEL, "--servers", 31)
    refused(
        "/no/such/folder",
        "petals-directory",
        "--insecure",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "/no/such/folder/x.db",
    )


def broken_models_are_named():
    with tempfile.TemporaryDirectory() as folder:
        size = os.path.getsize(MODEL)
        for keep in (0, 3, 24, 1000, 1_000_000, size // 2, size - 1):
            path = os.path.join(folder, f"cut-{keep}.gguf")
            with open(MODEL, "rb") as whole, open(path, "wb") as cut:
                cut.write(whole.read(keep))
            refused(os.path.basename(path), "petals-server", "--model", path)
            os.unlink(path)
        refused("missing.gguf", "petals-server", "--model", os.path.join(folder, "missing.gguf"))
        refused("config.json", "petals-server", "--model", folder)
        with open(os.path.join(folder, "zeros.gguf"), "wb") as f:
            f.write(bytes(4096))
        refused("zeros.gguf", "petals-gateway", "--model", f.name)
        refused(
            "zeros.gguf",
            "petalsctl",
            "up",
            "--model",
            f.name,
            "--base-port",
            0,
            "--listen",
            "127.0.0.1:0",
        )
        broken_folders(folder)


def broken_folders(folder):
    """A checkpoint of a folder, one file of it spoiled at a time."""
    weights = os.path.join(SMALL, "model.safetensors")
    with open(weights, "rb") as f:
        whole = f.read()
    length = struct.unpack("<Q", whole[:8])[0]
    spoiled = {
        "model.safetensors": [
            b"",
            whole[:7],
            whole[:100],
            whole[:-1],
            struct.pack("<Q", 1 << 60) + whole[8:],
            whole[:8] + b"[" * length + whole[8 + length :],
        ],
        "config.json": [b"", b"{", b"[]", b'{"model_type": "abacus"}', b"[" * 100000],
    }
    for name, contents in spoiled.items():
        for number, content in enumerate(contents):
            path = os.path.join(folder, f"spoiled-{number}")
            shutil.copytree(SMALL, path)
            with open(os.path.join(path, name), "wb") as f:
                f.write(content)
            refused(name, "petals-server", "--model", path)
            shutil.rmtree(path)


def ports():
    """Every address the swarm listens on."""
    swarm = state["swarm"]
    yield swarm.directory
    yield swarm.gateway.split("//")[1]
    for server in swarm.servers:
        yield server["address"]
        yield server["metrics"].split("//")[1].split("/")[0]


def garbage_of(seed):
    rng = random.Random(seed)
    return [
        b"\n",
        b"\0" * 5000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999" b"99999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff" * 70000,
        b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
        rng.randbytes(31),
        rng.randbytes(100000),
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
    ]


def throw(address, data):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(0.2)
        try:
            s.sendall(data)
            s.recv(100)
        except OSError:
            pass  # it hung up on us, which is what it should do


def garbage_on_every_port_disturbs_nobody():
    stop, answers = threading.Event(), []

    def others():
        while not stop.is_set():
            answers.append(ask(state["swarm"].gateway, PROMPT, TOKENS))

    asking = threading.Thread(target=others)
    asking.start()
    try:
        throwing = [
            threading.Thread(target=throw, args=(address, data))
            for address in ports()
            for data in garbage_of(address)
        ]
        for batch in range(0, len(throwing), 10):
            for thread in throwing[batch : batch + 10]:
                thread.start()
            for thread in throwing[batch : batch + 10]:
                thread.join()
    finally:
        stop.set()
        asking.join()
    check(answers, "no answer while garbage was thrown")
    for answer in answers:
        check(answer.same(state["quiet"]), "other tokens while garbage was thrown")
    for server in state["swarm"].servers:
        check(
            metric(server["metrics"], "petals_transport_errors_total") > 0,
            f"{server['address']} did not count the garbage",
        )
    report(f"   {len(throwing)} pieces of garbage beside {len(answers)} answers")
    still_well()


def a_client_killed_in_mid_stream_leaves_nothing():
    swarm = state["swarm"]
    for after in (0, 1, 5):
        connection, _ = connect(swarm.gateway)
        connection.request(
            "POST",
            "/v1/completions",
            json.dumps({"prompt": PROMPT, "max_tokens": 4000, "ignore_eos": True, "stream": True}),
        )
        reply = connection.getresponse() if after else None
        for _ in range(after):
            reply.readline()
        # A reset, as from a process that was killed with data unread.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (reply or connection).close()
        connection.close()
        wait_until(
            f"the session of a client gone after {after} lines is closed",
            lambda: metric(swarm.gateway + "/metrics", "petals_sessions") == 0,
        )
        for server in swarm.servers:
            wait_until(
                "its pages are given back",
                lambda s=server: metric(s["metrics"], "petals_server_kv_pages_held") == 0,
            )
    still_well()


# Body, or (path, body); the status it must get; a word that the message must have.
ABSURD = [
    (b"", 400, ""),
    (b"{", 400, "JSON"),
    (b"[]", 400, "object"),
    (b"[" * 200000, 400, ""),
    ({}, 400, "prompt"),
    ({"prompt": 7.5}, 400, "prompt"),
    ({"prompt": [-1]}, 400, "prompt"),
    ({"prompt": [10**7]}, 400, ""),
    ({"prompt": ["a", 1]}, 400, "prompt"),
    ({"prompt": None}, 400, "prompt"),
    ({"prompt": "a", "max_tokens": -1}, 400, "max_tokens"),
    ({"prompt": "a", "max_tokens": "x"}, 400, "max_tokens"),
    ({"prompt": "a", "max_tokens": 10**9}, 400, "token"),
    ({"prompt": [5] * 9000}, 400, "token"),
    ({"prompt": "a", "temperature": -1}, 400, "temperature"),
    ({"prompt": "a", "temperature": "hot"}, 400, "temperature"),
    ({"prompt": "a", "top_p": 7}, 400, "top_p"),
    ({"prompt": "a", "n": 0}, 400, "n"),
    ({"prompt": "a", "n": 10**6}, 400, "n"),
    ({"prompt": "a", "stop": 5}, 400, "stop"),
    ({"prompt": "a", "logprobs": 10**6}, 400, "logprobs"),
    ({"prompt": "a", "model": "no-such-model"}, 404, "no-such-model"),
    ({"prompt": "a", "stream": "yes"}, 400, "stream"),
    (("/v1/chat/completions", {"messages": []}), 400, "messages"),
    (("/v1/chat/completions", {"messages": "hi"}), 400, "messages"),
    (("/v1/chat/completions", {"messages": [{"role": "user"}]}), 400, ""),
    (("/v1/nothing", {}), 404, ""),
    (("/v1/models", {}), 405, ""),
    (b'{"prompt": "' + b"a" * (5 << 20) + b'"}', 413, ""),
    (b'{"prompt": "\xff\xfe"}', 400, ""),
    (b'{"prompt": "\\ud800"}', 400, ""),
]


def absurd_requests_are_refused_with_a_reason():
    gateway = state["swarm"].gateway
    for body, wanted, word in ABSURD:
        path = "/v1/completions"
        if isinstance(body, tuple):
            path, body = body
        shown = str(body)[:60]
        try:
            status, text = request(gateway + path, body)
        except (BrokenPipeError, ConnectionResetError):
            check(wanted == 413, f"{shown}: the connection broke")
            continue
        check_equal(status, wanted, f"status for {path} {shown}: {text[:300]}")
        error = json.loads(text)["error"]
        check(error["message"] and error["type"], f"{shown}: {text}")
        check(
            word in error["message"] + str(error.get("param")),
            f"{shown} does not name '{word}': {text}",
        )
    still_well()


def nothing_is_left():
    time.sleep(0.2)
    for server in state["swarm"].servers:
        check_equal(metric(server["metrics"], "petals_server_sessions"), 0, "sessions left")
    check_equal(state["swarm"].close(), 0, "exit status of petalsctl up")


main(
    undisturbed,
    a_port_that_is_taken_is_named,
    absurd_flags_are_named,
    broken_models_are_named,
    garbage_on_every_port_disturbs_nobody,
    a_client_killed_in_mid_stream_leaves_nothing,
    absurd_requests_are_refused_with_a_reason,
    nothing_is_left,
)
