"""OpenStack's refusals in our words: which may be tried again, and what the user can do."""

from __future__ import annotations

import json
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
    """The cloud said no.

    `status` is HTTP's number for it; 0 where there was no answer. `after` is how many seconds the cloud asks to wait.
    """

    status = NO_ANSWER
    after = 0.0


class OpenStackRetryableError(RetryableError, OpenStackError):
    """The cloud said no for now, or nothing at all."""


def status_of(error: BaseException | None) -> int | None:
    """HTTP's number behind an error of ours, or None."""
    return error.status if isinstance(error, OpenStackError) else None


def refusal(what: str, response: Any) -> OpenStackError:
    """Return the error for an answer whose status says no."""
    status = int(response.status_code)
    after = _seconds(response.headers.get("Retry-After"))
    again = status in FOR_NOW or (status in TOO_MANY and after > 0)
    made = (OpenStackRetryableError if again else OpenStackError)(
        f"OpenStack did not {what}", why=f"{status}: {message(response.text)}", hint=HINTS.get(status, "")
    )
    made.status, made.after = status, after
    return made


def _seconds(text: str | None) -> float:
    try:
        return min(60.0, float(text or 0))
    except ValueError:
        return 0.0


def message(text: str) -> str:
    """Return what the services hide at different places of their error bodies."""
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:500] or "no explanation"
    return _found(body) or text[:500]


def _found(body: Any) -> str:
    match body:
        case {"message": str(said)}:
            return said
        case {"error": str(said)}:
            return said
        case Mapping():
            return next((said for said in (_found(value) for value in body.values()) if said), "")
        case [first, *_]:
            return _found(first)
    return ""


@contextmanager
def translate_errors(what: str) -> Generator[None]:
    """Turn errors of openstacksdk and keystoneauth into ours.

    Args:
        what: what we wanted: "start a server".

    Raises:
        OpenStackError: no credentials, no such service, refused.
        OpenStackRetryableError: no connection, or no answer in time.
    """
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk

    try:
        yield
    except (auth.ConnectFailure, auth.RetriableConnectionFailure) as error:
        raise OpenStackRetryableError(f"OpenStack did not {what}", why=f"no answer: {error}") from error
    except auth.HttpError as error:
        status = int(getattr(error, "http_status", 0) or 0)
        kind = OpenStackRetryableError if status in FOR_NOW else OpenStackError
        made = kind(f"OpenStack did not {what}", why=f"{status}: {error.message}", hint=HINTS.get(status, ""))
        made.status = status
        raise made from error
    except (auth.ClientException, sdk.SDKException) as error:
        raise OpenStackError(
            f"could not {what}",
            why=f"{type(error).__name__}: {error}",
            hint="`cloud=` names an entry of clouds.yaml; without it OS_CLOUD or the OS_* variables count",
        ) from error
