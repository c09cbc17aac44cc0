"""The extra `all`: every extra, and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib.metadata import metadata, requires
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement

from bakery.drivers.registry import EXTRAS
from bakery.util import extras

ROOT = Path(__file__).parents[2]


def needed_by(extra: str) -> set[str]:
    """Return the packages that an extra brings, those of the extras that it names included."""
    found: set[str] = set()
    for text in requires("imagebakery") or []:
        one = Requirement(text)
        if one.marker is None or not one.marker.evaluate({"extra": extra}) or one.marker.evaluate({"extra": ""}):
            continue
        if one.name == "imagebakery":
            found.update(name for inner in one.extras for name in needed_by(inner))
        else:
            found.add(one.name)
    return found


def test_all_brings_what_every_other_extra_brings() -> None:
    extras = set(metadata("imagebakery").get_all("Provides-Extra") or ())
    others = extras - {"all"}
    assert {"ansible", "aws", "openstack"} <= others
    assert needed_by("all") == {name for extra in others for name in needed_by(extra)}


# ---- how one is added ------------------------------------------------------------------------------------------------


@pytest.fixture
def came_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say where this package was installed from, as an installer notes it."""

    def said(told: object) -> None:
        text = told if told is None or isinstance(told, str) else json.dumps(told)
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: SimpleNamespace(read_text=lambda _: text))

    return said


def test_an_extra_is_added_from_where_the_package_came_from(came_from: Any, tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    pip = [sys.executable, "-m", "pip", "install"]
    came_from({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert shlex.split(extras.install_hint("aws").strip("`")) == [*pip, "--editable", f"{clone}[aws]"]
    came_from({"url": clone.as_uri(), "dir_info": {}})
    assert shlex.split(extras.install_hint("all").strip("`")) == [*pip, f"{clone}[all]"]
    came_from({"url": "https://git.example.org/b.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}})
    assert "'imagebakery[aws] @ git+https://git.example.org/b.git@c0ffee'" in extras.install_hint("aws")


@pytest.mark.parametrize("told", [None, "not JSON", {"url": "file:///gone"}, {"url": "https://x.example/b.whl"}, {}])
def test_where_that_is_not_known_the_manual_is_named_and_no_index(came_from: Any, told: object) -> None:
    came_from(told)
    assert extras.install_hint("aws") == ("install imagebakery[aws] as docs/install.md says: it is on no package index")


def test_it_is_added_by_what_made_the_environment(
    came_from: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came_from({"url": tmp_path.as_uri()})
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert extras.install_hint("aws") == f"`uv pip install --python {tmp_path} '{tmp_path}[aws]'`"
    (tmp_path / extras.PIPX).touch()
    assert extras.install_hint("aws") == f"`pipx runpip imagebakery install '{tmp_path}[aws]'`"


def test_every_extra_that_is_hinted_at_is_one() -> None:
    known = set(metadata("imagebakery").get_all("Provides-Extra") or ())
    text = "".join(file.read_text() for file in (ROOT / "bakery").rglob("*.py"))
    named = {*re.findall(r"""install_hint\(["'](\w+)""", text), *EXTRAS.values()}
    assert {"aws", "openstack", "vmware", "cluster"} <= named <= known


def test_no_text_of_ours_takes_the_package_from_an_index() -> None:
    files = [*(ROOT / "bakery").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    assert [file for file in files if re.search(r"pip3? install '?imagebakery", file.read_text())] == []
