"""A proxy in front of an AWS endpoint that makes things go wrong, the way they do there."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

Kind = Literal["refuse", "lose", "change"]


@dataclass(kw_only=True)
class Fault:
    """What goes wrong.

    Args:
        action: regular expression for the API's own name, `RunInstances`.
        kind: `refuse` answers with an error and does nothing; `lose` does it and cuts the connection before the
            answer; `change` does it and changes the answer.
        code: the error's code.
        status: the error's HTTP status.
        times: how often; a negative number is always.
        after: so many calls are let through before.
        change: takes the answer and returns another.
    """

    action: str
    kind: Kind = "refuse"
    code: str = "RequestLimitExceeded"
    status: int = 503
    times: int = 1
    after: int = 0
    change: Callable[[bytes], bytes] = bytes
    met: int = 0

    def due(self, action: str) -> bool:
        """Say whether this call meets it, and count."""
        if not re.fullmatch(self.action, action):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times == 0:
            return False
        self.times -= 1
        self.met += 1
        return True


class Proxy:
    """Hands calls on to `target`, counts them, and makes those go wrong that `faults` name.

    `calls` are the names of all calls; `asked` holds the parameters of the last one of each name, as EC2's query
    protocol writes them: `{"CopyImage": {"SourceRegion": "us-east-1", "TagSpecification.1.ResourceType": "image"}}`.

    Args:
        target: the endpoint behind.
    """

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.asked: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def meet(self, action: str, parameters: dict[str, str]) -> Fault | None:
        """Count a call and return the fault that it meets."""
        with self._lock:
            self.calls.append(action)
            self.asked[action] = parameters
            return next((fault for fault in self.faults if fault.due(action)), None)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class ProxyHandler(_Handler):
            owner = proxy

        return ProxyHandler


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's delayed acknowledgement
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's word
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.meet(*self._call(body))
        if fault is not None and fault.kind == "refuse":
            self._answer(fault.status, {"Content-Type": "text/xml"}, _error(fault.code))
            return
        status, headers, answer = self._ask(body)
        if fault is not None and fault.kind == "lose":
            self.close_connection = True
            self.connection.close()
            return
        if fault is not None:
            answer = fault.change(answer)
        self._answer(status, headers, answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815  the base class's names

    def _call(self, body: bytes) -> tuple[str, dict[str, str]]:
        """Return the API's name for the call: of the query protocol, of JSON's header, or method and path."""
        if self.headers.get("X-Amz-Target"):
            return str(self.headers["X-Amz-Target"]).rsplit(".", 1)[-1], {}
        asked = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
        return asked.get("Action", f"{self.command} {self.path}"), asked

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        target = self.owner.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=60)
        try:
            connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(code: str) -> bytes:
    """Return an error in EC2's form."""
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>injected by the test</Message></Error></Errors>"
        "<RequestID>0</RequestID></Response>"
    ).encode()
