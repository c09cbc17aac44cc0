"""What a container is made of looks alike under every umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.nspawn import build_time_files
from bakery.drivers.nspawn.start import Container
from bakery.state.ssh_keys import Keys
from bakery.util import tools

KEYS = Keys(user_private="", user_public="", host_private="", host_public="")


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_that_the_base_does_not_have_can_be_entered_by_everybody(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    base.chmod(0o755)
    build_time_files.build(tmp_path / "scaffold", [base], KEYS, booted=True)
    folders = {path: mode(path) for path in (tmp_path / "scaffold").rglob("*") if path.is_dir()}
    assert folders
    assert set(folders.values()) == {0o755}
    assert mode(tmp_path / "scaffold") == 0o755


def test_the_root_folder_is_that_of_the_layer_that_the_machine_stands_on(tmp_path: Path) -> None:
    layer, base = tmp_path / "layer", tmp_path / "base"
    for folder, bits in ((layer, 0o751), (base, 0o755)):
        folder.mkdir()
        folder.chmod(bits)
    container = Container(name="n", run="r", folder=tmp_path / "container", lowers=(layer, base), mode="plain")
    container.make_folders(KEYS)
    assert mode(container.upper) == 0o751


def test_programs_that_write_images_hear_nothing_of_this_hosts_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAR_OPTIONS", "SOURCE_DATE_EPOCH", "MKE2FS_CONFIG", "APT_CONFIG", "LD_PRELOAD", "LANG", "TZ"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    seen = tools.environment()
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert seen["LC_ALL"] == "C.UTF-8"
    assert "PATH" in seen
    assert not {name for name, value in seen.items() if value == "x"}
