#!/bin/sh
# bad_input.sh - ports taken, garbage on every port, broken model files, clients that vanish,
# absurd requests: a clear error that names what and where, and nobody else disturbed.
. "$(dirname "$0")/lib.sh"
need_model
run bad_input.py
