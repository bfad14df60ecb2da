"""What metrics.sh runs."""

import json
import os
import re
import subprocess
import time

from swarm import MODEL, Swarm, ask, check, check_equal, main, report, request, start, wait_until

PROMTOOL = os.environ.get("PROMTOOL", "")
state = {}

# What an operator looks for, by program; histograms by their _count.
WANTED = {
    "petals-gateway": [
        "petals_http_requests_total",
        "petals_generations_total",
        "petals_prompt_tokens_total",
        "petals_generation_tokens_total",
        "petals_time_to_first_token_seconds_count",
        "petals_inter_token_seconds_count",
        "petals_session_step_seconds_count",
        "petals_session_step_queue_seconds_count",
        "petals_session_step_compute_seconds_count",
        "petals_session_step_wire_seconds_count",
        "petals_session_links",
    ],
    "petals-server": [
        "petals_server_steps_total",
        "petals_server_rows_total",
        "petals_server_kv_pages",
        "petals_server_step_queue_seconds_count",
        "petals_server_step_compute_seconds_count",
        "petals_server_batch_rows_count",
        "petals_transport_sent_bytes_total",
    ],
    "petals-directory": [
        "petals_directory_members",
        "petals_directory_joins_total",
        "petals_directory_block_replicas_min",
    ],
}


def a_swarm_that_has_worked():
    swarm = state["swarm"] = Swarm(2)
    ask(swarm.gateway, "Once upon a time", 16)
    state["pages"] = {
        "petals-gateway": [swarm.gateway],
        "petals-directory": [],
        "petals-server": [s["metrics"].rsplit("/", 1)[0] for s in swarm.servers],
    }
    state["alone"] = start(
        "petals-directory",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--store",
        ":memory:",
        "--insecure",
    )
    url = state["alone"].ready["metrics"].rsplit("/", 1)[0]
    state["pages"]["petals-directory"].append(url)
    server = start(
        "petals-server",
        "--directory",
        state["alone"].ready["address"],
        "--model",
        MODEL,
        "--threads",
        1,
        "--log-level",
        "warn",
        "--insecure",
    )
    check_equal(
        (server.ready["first"], server.ready["end"]), (0, 30), "blocks that the directory granted"
    )
    state["lone_server"] = server


def each_page():
    for program, urls in state["pages"].items():
        for url in urls:
            yield program, url


def lint(program, text):
    """Prometheus' rules that need no tool: names, HELP and TYPE before samples, suffixes."""
    kinds, helps = {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            check(name not in helps, f"{program}: two HELP lines of {name}")
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            check(name not in kinds, f"{program}: two TYPE lines of {name}")
            kinds[name] = kind
        elif line:
            sample = re.fullmatch(
                r"([a-z_][a-z0-9_]*)(?:\{[a-z_]+=\"[^\"]*\"(?:,[a-z_]+=\"[^\"]*\")*\})? (\S+)", line
            )
            check(sample, f"{program}: not a sample: {line}")
            float(sample[2])
            family = re.sub(r"_(bucket|sum|count)$", "", sample[1])
            family = family if kinds.get(family) == "histogram" else sample[1]
            check(
                family in kinds and family in helps, f"{program}: {sample[1]} has no TYPE or HELP"
            )
    for name, kind in kinds.items():
        check((kind == "counter") == name.endswith("_total"), f"{program}: {name} is a {kind}")
        check(re.match(r"(petals|process)_", name), f"{program}: {name} is not ours")


def metrics_pass_the_lint():
    for program, url in each_page():
        status, text = request(url + "/metrics")
        check_equal(status, 200, url)
        lint(program, text)
        for name in WANTED[program]:
            samples = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)
            check(samples, f"{program} does not tell {name}")
            if name.endswith("_count") or name.endswith("steps_total"):
                check(sum(map(float, samples)) > 0, f"{program}: {name} did not count")
        if PROMTOOL:
            tool = subprocess.run(
                [PROMTOOL, "check", "metrics"],
                input=text,
                text=True,
                timeout=60,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            check(
                tool.returncode == 0 and not tool.stdout.strip(),
                f"{program}: promtool: {tool.stdout}",
            )
    report(f"   promtool: {'clean' if PROMTOOL else 'not to be had'}")


def health_pages_tell_the_truth():
    for program, url in each_page():
        for page in ("live", "health", "ready"):
            status, text = request(f"{url}/{page}")
            check_equal(status, 200, f"{program} /{page}: {text}")
        version = json.loads(request(url + "/version")[1])
        check(re.fullmatch(r"\d+\.\d+\.\d+", version["version"]), f"{program} /version: {version}")
        status, _ = request(url + "/nothing")
        check_equal(status, 404, f"{program} /nothing")


def a_gateway_without_servers_is_not_ready():
    directory = state["alone"].ready["address"]
    check_equal(state["lone_server"].stop(), 0, "exit status of the server")
    gateway = start(
        "petals-gateway",
        "--insecure",
        "--directory",
        directory,
        "--model",
        MODEL,
        "--listen",
        "127.0.0.1:0",
        "--threads",
        1,
        "--log-level",
        "warn",
    )
    url = gateway.ready["gateway"]
    status, text = request(url + "/ready")
    check_equal(status, 503, "/ready without servers")
    check("[0,30)" in text, f"/ready does not name the missing blocks: {text}")
    check_equal(request(url + "/live")[0], 200, "/live without servers")
    server = start(
        "petals-server",
        "--insecure",
        "--directory",
        directory,
        "--model",
        MODEL,
        "--threads",
        1,
        "--log-level",
        "warn",
    )
    wait_until("/ready with a server", lambda: request(url + "/ready")[0] == 200)
    check_equal(server.stop(), 0, "exit status of the server")
    wait_until("/ready is taken back", lambda: request(url + "/ready")[0] == 503)
    check_equal(gateway.stop(), 0, "exit status of the gateway")


def idle_programs_sleep():
    """Nobody polls: with no request, five programs together use next to no processor time."""
    pids = state["swarm"].pids()

    def used():
        ticks = 0
        for pid in pids:
            with open(f"/proc/{pid}/stat") as f:
                ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(3)
    share = (used() - before) / 3
    report(f"   {len(pids)} idle programs use {100 * share:.1f} % of a core")
    check(share < 0.1, f"idle programs use {100 * share:.0f} % of a core")


def everything_ends_well():
    check_equal(state["alone"].stop(), 0, "exit status of the directory")
    check_equal(state["swarm"].close(), 0, "exit status of petalsctl up")


main(
    a_swarm_that_has_worked,
    metrics_pass_the_lint,
    health_pages_tell_the_truth,
    a_gateway_without_servers_is_not_ready,
    idle_programs_sleep,
    everything_ends_well,
)
