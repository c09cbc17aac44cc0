"""An OVA or OVF that somebody made, as an imagefile names it. Plain frozen data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.errors import ImagefileError


@dataclass(frozen=True)
class Appliance:
    """An OVA or OVF of one machine, whoever made it.

    Args:
        location: a file (`"base.ova"`, `"folder/base.ovf"`, relative to where `bake` runs), or the https address
            of an OVA.
        sha256: hexadecimal digest of the file; needed for an address.
    """

    location: str
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what could never be imported.

        Raises:
            ImagefileError: a value is wrong.
        """
        refuse_wrong_kinds(self)
        if not self.location.endswith((".ova", ".ovf")):
            raise ImagefileError(
                f"Appliance({self.location!r}): no appliance", hint="a file that ends with .ova or .ovf"
            )
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ImagefileError(f"Appliance(sha256={self.sha256!r}): no SHA-256", hint="64 hexadecimal digits")
        if self.remote and not self.sha256:
            raise ImagefileError(
                f"Appliance({self.location!r}): what is downloaded needs a checksum", hint='sha256="..."'
            )
        if self.remote and self.location.endswith(".ovf"):
            raise ImagefileError(
                f"Appliance({self.location!r}): an OVF is several files", hint="an OVA, or a file on this host"
            )

    @property
    def remote(self) -> bool:
        """Whether it is downloaded."""
        return self.location.startswith(("https://", "http://"))
