"""What this host can do for virtual machines, said before anything is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from bakery.drivers.qemu import accel_probe, acceleration, firmware, process
from bakery.drivers.qemu.driver import QemuDriver
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError
from bakery.model import Handle, Resource
from bakery.state.claim import Claim
from tests.unit.drivers.qemu.fake_qemu import FakeQemu, image
from tests.unit.fake_tools import FakeTools

# ---- what is said before and beside --------------------------------------------------------------------------------


def test_diagnostics_hold_the_console_qemus_words_and_a_picture(
    qemu: FakeQemu, handle: Handle, folder: Path, tmp_path: Path
) -> None:
    (folder / process.SERIAL).write_text("login: ")
    (folder / process.LOG).write_text("warning")
    (tmp_path / "out").mkdir()
    QemuDriver().collect_diagnostics(handle, tmp_path / "out")
    assert (tmp_path / "out" / process.LOG).read_text() == "warning"
    assert dict(qemu.asked)["screendump"] == {"filename": f"{tmp_path}/out/screen.png", "format": "png"}
    qemu.is_alive = False
    (folder / process.LOG).unlink()
    (folder / process.SERIAL).unlink()
    QemuDriver().collect_diagnostics(handle, tmp_path / "out")
    assert QemuDriver().console(handle) == ""


@pytest.fixture
def whole_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/bin/{name}")
    memory = type("Memory", (), {"available": 1 << 30, "total": 4 << 30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@pytest.mark.usefixtures("whole_host")
def test_a_host_that_has_all_says_nothing(tools: FakeTools, tmp_path: Path) -> None:
    assert list(QemuDriver().check(Qemu(base=image(tmp_path / "x"), accel="tcg", memory="512M"))) == []


@pytest.mark.usefixtures("whole_host")
@pytest.mark.parametrize(("memory", "fatal"), [("2G", False), ("8G", True)])
def test_memory_that_is_not_free_may_become_so(tools: FakeTools, tmp_path: Path, memory: str, fatal: bool) -> None:
    (problem,) = QemuDriver().check(Qemu(base=image(tmp_path / "x"), accel="tcg", memory=memory))
    assert (problem.fatal, "has free (1024 MiB)" in problem.what) == (fatal, True)


@pytest.mark.usefixtures("whole_host")
def test_what_a_build_would_meet_is_said_before(
    tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.answer("qemu-img create * compression_type=zstd *", DriverError("x", why="Invalid parameter 'zstd'"))
    monkeypatch.setattr(firmware, "PLACES", ())
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "zstd" else f"/none/{name}")
    gone = image(tmp_path / "x")
    gone.path.unlink()
    source = Qemu(base=gone, accel="hvf", firmware="uefi", memory="512M")
    assert [problem.what for problem in QemuDriver().check(source)] == [
        "this host's qemu-img writes no images with zstd",
        "no zstd, so no step can be reused",
        "accel='hvf' cannot work here",
        "no UEFI firmware for virtual machines on this host",
        "the image base is gone or was changed",
    ]


@pytest.mark.usefixtures("whole_host")
def test_a_disk_that_would_shrink_is_said_before(tools: FakeTools, tmp_path: Path) -> None:
    (problem,) = QemuDriver().check(Qemu(base=image(tmp_path / "x"), accel="tcg", memory="512M", disk="512M"))
    assert problem.what == "disk= is 512 MiB, its base 1024 MiB: a disk cannot shrink"


# ---- acceleration --------------------------------------------------------------------------------------------------


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A host with KVM, whose guest ends as the list says, one probe after the other."""
    probes: list[str] = []
    monkeypatch.setattr(acceleration, "absent", lambda _: "")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(acceleration, "_probe", lambda *_: probes.pop(0))
    (tmp_path / "qemu").write_text("version 7.2.1")
    monkeypatch.setattr("shutil.which", lambda _: str(tmp_path / "qemu"))
    return probes


def test_what_works_is_tried_once_and_remembered(native: list[str], claim: Claim) -> None:
    native.append("")
    assert [acceleration.choose("auto", claim) for _ in range(3)] == ["kvm"] * 3
    assert acceleration.choose("tcg", claim) == "tcg"


def test_another_qemu_is_tried_anew(native: list[str], claim: Claim, tmp_path: Path) -> None:
    native += ["", "the guest ran into a KVM internal error"]
    assert acceleration.choose("auto", claim) == "kvm"
    (tmp_path / "qemu").write_text("version 9")
    assert acceleration.choose("auto", claim) == "tcg"
    assert native == []


