#!/usr/bin/env bash
# ansible-core 2.19.14 (PyPI)
#
# Guess:   with ignore_unreachable a host that was never reached is listed as such in the recap, and not as ok.
# Seen:    "ok=1 unreachable=0 ignored=1", exit 0: the task that could not connect counts as one that is ok.
# Matters: the recap is what logs keep and what wrappers parse; "ok > 0, unreachable = 0, failed = 0" is true of
#          a machine that was not there.
# Needs:   python3 3.11 or later with pip and venv, an ssh client. The only connection is to 127.0.0.1, port 9.
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
echo "- {hosts: away, gather_facts: false, ignore_unreachable: true, tasks: [{raw: hostname}]}" >play.yml
code=$(play play.yml)
recap=$(grep "^away .*ok=" told | tr --squeeze-repeats " ")
echo "exit $code, recap: $recap"
[[ $code -eq 0 && $recap == *" ok=1 "*"unreachable=0"*"ignored=1"* ]]
