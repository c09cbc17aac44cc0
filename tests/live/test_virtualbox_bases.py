"""Where a VirtualBox machine may start from besides a disk: an appliance of others, a snapshot of a machine."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.options import RegisteredMachine
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


def build(driver: VirtualBoxDriver, boot: VirtualBox, claim: Callable[..., Claim], *, look: str = "true") -> Artifact:
    """Start a machine, leave a mark on it, and make an image of it.

    Args:
        driver: the driver.
        boot: what it starts from.
        claim: makes claims.
        look: a command that must succeed in the guest.
    """
    ledger = RecordingLedger()
    under = claim(ledger)
    try:
        handle: Handle = driver.launch(boot, under)
        link = Link(lambda: driver.endpoint(handle), under.keys, under, console=lambda: driver.console(handle))
        assert link.open().run(f"echo {MARKER} >/root/mark; sync; {look}").ok
        link.close()
        return driver.capture(handle, "web", claim(RecordingLedger(), "image"))
    finally:
        ledger.undo(driver)


def inside(ova: Path) -> tuple[list[str], str]:
    """Return the names of an appliance's files, and its description."""
    with tarfile.open(ova) as archive:
        names = archive.getnames()
        member = archive.extractfile(names[0])
        assert member is not None
        return names, member.read().decode()


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
        assert [problem for problem in driver.check(boot) if problem.fatal] == []
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
        names, text = inside(artifact.path)
        assert 'name="theirs"' in text
        assert "bakery" not in text
        assert str(tmp_path) not in text
        assert '<VirtualSystem ovf:id="web">' in text
        assert "<Vendor>Example</Vendor>" in text
        assert any(name.endswith(".mf") for name in names)
        assert rig.left(home) == before

    def test_an_ovf_of_several_files_is_imported_as_the_appliance_that_it_was(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        """An OVA is an archive of just these files, so unpacking one is what makes an OVF of an image of ours too."""
        before = rig.left(home)
        ova, folder = tmp_path / "golden.ova", tmp_path / "ovf"
        assert home.real("export", "golden", f"--output={ova}", "--options=manifest").returncode == 0
        with tarfile.open(ova) as archive:
            archive.extractall(folder, filter="data")
        assert sorted(path.suffix for path in folder.iterdir()) == [".mf", ".ovf", ".vmdk"]
        driver, boot = VirtualBoxDriver(), rig.source(base=Appliance(str(folder / "golden.ovf")))
        assert [problem for problem in driver.check(boot) if problem.fatal] == []
        key = driver.prepare(boot, claim())
        artifact = build(driver, boot, claim)
        assert MARKER.encode() in rig.raw_disk(artifact.path, tmp_path / "unpacked").read_bytes()
        assert rig.left(home) == before
        with (folder / "golden-disk001.vmdk").open("ab") as disk:
            disk.write(b"another")
        assert driver.prepare(boot, claim()) != key

    @pytest.mark.parametrize(
        ("part", "words"), [("<Envelope", "import golden.ova"), ("KDMV", "damaged or changed"), (".mf", "changed")]
    )
    def test_a_damaged_appliance_is_refused_and_leaves_nothing(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim], part: str, words: str
    ) -> None:
        """Damaged in its description, in its disk, or in its manifest."""
        before = rig.left(home)
        ova = tmp_path / "golden.ova"
        assert home.real("export", "golden", f"--output={ova}", "--options=manifest").returncode == 0
        data = bytearray(ova.read_bytes())
        if part == ".mf":
            digest = re.search(rb"-disk001\.vmdk\) ?= ", data)
            assert digest is not None
            data[digest.end()] = ord("1") if data[digest.end()] == ord("0") else ord("0")
        else:
            at = data.index(part.encode()) + (200 if part == "KDMV" else 1)
            data[at] ^= 0x20
        ova.write_bytes(data)
        driver, ledger = VirtualBoxDriver(), RecordingLedger()
        with pytest.raises(DriverError) as caught:
            driver.launch(rig.source(base=Appliance(str(ova))), claim(ledger))
        ledger.undo(driver)
        assert words in f"{caught.value.what} {caught.value.hint}"
        assert rig.left(home) == before

    def test_guest_additions_and_guest_properties_are_there_for_the_build_alone(
        self, home: Home, claim: Callable[..., Claim]
    ) -> None:
        before = rig.left(home)
        boot = rig.source(guest_additions="attach", guest_properties={"/Example/role": "web"})
        driver = VirtualBoxDriver()
        assert [problem for problem in driver.check(boot) if problem.fatal] == []
        label = "for cd in /dev/sr*; do dd if=$cd bs=2048 skip=16 count=1 2>/dev/null; done | grep -q VBOXADDITIONS_7"
        artifact = build(driver, boot, claim, look=label)
        names, text = inside(artifact.path)
        assert [name for name in names if name.endswith(".iso")] == []
        assert "GuestAdditions" not in text
        assert "/Example/role" not in text
        assert rig.left(home) == before

    def test_a_snapshot_or_a_machine_that_is_not_there_is_said_before_anything_is_made(self, home: Home) -> None:
        assert home.path.is_dir()
        driver = VirtualBoxDriver()
        problem, *_ = driver.check(rig.source(base=RegisteredMachine("golden", snapshot="dirty")))
        assert "clean" in problem.why
        problem, *_ = driver.check(rig.source(base=RegisteredMachine("silver")))
        assert "golden" in problem.why

    def test_an_appliance_that_is_not_the_one_that_was_meant_is_refused(
        self, home: Home, tmp_path: Path, claim: Callable[..., Claim]
    ) -> None:
        assert home.path.is_dir()
        (tmp_path / "x.ova").write_bytes(b"another")
        with pytest.raises(PreflightError, match="not the one"):
            VirtualBoxDriver().launch(rig.source(base=Appliance(str(tmp_path / "x.ova"), "0" * 64)), claim())
