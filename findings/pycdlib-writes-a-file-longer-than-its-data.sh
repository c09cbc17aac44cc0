#!/usr/bin/env bash
# pycdlib 1.22.0 (PyPI)
#
# Guess:   add_fp(fp, length, ...) with a length that the stream does not have is an error when the image is
#          written.
# Seen:    write() is content. The ISO's directory says 10 bytes, three of them are the file's, and a reader
#          gets 10: the rest is what lies behind them. (A length that is too small cuts the file, as asked.)
# Matters: lengths come from a stat or a Content-Length of a moment before; a seed, licence or kernel that was
#          cut in between is handed on as whole, padded, and checks of the size pass.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pycdlib==1.22.0
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import io
import sys
import pycdlib

image = pycdlib.PyCdlib()
image.new()
image.add_fp(io.BytesIO(b"abc"), 10, "/SHORT.;1")
image.write("image.iso")
image.close()

image = pycdlib.PyCdlib()
image.open("image.iso")
data = io.BytesIO()
image.get_file_from_iso_fp(data, iso_path="/SHORT.;1")
print("3 bytes went in under a length of 10; read back:", data.getvalue())
sys.exit(len(data.getvalue()) != 10 or not data.getvalue().startswith(b"abc"))
PY
