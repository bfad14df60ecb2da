"""What gpu_check.sh runs."""

import contextlib
import json
import os
import subprocess
import tempfile

from swarm import check, check_equal, main

SCRIPT = "tools/gpu-check.sh"


def gpu_check(out, *parts, setting="", status=0, **environment):
    done = subprocess.run(
        [SCRIPT, "--stand-in", *parts],
        env=dict(os.environ, OUT=out, PETALS_CUDA_STAND_IN=setting, **environment),
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
        check_equal({r["launches"] for r in by_kind["block"] if r["blocks"] > 1},
                    {"graphs", "early", "plain"}, "ways of launching")
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
        check_equal(sorted(os.listdir(out)), ["log.txt", "report.json", "report.md"], "files")


def folder_with(stack, script):
    """A build folder whose petals-bench is this script."""
    build = stack.enter_context(tempfile.TemporaryDirectory())
    for path, text in {
        "bin/petals-bench": f"#!/bin/sh\n{script}\n",
        "bin/petalsctl": "#!/bin/sh\n",
        "lib/petals-cuda.so": "",
    }.items():
        path = os.path.join(build, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
    return build


def time_is_bounded():
    """A part that hangs is stopped, keeps what it found, and leaves the next its share."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(tempfile.TemporaryDirectory())
        build = folder_with(stack, 'echo "{\\"what\\":\\"$1\\"}"; [ "$1" != machine ] || sleep 60')
        said, results = gpu_check(out, "machine", "agree", "host", status=1, BUILD=build,
                                  LIMIT_S="18")
        parts = {r["name"]: r["verdict"] for r in results if r["what"] == "part"}
        check(parts["machine"].startswith("stopped after "), said)
        check_equal((parts["agree"], parts["host"]), ("ok", "ok"), "parts behind it")
        check_equal(len([r for r in results if r["what"] == "agree"]), 4, "results of agree")
        said, _ = gpu_check(out, "machine", status=1, BUILD=build, LIMIT_S="3")
        check("machine: not run: no time left" in said, said)


def a_pack_is_all_that_is_needed():
    with tempfile.TemporaryDirectory() as folder:
        pack, build, out = (os.path.join(folder, n) for n in ("pack.tar.gz", "build", "out"))
        subprocess.run([SCRIPT, "--pack", pack], check=True, stdout=subprocess.DEVNULL)
        os.mkdir(build)
        subprocess.run(["tar", "-C", build, "-xzf", pack], check=True)
        stand_in = os.path.join(os.environ["BUILD"], "release/stand-in")
        said, results = gpu_check(out, "host", "machine", "agree", BUILD=build,
                                  PETALS_CUDA_LIBRARIES=stand_in)
        check_equal({r["verdict"] for r in results if r["what"] == "part"}, {"ok"}, said)
        check("source" in results[0], f"{results[0]}")
        # As on a GPU: nothing is looked for beside the pack.
        subprocess.run(
            [os.path.join(build, "release/tests/compute/cuda/norm_test")], check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=dict(
                os.environ, PETALS_GPU="1", PETALS_CUDA_LIBRARIES=stand_in,
                LD_LIBRARY_PATH=os.path.join(build, "libraries")),
        )


def a_host_without_the_module_is_told():
    with contextlib.ExitStack() as stack:
        build = folder_with(stack, "exit 1")
        os.unlink(os.path.join(build, "lib/petals-cuda.so"))
        done = subprocess.run([SCRIPT], env=dict(os.environ, BUILD=build), capture_output=True,
                              text=True, check=False)
        check(done.returncode == 2 and "for want of nvcc" in done.stderr, done.stderr)


def no_such_part():
    done = subprocess.run([SCRIPT, "--stand-in", "nonsense"], capture_output=True, text=True,
                          check=False)
    check(done.returncode == 2 and "no part 'nonsense'" in done.stderr, done.stderr)


main(
    every_part_does_its_work,
    a_part_that_fails_stops_no_other,
    time_is_bounded,
    a_pack_is_all_that_is_needed,
    a_host_without_the_module_is_told,
    no_such_part,
)
