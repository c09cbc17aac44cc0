"""A virtual machine, its QEMU in memory, and the claim that it is made under."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bakery.drivers.qemu.layers import Layer, Layers
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.model import Handle, Resource
from bakery.state.claim import Claim
from bakery.state.journal import Journal
from bakery.state.ledger import ClaimLedger
from bakery.state.ssh_keys import make_keys
from tests.unit.clock import Clock
from tests.unit.drivers.qemu.fake_qemu import FakePopen, FakeQemu, install
from tests.unit.fake_tools import FakeTools, qcow2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools.install(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "machine"
    folder.mkdir()
    return folder


@pytest.fixture
def claim(tmp_path: Path, folder: Path, clock: Clock) -> Claim:
    return Claim(
        cache=tmp_path / "cache",
        cancel=clock,
        build="web@laptop",
        run="r",
        role="build",
        name="bakery-r-1",
        folder=folder,
        keys=make_keys("bakery-r"),
        tags={},
        images=tmp_path / "images",
        ledger=ClaimLedger(Journal(tmp_path / "run")),
        driver="qemu",
    )


@pytest.fixture
def qemu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQemu:
    qemu = FakeQemu(folder)
    install(monkeypatch, qemu)
    return qemu


@pytest.fixture
def handle(folder: Path, tools: FakeTools) -> Handle:
    """The machine behind the fixture `qemu`, on one base."""
    base = folder.parent / "base.qcow2"
    base.write_bytes(qcow2(1 << 30))
    (folder / "disk-1.qcow2").write_bytes(qcow2(1 << 30))
    Layers(shared=(Layer(str(base), "qcow2"),), top="disk-1.qcow2").write(folder)
    resource = Resource(driver="qemu", kind="machine", key="bakery-r-1", data={"folder": str(folder), "pid": 4711})
    data = {"pid": 4711, "host_key": "ssh-ed25519 AAAA", "accel": "tcg", "uuid": "u", "mac": "m", "instance": "i"}
    return Handle(
        driver="qemu",
        id="bakery-r-1",
        resource=resource,
        folder=folder,
        settings=MachineSpec(accel="tcg").to_json(),
        data=data,
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What `subprocess.Popen` was given; each is found afterwards."""
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", FakePopen(install(monkeypatch), started))
    return started
