"""What cuda.sh runs."""

import json
import os
import signal
import subprocess
import tempfile

from swarm import (
    BIN,
    MODEL,
    Swarm,
    alive,
    ask,
    check,
    check_equal,
    main,
    metric,
    refuse,
    start,
    wait_until,
)

TOKENS = 12
with open("tests/data/smollm2/golden.json", encoding="utf-8") as f:
    PROMPT = min(json.load(f)["prompts"], key=lambda p: len(p["ids"]))


def refused(device, setting, *words):
    os.environ["PETALS_CUDA_STAND_IN"] = setting
    directory = start(
        "petals-directory", "--insecure", "--listen", "127.0.0.1:0", "--store", ":memory:"
    )
    status, said = refuse(
        "petals-server", "--insecure", "--model", MODEL, "--blocks", "0:10", "--device", device,
        "--directory", directory.ready["address"], "--compute", "bf16",
    )
    directory.stop()
    del os.environ["PETALS_CUDA_STAND_IN"]
    check(status == 1, f"{setting}: exit status {status}: {said}")
    for word in words:
        check(word in said, f"{setting}: '{word}' is not in: {said}")


def hosts_that_will_not_do_are_refused_with_figures():
    refused("cuda:0", "devices=0", "finds no GPU on this host")
    refused("cuda:3", "devices=2", "has 2 GPUs, cuda:0 to cuda:1")
    refused("cuda:0", "version=12080", "supports CUDA 12.8", "driver 580 or newer")
    refused("cuda:0", "memory=50000000", "blocks [0,10)", "of weights in bf16", "of 0.050 GB free")


def devices_are_listed():
    os.environ["PETALS_CUDA_STAND_IN"] = "memory=80000000000"
    out = subprocess.run(
        [os.path.join(BIN, "petalsctl"), "devices", "--json"], stdout=subprocess.PIPE, check=True
    )
    del os.environ["PETALS_CUDA_STAND_IN"]
    devices = {d["device"]: d for d in json.loads(out.stdout)["devices"]}
    check_equal(sorted(devices), ["cpu", "cuda:0"], "devices")
    fits = {(f["model"], f["format"]): f["fit"] for f in devices["cuda:0"]["fits"]}
    for form, blocks in (("bf16", 14), ("int8", 25), ("q8_0", 24), ("q4_1", 37), ("int4", 40)):
        check_equal(fits["bloom-176b", form], blocks, f"blocks of bloom-176b that fit in {form}")


def a_fast_server_keeps_who_won_its_races():
    small = "tests/data/llama-gqa-tied"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "races")
        directory = start(
            "petals-directory", "--insecure", "--listen", "127.0.0.1:0", "--store", ":memory:"
        )
        server = start(
            "petals-server", "--insecure", "--model", small, "--device", "cuda:0", "--compute",
            "bf16", "--directory", directory.ready["address"], "--fast", "--tuning", path,
        )
        server.stop()
        directory.stop()
        with open(path, encoding="utf-8") as races:
            check("cublasLt 130100, CUDA on a CPU, sm_90" in races.read(), "no races are kept")


def benches_measure_a_device():
    for verb in ("decode", "prefill", "quality"):
        out = subprocess.run(
            [os.path.join(BIN, "petals-bench"), verb, "--json", "--device", "cuda:0", "--model",
             "tests/data/gguf/llama-f32.gguf", "--tokens", "12"],
            stdout=subprocess.PIPE, check=True,
        )
        got = json.loads(out.stdout)
        check_equal((got["what"], got["device"]), (verb, "cuda:0"), f"{got}")
        check(got["compute"].startswith("cuda-sm90/"), f"{got}")


def kill_at(swarm, at):
    def on_token(answer):
        if len(answer.tokens) == at:
            os.kill(swarm.carriers()[1]["pid"], signal.SIGKILL)

    return on_token


def golden_tokens_although_a_server_is_killed():
    swarm = Swarm(3, replicas=2, compute="f32", server_flags=("--device", "cuda:0"))
    quiet = ask(swarm.gateway, PROMPT["ids"], TOKENS)
    check_equal(quiet.tokens, PROMPT["tokens"][:TOKENS], "tokens")
    killed = ask(swarm.gateway, PROMPT["ids"], TOKENS, kill_at(swarm, 4))
    check_equal(killed.tokens, quiet.tokens, "tokens although a server was killed")
    check_equal(killed.logprobs, quiet.logprobs, "log-probabilities although it was killed")


def server(swarm, first, end):
    return start(
        "petals-server", "--directory", swarm.directory, "--model", MODEL,
        "--blocks", f"{first}:{end}", "--device", "cuda:0", "--compute", "f32",
        "--metrics", "127.0.0.1:0",
    )


def links(swarm):
    return metric(swarm.gateway + "/metrics", "petals_session_links")


def golden_tokens_although_a_device_is_lost():
    """The middle span is on a server whose device goes while it is the only one there."""
    swarm = Swarm(3, compute="f32", server_flags=("--device", "cuda:0"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PETALS_CUDA_LOST"] = lost = os.path.join(folder, "lost")
        doomed = server(swarm, 10, 20)
        del os.environ["PETALS_CUDA_LOST"]
        wait_until("four links of the gateway", lambda: links(swarm) == 4)
        os.kill(swarm.servers[1]["pid"], signal.SIGTERM)
        wait_until("the end of an idle server", lambda: not alive(swarm.servers[1]["pid"]))
        wait_until("three links of the gateway", lambda: links(swarm) == 3)

        def lose(answer):
            if len(answer.tokens) == 2:
                server(swarm, 10, 20)
                open(lost, "w", encoding="utf-8").close()

        answer = ask(swarm.gateway, PROMPT["ids"], TOKENS, lose)
        check_equal(answer.tokens, PROMPT["tokens"][:TOKENS], "tokens although a device was lost")
        check_equal(doomed.wait(10), 1, "exit status of the server whose device was lost")
        check("the device is lost" in doomed.said(), f"it said: {doomed.said()}")


main(
    hosts_that_will_not_do_are_refused_with_figures,
    devices_are_listed,
    a_fast_server_keeps_who_won_its_races,
    benches_measure_a_device,
    golden_tokens_although_a_server_is_killed,
    golden_tokens_although_a_device_is_lost,
)
