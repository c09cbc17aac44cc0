#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), ss of iproute2
#
# Guess:   socket("tcp://127.0.0.1:8081").is_listening tells whether a client at that address gets an answer.
# Seen:    a server on IPv6 alone makes it True for 0.0.0.0, for 127.0.0.1 and for 192.0.2.7, which the
#          machine does not have, although a connection is refused; and a server on 0.0.0.0 makes it False
#          for tcp://127.0.0.1, where a connection succeeds.
# Matters: this is the most written line in smoke tests of images: it passes for a service that is bound
#          wrongly, and fails for one that can be reached.
# Needs:   unshare (a private network namespace with loopback only), ip, ss, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

cat >"$work/look.py" <<'PY'
import socket
import sys
import testinfra


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


v6 = socket.socket(socket.AF_INET6)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
v6.bind(("::", 8081))
v6.listen()
v4 = socket.socket()
v4.bind(("0.0.0.0", 8082))
v4.listen()

host = testinfra.get_host("local://")
seen = {}
for address, port in [("0.0.0.0", 8081), ("127.0.0.1", 8081), ("192.0.2.7", 8081), ("127.0.0.1", 8082)]:
    seen[address, port] = host.socket(f"tcp://{address}:{port}").is_listening
    print(f"tcp://{address}:{port} is_listening={seen[address, port]}")
reached = {port: connects(port) for port in (8081, 8082)}
print(f"a connection to 127.0.0.1 succeeds: {reached}")
as_stated = list(seen.values()) == [True, True, True, False] and reached == {8081: False, 8082: True}
sys.exit(not as_stated)
PY
cat >"$work/inside" <<'SH'
ip link set lo up
PYTHONPATH="$1/lib" exec python3 "$1/look.py"
SH
unshare --user --map-root-user --net bash "$work/inside" "$work"
