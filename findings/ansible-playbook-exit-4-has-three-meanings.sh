#!/usr/bin/env bash
# ansible-core 2.19.14 (PyPI)
#
# Guess:   the exit codes are bits, as the source has them (2 failed, 4 unreachable): a run with both is 6, and
#          4 means that a host could not be reached.
# Seen:    a task that failed beside a host that is away is 4; a playbook with an unknown module, or an empty one,
#          is 4 as well, without any host being tried. And 2 is a failed task or a misspelt option.
# Matters: "try again at 4, stop at 2" retries a broken playbook and a broken build for ever. Read the events of a
#          callback instead.
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
echo "- {hosts: all, gather_facts: false, tasks: [{raw: exit 3}]}" >both.yml
echo "- {hosts: good, gather_facts: false, tasks: [{no_such_module: {}}]}" >module.yml
echo "---" >empty.yml
echo "- {hosts: good, gather_facts: false, tasks: [{raw: exit 3}]}" >failed.yml
codes=()
for run in both.yml module.yml empty.yml failed.yml "failed.yml --misspelt"; do
  read -ra words <<<"$run"
  codes+=("$(play "${words[@]}")")
  echo "$run: ${codes[-1]}"
done
[[ ${codes[*]} == "4 4 4 2 2" ]]
