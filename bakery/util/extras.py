"""How to add one of this package's extras to where it is installed: there is no index that it could come from."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

PACKAGE: Final = "imagebakery"
PIPX: Final = "pipx_metadata.json"
"""A file by which an environment of pipx is told."""
OTHERWISE: Final = "install {package}[{extra}] as docs/install.md says: it is on no package index"


def install_hint(extra: str) -> str:
    """Return the command that adds an extra to this environment; where the package came from is looked up.

    Args:
        extra: as in `pyproject.toml`: `aws`.
    """
    words = _origin(extra)
    return f"`{shlex.join([*_installer(), *words])}`" if words else OTHERWISE.format(package=PACKAGE, extra=extra)


def _installer() -> list[str]:
    """Return the words that install something where this Python finds it."""
    if Path(sys.prefix, PIPX).is_file():
        return ["pipx", "runpip", PACKAGE, "install"]
    if find_spec("pip") is None:  # as in an environment that uv made
        return ["uv", "pip", "install", "--python", sys.prefix]
    return [sys.executable, "-m", "pip", "install"]


def _origin(extra: str) -> list[str]:
    """Return what to install: the clone, wheel or repository that the package came from, as PEP 610 tells."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, for an error alone

    try:
        told = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return []
    url = str(told.get("url", ""))
    if "vcs_info" in told:
        commit = told["vcs_info"].get("commit_id", "")
        return [f"{PACKAGE}[{extra}] @ {told['vcs_info'].get('vcs', 'git')}+{url}@{commit}"]
    path = Path(unquote(urlsplit(url).path))
    if urlsplit(url).scheme != "file" or not path.exists():
        return []
    editable = ["--editable"] if told.get("dir_info", {}).get("editable") else []
    return [*editable, f"{path}[{extra}]"]
