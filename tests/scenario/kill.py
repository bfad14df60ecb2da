"""What kill.sh runs."""

import os
import signal
import time

from swarm import (
    MODEL,
    Failed,
    Swarm,
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

PROMPT = "Here is how a violin is made, step by step, from choosing the wood to the last varnish:"
TOKENS = 40
STEPS = {"first": 1, "middle": TOKENS // 2, "last": TOKENS - 1}
state = {}


def undisturbed():
    state["swarm"] = Swarm(3, replicas=2, compute="f32")
    state["quiet"] = ask(state["swarm"].gateway, PROMPT, TOKENS)
    check_equal(len(state["quiet"].tokens), TOKENS, "tokens")


class Hitter:
    """Sends a signal to what carries some hops, once the answer has `at` tokens.

    Who carries what is asked at the first token: the swarm does not wait for us to look.
    """

    def __init__(self, swarm, hops, number, at):
        self.swarm, self.hops, self.number, self.at = swarm, hops, number, at
        self.victims, self.hit = [], False

    def __call__(self, answer):
        if not self.victims:
            carriers = self.swarm.carriers()
            check_equal(len(carriers), self.swarm.spans, "hops that a server says it carries")
            self.victims = [carriers[hop] for hop in self.hops]
        if len(answer.tokens) >= self.at and not self.hit:
            self.hit = True
            for server in self.victims:
                os.kill(server["pid"], self.number)


def replaced():
    return metric(state["swarm"].gateway + "/metrics", "petals_session_hops_replaced_total")


def disturbed(hops, number, at):
    """An answer whose hops are hit when it has `at` tokens."""
    hitter, before = Hitter(state["swarm"], hops, number, at), replaced()
    answer = ask(state["swarm"].gateway, PROMPT, TOKENS, hitter)
    check(answer.error is None, f"error: {answer.error}")
    check_equal(answer.tokens, state["quiet"].tokens, "tokens")
    check_equal(answer.logprobs, state["quiet"].logprobs, "log-probabilities")
    # Hit at its last step, an answer may have been complete already.
    check(at == STEPS["last"] or replaced() > before, "the answer was over before it was hit")
    return hitter.victims, answer.pause_ms()


def serving():
    return metric(state["swarm"].gateway + "/metrics", "petals_session_links")


def each(number, name, again):
    for step, at in STEPS.items():
        for hop in range(3):
            wait_until("six links of the gateway", lambda: serving() == 6)
            try:
                victims, pause = disturbed([hop], number, at)
            except Failed as problem:
                raise Failed(
                    f"{name} of hop {hop + 1} of 3 at the {step} step: {problem}"
                ) from None
            report(f"   {name} of hop {hop + 1} at the {step} step: pause {pause:.0f} ms")
            for server in victims:
                again(server)


def killed_hops_change_no_token():
    each(signal.SIGKILL, "kill -9", state["swarm"].replace)


def frozen_hops_change_no_token():
    """A frozen server is replaced; when it thaws it serves again and nothing is the worse."""
    each(signal.SIGSTOP, "SIGSTOP", lambda server: os.kill(server["pid"], signal.SIGCONT))


def two_neighbours_at_once():
    for first in (0, 1):
        wait_until("six links of the gateway", lambda: serving() == 6)
        victims, pause = disturbed([first, first + 1], signal.SIGKILL, TOKENS // 2)
        report(f"   kill -9 of hops {first + 1} and {first + 2}: pause {pause:.0f} ms")
        for server in victims:
            state["swarm"].replace(server)


def nobody_notices_that_the_directory_is_gone():
    swarm = state["swarm"]
    wait_until("six links of the gateway", lambda: serving() == 6)

    def on_token(answer):
        if len(answer.tokens) == 5:
            os.kill(swarm.ready["directory_pid"], signal.SIGKILL)

    answer = ask(swarm.gateway, PROMPT, TOKENS, on_token)
    check(answer.same(state["quiet"]), "other tokens while the directory died")
    check(ask(swarm.gateway, PROMPT, TOKENS).same(state["quiet"]), "other tokens by the last view")
    victims, pause = disturbed([1], signal.SIGKILL, 8)
    report(f"   kill -9 of hop 2 without a directory: pause {pause:.0f} ms")
    check(victims, "nobody was hit")
    swarm.close()


def the_only_replica_is_missed_by_its_blocks():
    swarm = state["swarm"] = Swarm(3, compute="f32")
    gateway = start(
        "petals-gateway",
        "--directory",
        swarm.directory,
        "--model",
        MODEL,
        "--threads",
        1,
        "--compute",
        "f32",
        "--listen",
        "127.0.0.1:0",
        "--request-timeout",
        "4s",
        "--log-level",
        "warn",
    )
    hitter = Hitter(swarm, [1], signal.SIGKILL, 5)
    begun = time.monotonic()
    answer = ask(gateway.ready["gateway"], PROMPT, TOKENS, hitter)
    took = time.monotonic() - begun
    check(answer.error, f"no error, but {len(answer.tokens)} tokens")
    check("[10,20)" in answer.error["message"], f"the blocks [10,20) are not named: {answer.error}")
    check(took < 8, f"the error took {took:.1f} s, the deadline was 4 s")
    report(f"   {answer.error['message']} ({took:.1f} s)")
    check_equal(answer.tokens, state["quiet"].tokens[: len(answer.tokens)], "tokens until then")
    status, text = request(gateway.ready["gateway"] + "/ready")
    check_equal(status, 503, "/ready of a gateway without blocks")
    check("[10,20)" in text, f"/ready does not name the blocks: {text}")
    swarm.replace(hitter.victims[0])
    check(
        ask(gateway.ready["gateway"], PROMPT, TOKENS).same(state["quiet"]),
        "other tokens afterwards",
    )
    check_equal(gateway.stop(), 0, "exit status of the gateway")
    swarm.close()


main(
    undisturbed,
    killed_hops_change_no_token,
    frozen_hops_change_no_token,
    two_neighbours_at_once,
    nobody_notices_that_the_directory_is_gone,
    the_only_replica_is_missed_by_its_blocks,
)
