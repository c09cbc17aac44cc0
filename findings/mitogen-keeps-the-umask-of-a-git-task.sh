#!/usr/bin/env bash
# mitogen 0.3.54, ansible-core 2.19.14 (PyPI), git 2.39 (Debian 12)
#
# Guess:   `umask:` of a git task holds for that task alone: the module's process ends with it.
# Seen:    With Mitogen's strategy modules share a process, which keeps it: files that later tasks make have the mode
#          that the git task was to have.
# Matters: a checkout made private with umask 0077 makes what later tasks write unreadable for services, in a play that
#          was right until Mitogen was switched on.
# Needs:   python3 3.11 or later with pip and venv, git.
set -euo pipefail
command -v git >/dev/null || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile ansible-core==2.19.14 mitogen==0.3.54
mkdir "$work/home"
export HOME="$work/home" ANSIBLE_HOME="$work/ansible" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
export ANSIBLE_DEPRECATION_WARNINGS=0
plugins=$("$work/venv/bin/python" -c 'import ansible_mitogen; print(ansible_mitogen.__path__[0])')/plugins/strategy
cd "$work"
umask 022
git init -q repo
git -C repo -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m first
cat >play.yml <<YAML
- hosts: localhost
  gather_facts: false
  tasks:
  - git: {repo: "file://$work/repo", dest: "$work/checkout", umask: "0077"}
  - shell: echo x >"$work/made"
YAML
mode() { # of the file that the second task made
  rm -rf checkout made
  ANSIBLE_STRATEGY=$1 ANSIBLE_STRATEGY_PLUGINS=$plugins "$work/venv/bin/ansible-playbook" play.yml >told 2>&1 </dev/null || { cat told >&2; exit 1; }
  stat -c %a made
}
plain=$(mode linear)
shared=$(mode mitogen_linear)
echo "made after the git task: $plain by linear, $shared by mitogen_linear"
[[ $plain == 644 && $shared == 600 ]]
