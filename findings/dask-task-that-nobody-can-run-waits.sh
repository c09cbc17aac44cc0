#!/usr/bin/env bash
# distributed 2026.8.0 (PyPI)
#
# Guess:   a task that asks for a resource no worker has ("kvm": 1) is refused, or at least warned about.
# Seen:    it is "pending" like any other, and no message says why; result() waits as long as it is let. Only
#          with distributed.scheduler.no-workers-timeout set does it fail (NoValidWorkerError).
# Matters: a label that is misspelt, or one whose last host is gone, looks like a busy farm; a nightly run of image
#          builds stands until somebody looks.
# Needs:   python3 with pip. Scheduler and worker on 127.0.0.1, in this process.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" distributed==2026.8.0 dask==2026.8.0
cd "$work"
cat >look.py <<'PY'
import logging
import sys
import dask
from distributed import Client, LocalCluster


def outcome():
    with LocalCluster(n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None) as cluster:
        with Client(cluster) as client:
            future = client.submit(len, "image", resources={"kvm": 1})
            try:
                future.result(timeout=6)
            except Exception as error:
                return future.status, type(error).__name__


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    plain = outcome()
    with dask.config.set({"distributed.scheduler.no-workers-timeout": "1s"}):
        bounded = outcome()
    print("after 6 s:", *plain, "- with no-workers-timeout:", *bounded)
    sys.exit((plain, bounded) != (("pending", "TimeoutError"), ("error", "NoValidWorkerError")))
PY
PYTHONPATH="$work/lib" python3 look.py
