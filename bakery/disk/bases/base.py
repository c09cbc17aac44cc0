"""Where a first disk comes from: what every base offers to the drivers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bakery.model import Problem
    from bakery.util.context import WorkContext


@dataclass(frozen=True, kw_only=True)
class BaseDisk:
    """A disk in the shared cache. Never written to: drivers put an overlay on it.

    Args:
        path: the file.
        format: `qcow2` or `raw`.
        key: digest of its content (or of everything that decides its content); the first parent of all step keys.
        login: how the system inside takes keys: `credentials` (systemd credentials from SMBIOS or fw_cfg, no seed
            needed) or `nocloud` (a cloud-init seed disk).
    """

    path: Path
    format: Literal["qcow2", "raw"]
    key: str
    login: Literal["credentials", "nocloud"]


@dataclass(frozen=True, kw_only=True)
class BaseTree:
    """A tree of files in the shared cache. Never written to: drivers put an overlay on it.

    Args:
        path: its root folder.
        key: the same as that of the disk made of it.
        login: how a disk made of it takes keys, as in `BaseDisk`.
    """

    path: Path
    key: str
    login: Literal["credentials", "nocloud"]


class Base(ABC):
    """A description of a first disk: frozen data until `disk` is called."""

    @abstractmethod
    def check(self) -> Iterator[Problem]:
        """Yield what would stop `disk`: missing tools, no network in offline mode, a bad checksum text."""

    def mistakes(self) -> Iterator[Problem]:
        """Yield what is wrong with the description itself; the plan refuses it, with the source's line."""
        yield from ()

    def unfit(self, firmware: str) -> Iterator[Problem]:  # noqa: ARG002  for those that it matters to
        """Yield why an x86_64 machine with that firmware, `bios` or `uefi`, would not boot it."""
        yield from ()

    @abstractmethod
    def disk(self, work: WorkContext) -> BaseDisk:
        """Make the disk or find it in the cache. Two callers, also of two processes, make it once."""

    @abstractmethod
    def key(self, work: WorkContext) -> str | None:
        """Return the content key if it is known without making or downloading anything."""
