#!/usr/bin/env bash
# pyvmomi 9.1.1.0 (PyPI)
#
# Guess:   pyvmomi knows vSphere's types and refuses what does not fit, as it does for a misspelt property, a
#          list with a wrong element and a text where a number belongs.
# Seen:    the same wrong element is taken by append(), a value that no enumeration has by every enumeration
#          property, and 2**40 by a 32-bit number; all are written into the request.
# Matters: tests against pyvmomi's types are taken for proof of a request's shape. A misspelt disk mode or
#          operation is met first by vCenter, which answers with a fault that names no property.
# Needs:   python3 with pip. Nothing is connected to.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pyvmomi==9.1.1.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import re
import sys
from pyVmomi import SoapAdapter, VmomiSupport, vim

NEWEST = VmomiSupport.newestVersions.GetName("vim")


def refused(make):
    try:
        value = make()
        text = SoapAdapter.SerializeToStr(value, version=NEWEST)
    except (TypeError, AttributeError) as error:
        return f"refused: {error}"
    return "sent as " + re.sub(r"^<obj[^>]*>|</obj>$", "", text)


def appended():
    spec = vim.vm.ConfigSpec()
    spec.deviceChange = []
    spec.deviceChange.append("no device")
    return spec


def enumeration():
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo()
    backing.diskMode = "persistant"
    return backing


cases = {
    "misspelt property": lambda: vim.vm.ConfigSpec(memoryMb=5),
    "list of a wrong type, assigned": lambda: vim.vm.ConfigSpec(deviceChange=["no device"]),
    "the same, appended": appended,
    "text for a number": lambda: vim.vm.ConfigSpec(numCPUs="2"),
    "number too large for its type": lambda: vim.vm.ConfigSpec(numCPUs=2**40),
    "value that the enumeration lacks": enumeration,
}
seen = {case: refused(make) for case, make in cases.items()}
for case, how in seen.items():
    print(f"{case}: {how}")
sys.exit([how.startswith("refused") for how in seen.values()] != [True, True, False, True, False, False])
PY