def test_who_insists_on_what_does_not_work_hears_why(native: list[str], claim: Claim) -> None:
    native.append("QEMU ended with exit code 1: no KVM")
    with pytest.raises(DriverError, match="kvm does not run a guest on this host") as raised:
        acceleration.choose("kvm", claim)
    assert raised.value.why == "QEMU ended with exit code 1: no KVM"


@pytest.mark.parametrize(
    ("trouble", "fatal", "says"), [("", False, "kvm works"), ("no KVM", False, "kvm cannot be used")]
)
def test_the_doctor_says_how_fast_machines_run(
    native: list[str], claim: Claim, trouble: str, fatal: bool, says: str
) -> None:
    native.append(trouble)
    problem, firmware = QemuDriver().doctor(claim)
    assert firmware.what.startswith(("UEFI firmware", "no UEFI firmware"))
    assert not firmware.fatal
    assert (problem.fatal, problem.what.startswith(says), problem.why) == (fatal, True, trouble)


@pytest.mark.parametrize(
    ("accel", "host", "kvm", "reason"),
    [
        ("auto", "Linux x86_64", "none", ""),
        ("tcg", "Linux x86_64", "none", ""),
        ("hvf", "Linux x86_64", "open", "Linux has none of that name"),
        ("kvm", "Darwin x86_64", "none", "Darwin has none of that name"),
        ("hvf", "Darwin x86_64", "none", ""),
        ("kvm", "Linux aarch64", "open", "the guest is x86-64, this host is aarch64"),
        ("kvm", "Linux AMD64", "open", ""),
        ("kvm", "Linux x86_64", "none", "there is no /dev/kvm"),
        ("kvm", "Linux x86_64", "closed", "this user may not open /dev/kvm"),
    ],
)
def test_what_can_be_seen_without_trying_is_said(
    monkeypatch: pytest.MonkeyPatch, accel: str, host: str, kvm: str, reason: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: host.split(maxsplit=1)[0])
    monkeypatch.setattr("platform.machine", lambda: host.split()[1])
    monkeypatch.setattr("os.access", lambda path, _: path == "/dev/kvm" and kvm == "open")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: kvm != "none" if str(self) == "/dev/kvm" else exists(self))
    assert acceleration.absent(accel) == reason


@pytest.mark.parametrize(
    ("accel", "kvm", "hint"),
    [
        ("auto", "closed", "`sudo usermod -aG kvm $USER`, then log in again"),
        ("auto", "none", "turn virtualisation on in this host's firmware"),
        ("auto", "open", ""),
        ("tcg", "closed", ""),
        ("kvm", "closed", ""),  # that is fatal, and said so
    ],
)
def test_machines_that_are_emulated_unasked_are_warned_of_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, accel: str, kvm: str, hint: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.access", lambda path, _: path == "/dev/kvm" and kvm == "open")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: kvm != "none" if str(self) == "/dev/kvm" else exists(self))
    problem = acceleration.warning(accel)
    if not hint:
        assert problem is None
        return
    assert problem is not None
    assert (problem.fatal, problem.hint.startswith(hint)) == (False, True)
    assert problem.what == "machines are emulated, about ten times slower than with kvm"


class Guest:
    """QEMU with the boot sector: says something, and ends or does not."""

    def __init__(self, code: int | None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


@pytest.mark.parametrize(
    ("code", "said", "verdict"),
    [
        (accel_probe.EXIT_CODE, "warning: something", ""),
        (1, "", "QEMU ended with exit code 1"),
        (1, "Could not access KVM\nmore\n", "QEMU ended with exit code 1: Could not access KVM"),
        (None, "KVM internal error. Suberror: 1\n", "the guest ran into a KVM internal error"),
        (None, "", "a guest that needs 0.1 s did not come to its end in 6 s"),
    ],
)
def test_what_became_of_the_boot_sector_is_read(
    claim: Claim, tmp_path: Path, code: int | None, said: str, verdict: str
) -> None:
    (tmp_path / "log").write_text(said)
    assert acceleration._verdict(Guest(code), tmp_path / "log", claim) == verdict  # type: ignore[arg-type]


def test_the_screen_of_a_machine_that_find_yields_is_seen(qemu: FakeQemu, folder: Path, tmp_path: Path) -> None:
    machine = Resource(driver="qemu", kind="machine", key=qemu.name, data={"folder": str(folder)})
    QemuDriver().screenshot(machine, tmp_path / "now.png")
    assert dict(qemu.asked)["screendump"] == {"filename": f"{tmp_path}/now.png", "format": "png"}
    assert QemuDriver().screen_socket(machine) == folder / "vnc.sock"
