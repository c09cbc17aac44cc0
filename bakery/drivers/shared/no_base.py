"""What was given as a base and can be seen to be none, before anything is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

from bakery.disk.bases.base import Base
from bakery.model import Problem

BASES: Final = "Debian(...), Ubuntu(...), Alma(...), CloudImage(...), an @bakery.image function or an Artifact"
"""What a machine on this host starts from."""
PLAIN: Final = (str, bytes, PurePath, int, float, dict, list, tuple, set)
"""Types of Python's own: no base is one."""


def mistakes(source: str, base: Any, firmware: str) -> Iterator[Problem]:
    """Say why a local machine cannot start from something; nothing where it may.

    Args:
        source: the source's name, as users write it.
        base: what they gave it.
        firmware: of the machine.
    """
    if isinstance(base, Base):
        yield from base.unfit(firmware)
    if isinstance(base, type):
        name = base.__name__
        yield Problem(what=f"{source}(base={name}): a class, and nothing made with it", hint=f"write {name}(...)")
    elif isinstance(base, str | PurePath):
        yield Problem(
            what=f"{source}(base={str(base)!r}): a text is no base",
            hint=f'a disk file or an address is CloudImage("...", checksum="sha256:..."); it takes {BASES}',
        )
    elif base is None or isinstance(base, PLAIN):
        yield Problem(what=f"{source}(base={base!r}): no base", hint=f"it takes {BASES}")
