#!/usr/bin/env bash
# ansible-core 2.19.14 (PyPI)
#
# Guess:   --start-at-task with a name that no task has is an error.
# Seen:    "[ERROR]: No matching task ... found" is printed, nothing is run, and the exit code is 0. (A --limit
#          that matches no host of the inventory is 1, on the other hand.)
# Matters: resuming a provisioning run from a noted task is what the option is for; rename the task, and the
#          image is finished and kept with nothing done.
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
echo "- {hosts: good, gather_facts: false, tasks: [{name: install, raw: touch ran}]}" >play.yml
code=$(play play.yml --start-at-task "instal")
said=$(grep "No matching task" told)
echo "--start-at-task instal: exit $code, $said, task ran: $(test -e ran && echo yes || echo no)"
limit=$(play play.yml --limit nobody)
echo "--limit nobody: exit $limit"
[[ $code -eq 0 && -n $said && $limit -eq 1 && ! -e ran ]]
