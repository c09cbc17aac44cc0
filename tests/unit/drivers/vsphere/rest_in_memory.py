"""vCenter's REST API in memory: what each request is answered, and what was asked. No socket."""

from __future__ import annotations

import json
from typing import Any

import httpx

ERRORS = "com.vmware.vapi.std.errors"


class RestInMemory:
    """Answers by method and path, with the query behind it where there is one; an unforeseen request is an error.

    `answers` are values, functions of the body, or whole `httpx.Response`s.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []
        self.logins = 0
        self.expired: set[str] = set()

    @property
    def transport(self) -> httpx.MockTransport:
        """What a session is made with."""
        return httpx.MockTransport(self._answer)

    def bodies(self, name: str) -> list[Any]:
        """The bodies of all requests of a method and path."""
        return [body for called, body in self.calls if called == name]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/rest")
        query = request.url.query.decode()
        name = f"{request.method} {path}" + (f"?{query}" if query else "")
        body = json.loads(request.content) if request.content else None
        if path == "/com/vmware/cis/session":
            return self._session(request)
        token = request.headers.get("vmware-api-session-id", "")
        if token != f"token-{self.logins}" or token in self.expired:
            return httpx.Response(401)
        self.calls.append((name, body))
        if name not in self.answers:
            raise AssertionError(f"an unforeseen request: {name}")
        answer = self.answers[name]
        if callable(answer):
            answer = answer(body)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json={"value": answer})

    def _session(self, request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(200, json={})
        assert request.headers["authorization"].startswith("Basic ")
        self.logins += 1
        return httpx.Response(200, json={"value": f"token-{self.logins}"})


def refused(name: str, *texts: str, status: int = 400) -> httpx.Response:
    """A refusal as vCenter writes it."""
    said = [{"args": [], "default_message": text, "id": "x"} for text in texts]
    return httpx.Response(status, json={"type": f"{ERRORS}.{name}", "value": {"messages": said}})
