"""What a driver need not say: what the package takes it to mean where only the six verbs are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from bakery.disk.bases.base import Base, BaseDisk
from bakery.drivers import kit
from bakery.drivers.kit import (
    Artifact,
    Claim,
    Driver,
    Endpoint,
    Handle,
    Needs,
    Problem,
    Resource,
    Source,
    Where,
    WorkContext,
)

CLAIM = cast("Claim", None)


@dataclass(frozen=True, kw_only=True)
class Plain(Source):
    """A source."""

    driver: ClassVar[str] = "plain"
    base: Any = None


class PlainDriver(Driver[Plain]):
    """Six verbs, and no more."""

    name: ClassVar[str] = "plain"
    source: ClassVar[type[Source]] = Plain
    says = ""

    def check(self, boot: Plain) -> Iterator[Problem]:
        """Find nothing."""
        raise NotImplementedError

    def launch(self, boot: Any, claim: Claim) -> Handle:
        """Launch."""
        raise NotImplementedError

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say where."""
        raise NotImplementedError

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Capture."""
        raise NotImplementedError

    def destroy(self, resource: Resource) -> None:
        """Destroy."""
        raise NotImplementedError

    def find(self, where: Where) -> Iterator[Resource]:
        """Find."""
        raise NotImplementedError

    def console(self, handle: Handle) -> str:
        """Say what a test says."""
        return self.says or super().console(handle)


HANDLE = Handle(driver="plain", id="1", resource=Resource(driver="plain", kind="machine", key="1"), folder=Path("/m"))
IMAGE = Artifact(driver="plain", id="image-1", name="web")


class Disk(Base):
    """A base of a known key."""

    def key(self, work: WorkContext) -> str:
        """Return it."""
        del work
        return "sha256:0123"

    def disk(self, work: WorkContext) -> BaseDisk:
        """Return it."""
        del work
        return BaseDisk(path=Path("/d"), format="raw", key="sha256:0123", login="nocloud")

    def check(self) -> Iterator[Problem]:
        """Find nothing."""
        yield from ()


@pytest.mark.parametrize(
    ("base", "key"),
    [
        (Disk(), "sha256:0123"),
        ("ami-0123", "ami-0123"),
        (None, "None"),
        (Artifact(driver="plain", id="image-1", name="web", key="i1-k", sha256="s"), "i1-k"),
        (Artifact(driver="plain", id="image-1", name="web", sha256="s"), "s"),
        (IMAGE, "image-1"),
        (object(), None),  # nobody knows what is in it, so no step is reused
    ],
)
def test_steps_depend_on_what_the_machine_starts_from(tmp_path: Path, base: object, key: str | None) -> None:
    assert PlainDriver().prepare(Plain(base=base), WorkContext(cache=tmp_path)) == key


def test_an_image_is_kept_as_it_was_captured() -> None:
    assert PlainDriver().keep(IMAGE, "web", CLAIM) is IMAGE
    assert PlainDriver().image_format(Plain()) is None


@pytest.mark.parametrize("verb", ["delete", "intact"])
def test_what_a_driver_cannot_say_of_an_image_is_said_by_nobody(verb: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(PlainDriver(), verb)(IMAGE)


def test_machines_are_not_saved_do_not_overlap_and_take_nothing(tmp_path: Path) -> None:
    driver = PlainDriver()
    assert driver.checkpoint(HANDLE, "key", tmp_path, CLAIM) is None
    assert list(driver.list_checkpoints(Plain(), "web")) == []
    assert not driver.overlaps(Plain())
    assert driver.needs(Plain()) == Needs()
    driver.prepare_launch(Plain(), CLAIM)
    assert list(driver.doctor(WorkContext(cache=tmp_path))) == []


def test_things_are_destroyed_one_by_one_the_youngest_first() -> None:
    things = [Resource(driver="plain", kind="thing", key=str(number)) for number in range(3)]
    assert [[thing.key for thing in batch] for batch in PlainDriver().destroy_batches(things)] == [["2"], ["1"], ["0"]]


def test_a_console_that_says_something_is_written_down(tmp_path: Path) -> None:
    driver = PlainDriver()
    driver.collect_diagnostics(HANDLE, tmp_path)
    assert list(tmp_path.iterdir()) == []
    driver.says = "Kernel panic"
    driver.collect_diagnostics(HANDLE, tmp_path)
    assert (tmp_path / "console.log").read_text() == "Kernel panic"


def test_all_that_a_driver_is_written_with_comes_through_one_door() -> None:
    assert all(hasattr(kit, name) for name in kit.__all__)
    assert kit.__all__ == sorted(kit.__all__, key=lambda name: (name[0].islower(), name))
