"""OpenStack's refusals as our errors: which may be tried again, and what the user can do."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from bakery.errors import DriverError, RetryableError

FOR_NOW = frozenset({408, 429, 500, 502, 503, 504})
TOO_MANY = frozenset({413, 429})
NOT_FOUND, CONFLICT, UNAUTHORIZED, FORBIDDEN = 404, 409, 401, 403
NO_ANSWER = 0

HINTS = {
    UNAUTHORIZED: "are the credentials right, and not expired? `openstack --os-cloud NAME token issue` tries them",
    FORBIDDEN: "a quota, or a role that the project's user lacks; the message says which",
}


class OpenStackError(DriverError):
    """The cloud refused.

    `status` is HTTP's number for it; 0 where there was no answer. `after` is how many seconds the cloud asks to wait.
    """

    status = NO_ANSWER
    after = 0.0


class OpenStackRetryableError(RetryableError, OpenStackError):
    """The cloud refused for now, or did not answer at all."""


def status_of(error: BaseException | None) -> int | None:
    """Return HTTP's number behind an error of ours, or None."""
    return error.status if isinstance(error, OpenStackError) else None


def refusal(what: str, response: Any) -> OpenStackError:
    """Return the error for a response whose status is a refusal.

    Args:
        what: what was wanted: "start a server".
        response: as requests has it.
    """
    status = int(response.status_code)
    after = _seconds(response.headers.get("Retry-After"))
    error = _error(
        what, status, message(response.text), retryable=status in FOR_NOW or (status in TOO_MANY and after > 0)
    )
    error.after = after
    return error


def _error(what: str, status: int, why: str, *, retryable: bool) -> OpenStackError:
    kind = OpenStackRetryableError if retryable else OpenStackError
    error = kind(f"OpenStack did not {what}", why=f"{status}: {why}", hint=HINTS.get(status, ""))
    error.status = status
    return error


def _seconds(text: str | None) -> float:
    """Read a Retry-After, at most a minute; an HTTP date counts as none."""
    try:
        return max(0.0, min(60.0, float(text or 0)))
    except ValueError:
        return 0.0


def message(text: str) -> str:
    """Return the message of a refusal, which each service puts at a place of its own in the body.

    openstacksdk's own `details` misses a message that is the value of a key, as `{"error": "..."}`.
    """
    try:
        body = json.loads(text)
    except ValueError:
        return _plain(text)[:500] or "no explanation"
    return _message_in(body) or text[:500]


def _plain(text: str) -> str:
    """Return the words of a text that may be a page: Glance explains its refusals in HTML."""
    if text.lstrip().startswith("<"):
        text = html.unescape(re.sub(r"<title>.*?</title>|<[^>]*>", " ", text, flags=re.DOTALL))
    return " ".join(text.split())


def _message_in(body: Any) -> str:
    match body:
        case {"message": str(message)}:
            return message
        case {"error": str(message)}:
            return message
        case Mapping():
            return next((message for message in (_message_in(value) for value in body.values()) if message), "")
        case [first, *_]:
            return _message_in(first)
    return ""


@contextmanager
def translate_errors(what: str) -> Generator[None]:
    """Turn errors of openstacksdk and keystoneauth into ours.

    Args:
        what: what is wanted: "start a server".

    Raises:
        OpenStackError: no credentials, no such service, refused.
        OpenStackRetryableError: no connection, no answer in time, or refused for now.
    """
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk
    from requests.exceptions import RequestException

    try:
        yield
    except sdk.HttpException as error:
        if error.response is None:
            raise _error(what, NO_ANSWER, str(error), retryable=True) from error
        raise refusal(what, error.response) from error
    except (auth.ConnectFailure, auth.RetriableConnectionFailure, RequestException) as error:
        raise OpenStackRetryableError(f"OpenStack did not {what}", why=f"no answer: {error}") from error
    except auth.HttpError as error:
        status = int(getattr(error, "http_status", 0) or 0)
        raise _error(what, status, str(error.message), retryable=status in FOR_NOW) from error
    except (auth.ClientException, sdk.SDKException) as error:
        raise OpenStackError(
            f"could not {what}",
            why=f"{type(error).__name__}: {error}",
            hint="`cloud=` names an entry of clouds.yaml; without it OS_CLOUD or the OS_* variables count",
        ) from error
