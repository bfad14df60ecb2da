"""What golden.sh runs."""

import json
import threading

from swarm import Swarm, ask, check, check_equal, main, report

TOLERANCE = 2e-3  # of a log-probability, against transformers in f32
with open("tests/data/smollm2/golden.json", encoding="utf-8") as f:
    GOLDEN = json.load(f)["prompts"]
SHORT = [p for p in GOLDEN if len(p["ids"]) < 100]
three = {}


def tokens_are_those_of_transformers():
    swarm = Swarm(3, compute="f32")
    worst = 0.0
    for prompt in GOLDEN:
        answer = ask(swarm.gateway, prompt["ids"], len(prompt["tokens"]))
        check_equal(answer.tokens, prompt["tokens"], f"tokens of {prompt['name']}")
        check_equal(answer.usage["completion_tokens"], len(prompt["tokens"]), "usage")
        check_equal(answer.usage["prompt_tokens"], len(prompt["ids"]), "usage")
        worst = max(worst, *(abs(a - b) for a, b in zip(answer.logprobs, prompt["logprobs"])))
        three[prompt["name"]] = answer
    report(f"   log-probabilities differ from transformers' by at most {worst:.2g}")
    check(worst < TOLERANCE, f"log-probabilities differ by {worst}")
    text = ask(swarm.gateway, GOLDEN[0]["prompt"], 64)
    check_equal(text.tokens, GOLDEN[0]["tokens"], "tokens of the prompt as text")
    together(swarm)
    check_equal(swarm.close(), 0, "exit status of petalsctl up")


def together(swarm):
    """All prompts at once, some twice: batches of anything must change nothing."""
    answers = {}

    def one(number, prompt):
        answers[number] = ask(swarm.gateway, prompt["ids"], 24)

    asked = list(enumerate(GOLDEN + SHORT))
    threads = [threading.Thread(target=one, args=each) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, prompt in asked:
        check(number in answers, f"{prompt['name']} among others: no answer")
        alone = three[prompt["name"]]
        check_equal(answers[number].tokens, alone.tokens[:24], f"{prompt['name']} among others")
        check_equal(answers[number].logprobs, alone.logprobs[:24], f"{prompt['name']} among others")


def any_number_of_servers_gives_the_same_bits():
    for servers in (1, 2, 5):
        swarm = Swarm(servers, compute="f32")
        for prompt in GOLDEN:
            answer = ask(swarm.gateway, prompt["ids"], 24)
            alone = three[prompt["name"]]
            check_equal(answer.tokens, alone.tokens[:24], f"{prompt['name']} through {servers}")
            check_equal(answer.logprobs, alone.logprobs[:24], f"{prompt['name']} through {servers}")
        check_equal(swarm.close(), 0, "exit status of petalsctl up")


main(tokens_are_those_of_transformers, any_number_of_servers_gives_the_same_bits)
