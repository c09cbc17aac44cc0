"""Signatures around checksum lists: who signed a text, of the keys that we know. By gpgv, which trusts no other key."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bakery.errors import PreflightError
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.tools import missing, run

PACKAGES: Final = {"gpgv": "gpgv"}
_BLOCK: Final = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_TAG: Final = 0x80
"""Set in the first byte of every OpenPGP packet: RFC 9580, section 4.2."""
_TROUBLE: Final = {
    "BADSIG": "the text was changed after it was signed, or belongs to another signature",
    "EXPKEYSIG": "the key has expired",
    "EXPSIG": "the signature has expired",
    "REVKEYSIG": "the key was revoked",
    "NO_PUBKEY": "it is signed by a key that is not among those expected",
    "NODATA": "there is no signature",
}
"""GnuPG's words (its doc/DETAILS) for what is wrong with a signature."""


def check(keys: Sequence[str]) -> Iterator[Problem]:
    """Yield what keeps a signature from being looked at: gpgv is missing, or a file holds no key.

    Args:
        keys: files with public keys.
    """
    yield from missing(PACKAGES)
    yield from mistakes(keys)


def mistakes(keys: Sequence[str]) -> Iterator[Problem]:
    """Yield which files hold no key."""
    for key in keys:
        try:
            binary(Path(key).read_bytes())
        except (OSError, ValueError) as error:
            yield Problem(
                what=f"signed_by: {key} is no file with a public key",
                why=getattr(error, "strerror", None) or str(error),
                hint="gpg --armor --export FINGERPRINT > KEY.asc writes one",
            )


def binary(key: bytes) -> bytes:
    """Return public keys as gpgv reads them, from a file that is armored or binary.

    Raises:
        ValueError: it is neither.
    """
    blocks = [_unarmored(match[1]) for match in _BLOCK.finditer(key)]
    data = b"".join(blocks) if blocks else key
    if not data or not data[0] & _TAG:
        raise ValueError("neither an armored key nor a binary one")
    return data


def _unarmored(block: bytes) -> bytes:
    """Decode an armored block: headers end at an empty line, the last line may be a checksum."""
    lines = block.replace(b"\r", b"").split(b"\n")
    body = lines[lines.index(b"") + 1 :] if b"" in lines else lines
    try:
        return base64.b64decode(b"".join(line for line in body if not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise ValueError("its armor is damaged") from error


def signed_text(text: bytes, signature: bytes | None, keys: Sequence[str], work: WorkContext, *, address: str) -> bytes:
    """Return what one of the keys has signed.

    Args:
        text: the text, or one with its signature around it.
        signature: its detached signature; None where it is around the text. What stands outside is not returned.
        keys: files with the public keys that count.
        work: can cancel gpgv.
        address: where the text comes from, for messages.

    Raises:
        PreflightError: none of them signed it, or gpgv is not installed.
    """
    for problem in check(keys):
        raise PreflightError(problem.what, why=problem.why, hint=problem.hint)
    with tempfile.TemporaryDirectory(prefix="bakery-gpgv-") as name:
        folder = Path(name)
        (folder / "keys").write_bytes(b"".join(binary(Path(key).read_bytes()) for key in keys))
        (folder / "text").write_bytes(text)
        options = ["--homedir", name, "--keyring", str(folder / "keys"), "--weak-digest", "SHA1", "--status-fd", "1"]
        if signature is None:
            names = ["--output", str(folder / "signed"), str(folder / "text")]
        else:
            (folder / "signature").write_bytes(signature)
            names = [str(folder / "signature"), str(folder / "text")]
        what = f"looking at the signature of {address}"
        status = run(["gpgv", *options, *names], work, what=what, accept=range(256), timeout=60).decode(
            errors="replace"
        )
        _must_be_good(status, address)
        return text if signature is not None else (folder / "signed").read_bytes()


def _must_be_good(status: str, address: str) -> None:
    """Look at what gpgv said of each signature; one good one is enough, one bad one is too many.

    Raises:
        PreflightError: there is none that counts.
    """
    lines = [line.removeprefix("[GNUPG:] ").split() for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    words = {line[0] for line in lines if line}
    if {"GOODSIG", "VALIDSIG"} <= words and "BADSIG" not in words:
        return
    reasons = [meaning for word, meaning in _TROUBLE.items() if word in words]
    signers = sorted({line[1] for line in lines if line and line[0] in ("NO_PUBKEY", "BADSIG", "EXPKEYSIG")})
    raise PreflightError(
        f"{address} is not signed as it must be",
        why="; ".join(reasons or ["gpgv found no good signature"])
        + (f" (key {', '.join(signers)})" if signers else ""),
        hint="do not use it; should the publisher have a new key, see docs/cloud-images.md",
    )
