#!/usr/bin/env bash
# pycdlib 1.22.0 (PyPI), isoinfo of genisoimage 1.1.11 (Debian 12)
#
# Guess:   two files of one Rock Ridge name in one folder are refused, as two of one ISO 9660 name are.
# Seen:    both are written; a lister shows "user-data" twice, and who mounts the image sees one of them.
# Matters: the names that a guest reads (user-data, meta-data) are the Rock Ridge or Joliet ones; the ISO 9660
#          ones are made up by the program and always differ, so the only check that there is never helps.
# Needs:   isoinfo, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pycdlib==1.22.0
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import io
import pycdlib

image = pycdlib.PyCdlib()
image.new(rock_ridge="1.09", joliet=3, vol_ident="cidata")
image.add_fp(io.BytesIO(b"one"), 3, "/A.;1", rr_name="user-data", joliet_path="/a")
image.add_fp(io.BytesIO(b"two"), 3, "/B.;1", rr_name="user-data", joliet_path="/b")
image.write("image.iso")
try:
    image.add_fp(io.BytesIO(b"six"), 3, "/A.;1", rr_name="other", joliet_path="/c")
except pycdlib.pycdlibexception.PyCdlibInvalidInput as error:
    print("one ISO 9660 name twice:", error)
PY
isoinfo -R -f -i image.iso
[[ $(isoinfo -R -f -i image.iso | grep --count '^/user-data$') -eq 2 ]]
