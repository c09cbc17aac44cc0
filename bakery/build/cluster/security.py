"""Dask's TLS, as its own commands take it: a certificate, its key, and whom to trust."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bakery.errors import PreflightError, UsageError
from bakery.util.extras import install_hint


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Where they are; what is not given is taken from Dask's own configuration.

    Args:
        ca: whom to trust, PEM.
        cert: ours, PEM.
        key: its key, PEM; None where it is in the same file.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def is_encrypted(address: str) -> bool:
    """Say whether an address is one for TLS."""
    return urlsplit(address).scheme == "tls"


def is_loopback(address: str) -> bool:
    """Say whether an address never leaves this host."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(address: str, option: str) -> str:
    """Return a scheduler's address.

    Raises:
        UsageError: it is none.
    """
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not port:
        raise UsageError(
            f"{option}: {address!r} is no address of a scheduler",
            hint="write tls://HOST:8786, or tcp://HOST:8786 in a network where everybody is trusted",
        )
    return address


def security(address: str, certificates: Certificates) -> Any:
    """Return Dask's settings for an address.

    Raises:
        PreflightError: Dask is not installed, or a certificate is missing or cannot be read.
    """
    try:
        from distributed import Security
    except ImportError as error:
        raise PreflightError(
            "builds on other machines need Dask", why=str(error), hint=install_hint("cluster")
        ) from error
    if not is_encrypted(address):
        return Security(require_encryption=False)
    given = {"ca_file": certificates.ca, "cert": certificates.cert, "key": certificates.key}
    for path in filter(None, given.values()):
        if not path.is_file():
            raise PreflightError(f"there is no certificate at {path}", hint="see docs/cluster.md for how they are made")
    words: dict[str, str] = {}
    if certificates.ca:
        words["tls_ca_file"] = str(certificates.ca)
    for role in ("client", "worker", "scheduler"):
        words |= {f"tls_{role}_cert": str(certificates.cert)} if certificates.cert else {}
        words |= {f"tls_{role}_key": str(certificates.key)} if certificates.key else {}
    made = Security(require_encryption=True, **words)
    if not made.tls_ca_file or not made.tls_client_cert:
        raise PreflightError(
            f"{address} needs certificates",
            hint="--tls-ca-file, --tls-cert and --tls-key name them, or Dask's configuration distributed.comm.tls",
        )
    return made
