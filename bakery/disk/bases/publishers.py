"""The table of publishers of cloud images: where each keeps them, and who signs their checksums."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

TABLE: Final = "publishers.toml"
LATEST: Final = "latest"
INLINE: Final = "inline"
"""In the place of a signature's address: it is around the list."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version of a distribution, as its publisher has it.

    Args:
        alias: what it is called besides: `noble`.
        release: the newest fixed one that we know, where the publisher has no name that stays.
        keys: names of the keys that sign its lists.
    """

    alias: str = ""
    release: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageAddresses:
    """Addresses with places to fill in: `{root}`, `{version}`, `{alias}`, `{release}`, `{arch}`, `{firmware}`.

    Args:
        url: of the image.
        list: of the list of checksums.
        signature: of the list's signature, `inline`, or empty where nobody signs it.
    """

    url: str
    list: str
    signature: str = ""

    def filled(self, values: Mapping[str, str]) -> ImageAddresses:
        """Return the addresses of one image."""
        return ImageAddresses(
            url=self.url.format_map(values),
            list=self.list.format_map(values),
            signature=self.signature.format_map(values),
        )


@dataclass(frozen=True, kw_only=True)
class ImagePublisher:
    """A distribution that publishes cloud images.

    Args:
        title: the class that users write: `Ubuntu`.
        root: the address that all others begin with.
        arch: what it calls architectures, by what `uname -m` calls them.
        versions: what it publishes.
        latest: where the newest image of a version is; None where that has no name that stays.
        fixed: where an image is that never changes; None where there is none.
        release_is: what a fixed release looks like, for messages.
        firmware: what its images boot from, by architecture; both where it says nothing.
    """

    title: str
    root: str
    arch: Mapping[str, str]
    versions: Mapping[str, Release]
    latest: ImageAddresses | None = None
    fixed: ImageAddresses | None = None
    release_is: str = ""
    firmware: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def find(self, name: str) -> str | None:
        """Return the version that a number or an alias means; None where there is none."""
        names = {name, name.lower()}
        return next((number for number, version in self.versions.items() if {number, version.alias} & names), None)

    @property
    def names(self) -> tuple[str, ...]:
        """All that a user may write as version."""
        aliases = [version.alias for version in self.versions.values()]
        return tuple(alias if alias.islower() else number for number, alias in zip(self.versions, aliases, strict=True))


@cache
def table() -> Mapping[str, ImagePublisher]:
    """Return all publishers, by name."""
    data = _data()
    return {name: _publisher(entry) for name, entry in data.items() if name != "keys"}


def fingerprints() -> Mapping[str, str]:
    """Return the fingerprints of the keys, by name."""
    return {name: str(text) for name, text in _data()["keys"].items()}


def key_file(name: str) -> Path:
    """Return the file with a public key."""
    return Path(str(files("bakery.disk.bases").joinpath("keys", f"{name}.asc")))


def whose(version: str) -> Iterator[str]:
    """Yield who has a version of that name, as users write it: `Ubuntu("noble")`."""
    for publisher in table().values():
        if publisher.find(version):
            yield f'{publisher.title}("{version}")'


def _data() -> dict[str, Any]:
    return tomllib.loads(files("bakery.disk.bases").joinpath(TABLE).read_text(encoding="utf-8"))


def _publisher(entry: Mapping[str, Any]) -> ImagePublisher:
    versions = {
        number: Release(
            alias=version.get("alias", ""), release=version.get("release", ""), keys=tuple(version.get("keys", ()))
        )
        for number, version in entry["versions"].items()
    }
    return ImagePublisher(
        title=entry["title"],
        root=entry["root"],
        arch=entry["arch"],
        versions=versions,
        latest=_addresses(entry, LATEST),
        fixed=_addresses(entry, "fixed"),
        release_is=entry.get("release_is", ""),
        firmware=entry.get("firmware", {}),
    )


def _addresses(entry: Mapping[str, Any], kind: str) -> ImageAddresses | None:
    return ImageAddresses(**entry[kind]) if kind in entry else None
