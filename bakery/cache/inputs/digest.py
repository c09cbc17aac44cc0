"""Digests of data, of files and of secrets. Equal content, equal digest: in every process, on every host."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from bakery.model import Json

CHUNK = 1 << 20


def of_json(value: Json) -> str:
    """Digest JSON data; the order of an object's names does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def of_file(path: Path) -> str:
    """Digest a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Keyed:
    """Digests of what must not be guessed: secrets and environment variables.

    A plain digest of a short password can be found by trying; this one needs the cache's random key, too.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, text: str) -> str:
        """Digest a text."""
        return hmac.digest(self._key, text.encode(errors="surrogateescape"), "sha256").hex()

    @classmethod
    def of(cls, cache: Path) -> Keyed:
        """Read the cache's key; made on first use, readable by its owner only."""
        path = cache / "records" / "secret.key"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            pass
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(fresh, path)  # unlike a rename, it does not replace the key of whoever was quicker
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return cls(path.read_bytes())
