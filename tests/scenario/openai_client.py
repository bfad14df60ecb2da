"""What openai.sh runs, with the package openai."""

import openai

from swarm import Swarm, check, check_equal, main, report

state = {}
CHAT = [{"role": "user", "content": "Name three colours."}]


def a_swarm():
    state["swarm"] = Swarm(2)
    state["client"] = openai.OpenAI(
        base_url=state["swarm"].gateway + "/v1", api_key="any", max_retries=0, timeout=60
    )
    report(f"   openai {openai.__version__}")


def models():
    listed = state["client"].models.list().data
    check_equal(len(listed), 1, "models")
    state["model"] = listed[0].id
    check_equal(
        state["client"].models.retrieve(state["model"]).id, state["model"], "the model by its name"
    )


def completion():
    client, model = state["client"], state["model"]
    answer = client.completions.create(
        model=model, prompt="The capital of France is", max_tokens=8, temperature=0
    )
    check_equal(answer.object, "text_completion", "object")
    check("Paris" in answer.choices[0].text, f"text: {answer.choices[0].text!r}")
    check_equal(answer.choices[0].finish_reason, "length", "finish_reason")
    usage = answer.usage
    check_equal(
        (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (5, 8, 13), "usage"
    )
    several = client.completions.create(
        model=model, prompt=["One, two,", "Red, green,"], n=2, max_tokens=4, temperature=0
    )
    check_equal(
        [c.index for c in several.choices], [0, 1, 2, 3], "indexes of two prompts, two each"
    )
    check_equal(several.choices[0].text, several.choices[1].text, "greedy choices of one prompt")
    stopped = client.completions.create(
        model=model, prompt="1 2 3 4 5 6", max_tokens=40, temperature=0, stop=[" 9"]
    )
    check_equal(stopped.choices[0].finish_reason, "stop", "finish_reason at a stop string")
    check(" 9" not in stopped.choices[0].text, f"the stop string is in {stopped.choices[0].text!r}")
    echoed = client.completions.create(
        model=model, prompt="The sea", max_tokens=2, temperature=0, echo=True
    )
    check(echoed.choices[0].text.startswith("The sea"), f"echo: {echoed.choices[0].text!r}")


def logprobs():
    client, model = state["client"], state["model"]
    answer = client.completions.create(
        model=model, prompt="The capital of France is", max_tokens=4, temperature=0, logprobs=3
    )
    scores = answer.choices[0].logprobs
    check_equal(len(scores.tokens), 4, "tokens with log-probabilities")
    check_equal("".join(scores.tokens), answer.choices[0].text, "tokens put together")
    for token, score, top in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs):
        check(score <= 0 and len(top) >= 3, f"log-probabilities of {token!r}: {score}, {top}")
        check_equal(top[token], score, f"{token!r} among the likeliest")
        check_equal(max(top.values()), score, f"{token!r} is the likeliest")
    chat = client.chat.completions.create(
        model=model, messages=CHAT, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    content = chat.choices[0].logprobs.content
    check_equal(len(content), 4, "chat tokens with log-probabilities")
    check_equal(
        "".join(c.token for c in content),
        chat.choices[0].message.content,
        "chat tokens put together",
    )
    check(
        all(len(c.top_logprobs) == 2 and c.top_logprobs[0].logprob == c.logprob for c in content),
        f"{content}",
    )


def chat():
    client, model = state["client"], state["model"]
    answer = client.chat.completions.create(
        model=model, messages=CHAT, max_tokens=24, temperature=0
    )
    check_equal(answer.object, "chat.completion", "object")
    check_equal(answer.choices[0].message.role, "assistant", "role")
    state["chat"] = answer
    check(answer.choices[0].message.content.strip(), "an empty answer")
    longer = client.chat.completions.create(
        model=model,
        max_completion_tokens=8,
        temperature=0,
        messages=[
            {"role": "system", "content": "You are brief."},
            *CHAT,
            {"role": "assistant", "content": "Red, green, blue."},
            {"role": "user", "content": "One more."},
        ],
    )
    check(longer.usage.prompt_tokens > answer.usage.prompt_tokens, "usage of a longer talk")


def streaming():
    client, model, whole = state["client"], state["model"], state["chat"]
    text, usage, finish, roles = "", None, None, []
    for chunk in client.chat.completions.create(
        model=model,
        messages=CHAT,
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ):
        check_equal(chunk.object, "chat.completion.chunk", "object")
        usage = chunk.usage or usage
        for choice in chunk.choices:
            roles += [choice.delta.role] if choice.delta.role else []
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    check_equal(text, whole.choices[0].message.content, "streamed text")
    check_equal(finish, whole.choices[0].finish_reason, "finish_reason")
    check_equal(usage, whole.usage, "usage in the last chunk")
    check_equal(roles, ["assistant"], "roles")
    pieces = [
        chunk.choices[0].text
        for chunk in client.completions.create(
            model=model, prompt="Once upon a time", max_tokens=12, temperature=0, stream=True
        )
        if chunk.choices
    ]
    at_once = client.completions.create(
        model=model, prompt="Once upon a time", max_tokens=12, temperature=0
    )
    check_equal("".join(pieces), at_once.choices[0].text, "streamed completion")
    check(len(pieces) > 4, "the text did not come in pieces")


def seed():
    client, model = state["client"], state["model"]

    def draw(seed_number):
        return (
            client.chat.completions.create(
                model=model, messages=CHAT, max_tokens=24, temperature=1.0, seed=seed_number
            )
            .choices[0]
            .message.content
        )

    check_equal(draw(7), draw(7), "the same seed")
    check(len({draw(number) for number in range(1, 5)}) > 1, "four seeds drew the same text")


def errors():
    client, model = state["client"], state["model"]
    cases = [
        (openai.BadRequestError, dict(model=model, prompt="a", max_tokens=-1)),
        (openai.BadRequestError, dict(model=model, prompt="a", temperature=-3)),
        (openai.BadRequestError, dict(model=model, prompt=[5] * 9000)),
        (openai.NotFoundError, dict(model="no-such-model", prompt="a")),
    ]
    for kind, fields in cases:
        try:
            client.completions.create(**fields)
        except kind as error:
            check(error.body["message"] and error.body["type"], f"{error.body}")
            continue
        check(False, f"{str(fields)[:80]} was not refused with {kind.__name__}")
    try:
        client.embeddings.create(model=model, input="a")
    except openai.NotFoundError:
        pass
    check_equal(state["swarm"].close(), 0, "exit status of petalsctl up")


main(a_swarm, models, completion, logprobs, chat, streaming, seed, errors)
