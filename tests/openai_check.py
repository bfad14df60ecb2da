#!/usr/bin/env python3
"""openai_check.py - drives a running gateway with the unmodified `openai` Python package.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install openai
    /tmp/v/bin/python tests/openai_check.py http://127.0.0.1:8080/v1

Run by hand, not by `make test`.  Prints a line per check; exits 1 when one failed.
"""
import sys
import threading

import openai

PROMPT = "The capital of France is"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
failed = []


def check(name, condition, detail=""):
    print(("ok    " if condition else "FAIL  ") + name, detail if not condition else "")
    if not condition:
        failed.append(name)


def refused(name, kind, param, call):
    try:
        call()
    except openai.APIStatusError as e:
        body = e.body if isinstance(e.body, dict) else {}
        check(name, isinstance(e, kind) and body.get("param") == param and body.get("message"),
              f"{type(e).__name__} {e.status_code} {e.body}")
    else:
        check(name, False, "it was taken")


def check_models(c, model):
    check("models.list names one model", len(c.models.list().data) == 1)
    check("models.retrieve", c.models.retrieve(model).id == model)
    refused("models.retrieve of another is 404", openai.NotFoundError, "model",
            lambda: c.models.retrieve("gpt-4"))


def check_completions(c, model):
    def ask(**more):
        return c.completions.create(**{"model": model, "prompt": PROMPT, "max_tokens": 8,
                                       "temperature": 0, **more})

    r = ask()
    check("completion has text", r.choices[0].text and r.choices[0].finish_reason == "length")
    check("usage is exact", r.usage.completion_tokens == 8 and
          r.usage.total_tokens == r.usage.prompt_tokens + 8)
    check("greedy twice is the same", ask().choices[0].text == r.choices[0].text)
    streamed = "".join(p.choices[0].text for p in ask(stream=True))
    check("a stream says the same", streamed == r.choices[0].text, streamed)
    check("n and prompts give their choices",
          [k.index for k in ask(prompt=[PROMPT, "Once"], n=2).choices] == [0, 1, 2, 3])
    drawn = [ask(temperature=1, seed=seed).choices[0].text for seed in (1, 1, 2)]
    check("a seed repeats itself", drawn[0] == drawn[1], drawn)
    check("another seed differs", drawn[0] != drawn[2], drawn)
    s = ask(max_tokens=40, stop=["\n"])
    check("stop ends before its text", "\n" not in s.choices[0].text and
          s.choices[0].finish_reason == "stop")


def check_scores(c, model):
    r = c.completions.create(model=model, prompt=PROMPT, max_tokens=3, temperature=0, echo=True,
                             logprobs=2)
    s = r.choices[0].logprobs
    count = r.usage.total_tokens
    check("echo repeats the prompt", r.choices[0].text.startswith(PROMPT))
    check("echoed logprobs cover every token", len(s.tokens) == len(s.token_logprobs) ==
          len(s.top_logprobs) == len(s.text_offset) == count)
    check("the first token has no score", s.token_logprobs[0] is None)
    check("tokens join to the text", "".join(s.tokens) == r.choices[0].text)
    check("offsets point into the text", all(r.choices[0].text[o:].startswith(t)
                                             for o, t in zip(s.text_offset, s.tokens)))
    r = c.chat.completions.create(model=model, messages=MESSAGES, max_tokens=4, temperature=0,
                                  logprobs=True, top_logprobs=3)
    content = r.choices[0].logprobs.content
    check("chat logprobs, one per token", len(content) == r.usage.completion_tokens)
    check("three alternatives, the best chosen", all(
        len(t.top_logprobs) == 3 and t.top_logprobs[0].token == t.token and
        bytes(t.bytes).decode() == t.token for t in content))


def check_chat(c, model):
    def ask(**more):
        return c.chat.completions.create(**{"model": model, "messages": MESSAGES,
                                            "max_tokens": 24, "temperature": 0, **more})

    r = ask()
    check("chat answers", "Paris" in r.choices[0].message.content, r.choices[0].message)
    check("chat stops by itself", r.choices[0].finish_reason == "stop")
    parts = list(ask(stream=True, stream_options={"include_usage": True}))
    text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
    check("the streamed chat is the same", text == r.choices[0].message.content, text)
    check("the first part says who speaks", parts[0].choices[0].delta.role == "assistant")
    check("one finish reason", [p.choices[0].finish_reason for p in parts if p.choices and
                                p.choices[0].finish_reason] == ["stop"])
    check("the last part has the usage", not parts[-1].choices and parts[-1].usage == r.usage,
          parts[-1])
    check("the others have none", all(p.usage is None for p in parts[:-1]))
    r = ask(messages=[{"role": "system", "content": "Be brief."},
                      {"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    check("content in parts", bool(r.choices[0].message.content))
    raw = c.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=1)
    check("X-Request-Id names the answer", raw.headers["x-request-id"] in raw.parse().id)
    extra = {"return_token_ids": True, "ignore_eos": True, "top_k": 1, "min_tokens": 2}
    k = ask(extra_body=extra, max_tokens=30).choices[0]
    check("vLLM's extras", len(k.token_ids) == 30 and len(k.prompt_token_ids) > 10)


def check_errors(c, model):
    bad = openai.BadRequestError

    def ask(**more):
        return lambda: c.chat.completions.create(**{"model": model, "messages": MESSAGES,
                                                    "max_tokens": 4, **more})

    refused("temperature 7", bad, "temperature", ask(temperature=7))
    refused("another model is 404", openai.NotFoundError, "model", ask(model="gpt-4"))
    refused("no messages", bad, "messages", ask(messages=[]))
    refused("tools are not there yet", bad, "tools", ask(tools=[
        {"type": "function", "function": {"name": "f", "parameters": {}}}]))
    refused("json_schema is not there yet", bad, "response_format", ask(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}))
    refused("a prompt beyond the context", bad, "messages", ask(
        messages=[{"role": "user", "content": "word " * 20000}]))
    refused("too many tokens", bad, "max_tokens", ask(max_tokens=10 ** 9))


def check_concurrency(c, model):
    def ask(i):
        r = c.completions.create(model=model, prompt=PROMPT, max_tokens=12, temperature=0)
        answers[i] = r.choices[0].text

    answers = [None] * 8
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("eight at once say the same", len(set(answers)) == 1 and answers[0], answers)
    with c.completions.create(model=model, prompt=PROMPT, max_tokens=500, stream=True,
                              extra_body={"ignore_eos": True}) as stream:
        next(iter(stream))
    check("a stream left early harms nobody", ask(0) is None and answers[0] == answers[1])


def main():
    base = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
    c = openai.OpenAI(base_url=base, api_key="none", max_retries=0,
                      http_client=openai.DefaultHttpxClient(trust_env=False, timeout=60))
    model = c.models.list().data[0].id
    print(f"openai {openai.__version__}, model {model}")
    for part in (check_models, check_completions, check_scores, check_chat, check_errors,
                 check_concurrency):
        part(c, model)
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
