"""A checksum list of a publisher, our copy of it, and the signature that it must have."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bakery.disk.bases import openpgp
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from bakery.util.files import write_whole

if TYPE_CHECKING:
    from bakery.disk.bases.download import Downloader

LIST_FRESH = 3600.0
"""Seconds for which our copy of a list is believed."""
AGAIN = 3.0
"""Seconds after which a list and its signature are asked for once more, where they do not fit: they are two files,
and a publisher replaces one after the other."""


class ChecksumList:
    """A checksum list, and our copy of it: of a signed one only what was seen to be signed.

    Args:
        address: where it is.
        work: where the cache is, and whether we are offline.
        signature: the address of its detached signature; empty where the signature is around the list.
        signed_by: files with the public keys, one of which must have signed it; none where nobody need have.
    """

    def __init__(self, address: str, work: WorkContext, *, signature: str = "", signed_by: Sequence[str] = ()) -> None:
        self._address, self._work, self._signature, self._keys = address, work, signature, tuple(signed_by)
        marks = [address, *(_digest(Path(key)) for key in self._keys)]  # another key: what it signed is asked anew
        name = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:24]
        self._path = work.cache / "downloads" / "lists" / f"{name}.json"
        self.local = Path(unquote(urlsplit(address).path)) if address.startswith(("file:", "/")) else None
        try:
            self._data: dict[str, str | float] = json.loads(self._path.read_text())
            self._data["time"] = float(self._data["time"])
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: it is asked for again
            self._data = {}

    @property
    def text(self) -> str:
        """Our copy."""
        return str(self._data.get("text", ""))

    def fresh(self) -> bool:
        """Say whether our copy may be used unasked. Offline, any is fresh enough."""
        if not self.text or self.local:
            return False
        return self._work.offline or 0 <= time.time() - float(self._data.get("time", 0)) < LIST_FRESH

    def read_local(self) -> str | None:
        """Return the list, where it is a file of this host and need not be signed; None elsewhere."""
        if self.local and self.local.is_file() and not self._keys:
            return self.local.read_text(errors="replace")
        return None

    def refresh(self, downloader: Downloader) -> None:
        """Ask for the newest list; an old copy is better than none, and the user is told.

        Raises:
            PreflightError: it cannot be had and there is no copy, or it is not signed as it must be.
        """
        if self._work.offline and not self.local:
            raise PreflightError(
                f"the checksum list {self._address} is not in the cache, and downloading is switched off",
                why="it was never read, or did not name the file",
                hint='give the checksum itself (checksum="sha256:..."), or build once without offline mode',
            )
        if self._address.startswith("http:") and not self._keys:
            self._work.notice(f"{self._address} is not encrypted: anybody on the way can change it", warning=True)
        try:
            data, etag = downloader.data(self._address, str(self._data.get("etag", "")))
            signature = downloader.data(self._signature)[0] if data is not None and self._signature else None
        except PreflightError as error:
            if not self.text:
                raise
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(self._data["time"])))
            self._work.notice(f"{error.what}; using the copy of {when}", hint=error.why, warning=True)
            return
        text = self.text if data is None else self._checked(data, signature, downloader)
        self._data = {"text": text, "etag": etag, "time": time.time()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(self._data))

    def _checked(self, data: bytes, signature: bytes | None, downloader: Downloader) -> str:
        """Return the list's text, of a signed list what is signed."""
        if not self._keys:
            return data.decode(errors="replace")
        try:
            return self._signed(data, signature)
        except PreflightError:
            if not self._signature:
                raise
        self._work.cancel.sleep(AGAIN)
        newer, newer_signature = downloader.data(self._address)[0], downloader.data(self._signature)[0]
        return self._signed(newer or b"", newer_signature)

    def _signed(self, data: bytes, signature: bytes | None) -> str:
        signed = openpgp.signed_text(data, signature, self._keys, self._work, address=self._address)
        return signed.decode(errors="replace")


def _digest(key: Path) -> str:
    try:
        return hashlib.sha256(key.read_bytes()).hexdigest()
    except OSError:
        return ""  # which `openpgp.check` reports
