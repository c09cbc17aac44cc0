#!/usr/bin/env bash
# invoke 2.2.1 (PyPI); fabric 3.2.3 takes its sudo() from it
#
# Guess:   `with c.prefix("test -d /srv"): c.sudo("make install")` runs make as root.
# Seen:    the text that is run is "sudo ... test -d /srv && make install": root tests, and the caller makes. Inside
#          `with c.cd(...)` it is "sudo ... cd /srv && make install", where sudo finds no program named cd (that
#          half fails aloud, and is an open issue of the project; the other half is silent).
# Matters: what was to be installed by root is installed by nobody in particular, or in his home, with exit 0; code
#          that worked without the prefix changes its user when one is put round it.
# Needs:   python3 with pip. Nothing is run: the command is caught where it would be started.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" invoke==2.2.1
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import invoke

caught = []


class Caught(Exception):
    pass


class Runner(invoke.Local):
    def start(self, command, shell, env):
        caught.append(command)
        raise Caught


context = invoke.Context(invoke.Config(overrides={"runners": {"local": Runner}}))
for scope in (context.prefix("test -d /srv"), context.cd("/srv")):
    with scope:
        try:
            context.sudo("make install", hide=True)
        except Caught:
            print("would run:", caught[-1])
sys.exit(not (caught[0].endswith(" test -d /srv && make install") and caught[1].endswith(" cd /srv && make install")))
PY
