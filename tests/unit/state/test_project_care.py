"""Looking after what was built and what is there: images, kept machines, this host."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bakery.build.doctor import CheckResult, examine
from bakery.build.kept_images import excess, remove, status
from bakery.drivers.base import Driver
from bakery.drivers.registry import Registry
from bakery.errors import DriverError, PreflightError, UsageError
from bakery.model import Artifact, Endpoint, Problem
from bakery.state.held_machines import held_machines, remember
from bakery.state.project import RunFolder, State
from bakery.state.ssh_keys import make_keys, save_keys
from bakery.util.context import WorkContext


class Shelf(Driver[Any]):
    """A driver that only looks after images."""

    name = "shelf"

    def __init__(self, error: Exception | None = None, whole: bool = True) -> None:
        self.deleted: list[str] = []
        self._error = error
        self._whole = whole

    def delete(self, artifact: Artifact) -> None:
        if self._error:
            raise self._error
        self.deleted.append(artifact.id)

    def intact(self, artifact: Artifact) -> bool:
        del artifact
        if self._error:
            raise self._error
        return self._whole

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        del work
        yield Problem(what="all there", fatal=False)
        yield Problem(what="no shelf", hint="buy one")

    check = launch = endpoint = capture = destroy = find = lambda *_: None  # type: ignore[assignment]  # not used here


def image(number: int, name: str = "web", driver: str = "shelf") -> Artifact:
    return Artifact(driver=driver, id=f"{driver}-{name}-{number}", name=name, created=datetime.now(UTC))


def test_the_newest_of_each_name_and_driver_stay() -> None:
    images = [image(1), image(1, "db"), image(2), image(1, driver="other"), image(3)]
    assert [i.id for i in excess(images, 1)] == ["shelf-web-1", "shelf-web-2"]
    assert [i.id for i in excess(images, 2)] == ["shelf-web-1"]
    assert len(excess(images, 0)) == 5


def test_an_image_is_deleted_first_and_forgotten_then(tmp_path: Path) -> None:
    state, shelf = State(tmp_path / ".bakery", tmp_path / "cache"), Shelf()
    state.add_image(image(1))
    remove(image(1), state, lambda _: shelf)
    assert shelf.deleted == ["shelf-web-1"]
    assert state.images() == []


@pytest.mark.parametrize(
    ("error", "raised"), [(DriverError("in use"), DriverError), (NotImplementedError(), UsageError)]
)
def test_an_image_that_is_not_deleted_is_not_forgotten(
    tmp_path: Path, error: Exception, raised: type[Exception]
) -> None:
    state = State(tmp_path / ".bakery", tmp_path / "cache")
    state.add_image(image(1))
    with pytest.raises(raised):
        remove(image(1), state, lambda _: Shelf(error))
    assert len(state.images()) == 1


def test_an_images_status_is_said_whatever_happens() -> None:
    assert status(image(1), lambda _: Shelf()) == "ok"
    assert status(image(1), lambda _: Shelf(whole=False)) == "missing or changed"
    assert status(image(1), lambda _: Shelf(NotImplementedError())) == "unknown"
    assert status(image(1), lambda _: Shelf(DriverError("no network"))) == "unknown: no network"


def test_a_kept_machine_is_found_again_with_its_keys(tmp_path: Path) -> None:
    folder = tmp_path / "machines" / "web-1"
    folder.mkdir(parents=True)
    keys = make_keys("bakery-test")
    endpoint = Endpoint(host="10.0.0.7", user="admin", host_key="ssh-ed25519 AAAA", gateway=Endpoint(host="bastion"))
    remember(endpoint, folder)
    assert held_machines(RunFolder(tmp_path)) == []  # without keys it is gone
    save_keys(keys, folder)
    assert held_machines(RunFolder(tmp_path)) == [(folder, endpoint, keys)]


class Drivers(Registry):
    """Two drivers: one that works, one that does not load."""

    def names(self) -> list[str]:
        return ["broken", "shelf", "torn"]

    def get(self, name: str) -> Driver[Any]:
        if name == "shelf":
            return Shelf()
        if name == "torn":
            raise AttributeError("no such class")
        raise PreflightError("the driver broken cannot be loaded", hint="pip install it")


def found(tmp_path: Path, *only: str) -> list[CheckResult]:
    return list(examine(Drivers(), only, {"BAKERY_CACHE_DIR": str(tmp_path)}))


def test_the_doctor_asks_a_driver_that_knows_better(tmp_path: Path) -> None:
    assert [(f.state, f.text, f.hint) for f in found(tmp_path, "shelf")] == [
        ("ok", "all there", ""),
        ("missing", "no shelf", "buy one"),
    ]


def test_the_doctor_survives_drivers_that_do_not_load(tmp_path: Path) -> None:
    states = {f.about: (f.state, f.hint or f.why) for f in found(tmp_path, "broken", "torn")}
    assert states == {
        "broken": ("missing", "pip install it"),
        "torn": ("missing", "AttributeError: no such class"),
    }


def test_the_doctor_names_the_package_of_a_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.util.stuck_mounts.look", lambda: None)  # it asks a process
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    missing = [f for f in found(tmp_path) if f.text.startswith("no ")]
    assert ("no mmdebstrap", "apt-get install mmdebstrap") in [(f.text, f.hint) for f in missing]


def test_the_doctor_looks_at_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.util.stuck_mounts.look", lambda: None)  # it asks a process
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "x").write_bytes(b"x" * 100_000)
    (line,) = [f.text for f in found(tmp_path) if f.about == "cache"]
    assert line.startswith(str(tmp_path))
    assert "0 B used" not in line
