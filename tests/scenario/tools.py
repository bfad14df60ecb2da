"""What tools.sh runs."""
import json
import os
import subprocess

from swarm import BIN, check, check_equal, main, report

SMALL = "tests/data/llama-gqa-tied"


def tool(program, *args, status=0):
    done = subprocess.run(
        [os.path.join(BIN, program), *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    check_equal(done.returncode, status, f"exit status of {program} {args}: {done.stderr}")
    return done.stdout if status == 0 else done.stderr


def sim(*args):
    result = json.loads(tool("petals-sim", "--json", "--model", SMALL, *args))
    result.pop("seconds")
    return result


def a_seed_gives_the_same_run():
    first = sim("--seeds", 12, "--seed", 500)
    check_equal(first["failed"], 0, "failed swarms")
    check_equal(first["swarms"], 12, "swarms")
    check(first["faults"] > 0 and first["hops_replaced"] > 0, f"nothing happened: {first}")
    check_equal(sim("--seeds", 12, "--seed", 500), first, "the same seeds again")
    check(sim("--seeds", 12, "--seed", 600) != first, "other seeds gave the same run")


def each_fault_is_survived():
    for fault in ("kill", "freeze", "cut", "drain", "slow"):
        got = sim("--fault", fault, "--seeds", 5, "--spans", 3, "--generations", 2)
        check_equal((got["failed"], got["generations"]), (0, 10), fault)
        report(f"   {fault}: pause {got['pause_p50_ms']:.0f} ms, virtual median")


def what_cannot_be_is_refused():
    said = tool("petals-sim", "--model", SMALL, "--spans", 30, status=1)
    check("--spans 30" in said, said)
    said = tool("petals-sim", "--model", "no-such-model", status=1)
    check("no-such-model" in said, said)
    said = tool("petals-bench", "decode", "--model", SMALL, "--tokens", 10**6, status=1)
    check("--tokens 1000000" in said, said)
    said = tool("petals-bench", "decode", "--model", SMALL, "--blocks", "3:99", status=1)
    check("--blocks 3:99" in said, said)
    said = tool("petals-bench", "serve", "--gateway", "http://127.0.0.1:1", status=1)
    check("127.0.0.1:1" in said, said)


def decode_and_prefill_measure():
    for what, more in (("decode", ["--sequences", 3]), ("prefill", ["--rows", 7])):
        for compute in ("f32", "auto"):
            args = ["--model", SMALL, "--tokens", 20, "--repeats", 2, "--compute", compute]
            got = json.loads(tool("petals-bench", what, "--json", "--threads", 2, *args, *more))
            check(0 < got["slowest"] <= got["tokens_per_second"] <= got["fastest"], f"{got}")
    blocks = tool("petals-bench", "decode", "--model", SMALL, "--blocks", "1:3", "--tokens", 8)
    check("tokens_per_second" in blocks, blocks)


main(
    a_seed_gives_the_same_run,
    each_fault_is_survived,
    what_cannot_be_is_refused,
    decode_and_prefill_measure,
)
