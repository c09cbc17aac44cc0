#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), ps of procps
#
# Guess:   host.process finds a process by its pid, whatever its name is.
# Seen:    a name with a blank ("tmux: server", "Web Content") moves all
#          columns by one: the name is cut, pid is 0.0, the real pid is said to be the memory share, and
#          a filter by pid, name or arguments finds nothing.
# Matters: a smoke test that counts or names processes misses those, and others built on pid or ppid
#          (who is whose child) get numbers that are no pids.
# Needs:   ps, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

cp "$(command -v sleep)" "$work/my daemon"
PYTHONPATH="$work/lib" python3 - "$work/my daemon" <<'PY'
import subprocess
import sys
import time
import testinfra

child = subprocess.Popen([sys.argv[1], "60"])
try:
    time.sleep(0.5)
    process = testinfra.get_host("local://").process
    by_name, by_pid = process.filter(comm="my daemon"), process.filter(pid=child.pid)
    cut = process.filter(comm="my")
    print(f"filter(comm='my daemon') -> {by_name}, filter(pid={child.pid}) -> {by_pid}")
    print("filter(comm='my') ->", [(p["comm"], p["pid"], p["pmem"]) for p in cut])
    shifted = any(p["pmem"] == child.pid for p in cut)
finally:
    child.kill()
    child.wait()
sys.exit(not (by_name == [] and by_pid == [] and shifted))
PY
