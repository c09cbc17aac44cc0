#!/usr/bin/env bash
# pyvmomi 9.1.1.0 (PyPI)
#
# Guess:   a string that is written by pyvmomi is the string that is read by pyvmomi.
# Seen:    CR LF comes back as LF. A carriage return is written into the XML as it is, where every XML reader
#          must turn it into a line feed; "&#13;" would survive.
# Matters: annotations, guestinfo values and answer files for Windows guests (unattend, sysprep text, batch)
#          arrive changed; a program that compares what it set with what it reads sees a change at every run.
# Needs:   python3 with pip. Nothing is connected to.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pyvmomi==9.1.1.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
from pyVmomi import SoapAdapter, vim

sent = vim.option.OptionValue(key="guestinfo.script", value="echo off\r\necho on\r\n")
got = SoapAdapter.Deserialize(SoapAdapter.SerializeToStr(sent), vim.option.OptionValue)
print("sent:", repr(sent.value))
print("read:", repr(got.value))
sys.exit(got.value != "echo off\necho on\n")
PY
