"""`Ubuntu("noble")`, `Alma("10")` and so on: the cloud images of their publishers, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bakery.disk.bases import publishers
from bakery.disk.bases.base import Base, BaseDisk
from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.bases.publishers import INLINE, LATEST, ImageAddresses, ImagePublisher
from bakery.errors import ImagefileError
from bakery.model import Problem
from bakery.util.context import WorkContext

PARTS = ("root", "version", "alias", "release", "arch", "firmware")


@dataclass(frozen=True)
class PublishedImage(Base):
    """A cloud image of its publisher, found by name: downloaded once, compared with the list of its checksums.

    Args:
        version: the distribution's version, as a number or a name.
        release: `latest`, which moves on as the publisher goes on, or one that stays.
        arch: the processor.
        mirror: a server with the same folders, in place of the publisher's own.
        signed_by: files with public keys in place of the publisher's, for a mirror that signs its own lists.
    """

    publisher: ClassVar[str]
    version: str
    release: str = field(default=LATEST, kw_only=True)
    arch: Literal["x86_64", "aarch64"] = field(default="x86_64", kw_only=True)
    mirror: str | None = field(default=None, kw_only=True)
    signed_by: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what nobody publishes.

        Raises:
            ImagefileError: with what there is.
        """
        keys = (self.signed_by,) if isinstance(self.signed_by, str) else tuple(map(str, self.signed_by))
        object.__setattr__(self, "signed_by", keys)
        version = self._table.find(str(self.version))
        title = self._table.title
        if version is None:
            raise self._no_version()
        object.__setattr__(self, "version", version)
        if self.arch not in self._table.arch:
            raise ImagefileError(f"{title}(arch={self.arch!r}): not published", hint=f"{', '.join(self._table.arch)}")
        if self.release != LATEST and self._table.fixed is None:
            raise ImagefileError(
                f"{title}(release={self.release!r}): {title} keeps no images that stay",
                hint='leave out release=, or CloudImage("https://...", checksum="sha256:...") for one image for ever',
            )
        if self.release != LATEST and not self.release.replace(".", "").replace("-", "").isalnum():
            raise ImagefileError(f"{title}(release={self.release!r}): no release", hint=self._table.release_is)

    @property
    def firmwares(self) -> tuple[str, ...]:
        """What the image boots from: `bios`, `uefi`, or both."""
        return tuple(self._table.firmware.get(self.arch, ("bios", "uefi")))

    @property
    def image(self) -> CloudImage:
        """The same as an image with an address."""
        addresses = self._addresses()
        keys = self._table.versions[self.version].keys
        ours = tuple(str(publishers.key_file(name)) for name in keys) if addresses.signature else ()
        return CloudImage(
            addresses.url,
            addresses.list,
            signed_by=(tuple(self.signed_by) if addresses.signature else ()) or ours,
            signature="" if addresses.signature == INLINE else addresses.signature,
        )

    def check(self) -> Iterator[Problem]:
        """Yield what this host lacks; nothing is contacted."""
        yield from self.image.check()

    def mistakes(self) -> Iterator[Problem]:
        """Yield what is wrong with a mirror's address or a key."""
        yield from self.image.mistakes()

    def unfit(self, firmware: str) -> Iterator[Problem]:
        """Yield why a machine of this host would not boot it."""
        title = self._table.title
        if self.arch != "x86_64":
            yield Problem(
                what=f"{title}(arch={self.arch!r}): machines of this driver are x86_64", hint="leave out arch="
            )
        elif firmware not in self.firmwares:
            words = " or ".join(f'firmware="{word}"' for word in self.firmwares)
            yield Problem(what=f"this image of {title} does not boot from {firmware}", hint=f"write {words}")

    def key(self, work: WorkContext) -> str | None:
        """Return the checksum, if it is known without asking anybody."""
        return self.image.key(work)

    def disk(self, work: WorkContext) -> BaseDisk:
        """Find it in the cache, or download it.

        Raises:
            PreflightError: it cannot be had, has the wrong content, or its list is not signed by the publisher.
            Interrupted: when cancelled; the next download goes on from there.
        """
        return self.image.disk(work)

    @property
    def _table(self) -> ImagePublisher:
        return publishers.table()[self.publisher]

    def _addresses(self) -> ImageAddresses:
        table, known = self._table, self._table.versions[self.version]
        moving = self.release == LATEST and table.latest is not None
        addresses = table.latest if moving else table.fixed
        if addresses is None:  # which __post_init__ refuses
            raise ImagefileError(f"{table.title} keeps no images that stay")
        values = (
            (self.mirror or table.root).rstrip("/"),
            self.version,
            known.alias,
            known.release if self.release == LATEST else self.release,
            table.arch[self.arch],
            self._firmware,
        )
        return addresses.filled(dict(zip(PARTS, values, strict=True)))

    @property
    def _firmware(self) -> str:
        return self.firmwares[0]

    def _no_version(self) -> ImagefileError:
        title = self._table.title
        others = [name for name in publishers.whose(str(self.version)) if not name.startswith(f"{title}(")]
        known = f"{title} has {', '.join(self._table.names)}"
        return ImagefileError(
            f"{title} has no version {self.version!r} that bakery knows",
            hint=f"did you mean {others[0]}?" if others else f"{known}; for others CloudImage(URL, checksum=...)",
        )


class Ubuntu(PublishedImage):
    """Ubuntu's server cloud image: `Ubuntu("noble")`, or `Ubuntu("24.04", release="20260926")`, which stays."""

    publisher = "ubuntu"


class DebianCloud(PublishedImage):
    """Debian's own `generic` cloud image, for hosts that cannot make one with `Debian(...)`. Its list is not signed."""

    publisher = "debian"


class Alma(PublishedImage):
    """AlmaLinux's GenericCloud image: `Alma("10")`, or `Alma("10", release="10.2-20260817.0")`."""

    publisher = "alma"


class Rocky(PublishedImage):
    """Rocky Linux's GenericCloud image: `Rocky("10")`, or `Rocky("10", release="10.2-20260525.0")`."""

    publisher = "rocky"


class CentOSStream(PublishedImage):
    """CentOS Stream's GenericCloud image: `CentOSStream("10")`. Its list is not signed."""

    publisher = "centos"


class Fedora(PublishedImage):
    """Fedora Cloud's generic image: `Fedora("44")`. A release has one image, which never changes."""

    publisher = "fedora"


class OpenSuse(PublishedImage):
    """openSUSE Leap's minimal image for clouds: `OpenSuse("16.0")`. Its list is not signed."""

    publisher = "opensuse"


@dataclass(frozen=True)
class Alpine(PublishedImage):
    """Alpine's cloud image with cloud-init: `Alpine("3.24")`. Its list is not signed.

    Args:
        firmware: Alpine has an image for each: `bios` or `uefi`; `Qemu(firmware=...)` must say the same.
    """

    publisher: ClassVar[str] = "alpine"
    firmware: Literal["bios", "uefi"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what nobody publishes.

        Raises:
            ImagefileError: with what there is.
        """
        super().__post_init__()
        published = self._table.firmware[self.arch]
        if self.firmware is not None and self.firmware not in published:
            what = f"Alpine(firmware={self.firmware!r}): none for {self.arch}"
            raise ImagefileError(what, hint=f"one of {', '.join(published)}")

    @property
    def firmwares(self) -> tuple[str, ...]:
        """What the image boots from."""
        return (self.firmware,) if self.firmware else (self._table.firmware[self.arch][0],)
