"""The small nouns of an `OpenStack` source: where to find a base, what a boot volume is. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bakery.drivers.shared import settings
from bakery.errors import ImagefileError

VISIBILITIES = ("private", "shared", "community", "public")


@dataclass(frozen=True, kw_only=True)
class GlanceImage:
    """An image found by what Glance knows of it, looked up in pre-flight and again at launch.

    Args:
        name: a name with the wildcards `*` and `?`.
        owner: project id; an image of somebody else's that has the right name is not what was meant.
        visibility: `public`, `private`, `shared`, `community`.
        tags: it must have all of them.
        properties: it must have all of them, with these values.
        newest: when several fit, the newest; else that is an error.
    """

    name: str = "*"
    owner: str | None = None
    visibility: Literal["private", "shared", "community", "public"] | None = None
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    newest: bool = True


@dataclass(frozen=True, kw_only=True)
class GlanceUrl:
    """An image that Glance itself fetches (`web-download`) for this build, and that goes when the build is done.

    Args:
        url: where it is.
        disk_format: `qcow2`, `raw`, ...
        sha512: hexadecimal digest; Glance's own digest of what it fetched must be the same.
        properties: of the image, as in `{"hw_disk_bus": "scsi"}`.
        timeout: seconds that fetching may take.
    """

    url: str
    disk_format: str = "qcow2"
    sha512: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: float = 1800.0


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume to boot from, instead of the flavor's own disk.

    Args:
        size: GiB; None is what the base asks for.
        volume_type: None is the cloud's default.
        zone: the volume's availability zone.
        disk_format: of the uploaded image.
    """

    size: int | None = None
    volume_type: str | None = None
    zone: str | None = None
    disk_format: str = "qcow2"

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        if self.size is not None and self.size < 1:
            raise ImagefileError(f"Volume(size={self.size}): at least 1 GiB")


@dataclass(frozen=True, kw_only=True)
class Old:
    """What happens to older images of the name, once the new one stands.

    Args:
        hide: they are hidden from lists, so that the name means the new one; they boot all the same.
        newest: that many stay, besides the new one; older ones are deleted. None is all of them.
        days: those made in the last so many days stay in any case.
        in_use: of an old image from which servers run: `refuse` to delete it, and say so; or `delete` it.
        dry_run: only say what would go.
    """

    hide: bool = True
    newest: int | None = None
    days: float = 0
    in_use: Literal["refuse", "delete"] = "refuse"
    dry_run: bool = False


NOUNS: tuple[type, ...] = (GlanceImage, GlanceUrl, Volume, Old)


def read(value: Any) -> Any:
    """Turn JSON that `model.to_json` wrote for these nouns back into them; lists become tuples."""
    return settings.read(value, NOUNS)
