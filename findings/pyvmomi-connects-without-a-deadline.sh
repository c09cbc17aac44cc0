#!/usr/bin/env bash
# pyvmomi 9.1.1.0 (PyPI)
#
# Guess:   SmartConnect(httpConnectionTimeout=1) gives a server that does not answer up after a second.
# Seen:    it waits for ever. The limit holds for calls; the question which versions the server has, which comes
#          before the first call, is asked without any. And where another kind of server answers that question,
#          what is raised is Exception itself, "is down or is not a VIM server", without the answer.
# Matters: a vCenter that hangs, or a firewall that drops what it has let in, stops a program that set a limit.
#          Whoever needs one asks for /sdk/vimServiceVersions.xml himself and makes a SoapStubAdapter.
# Needs:   python3 with pip, openssl. Connects to a server of its own on 127.0.0.1, over TLS.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pyvmomi==9.1.1.0
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 1 -subj /CN=silent 2>/dev/null
PYTHONPATH="$work/lib" python3 - "$work" <<'PY'
import socket
import ssl
import sys
import threading
import time
from pyVim.connect import SmartConnect

work = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{work}/cert.pem", f"{work}/key.pem")
door = socket.create_server(("127.0.0.1", 0))
end = threading.Event()


def serve(answer):
    while True:
        met = context.wrap_socket(door.accept()[0], server_side=True)
        met.recv(65536)
        if answer:
            met.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            end.wait()


def connect(said):
    client = ssl._create_unverified_context()
    try:
        SmartConnect(host="127.0.0.1", port=door.getsockname()[1], user="u", pwd="p", sslContext=client, httpConnectionTimeout=1)
    except Exception as error:
        said.append(f"{type(error).__name__}: {str(error).split(':')[-1]}")


said = []
threading.Thread(target=serve, args=(False,), daemon=True).start()
caller = threading.Thread(target=connect, args=(said,), daemon=True)
began = time.monotonic()
caller.start()
caller.join(8)
waits = caller.is_alive()
print(f"a silent server: after {time.monotonic() - began:.0f} s, with a limit of 1 s: {'still waiting' if waits else said}")

door = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(True,), daemon=True).start()
other = []
connect(other)
print("a web server of another kind:", other)
sys.exit(not (waits and other and other[0].startswith("Exception: ") and "not a VIM server" in other[0]))
PY
