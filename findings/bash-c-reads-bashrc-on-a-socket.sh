#!/usr/bin/env bash
# bash 5.2 (Debian 12)
#
# Guess:   `bash -c COMMAND` reads no start file: it is neither a login shell nor interactive.
# Seen:    it reads ~/.bashrc when its standard input is a socket and SHLVL is not set. Any socket counts, so the pair that
#          sshd gives to a command without a terminal does, and programs that clear the environment, as sudo, bring SHLVL
#          back to nothing. (Bash's manual speaks of a remote shell daemon; that a local socket pair is taken for one,
#          it does not say.)
# Matters: what provisioning tools send as `bash -c` or `sudo bash -c` runs whatever the target's .bashrc does first: a
#          greeting in front of data, an exit, another folder. With a pipe or /dev/null as standard input it does not.
# Needs:   bash built as Debian builds it, python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash --version | sed -n 1p
echo 'echo Welcome' >"$work/.bashrc"
python3 - "$work" <<'PY'
import socket
import subprocess
import sys


def said(stdin, **environment):
    words = ["bash", "-c", "echo data"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": sys.argv[1], **environment}
    return subprocess.run(words, stdin=stdin, env=environment, capture_output=True, text=True, timeout=30, check=True).stdout


ours, theirs = socket.socketpair()
ours.shutdown(socket.SHUT_WR)
answers = {
    "a socket": said(theirs),
    "a socket, below another shell": said(theirs, SHLVL="1"),
    "/dev/null": said(subprocess.DEVNULL),
}
for stdin, text in answers.items():
    print(f"standard input is {stdin}: {text.split()}")
greeted = ["Welcome" in text for text in answers.values()]
sys.exit(greeted != [True, False, False])
PY
