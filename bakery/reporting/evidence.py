"""What a run's folder holds of a failure, for a page that loads nothing: the screen as it was, and the last words."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.reporting.formatting import plain
from bakery.util.files import slug

SCREEN: Final = "screen.png"
TEXTS: Final = {"console.log": "the machine's console", "machine.log": "what the machine says of itself"}
LINES: Final = 200
"""Lines of each text that are shown, the last ones."""
LARGEST: Final = 4 << 20
"""Bytes of a picture that a page may hold."""
PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Evidence:
    """What explains a failure.

    Args:
        screen: a picture as `data:image/png;base64,...`; empty without one.
        texts: title and text.
    """

    screen: str = ""
    texts: tuple[tuple[str, str], ...] = ()


def of_build(folder: str, build: str) -> Evidence:
    """Read what was collected when a build failed; nothing where there is nothing.

    Args:
        folder: the run's.
        build: the build's name.
    """
    if not folder:
        return Evidence()
    place = Path(folder) / "failures" / slug(build)
    texts = ((title, _last_lines(place / name)) for name, title in TEXTS.items())
    return Evidence(screen=_picture(place / SCREEN), texts=tuple((title, text) for title, text in texts if text))


def _picture(path: Path) -> str:
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError:  # none was taken
        return ""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}" if data.startswith(PNG) else ""


def _last_lines(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the machine had none
        return ""
    return "\n".join(plain(text).rstrip().splitlines()[-LINES:])
