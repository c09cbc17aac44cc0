"""Reading a private key of the user's from its file, in whatever form it is kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from paramiko import ECDSAKey, Ed25519Key, PKey, RSAKey
from paramiko.ssh_exception import SSHException

from bakery.errors import ConnectError
from bakery.machine.transport.stages import AGENT

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES: Final[tuple[tuple[type, type[PKey]], ...]] = (
    (Ed25519PrivateKey, Ed25519Key),
    (EllipticCurvePrivateKey, ECDSAKey),
    (RSAPrivateKey, RSAKey),
)
CERTIFICATE: Final = "-cert.pub"


def load(file: Path) -> PKey:
    """Return the key in a file: OpenSSH's form, PKCS#8 or the older PEM; with the certificate that lies beside it.

    paramiko by itself reads no PKCS#8 (5.1), which is what `openssl genpkey` and Terraform write.

    Args:
        file: the private key, without a passphrase.

    Raises:
        ConnectError: with what it is instead.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _unusable(file, error.strerror or str(error), "is it the right path?") from error
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        raise _unusable(file, "it holds a public key", f"the private one is likely {file.with_suffix('')}")
    for form, reader in (("OpenSSH", load_ssh_private_key), ("PEM", load_pem_private_key)):
        try:
            key = _read(data, reader)
        except TypeError as error:  # how cryptography says that there is a passphrase
            hint = f"`ssh-keygen -p -f {file}` takes it off; or key={AGENT!r} for the keys of the SSH agent"
            raise _unusable(file, "it has a passphrase", hint) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if form == "PEM":
                raise _unusable(file, str(error), "a private key for SSH: ed25519, ECDSA or RSA, as text") from error
        else:
            return _with_certificate(key, file)
    raise AssertionError(file)


def _read(data: bytes, reader: Callable[..., object]) -> PKey:
    """Read the key, and hand it to paramiko in the one form that it reads of every kind."""
    key = reader(data, password=None)
    for kind, wanted in CLASSES:
        if isinstance(key, kind):
            text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()  # type: ignore[attr-defined]  # each of them has it
            return wanted.from_private_key(io.StringIO(text))
    raise ValueError(f"SSH has no keys of the kind {type(key).__name__}")


def _with_certificate(key: PKey, file: Path) -> PKey:
    certificate = file.with_name(file.name + CERTIFICATE)
    if certificate.exists():
        try:
            key.load_certificate(str(certificate))
        except (OSError, SSHException, ValueError) as error:
            raise _unusable(certificate, str(error), "the certificate beside the key is read as well") from error
    return key


def _unusable(file: Path, why: str, hint: str) -> ConnectError:
    return ConnectError(f"the key cannot be used: {file}", why=why, hint=hint)
