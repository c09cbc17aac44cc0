#!/usr/bin/env bash
# pytest-testinfra 10.2.2, ansible-core 2.19.14 (PyPI)
#
# Guess:   host.ansible("command", "false", check=False) raises AnsibleException, as its documentation has it: the result
#          of a module that failed says "failed".
# Seen:    it returns. Ansible takes "failed" out of each result before a callback writes it, so the file of
#          `ansible --tree` never has it; the exit code (2) is not looked at. The same for the module `fail`.
# Matters: an assertion by way of a module, `host.ansible("command", "test -e /srv/app", check=False)`, holds on every
#          machine. Look at `rc` where there is one, or at the exit code of `ansible`.
# Needs:   python3 3.11 or later with pip and venv. No connection but to this host itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile ansible-core==2.19.14 pytest-testinfra==10.2.2
export ANSIBLE_HOME="$work/home" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
export PATH="$work/venv/bin:$PATH"
echo "box ansible_connection=local ansible_python_interpreter=$work/venv/bin/python" >"$work/hosts"
cat >"$work/ask.py" <<'PY'
import sys

import testinfra

host = testinfra.get_host(f"ansible://box?force_ansible=True&ansible_inventory={sys.argv[1]}")
for module, arguments in (("command", "false"), ("fail", "msg=broken")):
    try:
        result = host.ansible(module, arguments, check=False)
    except host.ansible.AnsibleException:
        print(module, "raised")
    else:
        print(module, "returned", "failed" in result)
PY
seen=$(python "$work/ask.py" "$work/hosts" 2>/dev/null)
echo "$seen"
[[ $seen == $'command returned False\nfail returned False' ]]
