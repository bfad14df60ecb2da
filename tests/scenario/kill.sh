#!/bin/sh
# kill.sh - kill -9 or SIGSTOP of any hop, at any time, changes no token; nor does the loss of
# two neighbours or of the directory.  The loss of the only replica is told, with its blocks.
. "$(dirname "$0")/lib.sh"
need_model
run kill.py
