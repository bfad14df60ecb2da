#!/bin/sh
# drain.sh - SIGTERM in the middle of an answer: the server hands its sessions over and exits 0,
# the gateway finishes what it began, petalsctl up leaves no process behind.
. "$(dirname "$0")/lib.sh"
need_model
run drain.py
