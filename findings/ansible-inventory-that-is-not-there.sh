#!/usr/bin/env bash
# ansible-core 2.19.14 (PyPI)
#
# Guess:   an inventory file that does not exist is an error, as a playbook or a variables file that does not exist.
# Seen:    it is a warning: the play "skips: no hosts matched" and the exit code is 0. The missing playbook and
#          the missing variables file are 1.
# Matters: builders write the inventory to a temporary file; a wrong path is a green build of an image on which
#          nothing was done. ANSIBLE_INVENTORY_UNPARSED_FAILED=true turns it into an error.
# Needs:   python3 3.11 or later with pip and venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile ansible-core==2.19.14
export ANSIBLE_HOME="$work/home" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
cd "$work"
cat >hosts <<'INI'
good ansible_connection=local
away ansible_host=127.0.0.1 ansible_port=9 ansible_ssh_common_args="-o BatchMode=yes -o ConnectTimeout=5"
INI
play() { # the exit code of a play; what it printed is in ./told
  local code=0
  "$work/venv/bin/ansible-playbook" -i hosts "$@" >told 2>&1 </dev/null || code=$?
  echo "$code"
}
echo "- {hosts: good, gather_facts: false, tasks: [{raw: touch ran}]}" >play.yml
mv hosts there
gone=$(play play.yml)
echo "inventory missing: exit $gone, task ran: $(test -e ran && echo yes || echo no), said: $(grep -i -m 1 "no hosts matched" told)"
mv there hosts
playbook=$(play no-such-play.yml)
variables=$(play play.yml --extra-vars @no-such-file.yml)
echo "playbook missing: exit $playbook, variables file missing: exit $variables"
mv hosts there
strict=$(ANSIBLE_INVENTORY_UNPARSED_FAILED=true play play.yml)
echo "inventory missing with ANSIBLE_INVENTORY_UNPARSED_FAILED=true: exit $strict"
[[ $gone -eq 0 && $playbook -eq 1 && $variables -eq 1 && $strict -ne 0 && ! -e ran ]]
