"""What gpu_check.sh runs."""

import json
import os
import subprocess
import tempfile

from swarm import check, check_equal, main

SCRIPT = "tools/gpu-check.sh"


def gpu_check(out, *parts, setting="", status=0):
    done = subprocess.run(
        [SCRIPT, "--stand-in", *parts],
        env=dict(os.environ, OUT=out, PETALS_CUDA_STAND_IN=setting),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500,
    )
    check_equal(done.returncode, status, f"exit status: {done.stdout} {done.stderr}")
    with open(os.path.join(out, "report.json"), encoding="utf-8") as f:
        return done.stdout, json.load(f)


def text_of(out, name):
    with open(os.path.join(out, name), encoding="utf-8") as f:
        return f.read()


def every_part_does_its_work():
    with tempfile.TemporaryDirectory() as out:
        _, results = gpu_check(out)
        parts = {r["name"]: r["verdict"] for r in results if r["what"] == "part"}
        listed = subprocess.run([SCRIPT, "--list"], stdout=subprocess.PIPE, text=True, check=True)
        check_equal(list(parts), listed.stdout.split(), "parts")
        for name, verdict in parts.items():
            check(verdict == "ok" or name == "sanitizer", f"{name}: {verdict}")
        by_kind = {}
        for r in results:
            by_kind.setdefault(r["what"], []).append(r)
        check_equal({r["verdict"] for r in by_kind["test"]}, {"passed"}, "tests")
        check(by_kind["machine"][0]["read_gb_per_second"] > 0, f"{by_kind['machine']}")
        check(by_kind["machine"][0]["round_trip_us"] > 0, f"{by_kind['machine']}")
        check_equal({r["by"] for r in by_kind["product"]}, {"kernel", "library", "fp8"}, "products")
        for r in by_kind["product"] + by_kind["block"]:
            check(0 < r["best_us"] <= r["median_us"] and r["share_of_ceiling"] > 0, f"{r}")
        check_equal({r["first_difference"] for r in by_kind["agree"] if "/f32/" in r["compute"]},
                    {-1}, "f32 beside f32")
        blocks = {(r["step"], r["streamed"], r["context"] > 0) for r in by_kind["block"]}
        check({("decode", True, False), ("prefill", False, True)} <= blocks, f"{blocks}")
        check(any("-fast/" in r["compute"] for r in by_kind["block"]), "nothing was fast")
        for r in by_kind.get("attention", []):
            check(r["us"] > 0 and r["context"] == 48, f"{r}")
        report = text_of(out, "report.md")
        for title in ("Parts", "Ceilings", "Tests", "Tokens beside f32", "Products by our kernels",
                      "Products by cuBLASLt", "Blocks, decode", "Blocks, prefill", "Offloading"):
            check(f"## {title}" in report, f"no '{title}' in the report: {report}")
        check("cublasLt 130100" in text_of(out, "cuda-tuning"), "no races are kept")
        # What an earlier run knows is not raced again.
        gpu_check(out, "tune")
        check("candidate" not in text_of(out, "log.txt"), "a race was run twice")


def a_part_that_fails_stops_no_other():
    with tempfile.TemporaryDirectory() as out:
        said, results = gpu_check(out, "machine", "agree", "host", setting="devices=0", status=1)
        parts = {r["name"]: r["verdict"] for r in results if r["what"] == "part"}
        check_equal(parts, {"machine": "failed", "agree": "failed", "host": "ok"}, "parts")
        check("finds no GPU" in said, said)


def time_is_bounded():
    with tempfile.TemporaryDirectory() as out:
        os.environ["LIMIT_S"] = "3"
        said, _ = gpu_check(out, "machine", status=1)
        del os.environ["LIMIT_S"]
        check("machine: not run: no time left" in said, said)


def no_such_part():
    done = subprocess.run([SCRIPT, "--stand-in", "nonsense"], capture_output=True, text=True,
                          check=False)
    check(done.returncode == 2 and "no part 'nonsense'" in done.stderr, done.stderr)


main(
    every_part_does_its_work,
    a_part_that_fails_stops_no_other,
    time_is_bounded,
    no_such_part,
)
