"""Where a VirtualBox machine may start from besides a disk: an appliance of others, a snapshot of a machine."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.options import Appliance, RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError, PreflightError
from bakery.machine.transport.link import Link
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.testing.contract import DriverContract, RecordingLedger
from bakery.testing.virtualbox.root import Home
from tests.live import virtualboxrig as rig

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(3600)]
MARKER = "baked-on-a-clone-7f3a"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A registry with one machine in it, "golden", with a rule and a disk of its own and a snapshot "clean"."""
    with rig.registry(tmp_path / "home") as home:
        for name, value in home.environ.items():
            monkeypatch.setenv(name, value)
        rig.golden(home, tmp_path)
        yield home


def build(driver: VirtualBoxDriver, boot: VirtualBox, claim: Callable[..., Claim]) -> Artifact:
    """Start a machine, leave a mark on it, and make an image of it."""
    ledger = RecordingLedger()
    under = claim(ledger)
    try:
        handle: Handle = driver.launch(boot, under)
        link = Link(lambda: driver.endpoint(handle), under.keys, under, console=lambda: driver.console(handle))
        assert link.open().run(f"echo {MARKER} >/root/mark; sync").ok
        link.close()
        return driver.capture(handle, "web", claim(RecordingLedger(), "image"))
    finally:
        ledger.undo(driver)


class TestVirtualBoxBases:
    """Each test has a registry with a golden machine in it."""

    driver_class: ClassVar[type[VirtualBoxDriver]] = VirtualBoxDriver
    claim = DriverContract.claim

    def test_a_snapshot_is_built_on_by_a_linked_clone_and_stays_as_it_was(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        before, shown = rig.left(home), home.real("showvminfo", "golden", "--machinereadable").stdout
        boot = rig.source(base=RegisteredMachine("golden", snapshot="clean"), format="vdi")
        driver = VirtualBoxDriver()
        assert list(driver.check(boot)) == []
        artifact = build(driver, boot, claim)
        raw = tmp_path / "image.raw"
        subprocess.run(["qemu-img", "convert", "-f", "vdi", "-O", "raw", str(artifact.path), str(raw)], check=True)
        assert MARKER.encode() in raw.read_bytes()
        assert rig.left(home) == before
        assert home.real("showvminfo", "golden", "--machinereadable").stdout == shown

    def test_an_appliance_keeps_what_is_its_own_and_nothing_of_this_host_gets_into_the_image(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        before = rig.left(home)
        ova = tmp_path / "golden.ova"
        assert home.real("export", "golden", f"--output={ova}", "--options=manifest").returncode == 0
        product = {"vendor": "Example", "version": "1.2"}
        artifact = build(VirtualBoxDriver(), rig.source(base=Appliance(str(ova)), product=product), claim)
        with tarfile.open(artifact.path) as archive:
            names = archive.getnames()
            member = archive.extractfile(names[0])
            assert member is not None
            text = member.read().decode()
        assert 'name="theirs"' in text
        assert "bakery" not in text
        assert str(tmp_path) not in text
        assert '<VirtualSystem ovf:id="web">' in text
        assert "<Vendor>Example</Vendor>" in text
        assert any(name.endswith(".mf") for name in names)
        assert rig.left(home) == before

    def test_a_damaged_appliance_is_refused_and_leaves_nothing(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        before = rig.left(home)
        ova = tmp_path / "golden.ova"
        assert home.real("export", "golden", f"--output={ova}", "--options=manifest").returncode == 0
        data = bytearray(ova.read_bytes())
        at = data.index(b"<Envelope")
        data[at + 1 : at + 9] = b"envelopE"
        middle = len(data) // 2
        data[middle] ^= 0xFF
        ova.write_bytes(data)
        driver, ledger = VirtualBoxDriver(), RecordingLedger()
        with pytest.raises(DriverError) as caught:
            driver.launch(rig.source(base=Appliance(str(ova))), claim(ledger))
        ledger.undo(driver)
        assert "import golden.ova" in caught.value.what
        assert rig.left(home) == before

    def test_a_snapshot_or_a_machine_that_is_not_there_is_said_before_anything_is_made(self, home: Home) -> None:
        assert home.path.is_dir()
        driver = VirtualBoxDriver()
        (problem,) = driver.check(rig.source(base=RegisteredMachine("golden", snapshot="dirty")))
        assert "clean" in problem.why
        (problem,) = driver.check(rig.source(base=RegisteredMachine("silver")))
        assert "golden" in problem.why

    def test_an_appliance_that_is_not_the_one_that_was_meant_is_refused(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        assert home.path.is_dir()
        (tmp_path / "x.ova").write_bytes(b"another")
        with pytest.raises(PreflightError, match="not the one"):
            VirtualBoxDriver().launch(rig.source(base=Appliance(str(tmp_path / "x.ova"), "0" * 64)), claim())
