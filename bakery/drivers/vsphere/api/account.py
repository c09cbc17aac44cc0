"""Where and as whom vSphere is called: from options, else from VSPHERE_* and GOVC_* of the environment."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.redaction.secret import Secret

PORT = 443
YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, kw_only=True)
class VSphereAccount:
    """As whom and where; enough, as JSON and with the password from elsewhere, to come back in another process.

    Args:
        server: name or address, with `:PORT` where it is not 443; None is the environment's.
        username: None is the environment's.
        ca: file of the authority that signed the server's certificate; None is the environment's, or this host's own.
        insecure: the certificate is not verified.
    """

    server: str | None = None
    username: str | None = None
    ca: str | None = None
    insecure: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VSphereAccount:
        """Read what `model.to_json` wrote, or any mapping that has these names in it, as text too."""
        insecure = data.get("insecure", False)
        return cls(
            server=data.get("server"),
            username=data.get("username"),
            ca=data.get("ca"),
            insecure=insecure.lower() in YES if isinstance(insecure, str) else bool(insecure),
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(f"//{self.server}")
        return parts.hostname or "", parts.port or PORT

    def resolved(self, environ: Mapping[str, str] = os.environ) -> VSphereAccount:
        """Return the same with what the environment says where nothing was given.

        Raises:
            VSphereError: there is no server, or nobody to log in as.
        """
        url = _govc_url(environ)
        server = self.server or environ.get("VSPHERE_SERVER") or url.netloc.rpartition("@")[2]
        username = self.username or environ.get("VSPHERE_USER") or environ.get("GOVC_USERNAME")
        username = username or unquote(url.username or "")
        if not server:
            raise VSphereError("no vSphere is named", hint="server='vcenter.example.com', VSPHERE_SERVER or GOVC_URL")
        if not username:
            raise VSphereError(f"as whom to log in to {server} is not said", hint="username=..., or VSPHERE_USER")
        allowed = (environ.get(name, "").lower() for name in ("VSPHERE_ALLOW_UNVERIFIED_SSL", "GOVC_INSECURE"))
        return VSphereAccount(
            server=server,
            username=username,
            ca=self.ca or environ.get("GOVC_TLS_CA_CERTS") or None,
            insecure=self.insecure or any(text in YES for text in allowed),
        )

    def trust(self) -> ssl.SSLContext:
        """Return what the server's certificate is verified with.

        pyvmomi 9.1 verifies by itself, but not where the server is localhost, 127.0.0.1 or ::1; hence one of our own.

        Raises:
            VSphereError: the authority's file cannot be read.
        """
        if self.insecure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        file = str(Path(self.ca).expanduser()) if self.ca else None
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:  # ssl.SSLError is one
            raise VSphereError(
                f"the certificate authority {self.ca} cannot be read", why=str(error), hint="a file of PEM certificates"
            ) from error


def _govc_url(environ: Mapping[str, str]) -> Any:
    url = environ.get("GOVC_URL", "")
    return urlsplit(url if "//" in url else f"//{url}")


def password(given: Secret | None, server: str, environ: Mapping[str, str] = os.environ) -> Secret:
    """Return the password: the given one, else the environment's.

    Raises:
        VSphereError: there is none.
    """
    text = environ.get("VSPHERE_PASSWORD") or environ.get("GOVC_PASSWORD") or unquote(_govc_url(environ).password or "")
    if given is not None:
        return given
    if not text:
        raise VSphereError(
            f"there is no password for {server}", hint="password=bakery.secret(...), or VSPHERE_PASSWORD"
        )
    return Secret(text, "vsphere_password")
