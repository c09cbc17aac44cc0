#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), ss of iproute2
#
# Guess:   socket("tcp://127.0.0.1:8083").clients lists who is connected to the server at that address.
# Seen:    it lists the connections to that port, at any of the machine's addresses, whose *client* has the address
#          127.0.0.1: a client from 127.0.0.9 is missing, though it is connected to 127.0.0.1.
# Matters: for a server on one address of a machine the list is empty whoever is connected, as clients are elsewhere.
# Needs:   ss, python3 with pip. Two connections on the loopback interface.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import socket
import sys
import testinfra

server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
near = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.1", 0))
far = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.9", 0))
clients = [address for address, _ in testinfra.get_host("local://").socket(f"tcp://127.0.0.1:{port}").clients]
print("connected: 127.0.0.1 and 127.0.0.9, listed:", clients)
sys.exit(clients != ["127.0.0.1"])
PY
