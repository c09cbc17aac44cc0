"""Guests that tell no address, entered by guest operations alone: the contract, a machine's work, and whole builds.

Transfers of files begin at vcsim; what else guest operations do is done in a real guest by a stand-in,
`tests/contract/vcsim_guest.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery import Machine, Secret
from bakery.drivers.vsphere.api import inventory
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import CommandFailed, ConnectError
from bakery.machine.transport.link import Link
from bakery.model import Source
from bakery.smoke.shell import Shell
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.contract import DriverContract, Exists
from tests.contract.vcsim import VCenterStandIn
from tests.contract.vspherelife import Life, borrow, lives
from tests.live.baking import TINY

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]

PASSWORD = "of the isolated guest"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", guests=disk, password=PASSWORD) as front:
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    monkeypatch.setenv("VSPHERE_GUEST_PASSWORD", PASSWORD)
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Life:
    return lives(front, tmp_path, transport="guest", guest_password=PASSWORD)()


def test_a_machine_without_a_network_is_worked_on_and_tested(front: VCenterStandIn, life: Life, tmp_path: Path) -> None:
    """One guest for all of it: its start is what takes long."""
    front.inside.refused = 1  # as while cloud-init has not set the password yet
    claim = life.claim("build")
    handle = life.driver.launch(life.source, claim)
    link = Link(lambda: life.driver.endpoint(handle), claim.keys, claim)
    machine = Machine(link, tmp_path, claim)
    _commands(machine)
    _files(machine, tmp_path)
    shell = Shell(link.open().open_shell)
    [one, two] = shell.ask("echo one", "echo two >&2; exit 4", timeout=60)
    shell.close()
    assert (one.stdout, one.exited, two.stderr, two.exited) == (b"one\n", 0, b"two\n", 4)
    began = time.monotonic()
    with pytest.raises(CommandFailed):
        machine.run("echo begun; sleep 300", timeout=3, hide=True)
    assert time.monotonic() - began < 60
    assert machine.run("ps | grep -c '[s]leep 300'", warn=True, hide=True).stdout == "0\n"
    _restart(machine)
    link.close()
    assert not [call for call in front.listed("StartProgramInGuest") if "of the task" in call.body]
    life.ledger.undo(VSphereDriver())


def _commands(machine: Machine) -> None:
    assert machine.run("echo hello; echo oops >&2").stdout == "hello\n"
    assert machine.run("cat", input="a text\n").stdout == "a text\n"
    assert machine.run("echo $TOKEN", env={"TOKEN": Secret("of the task")}, hide=True).stdout == "of the task\n"
    with pytest.raises(CommandFailed) as caught:
        machine.run("exit 3", hide=True)
    assert caught.value.result.exited == 3
    assert machine.run("id -un", user="builder").stdout == "builder\n"


def _files(machine: Machine, folder: Path) -> None:
    (folder / "near").write_bytes(data := os.urandom(5_000_000))
    machine.put("near", "/root/far", mode=0o600)
    machine.get("/root/far", "back")
    assert (folder / "back").read_bytes() == data
    assert machine.run("ls -l /root/far").stdout.startswith("-rw------- ")
    machine.write("/root/text", "written\n")
    assert machine.run("cat /root/text").stdout == "written\n"


def _restart(machine: Machine) -> None:
    """What ran in the guest is gone with its boot, and so is the folder of ours; the way is found again."""
    machine.run("echo kept >/root/kept; sync")
    machine.reboot(timeout=300)
    assert machine.run("cat /root/kept; ls -d /run/bakery-* | wc -l").stdout == "kept\n1\n"


def test_a_wrong_password_is_said_to_be_so(front: VCenterStandIn, life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.drivers.vsphere.guest.endpoint.AGAIN", 0.5)
    monkeypatch.setattr("bakery.machine.transport.link.SETTLE", 2.0)
    claim = life.claim("build")
    driver, source = VSphereDriver(), replace(life.source, guest_password="another")
    handle = driver.launch(source, claim)
    link = Link(lambda: driver.endpoint(handle), claim.keys, claim, timeout=120)
    with pytest.raises(ConnectError, match="does not let root in") as caught:
        link.open()
    assert "VSPHERE_GUEST_PASSWORD" in caught.value.hint
    life.ledger.undo(VSphereDriver())


class TestVSphereDriverWithoutANetwork(DriverContract):
    """The whole contract, over guest operations."""

    driver_class = VSphereDriver

    @pytest.fixture(autouse=True)
    def known(self, front: VCenterStandIn) -> None:
        """Let the environment name the server and the guest's password, as where another process cleans up."""

    @pytest.fixture
    def source(self, front: VCenterStandIn) -> Source:
        return VSphere(**front.options, transport="guest")

    @pytest.fixture
    def exists(self, front: VCenterStandIn) -> Exists:
        return front.exists


ISOLATED = (
    TINY.replace("import Qemu", "import Qemu, VSphere")
    .replace(
        "@bakery.task",
        """@bakery.variables
class Vars:
    guest_password: bakery.Secret = bakery.secret(env="OF_THE_GUEST")


@bakery.source
def isolated(v: Vars) -> VSphere:
    return VSphere(
        base="/DC0/vm/tiny",
        cluster="DC0_C0",
        folder="isolated",
        transport="guest",
        guest_password=v.guest_password,
        poll=0.2,
    )


@bakery.task""",
    )
    .replace("@bakery.image(builtin_tests=False)", "@bakery.image(sources=[isolated], builtin_tests=False)")
)


def test_a_build_without_a_network_is_baked_and_its_password_is_written_nowhere(
    front: VCenterStandIn, tmp_path: Path
) -> None:
    (tmp_path / "imagefile.py").write_text(ISOLATED)
    environ: dict[str, Any] = {
        **{name: value for name, value in os.environ.items() if name != "VSPHERE_GUEST_PASSWORD"},
        **front.environment,
        "BAKERY_CACHE_DIR": os.environ.get("BAKERY_TEST_CACHE", str(tmp_path / "cache")),
        "NO_COLOR": "1",
        "OF_THE_GUEST": PASSWORD,
    }

    def bake(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "bakery", "-C", str(tmp_path), *words]
        return subprocess.run(line, check=False, capture_output=True, text=True, env=environ, timeout=600)

    done = bake("--verbose", "build")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [done.stdout, done.stderr]
    said += [path.read_text(errors="replace") for path in (tmp_path / ".bakery").rglob("*") if path.is_file()]
    assert not [text for text in said if PASSWORD in text]
    assert bake("rm", "--yes", "tiny").returncode == 0
    front.wait(inventory.read(front.center).find("folder", "isolated").ref.Destroy_Task())
