#!/usr/bin/env bash
# distributed 2026.8.0 (PyPI)
#
# Guess:   submitting a function again after it failed runs it again.
# Seen:    as long as the first future is held, the second submit() answers with the first's error and runs nothing;
#          its key is made from the function and its arguments. (That submit() takes functions for pure is
#          documented; that a failure is remembered as well as a result is what one does not expect.)
# Matters: "retry" around submit() of a build, an upload or a boot test does nothing but wait. pure=False or
#          Future.retry() does.
# Needs:   python3 with pip. Scheduler and worker on 127.0.0.1, in this process.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" distributed==2026.8.0 dask==2026.8.0
cd "$work"
cat >look.py <<'PY'
import logging
import pathlib
import sys
from distributed import Client, LocalCluster

RUNS = pathlib.Path("runs")


def build(name, log):
    with open(log, "a") as notes:
        notes.write(name + "\n")
    raise OSError("the mirror answered 503")


def attempt(client, **options):
    future = client.submit(build, "web", str(RUNS.resolve()), **options)
    return future, type(future.exception()).__name__


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with LocalCluster(n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None) as cluster:
        with Client(cluster) as client:
            first, error = attempt(client)
            second, error = attempt(client)
            print("submitted twice, failed twice with", error, "- runs:", len(RUNS.read_text().split()))
            equal = len(RUNS.read_text().split())
            third, error = attempt(client, pure=False)
            print("once more with pure=False - runs:", len(RUNS.read_text().split()))
    sys.exit((equal, len(RUNS.read_text().split())) != (1, 2))
PY
PYTHONPATH="$work/lib" python3 look.py
