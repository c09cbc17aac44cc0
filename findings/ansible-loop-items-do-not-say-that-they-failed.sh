#!/usr/bin/env bash
# ansible-core 2.20.10 and 2.21.5 (PyPI)
#
# Guess:   a callback's v2_runner_on_failed finds the items of a loop in result["results"], each with "failed" true or
#          false: that is how callbacks tell which item failed, and the plugin interface is the same.
# Seen:    so it is with 2.20. With 2.21 no item has the key: the one that failed looks like the one that did not, but
#          for its return code. v2_runner_item_on_failed is still called for the right one.
# Matters: callbacks and log shippers that filter by "failed" report a failed loop without any reason ("One or more
#          items failed"), and none of them raises.
# Needs:   python3.12 or newer with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=
for one in python3.12 python3.13 python3.14; do
  if "$one" -c "import venv" 2>/dev/null; then python=$one; fi
done
[[ -n $python ]] || { echo "needs python3.12 or newer, with venv" >&2; exit 2; }
mkdir "$work/callback_plugins"
cat >"$work/callback_plugins/show.py" <<'PYTHON'
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "notification", "show"

    def v2_runner_on_failed(self, result, ignore_errors=False):
        print("SAID", *(f"{item['item']}: {item.get('failed', 'no such key')}," for item in result._result["results"]))

    def v2_runner_item_on_failed(self, result):
        print("ITEM", result._result["item"])
PYTHON
printf -- '- hosts: all\n  gather_facts: false\n  tasks:\n  - command: test {{ item }} = a\n    loop: [a, b]\n' >"$work/play.yml"
said() { # what the callback finds with one version
  "$python" -m venv "$work/$1"
  "$work/$1/bin/pip" install -qq --disable-pip-version-check "ansible-core==$1"
  (cd "$work" && LC_ALL=C.UTF-8 ANSIBLE_HOME="$work/home" "$work/$1/bin/ansible-playbook" -i localhost, -c local \
    -e "ansible_python_interpreter=$work/$1/bin/python" play.yml 2>&1 | grep -E '^(SAID|ITEM)' | tr '\n' ' ') || true
}
old=$(said 2.20.10)
new=$(said 2.21.5)
echo "2.20.10: $old"
echo "2.21.5:  $new"
[[ $old == "ITEM b SAID a: False, b: True, " && $new == "ITEM b SAID a: no such key, b: no such key, " ]]
