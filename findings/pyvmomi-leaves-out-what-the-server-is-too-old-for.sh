#!/usr/bin/env bash
# pyvmomi 9.1.1.0 (PyPI)
#
# Guess:   a property that the connected server's API version does not have yet is refused by pyvmomi, or sent
#          and refused by the server.
# Seen:    it is left out of the request in silence. BootOptions(efiSecureBootEnabled=True) for a vSphere 6.0
#          connection is an empty element, and ConfigSpec(sevEnabled=True) for 7.0.0 as well; the task succeeds.
# Matters: the machine that was asked for with secure boot or encrypted memory has neither, and the code that
#          asked sees success. Read the setting back.
# Needs:   python3 with pip. Nothing is connected to; the request is written for a version, as a stub does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pyvmomi==9.1.1.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
from pyVmomi import SoapAdapter, VmomiSupport, vim

newest = VmomiSupport.newestVersions.GetName("vim")
cases = [
    (vim.vm.ConfigSpec(bootOptions=vim.vm.BootOptions(efiSecureBootEnabled=True)), "efiSecureBootEnabled", "vim.version.version10"),
    (vim.vm.ConfigSpec(sevEnabled=True), "sevEnabled", "vim.version.v7_0"),
]
as_stated = True
for spec, name, version in cases:
    then = SoapAdapter.SerializeToStr(spec, version=version)
    now = SoapAdapter.SerializeToStr(spec, version=newest)
    print(f"{name} for {version}: in the request {name in then}; for {newest}: {name in now}")
    as_stated &= name not in then and name in now
sys.exit(not as_stated)
PY
