#!/usr/bin/env bash
# paramiko 5.1.0 (PyPI), OpenSSH 9.2 (Debian 12)
#
# Guess:   with an AES-GCM cipher agreed on, which brings its own check of integrity, the lists of MACs do not matter, as
#          OpenSSH has it; a server with "Ciphers aes256-gcm@openssh.com" that paramiko knows can be reached.
# Seen:    paramiko wants a MAC in common all the same and gives up ("no acceptable macs"), if the server's MACs are of the
#          umac family; the same server talks to OpenSSH's client.
# Matters: hardening guides shorten these lists. The machine answers to ssh from the same host and to no Python tool, and
#          the message names a setting that has no part in the connection.
# Needs:   sshd and ssh (openssh-server), ssh-keygen, python3 with pip. The server listens on 127.0.0.1; nobody logs in.
set -euo pipefail
work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
[[ -x /usr/sbin/sshd ]] || { echo "needs the package openssh-server" >&2; exit 2; }
ssh -V
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" paramiko==5.1.0
cd "$work"
[[ $EUID -ne 0 ]] || mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
/usr/sbin/sshd -D -f /dev/null -h "$work/host" -p "$port" -o ListenAddress=127.0.0.1 -o PidFile=none \
  -o Ciphers=aes256-gcm@openssh.com -o MACs=umac-128-etm@openssh.com 2>sshd.log &
pid=$!
PYTHONPATH="$work/lib" python3 - "$port" <<'PY'
import logging
import re
import socket
import subprocess
import sys
import time
import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
port = int(sys.argv[1])
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        break
    except OSError:
        time.sleep(0.1)
options = "-v -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -F none".split()
told = subprocess.run(
    ["ssh", *options, "-p", str(port), "nobody@127.0.0.1", "true"], capture_output=True, text=True, timeout=60, check=False
).stderr
agreed = re.search(r"kex: server->client cipher: (\S+) MAC: (\S+)", told)
print("ssh agrees on:", agreed and agreed.groups())
transport = paramiko.Transport(("127.0.0.1", port))
try:
    transport.start_client(timeout=30)
    failure = None
except paramiko.SSHException as error:
    failure = f"{type(error).__name__}: {error}"
finally:
    transport.close()
print("paramiko knows the cipher:", "aes256-gcm@openssh.com" in paramiko.Transport._cipher_info, "- and says", failure)
sys.exit(not (agreed and agreed.group(1) == "aes256-gcm@openssh.com" and failure and "macs" in failure))
PY
