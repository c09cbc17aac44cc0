"""Drivers by name: ours, those of other packages, and those that cannot be loaded."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from bakery.drivers import registry
from bakery.drivers.registry import GROUP, OURS, Registry
from bakery.errors import PreflightError, UsageError
from bakery.testing.folder.driver import FolderDriver

ROOT = Path(__file__).parents[3]


def installed(folder: Path, module: str, text: str) -> None:
    """Put a package with a driver where Python looks."""
    (folder / f"{module}.py").write_text(text)
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{GROUP}]\nelsewhere = {module}:Elsewhere\n")


def test_our_own_drivers_are_those_that_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == OURS


def test_one_of_ours_is_found_without_asking_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(registry, "_entry_points")
    drivers = Registry()
    assert isinstance(drivers.get("folder"), FolderDriver)
    assert drivers.get("folder") is drivers.get("folder")


def test_a_driver_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "bakery_elsewhere", "class Elsewhere:\n    name = 'elsewhere'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bakery_elsewhere", raising=False)
    drivers = Registry()
    assert drivers.names() == sorted({*OURS, "elsewhere"})
    assert type(drivers.get("elsewhere")) is import_module("bakery_elsewhere").Elsewhere
    drivers.check(["elsewhere", "qemu"])


def test_a_driver_whose_library_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "bakery_lacking", "import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PreflightError, match="the driver elsewhere cannot be loaded") as caught:
        Registry().get("elsewhere")
    assert "no_such_library" in caught.value.why
    assert caught.value.hint.startswith("install what it imports")


def test_a_name_that_no_driver_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no driver 'qemo'") as caught:
        Registry().check(["qemo"])
    assert caught.value.hint.startswith("did you mean qemu?")
    with pytest.raises(PreflightError, match="there is no driver 'qemo'"):
        Registry().get("qemo")
