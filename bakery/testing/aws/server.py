"""Moto's server on loopback, with its gaps filled. Prints its address; ends when its standard input does.

`python -m bakery.testing.aws.server --consoles FOLDER [--plain]`
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Start = Callable[..., Any]


class Tokens:
    """Client tokens: EC2 answers a repeated call with what it said the first time; moto makes a second thing.

    Args:
        app: moto's WSGI application.
    """

    def __init__(self, app: Callable[[dict[str, Any], Start], Iterable[bytes]]) -> None:
        self._app = app
        self._said: dict[tuple[str, str, str], tuple[str, list[tuple[str, str]], bytes]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        if not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            return self._app(environ, start)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        asked = parse_qs(body.decode(errors="replace"))
        token = asked.get("ClientToken", [""])[0]
        if not token or asked.get("DryRun") == ["true"]:
            return self._app(environ, start)
        with self._lock:
            return self._once(environ, start, (environ.get("HTTP_AUTHORIZATION", "")[:80], asked["Action"][0], token))

    def _once(self, environ: dict[str, Any], start: Start, key: tuple[str, str, str]) -> list[bytes]:
        if key not in self._said:
            seen: list[Any] = []

            def remember(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
                seen.extend((status, headers))

            body = b"".join(self._app(environ, remember))
            if not seen[0].startswith("200"):
                start(*seen)
                return [body]
            self._said[key] = (seen[0], seen[1], body)
        status, headers, body = self._said[key]
        start(status, headers)
        return [body]


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--consoles", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="moto as it is, gaps and all")
    chosen = parser.parse_args()

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class ServerHandler(WSGIRequestHandler):
        disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's delayed acknowledgement

    app: Any = DomainDispatcherApplication(create_backend_app)
    if not chosen.plain:
        from bakery.testing.aws.gaps import fill

        fill(chosen.consoles)
        app = Tokens(app)
    server = make_server("127.0.0.1", chosen.port, app, threaded=True, request_handler=ServerHandler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
