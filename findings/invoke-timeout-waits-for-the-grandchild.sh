#!/usr/bin/env bash
# invoke 2.2.1 (PyPI)
#
# Guess:   `run(command, timeout=1)` raises CommandTimedOut after a second.
# Seen:    so it does for one command, which the shell becomes. Where the shell stays (two commands, a pipe, a
#          redirection with &&), the shell alone is killed: what it had started runs on, holds the pipes, and
#          run() returns when that ends, here after 6 s, with the same CommandTimedOut.
# Matters: a timeout is what bounds a build step or a download. A step that hangs for an hour keeps its caller for
#          that hour, and goes on working beside the next attempt.
# Needs:   python3 with venv, network to PyPI.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet invoke==2.2.1
cat >"$work/try.py" <<'EOF'
import time

import invoke

print("invoke", invoke.__version__)
took = {}
for command in ("sleep 6", "sleep 6; true"):
    began = time.monotonic()
    try:
        invoke.run(command, timeout=1, hide=True, in_stream=False)
    except invoke.CommandTimedOut:
        took[command] = time.monotonic() - began
        print(f"run({command!r}, timeout=1): CommandTimedOut after {took[command]:.0f} s")
assert took["sleep 6"] < 3
assert took["sleep 6; true"] > 5
EOF
"$work/venv/bin/python" "$work/try.py"
