#!/usr/bin/env bash
# ansible-core 2.19.14 (PyPI)
#
# Guess:   ANSIBLE_CONFIG=/dev/null runs Ansible without any configuration file, as it does for most programs that
#          read one (and as an empty file does here).
# Seen:    "Unsupported configuration file extension for /dev/null", exit 5, before anything is read. The name must
#          end with .cfg or .ini, whatever is in the file.
# Matters: it is how a build keeps the user's ~/.ansible.cfg out; leaving the variable unset reads that one instead.
# Needs:   python3 3.11 or later with pip and venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile ansible-core==2.19.14
export ANSIBLE_HOME="$work/home" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
cd "$work"
echo "- {hosts: localhost, gather_facts: false, tasks: [{debug: {msg: ran}}]}" >play.yml
touch empty.cfg empty.conf
run() { # the exit code of the play with one configuration file
  local code=0
  ANSIBLE_CONFIG=$1 "$work/venv/bin/ansible-playbook" play.yml >told 2>&1 </dev/null || code=$?
  echo "$code"
}
empty=$(run "$work/empty.cfg")
other=$(run "$work/empty.conf")
null=$(run /dev/null)
said=$(grep --only-matching --max-count=1 "Unsupported configuration file extension" told)
echo "empty.cfg: exit $empty, empty.conf: exit $other, /dev/null: exit $null, \"$said\""
[[ $empty -eq 0 && $other -eq 5 && $null -eq 5 && -n $said ]]
