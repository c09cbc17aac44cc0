"""A project on the folder cloud: its folder, its cloud, and `bake` as a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bakery.state.project import State
from bakery.testing.folder.cloud import FolderCloud


class FolderProject:
    """An imagefile and its cloud.

    Args:
        folder: the project's; the cloud and the cache are below it.
        imagefile: its text, with `{cloud}` and what else `write` is given.
    """

    def __init__(self, folder: Path, imagefile: str) -> None:
        self.folder, self.file = folder, folder / "imagefile.py"
        self._text = imagefile
        self.cloud = FolderCloud(folder / "cloud")
        self.state = State(folder / ".bakery", folder / "cache")
        self.environ = {"BAKERY_CACHE_DIR": str(folder / "cache")}

    def write(self, **values: object) -> None:
        """Write the imagefile."""
        text = self._text.format(cloud=str(self.folder / "cloud"), **values)
        self.file.write_text(text, encoding="utf-8")

    def start(
        self, *words: str, session: bool = False, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start `bake` as a shell would.

        Args:
            words: its arguments.
            session: whether it leads a session of its own.
            environ: what its environment has besides.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "bakery", "-C", str(self.folder), *words],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=session,
            env={**os.environ, **self.environ, **(environ or {})},
        )

    def left(self) -> list[str]:
        """Return all that is in the cloud, faults switched off."""
        self.cloud.faults.clear()
        kinds = ("keypairs", "machines", "images")
        return [f"{kind} {record['name']}" for kind in kinds for record in self.cloud.list(kind)]  # type: ignore[arg-type]  # three literals
