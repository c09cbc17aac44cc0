"""vSphere's faults as our errors: which may be tried again, and what the user can do."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any
from xml.parsers.expat import ExpatError

from bakery.drivers.vsphere.api import types
from bakery.errors import DriverError, RetryableError

NO_ANSWER = ""
FOR_NOW = frozenset(
    {
        "ConcurrentAccess",
        "FileLocked",
        "HostCommunication",
        "HostConnectFault",
        "HostNotConnected",
        "HostNotReachable",
        "HostNotResponding",
        "ResourceInUse",
        "TaskInProgress",
        "Timedout",
        "TooManyConcurrentNativeClones",
    }
)
"""Faults that pass by themselves."""
GONE = "ManagedObjectNotFound"
LOGGED_OUT = "NotAuthenticated"
HINTS = {
    "InvalidLogin": "username= and password=, or VSPHERE_USER and VSPHERE_PASSWORD: with the domain, as in "
    "administrator@vsphere.local",
    "NoPermission": "docs/vmware.md lists the privileges that a build needs",
    "NoDiskSpace": "datastore=... with more room, or fewer older images: keep=Keep(newest=...)",
    "InsufficientResourcesFault": "cluster=..., host=... or resource_pool=... with more room",
    "RestrictedVersion": "a host without a paid licence takes no changes through its API",
    "MissingPowerOnConfiguration": "a host in maintenance mode starts nothing: host=... names another one",
}


class VSphereError(DriverError):
    """The server refused. `fault` is vSphere's name for the reason; empty where there was no answer."""

    fault = NO_ANSWER


class VSphereRetryableError(RetryableError, VSphereError):
    """The server refused for now, or did not answer at all."""


def fault_of(error: BaseException | None) -> str | None:
    """Return vSphere's name of the fault behind an error of ours, or None."""
    return error.fault if isinstance(error, VSphereError) else None


def refusal(what: str, fault: Any) -> VSphereError:
    """Return the error for a fault, as a call raises it or a task ends with it.

    Args:
        what: what was wanted: "clone the machine".
        fault: pyvmomi's `vmodl.MethodFault`.
    """
    name = type(fault).__name__.rpartition(".")[2]
    kinds = [kind.__name__.rpartition(".")[2] for kind in type(fault).__mro__]
    kind = VSphereRetryableError if FOR_NOW.intersection(kinds) else VSphereError
    hint = next((HINTS[kind] for kind in kinds if kind in HINTS), "")
    error = kind(f"vSphere did not {what}", why=f"{name}: {_reason(fault)}", hint=hint)
    error.fault = name
    return error


def _reason(fault: Any) -> str:
    """Return a fault's own words, and what else says of what or whom it speaks."""
    message = " ".join(str(fault.msg or "").split())
    details = {
        name: getattr(fault, name, None)
        for name in ("privilegeId", "invalidProperty", "name", "file", "reason", "requestedState", "existingState")
    }
    said = ", ".join(f"{name} {value}" for name, value in details.items() if value and str(value) not in message)
    more = [" ".join(str(one.message or "").split()) for one in fault.faultMessage or () if one.message]
    return "; ".join(part for part in (message, said, *more) if part) or "no explanation"


@cache
def _faults() -> tuple[type[Exception], ...]:
    vmodl = types.vmodl()
    return (vmodl.MethodFault,)


@contextmanager
def translate_errors(what: str) -> Generator[None]:
    """Turn faults, and failures of the connection, into our errors.

    Args:
        what: what is wanted: "clone the machine".

    Raises:
        VSphereError: refused; or the server's certificate is not to be trusted.
        VSphereRetryableError: no connection, no answer in time, or refused for now.
    """
    try:
        yield
    except _faults() as fault:
        raise refusal(what, fault) from fault
    except ssl.SSLCertVerificationError as error:
        raise VSphereError(
            f"could not {what}: the server's certificate cannot be trusted",
            why=str(getattr(error, "verify_message", "") or error),
            hint="ca=... names the file of the authority that signed it (vCenter: https://SERVER/certs/download.zip); "
            "insecure=True does without, and whoever stands between can read the password",
        ) from error
    except ExpatError as error:
        raise VSphereRetryableError(f"vSphere did not {what}", why=f"its answer is no XML: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise VSphereRetryableError(f"vSphere did not {what}", why=f"no answer: {words_of(error)}") from error


def words_of(error: BaseException) -> str:
    """Say what went wrong with a connection."""
    match error:
        case socket.gaierror():
            return f"the name is not known ({error.strerror})"
        case TimeoutError():
            return "it took too long"
        case ssl.SSLError():
            return f"TLS: {getattr(error, 'reason', None) or error}"
        case _:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
