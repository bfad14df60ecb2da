"""What tools.sh runs."""
import json
import os
import re
import subprocess
import tempfile

from swarm import BIN, check, check_equal, main, report

SMALL = "tests/data/llama-gqa-tied"
WITH_TEXT = "tests/data/gguf/llama-f32.gguf"


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


def no_flag_means_two_things():
    """Tables are put together of shared rows: the first of two of a name would hide the other."""
    for program in ("petals-directory", "petals-server", "petals-gateway"):
        flags = re.findall(r"^ +(--[a-z-]+)", tool(program, "--help"), re.M)
        twice = sorted({flag for flag in flags if flags.count(flag) > 1})
        check(flags and not twice, f"{program} has two flags {twice}")


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


def blocks_are_measured_without_a_checkpoint():
    for shape in ("tiny-llama", "tiny-bloom", "tiny-opt"):
        for more in (["--rows", 3, "--context", 40], ["--prefill", "--rows", 20]):
            got = json.loads(tool("petals-bench", "block", "--json", "--shape", shape, "--steps", 3,
                                  "--threads", 1, "--blocks", 2, *more))
            check(0 < got["best_us"] <= got["median_us"], f"{got}")
            check_equal(got["step"], "prefill" if "--prefill" in more else "decode", f"{got}")
            check(got["ceiling_read_gb_per_second"] > 0, f"{got}")
            # Two blocks' weights as kept, and the cached tokens: 43 or 20 of them.
            check(0.09 < got["megabytes"] < 0.6, f"{got}")
    got = json.loads(tool("petals-bench", "block", "--json", "--shape", "smollm2-135m", "--steps",
                          1, "--weights", "int4", "--compute", "int8"))
    check_equal((got["format"], got["compute"]), ("int4", "cpu/int4/int8/bf16"), f"{got}")
    said = tool("petals-bench", "block", "--shape", "huge", status=1)
    check("--shape huge: one of bloom-176b" in said, said)


def transports_carry_messages():
    keys = {"engine", "pattern", "bytes", "sealed", "gbit_per_s", "p50_us", "p99_us"}
    short = ["--json", "--seconds", "0.2s", "--no-ceilings"]
    for pattern in ("stream", "ping", "incast"):
        for sealed in ("yes", "no"):
            got = json.loads(tool("petals-bench", "transport", *short, "--pattern", pattern,
                                  "--sealed", sealed, "--bytes", "100K"))
            check(keys <= set(got), f"{got}")
            check((got["p50_us"] if pattern == "ping" else got["gbit_per_s"]) > 0, f"{got}")
    got = json.loads(tool("petals-bench", "transport", *short[:3], "--pattern", "ping"))
    check(got["ceilings"]["bare_ping_p50_us"] > 0, f"{got}")
    got = json.loads(tool("petals-bench", "transport", *short, "--engine", "sim"))
    check(9 < got["gbit_per_s"] <= 10, f"the simulated link has 10: {got}")
    said = tool("petals-bench", "transport", "--engine", "dpdk", "--sealed", "no", status=1)
    check("always sealed" in said, said)
    if os.path.exists(os.path.join(os.path.dirname(BIN), "lib", "petals-dpdk.so")):
        got = json.loads(tool("petals-bench", "transport", *short, "--engine", "dpdk",
                              "--impair", "drop=1%,seed=3").splitlines()[-1])
        check(got["gbit_per_s"] > 0, f"{got}")


def weights_are_loaded_as_asked():
    for weights, kind in (("keep", "cpu/f32/f32"), ("int8", "cpu/int8/f32/f32")):
        args = ["--model", SMALL, "--tokens", 8, "--compute", "f32", "--weights", weights]
        got = json.loads(tool("petals-bench", "decode", "--json", "--repeats", 1, *args))
        check_equal(got["compute"], kind, weights)
    got = sim("--seeds", 3, "--weights", "int4", "--compute", "int8")
    check_equal(got["failed"], 0, "int4 weights")


def quality(*args):
    return json.loads(tool("petals-bench", "quality", "--json", "--model", WITH_TEXT, *args))


def quality_is_told_beside_f32():
    same = quality("--compute", "f32", "--tokens", 300, "--context", 100)
    check_equal((same["windows"], same["predictions"]), (3, 297), f"{same}")
    check(same["perplexity"] == same["perplexity_f32"], f"{same}")
    check((same["mean_divergence"], same["same_first_choice"]) == (0, 1), f"{same}")
    few = {w: quality("--weights", w, "--compute", "f32", "--tokens", 300)
           for w in ("bf16", "int8", "int4")}
    off = [few[w]["mean_divergence"] for w in ("bf16", "int8", "int4")]
    check(0 < off[0] < off[1] < off[2], f"{off}")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
        text.write("one two three four five six seven")
        text.flush()
        own = quality("--compute", "f32", "--text", text.name)
        check(0 < own["predictions"] < 40, f"{own}")
    said = tool("petals-bench", "quality", "--model", WITH_TEXT, "--text", "/dev/null", status=1)
    check("/dev/null" in said, said)
    said = tool("petals-bench", "quality", "--model", WITH_TEXT, "--text", "no-such", status=1)
    check("no-such" in said, said)


main(
    no_flag_means_two_things,
    a_seed_gives_the_same_run,
    each_fault_is_survived,
    what_cannot_be_is_refused,
    decode_and_prefill_measure,
    blocks_are_measured_without_a_checkpoint,
    transports_carry_messages,
    weights_are_loaded_as_asked,
    quality_is_told_beside_f32,
)
