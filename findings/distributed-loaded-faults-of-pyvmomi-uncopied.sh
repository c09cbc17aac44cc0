#!/usr/bin/env bash
# distributed 2026.8.0, tblib 3.2.2, pyvmomi 9.1.1.0 (PyPI)
#
# Guess:   two libraries that do not know of each other can be loaded in one process.
# Seen:    distributed loads tblib's pickling support, which registers a reducer for every class of exceptions that
#          exists by then; pyvmomi's faults are exceptions without the `__dict__` that it wants to set. From then on
#          `copy.copy(fault)` is an AttributeError, and pyvmomi, which copies what it serializes, cannot write a fault.
#          Whether a fault is hit depends on which of the two was loaded first.
# Matters: a worker that builds in vSphere, and a vCenter of one's own tests, work until Dask is loaded beside them.
# Needs:   python3 with venv, the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'distributed==2026.8.0' 'dask==2026.8.0' 'tblib==3.2.2' 'pyvmomi==9.1.1.0'
cat >"$work/look.py" <<'PY'
import copy

from pyVmomi import SoapAdapter, vim

fault = vim.fault.NoPermission()
event = vim.event.VmFailedToPowerOnEvent(reason=vim.fault.NoPermission(msg="no"))


def copied() -> str:
    try:
        copy.copy(fault)
        return "copied"
    except AttributeError as error:
        return f"AttributeError: {error}"


def written() -> str:
    try:
        return "written" if "NoPermission" in SoapAdapter.SerializeToStr(fault, version="vim.version.version11") else "?"
    except AttributeError as error:
        return f"AttributeError: {error}"


before = copied(), written()
import distributed  # noqa: E402

print("before distributed was loaded:", *before, sep=" | ")
print("after it was loaded:", copied(), written(), sep=" | ")
PY
seen=$("$work/venv/bin/python" "$work/look.py")
echo "$seen"
grep -q "before distributed was loaded: | copied | written" <<<"$seen"
grep -q "after it was loaded: | AttributeError: __dict__ | AttributeError: __dict__" <<<"$seen"
