#!/bin/sh
# tools.sh - petals-sim repeats itself from a seed and prints what fails; petals-bench measures
# a small model in this process, and refuses what it cannot measure.
. "$(dirname "$0")/lib.sh"
run tools.py
