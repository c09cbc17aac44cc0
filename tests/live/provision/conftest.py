"""One booted container for all tests of provisioners in a worker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakery.disk.bases import host_apt
from bakery.disk.bases.debian import Debian
from bakery.drivers.nspawn import host
from bakery.drivers.nspawn.driver import NspawnDriver
from bakery.drivers.nspawn.source import Nspawn
from bakery.events import Event
from bakery.machine.build_names import BuildNames
from bakery.machine.machine import Machine
from bakery.machine.transport.link import Link
from bakery.state.claim import Claim
from bakery.state.project import cache_folder
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext

LOOPBACK = "10.0.2.2"


class Container:
    """A container that runs, and views of it for tests.

    Args:
        link: the way to it.
        claim: what it was made under.
    """

    def __init__(self, link: Link, claim: Claim) -> None:
        self.link, self.claim = link, claim

    def machine(self, folder: Path, events: list[Event]) -> Machine:
        work = WorkContext(cache=self.claim.cache, emit=events.append)
        names = BuildNames(image="web", source="container", run="r1", folder=folder / "run")
        return Machine(self.link, folder, work, step="step", names=names)


@pytest.fixture(scope="session")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with booted(tmp_path_factory.mktemp("container"), "all") as made:
        yield made


@contextmanager
def booted(folder: Path, name: str, release: str = "bookworm") -> Generator[Container]:
    """Boot a container that has this host's way to Debian's archives."""
    if host.why_plain():
        pytest.skip(f"no container: {host.why_plain()}")
    driver, ledger = NspawnDriver(), RecordingLedger()
    claim = Claim(
        cache=cache_folder(os.environ),
        run="provision",
        role="build",
        name=f"bakery-provision-{name}-{os.getpid()}",
        folder=folder,
        keys=make_keys("test"),
        tags={},
        images=folder,
        ledger=ledger,
        driver=driver.name,
    )
    try:
        handle = driver.launch(Nspawn(base=Debian(release), disk="4G"), claim)
        made = Container(Link(lambda: driver.endpoint(handle), claim.keys, claim, timeout=120), claim)
        machine = made.machine(folder, [])
        setup = host_apt.apt_setup(host_apt.host_apt(machine.facts.codename), loopback=LOOPBACK)
        host_apt.apply(machine, setup)
        yield made
    finally:
        ledger.undo(driver)


@pytest.fixture
def events() -> list[Event]:
    """What the user would have been told."""
    return []


@pytest.fixture
def m(container: Container, tmp_path: Path, events: list[Event]) -> Machine:
    """The container, for an imagefile in the test's own folder."""
    return container.machine(tmp_path, events)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file of the project."""

    def made(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return made


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Path]]]:
    """Says which plays of this test have a folder on this host: one has it for as long as it runs."""
    with tempfile.TemporaryDirectory(prefix="plays-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield lambda: list(Path(folder).glob("bakery-*/hosts.json"))
