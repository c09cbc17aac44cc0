#!/usr/bin/env bash
# invoke 2.2.1 (PyPI); fabric 3.2.3 takes its cd() from it
#
# Guess:   inside `with c.cd("/srv/app"):` nothing runs elsewhere: if the folder is not there, the run fails.
# Seen:    cd() puts "cd FOLDER && " before the text, so only the first command depends on it. What follows a ";", a
#          line feed or "||" runs in the folder where one happens to be (over SSH: the home folder), and with
#          a good last command the result is ok. (The "&&" is documented, this consequence is not.)
# Matters: c.run("rm -rf build; make") with a folder that the image lacks deletes and builds in /root, exit 0.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" invoke==2.2.1
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import os
import sys
import invoke

context = invoke.Context()
seen = {}
for text in ("pwd", "pwd; pwd", "pwd\npwd", "pwd || pwd"):
    with context.cd("/no/such/folder"):
        result = context.run(text, hide=True, warn=True)
    seen[text] = (result.ok, result.stdout.strip() == os.getcwd())
    print(f"{text!r}: ok={result.ok}, ran in the caller's folder: {seen[text][1]}")
sys.exit(list(seen.values()) != [(False, False)] + [(True, True)] * 3)
PY
