#!/bin/sh
# openai.sh - the unmodified `openai` package against the gateway: models, completion, chat,
# streaming with usage, logprobs, seed, error types.
. "$(dirname "$0")/lib.sh"
need_model

venv=$build/cache/openai-venv
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import openai' 2>/dev/null; then
	rm -rf "$venv"
	python3 -m venv "$venv" >/dev/null 2>&1 ||
		skip "python3 cannot make a venv (is python3-venv missing?)"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check openai \
		>/dev/null 2>&1 || {
		rm -rf "$venv"
		skip "the package openai cannot be fetched (no network?)"
	}
fi
PYTHON=$venv/bin/python run openai_client.py
