"""The other half of vCenter's API, REST at /rest, for what SOAP lacks: content libraries and tags.

pyvmomi speaks SOAP alone, and a dozen calls are no reason for another SDK. `/rest` is what every vCenter since 6.5 has,
and what Packer's plugin speaks; the newer `/api` has the same calls under other names. A SOAP session is none here:
this one is opened with the same user and password, over TLS that is verified in the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError, words_of
from bakery.redaction.secret import Secret
from bakery.util.farewell import Farewell

if TYPE_CHECKING:
    import httpx

SESSION = "/com/vmware/cis/session"
HEADER = "vmware-api-session-id"
TIMEOUT: Final = 60.0
"""Seconds to wait for an answer, unless said otherwise."""
GOODBYE: Final = 5.0
"""Seconds for logging out, which nobody waits for."""
FOR_NOW = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT})
GONE = "not_found"
TAKEN = "already_exists"
HINTS = {"unauthorized": "docs/vmware.md lists the privileges that a build needs"}


class RestSession:
    """A session of vCenter's REST API, logged in when it is first used, and anew where it has expired.

    Args:
        account: with all that the environment says.
        password: its password.
        transport: how to reach the server; httpx's own unless said otherwise (tests).
    """

    def __init__(
        self, account: VSphereAccount, password: Secret, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        import httpx

        self._account, self._password = account, password
        self._lock = threading.Lock()
        # As pyvmomi does, it goes straight to the server, whatever proxy the environment names.
        self._client = httpx.Client(
            base_url=f"https://{account.server}/rest",
            verify=account.trust(),
            timeout=TIMEOUT,
            trust_env=False,
            transport=transport,
        )
        self._token: list[str] = []
        Farewell(self, partial(_end, self._client, self._token))

    def call(
        self,
        what: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        """Make a request, and return the value of its answer.

        Args:
            what: what is wanted, for the message of an error: "find the library".
            method: of HTTP.
            path: below /rest.
            body: becomes JSON.
            params: of the address: `{"~action": "find"}`.
            timeout: seconds to wait for the answer.

        Raises:
            VSphereError: refused.
            VSphereRetryableError: no answer, or refused for now.
        """

        def send(token: str) -> httpx.Response:
            return _answer(
                what,
                lambda: self._client.request(
                    method, path, json=body, params=dict(params or {}), headers={HEADER: token}, timeout=timeout
                ),
            )

        token = self._login([])
        answer = send(token)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:  # nothing was done: the session had ended
            answer = send(self._login([token]))
        if answer.is_success:
            return _value(what, answer)
        raise _refusal(what, answer)

    def _login(self, ended: list[str]) -> str:
        """Return the session's id, and log in first where there is none, or where it is one that has ended."""
        with self._lock:
            if not self._token or self._token == ended:
                import httpx

                what = f"let {self._account.username} in"
                auth = httpx.BasicAuth(str(self._account.username), self._password.reveal())
                answer = _answer(what, lambda: self._client.post(SESSION, auth=auth))
                if not answer.is_success:
                    raise _refusal(what, answer)
                self._token[:] = [str(_value(what, answer))]
            return self._token[0]


def _answer(what: str, send: Callable[[], httpx.Response]) -> httpx.Response:
    """Send a request.

    Raises:
        VSphereRetryableError: there is no answer. The certificate is the same as for SOAP, which comes first and
            explains what is wrong with it.
    """
    import httpx

    try:
        return send()
    except httpx.TimeoutException as error:
        raise VSphereRetryableError(f"vSphere did not {what}", why="no answer: it took too long") from error
    except httpx.HTTPError as error:
        raise VSphereRetryableError(f"vSphere did not {what}", why=f"no answer: {words_of(error)}") from error


def _end(client: httpx.Client, token: list[str]) -> None:
    """Log out: the server keeps a limited number of sessions."""
    try:
        if token:
            client.delete(SESSION, headers={HEADER: token[0]}, timeout=GOODBYE)
    finally:
        client.close()


def identified(path: str, own: str) -> str:
    """Return the path of one thing: `/com/vmware/content/library/id:...`."""
    return f"{path}/id:{quote(own, safe=':')}"


def _value(what: str, answer: httpx.Response) -> Any:
    if not answer.content.strip():
        return None
    try:
        data = answer.json()
    except ValueError as error:
        raise VSphereRetryableError(f"vSphere did not {what}", why=f"its answer is no JSON: {error}") from error
    return data.get("value") if isinstance(data, dict) else data


def _refusal(what: str, answer: httpx.Response) -> VSphereError:
    """Return the error for a refusal; its name is the last word of its type: `com.vmware.vapi.std.errors.not_found`."""
    try:
        data = answer.json()
    except ValueError:
        data = {}
    name = str(data.get("type", "")).rpartition(".")[2] if isinstance(data, dict) else ""
    if not name and answer.status_code == HTTPStatus.NOT_FOUND:
        name = GONE
    said = "; ".join(messages(data.get("value"))) if isinstance(data, dict) else ""
    kind = VSphereRetryableError if answer.status_code in FOR_NOW else VSphereError
    error = kind(
        f"vSphere did not {what}",
        why=": ".join(part for part in (name or f"{answer.status_code} {answer.reason_phrase}", said) if part),
        hint=HINTS.get(name, ""),
    )
    error.fault = name
    return error


def messages(value: Any) -> list[str]:
    """Return the texts that a refusal, or a failed deployment, has in it, wherever they are."""
    match value:
        case {"default_message": str(text)}:
            return [text]
        case Mapping():
            return [text for one in value.values() for text in messages(one)]
        case list():
            return [text for one in value for text in messages(one)]
        case _:
            return []
