#!/bin/sh
# identity.sh - certificates between real programs: an operator's CA, join tokens, every kind of
# refusal, renewal and revocation without a restart.
. "$(dirname "$0")/lib.sh"
need_model
run identity.py
