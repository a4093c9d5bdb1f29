#!/bin/sh
# Runs its arguments as a command, and says how long it took.
set -u
begun=$(date +%s)
"$@"
code=$?
echo "step ended with code $code after $(($(date +%s) - begun)) s" >&2
exit "$code"
