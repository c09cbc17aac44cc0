#!/usr/bin/env bash
# paramiko 5.1.0 (PyPI)
#
# Guess:   str(key) of any key is some text, as it is for RSA, so that a key can be put into a message.
# Seen:    str() and format() of an ECDSAKey raise TypeError ("__str__ returned non-string"); of an RSAKey they give
#          the binary blob as text. repr() is right for both.
# Matters: the line that says which host key was offered or did not match is written once and tried with one key;
#          with an ECDSA key it raises in the middle of the report of another fault.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" paramiko==5.1.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import paramiko

key = paramiko.ECDSAKey.generate()
print("repr():", repr(key))
try:
    print("the host key is", f"{key}")
except TypeError as error:
    print("str():  TypeError,", error)
    sys.exit(0)
sys.exit(1)
PY
