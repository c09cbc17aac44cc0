"""A checkpoint is a copy of a disk that stood still; what starts from it is another machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.image import checkpoints
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Checkpoint, Handle, Resource
from bakery.util import tools
from tests.unit.drivers.virtualbox.box import TableBox
from tests.unit.drivers.virtualbox.test_virtualbox_image import claim


def machine(folder: Path, disk: str) -> Handle:
    resource = Resource(driver="virtualbox", kind="machine", key="bakery-r1-1")
    return Handle(
        driver="virtualbox",
        id="bakery-r1-1",
        resource=resource,
        folder=folder,
        settings=VirtualBox(base=None, memory="512M", disk="4G").settings(),
        data={"uuid": "u-1", "disk": disk},
    )


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run to copy."""
    calls: list[list[str]] = []

    def run(words: Sequence[str | Path], *_: Any, **__: Any) -> bytes:
        calls.append([str(word) for word in words])
        if "full" in calls[-1][-1]:
            raise DriverError("No space left on device")
        return b""

    monkeypatch.setattr(tools, "run", run)
    return calls


def test_the_machine_stands_still_while_its_disk_is_copied_and_runs_on(tmp_path: Path, copied: list[list[str]]) -> None:
    box = TableBox()
    saved = checkpoints.save(box, machine(tmp_path, "/m/disk.vdi"), "k1", tmp_path / "c", claim(tmp_path))
    assert box.asked == [("controlvm", "u-1", "pause"), ("controlvm", "u-1", "resume")]
    assert copied[0][-1] == str(tmp_path / "c" / "disk.qcow2")
    assert saved is not None
    assert (saved.key, saved.folder) == ("k1", tmp_path / "c")


def test_a_copy_that_fails_leaves_the_machine_running(tmp_path: Path, copied: list[list[str]]) -> None:
    box = TableBox()
    with pytest.raises(DriverError, match="No space left"):
        checkpoints.save(box, machine(tmp_path, "/m/disk.vdi"), "k1", tmp_path / "full", claim(tmp_path))
    assert box.asked[-1] == ("controlvm", "u-1", "resume")
    assert len(copied) == 1


def test_a_machine_of_an_appliance_makes_none(tmp_path: Path) -> None:
    box = TableBox()
    assert checkpoints.save(box, machine(tmp_path, ""), "k1", tmp_path, claim(tmp_path)) is None
    assert box.asked == []


def test_what_starts_from_it_has_the_hardware_and_the_size_that_it_had(tmp_path: Path) -> None:
    settings = {"source": machine(tmp_path, "").settings}
    saved = Checkpoint(driver="virtualbox", key="k1", folder=tmp_path, settings=settings)
    source, disk = checkpoints.restore(saved)
    assert (source.memory, source.disk, disk.path) == ("512M", None, tmp_path / "disk.qcow2")
    assert VirtualBoxDriver().needs(saved).memory == 512 << 20


def test_one_without_files_is_said() -> None:
    with pytest.raises(DriverError, match="no files"):
        checkpoints.restore(Checkpoint(driver="virtualbox", key="k1", settings={"source": {}}))
