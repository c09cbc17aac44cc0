"""What an inspection is asked and what it finds: frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

KINDS: Final[Mapping[str, bool]] = {
    "authorized-keys": True,
    "client-identity": True,
    "cloud-init": True,
    "history": True,
    "host-key": True,
    "machine-id": True,
    "mode": True,
    "not-inspected": False,
    "owner": True,
    "private-key": False,
    "secret": True,
    "setuid": True,
    "swap": False,
    "temporary": True,
    "world-writable": False,
}
"""All kinds of findings, and whether one of them makes the image unfit."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that should not be in the image.

    Args:
        kind: one of `KINDS`.
        path: the file inside the image; where it is in no file, words such as `free space of partition 3`.
        detail: what is wrong with it; never a secret itself.
    """

    kind: str
    path: str
    detail: str

    @property
    def fatal(self) -> bool:
        """True for what makes the image unfit, False for a warning."""
        return KINDS[self.kind]

    def __str__(self) -> str:
        """One line."""
        return f"{self.path}: {self.detail} ({self.kind})"


@dataclass(frozen=True, kw_only=True)
class Hygiene:
    """What is looked for, and where there is room to look.

    Args:
        off: kinds that are not wanted.
        allow: patterns of paths that may stay, as for a shell: `/home/admin/.ssh/*`.
        folder: where a qcow2 image is unpacked for the time of the inspection (sparse, so it takes what the image
            really holds); the image's own folder when None.
    """

    off: frozenset[str] = frozenset()
    allow: tuple[str, ...] = ()
    folder: Path | None = None

    def wants(self, finding: Finding) -> bool:
        """Say whether a finding is one that the user asked for."""
        return finding.kind not in self.off and not any(fnmatchcase(finding.path, glob) for glob in self.allow)
