#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), systemctl of systemd 252 (Debian 12)
#
# Guess:   service("ngin").exists is False where there is an nginx.
# Seen:    True: the name is a pattern for grep at the start of the unit files' list, so a beginning of a name or a
#          regular expression is enough; of a unit that is made at run time (a mount) it is False.
# Matters: "the service exists" passes for a misspelt name and for a package that brings only name-helper.service.
# Needs:   systemctl, python3 with pip. The unit files of this host are listed, nothing is started.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import testinfra

host = testinfra.get_host("local://")
units = host.run("systemctl list-unit-files --no-legend").stdout.split()
names = ("systemd-tmpfiles-cl", "systemd.tmpfiles.clean", "no-such-unit")
answers = {name: host.service(name).exists for name in names}
for name, answer in answers.items():
    print(f"service({name!r}).exists={answer}, a unit of that name: {name + '.service' in units}")
sys.exit(list(answers.values()) != [True, True, False] or any(name + ".service" in units for name in names))
PY
