#!/usr/bin/env bash
# dask and distributed 2026.8.0 (PyPI)
#
# Guess:   a task is given up as KilledWorker when four workers have died while they ran it; one that still waits for a
#          thread or a resource is handed to another worker as often as need be.
# Seen:    tasks that need a resource are assigned to their worker at once, and each death of it counts against all of
#          them: after four deaths all six tasks are in error, most of which never began
#          (distributed.scheduler.allowed-failures is 3).
# Matters: a queue of long tasks on few workers is lost whole by a worker that dies four times, as one does whose
#          service is started anew; whoever retries a task must not take KilledWorker for a sign that the task is at fault.
# Needs:   python3 with venv, the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'distributed==2026.8.0' 'dask==2026.8.0'
cat >"$work/look.py" <<'PY'
import subprocess
import sys
import time
from pathlib import Path

from distributed import Client, wait

begun = Path("begun")
begun.mkdir()


def start(*words: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def work(folder: str, number: int) -> None:
    (Path(folder) / str(number)).touch()
    time.sleep(600)


scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "28786", "--no-dashboard")
client = Client("tcp://127.0.0.1:28786", timeout=60)
futures = []
for death in range(4):
    worker = start("distributed.cli.dask_worker", "tcp://127.0.0.1:28786", "--no-nanny", "--resources", "slot=1")
    client.wait_for_workers(1, timeout=60)
    if not futures:
        futures = [
            client.submit(work, str(begun.resolve()), number, resources={"slot": 1}, pure=False) for number in range(6)
        ]
    until = time.monotonic() + 60
    while not list(begun.iterdir()) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)
    worker.kill()
    worker.wait()
    while client.scheduler_info(n_workers=-1)["workers"]:
        time.sleep(0.1)
time.sleep(2)
errors = [type(future.exception()).__name__ for future in futures if future.status == "error"]
print(f"{len(errors)} of 6 in error ({', '.join(sorted(set(errors)))}); {len(list(begun.iterdir()))} had begun")
scheduler.kill()
PY
cd "$work"
said=$("$work/venv/bin/python" look.py 2>/dev/null | tail -1)
echo "$said"
[[ "$said" =~ ^'6 of 6 in error (KilledWorker); '[1-4]' had begun'$ ]] # each death lets another one begin, at most
