#!/usr/bin/env bash
# mitogen 0.3.54, ansible-core 2.19.14 (PyPI)
#
# Guess:   async_dir in ansible.cfg says where results of tasks with `async` are, also with Mitogen's strategy.
# Seen:    Mitogen writes them to ~/.ansible_async, whatever the setting says; Ansible looks where it says, and the task
#          fails with "could not find job", though its command was run.
# Matters: the setting is how an image is kept free of ~/.ansible_async. With Mitogen it breaks the play, and does not
#          keep the folder away.
# Needs:   python3 3.11 or later with pip and venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile ansible-core==2.19.14 mitogen==0.3.54
mkdir "$work/home"
export HOME="$work/home" ANSIBLE_HOME="$work/ansible" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
export ANSIBLE_DEPRECATION_WARNINGS=0
plugins=$("$work/venv/bin/python" -c 'import ansible_mitogen; print(ansible_mitogen.__path__[0])')/plugins/strategy
cd "$work"
echo '- {hosts: localhost, gather_facts: false, tasks: [{command: touch ran, async: 20, poll: 1}]}' >play.yml
printf '[defaults]\nasync_dir = %s/async\n' "$work" >ansible.cfg
play() { # the exit code of a play; what it printed is in ./told
  local code=0
  rm -rf ran home/.ansible_async async
  ANSIBLE_STRATEGY=$1 ANSIBLE_STRATEGY_PLUGINS=$plugins "$work/venv/bin/ansible-playbook" play.yml >told 2>&1 </dev/null || code=$?
  echo "$code"
}
plain=$(play linear)
echo "linear: exit $plain, ~/.ansible_async: $(test -e home/.ansible_async && echo there || echo not there)"
[[ $plain -eq 0 && -e ran && ! -e home/.ansible_async ]]
code=$(play mitogen_linear)
said=$(grep -c "could not find job" told || true)
echo "mitogen_linear: exit $code, 'could not find job': $said times, command ran: $(test -e ran && echo yes || echo no), ~/.ansible_async: $(test -e home/.ansible_async && echo there || echo not there)"
[[ $code -eq 2 && $said -gt 0 && -e ran && -e home/.ansible_async ]]
