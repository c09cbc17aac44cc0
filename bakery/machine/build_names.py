"""What a machine is built for, as scripts and provisioners are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, kw_only=True)
class BuildNames:
    """The names of the build that a machine belongs to.

    Args:
        image: the image's.
        source: the source's.
        run: the run's id.
        folder: of this run, for files of this build; made when it is asked for.
    """

    image: str = ""
    source: str = ""
    run: str = ""
    folder: Path | None = None

    def environ(self) -> Mapping[str, str]:
        """Return the environment of scripts."""
        return {"BAKERY_IMAGE": self.image, "BAKERY_SOURCE": self.source, "BAKERY_RUN": self.run}

    def run_folder(self) -> Path:
        """Return the folder, and make it.

        Raises:
            ValueError: the machine belongs to no run.
        """
        if self.folder is None:
            raise ValueError("this machine belongs to no run, so it has no folder of one")
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder


NOWHERE: Final = BuildNames()
"""Of a machine that no build of ours made."""
FIXED: Final = ("BAKERY_IMAGE", "BAKERY_SOURCE")
"""The names that are the same in every run: what depends on them is run again for another image or source."""
