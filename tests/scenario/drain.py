"""What drain.sh runs."""

import os
import signal
import threading

from swarm import (
    MODEL,
    Failed,
    Process,
    Swarm,
    alive,
    ask,
    check,
    check_equal,
    main,
    metric,
    report,
    request,
    start,
    wait_until,
)

PROMPT = "A short history of lighthouses, from the first fires on the coast to today:"
TOKENS = 48
state = {}


def server(swarm, first, end):
    return start(
        "petals-server",
        "--directory",
        swarm.directory,
        "--model",
        MODEL,
        "--blocks",
        f"{first}:{end}",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--threads",
        1,
        "--compute",
        "f32",
        "--log-level",
        "warn",
    )


def links(swarm):
    return metric(swarm.gateway + "/metrics", "petals_session_links")


def undisturbed():
    """The swarm, with its middle span on processes of our own, whose exit status we can see."""
    swarm = state["swarm"] = Swarm(3, compute="f32")
    state["quiet"] = ask(swarm.gateway, PROMPT, TOKENS)
    state["mine"] = server(swarm, 10, 20)
    wait_until("four links of the gateway", lambda: links(swarm) == 4)
    os.kill(swarm.servers[1]["pid"], signal.SIGTERM)
    wait_until("the end of an idle server", lambda: not alive(swarm.servers[1]["pid"]))
    wait_until("three links of the gateway", lambda: links(swarm) == 3)


def at_token(count, action):
    done = []

    def on_token(answer):
        if len(answer.tokens) == count and not done:
            done.append(action())

    return on_token


def a_draining_server_hands_over():
    swarm, leaving = state["swarm"], state["mine"]
    state["mine"] = server(swarm, 10, 20)
    wait_until("four links of the gateway", lambda: links(swarm) == 4)
    carries = []

    def action():
        for process in (leaving, state["mine"]):
            if metric(process.ready["metrics"], "petals_server_sessions") > 0:
                carries.append(process)
                process.send(signal.SIGTERM)
                return                  # the session is on the other one in no time

    answer = ask(swarm.gateway, PROMPT, TOKENS, at_token(4, action))
    check(answer.error is None, f"error: {answer.error}")
    check_equal(len(carries), 1, "servers that carried the session")
    check(answer.same(state["quiet"]), "other tokens after a drain")
    check_equal(carries[0].wait(10), 0, "exit status of the drained server")
    report(f"   pause {answer.pause_ms():.0f} ms")
    if carries[0] is state["mine"]:
        state["mine"] = leaving


def the_only_server_of_a_span_finishes_its_session():
    swarm, leaving = state["swarm"], state["mine"]
    wait_until("three links of the gateway", lambda: links(swarm) == 3)
    answer = ask(swarm.gateway, PROMPT, TOKENS, at_token(4, lambda: leaving.send(signal.SIGTERM)))
    check(answer.error is None, f"error: {answer.error}")
    check(answer.same(state["quiet"]), "other tokens while the only server drained")
    check_equal(leaving.wait(10), 0, "exit status of the drained server")


def a_gateway_finishes_what_it_began():
    swarm = state["swarm"]
    state["mine"] = server(swarm, 10, 20)
    gateway = start(
        "petals-gateway",
        "--directory",
        swarm.directory,
        "--model",
        MODEL,
        "--listen",
        "127.0.0.1:0",
        "--threads",
        1,
        "--compute",
        "f32",
        "--log-level",
        "warn",
    )
    url = gateway.ready["gateway"]
    wait_until("a ready gateway", lambda: request(url + "/ready")[0] == 200)
    answer = ask(url, PROMPT, TOKENS, at_token(4, lambda: gateway.send(signal.SIGTERM)))
    check(answer.same(state["quiet"]), "other tokens while the gateway drained")
    check_equal(gateway.wait(10), 0, "exit status of the gateway")


def up_takes_everything_down():
    """By SIGTERM in the middle of an answer, by its own death, and when it was still starting."""
    swarm, answers = state["swarm"], []
    asking = threading.Thread(target=lambda: answers.append(ask(swarm.gateway, PROMPT, TOKENS)))
    asking.start()
    wait_until(
        "an answer in progress", lambda: metric(swarm.gateway + "/metrics", "petals_sessions") > 0
    )
    check_equal(swarm.close(), 0, "exit status of petalsctl up")
    asking.join()
    check(answers and answers[0].same(state["quiet"]), "the answer in progress was not finished")
    check_equal(state["mine"].stop(), 0, "exit status of a server without directory")

    swarm = Swarm(2)
    swarm.stop(signal.SIGKILL)
    wait_until("the end of a killed up's children", lambda: not any(map(alive, swarm.pids())))

    starting = Process(
        "petalsctl",
        "up",
        "--json",
        "--model",
        MODEL,
        "--base-port",
        0,
        "--listen",
        "127.0.0.1:0",
        ready=False,
    )
    wait_until("the first child", lambda: children(starting.pid))
    born = children(starting.pid)
    check_equal(starting.stop(within_s=30), 0, "exit status of an up that was still starting")
    left = [pid for pid in born if alive(pid)]
    check(not left, f"an interrupted start left {left} behind")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except OSError as problem:
        raise Failed(f"petalsctl up ended early: {problem}") from None


main(
    undisturbed,
    a_draining_server_hands_over,
    the_only_server_of_a_span_finishes_its_session,
    a_gateway_finishes_what_it_began,
    up_takes_everything_down,
)
