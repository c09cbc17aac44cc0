"""Checkpoints of a running machine: its memory as a migration stream, its disk as a frozen layer."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from bakery.drivers.qemu import power
from bakery.drivers.qemu.command import DEVICE
from bakery.drivers.qemu.layers import Layer, Layers, add, node
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec
from bakery.drivers.qemu.monitor import Monitor
from bakery.errors import DriverError, NotYet
from bakery.model import Checkpoint, Handle, from_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import save_keys
from bakery.util.context import WorkContext
from bakery.util.waiting import until

MEMORY, DISK = "memory", "disk.qcow2"
ZSTD = "zstd"
PATIENCE = 600.0
"""Seconds to write or read a machine's memory."""
UNLIMITED = 1 << 40
"""Bytes a second; QEMU's own limit of 128 MiB/s is meant for networks."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The settings of a checkpoint.

    Args:
        shape: the machine's.
        identity: the machine's.
        layers: its disk, the lowest first; all but the last belong to others.
        host_key: what its sshd presents.
        qemu: the version that wrote it; no other is trusted to read it.
    """

    shape: MachineSpec
    identity: MachineIdentity
    layers: tuple[Layer, ...]
    host_key: str
    qemu: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "shape": self.shape.to_json(), "layers": [asdict(layer) for layer in self.layers]}


# ---- save -------------------------------------------------------------------------------------------------------


def save(handle: Handle, key: str, folder: Path, claim: Claim, *, host_key: str) -> Checkpoint:
    """Save a machine as it runs; it stands still meanwhile, for about a second.

    The folder holds what is in the machine's memory, secrets included, and the keys to log in with: it is closed to
    everybody else. Its path must stay as it is, because the machine, and later checkpoints, stand on its disk.

    Args:
        handle: the machine.
        key: content key of its last step.
        folder: where to put the files; made if it is not there.
        claim: the machine's.
        host_key: what its sshd presents.

    Raises:
        DriverError: QEMU cannot, or there is a checkpoint already; the machine runs on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    layers = Layers.read(handle.folder)
    _must_be_possible(handle, layers, folder)
    with power.answering(handle), Monitor(handle.folder) as monitor:
        power.must_run(monitor, handle)
        version = _version(monitor)
        with _standing_still(monitor):
            layers = _freeze(monitor, handle.folder, layers, folder, claim)
            try:
                _write_memory(monitor, handle, folder, claim)
            except BaseException:
                with suppress(NotYet):  # it may be gone
                    monitor.ask("migrate_cancel")
                _take_back(handle.folder, layers)
                raise
    save_keys(claim.keys, folder)
    saved = Saved(
        shape=from_json(MachineSpec, handle.settings),
        identity=from_json(MachineIdentity, handle.data),
        layers=layers.shared,
        host_key=host_key,
        qemu=version,
    )
    return Checkpoint(driver=handle.driver, key=key, folder=folder, warm=True, settings=saved.to_json())


def possible() -> bool:
    """Say whether this host has what checkpoints need besides QEMU."""
    return shutil.which(ZSTD) is not None


def _must_be_possible(handle: Handle, layers: Layers, folder: Path) -> None:
    if (folder / DISK).exists():
        raise DriverError("there is a checkpoint already", why=str(folder))
    if any(Path(layer.file).is_relative_to(handle.folder.absolute()) for layer in layers.shared):
        raise DriverError("no checkpoint of this machine is possible", why="an earlier one failed half-way")


@contextmanager
def _standing_still(monitor: Monitor) -> Generator[None]:
    monitor.ask("stop")
    try:
        yield
    finally:
        monitor.ask("cont")


def _freeze(monitor: Monitor, machine: Path, layers: Layers, folder: Path, work: WorkContext) -> Layers:
    """Let the machine write to a new layer from now on, and move the one it wrote to into the checkpoint's folder.

    QEMU goes on reading the moved file through its open descriptor, or the original where the folder is on another
    disk.
    """
    old = Layer(str((machine / layers.top).absolute()), "qcow2")
    fresh = add(machine, (*layers.shared, old), size=0, work=work)
    top = node([Layer(str((machine / fresh.top).absolute()), "qcow2")], fresh.top)
    monitor.ask("blockdev-add", **top, backing=None)
    monitor.ask("blockdev-snapshot", node=_writable(monitor), overlay=fresh.top)
    frozen = Layer(str((folder / DISK).absolute()), "qcow2")
    shutil.move(old.file, frozen.file)
    Path(frozen.file).chmod(0o400)
    grown = Layers(shared=(*layers.shared, frozen), top=fresh.top)
    grown.write(machine)
    return grown


def _take_back(machine: Path, layers: Layers) -> None:
    """Move the frozen layer into the machine's folder: whoever owns the checkpoint's may delete what is in there."""
    *below, frozen = layers.shared
    home = machine.absolute() / f"disk-{len(below)}.qcow2"
    shutil.move(frozen.file, home)
    Layers(shared=(*below, Layer(str(home), "qcow2")), top=layers.top).write(machine)


def _writable(monitor: Monitor) -> str:
    """QEMU's name for the layer that the machine writes to."""
    for device in monitor.ask("query-block"):
        if device.get("qdev", "").split("/")[-1] in (DEVICE, "virtio-backend") and "inserted" in device:
            name = str(device["inserted"]["node-name"])
            if name == "disk" or name.startswith("disk-"):
                return name
    raise DriverError("QEMU does not know its disk", why=str(monitor.ask("query-block")))


def _write_memory(monitor: Monitor, handle: Handle, folder: Path, work: WorkContext) -> None:
    """Write the memory as a migration stream through zstd, which takes a fifth of the space at hardly any time."""
    part, whole = folder / f"{MEMORY}.part", folder / MEMORY
    _no_limit(monitor)
    command = f"umask 077; {ZSTD} -q -1 -T0 -f -o {quote(str(part))} && mv {quote(str(part))} {quote(str(whole))}"
    monitor.ask("migrate", uri=f"exec:{command}")

    def written() -> None:
        power.must_live(handle)
        _look(monitor, "the memory was not saved")
        if not whole.exists():
            raise NotYet("saving the machine's memory")

    until(written, what="a checkpoint", timeout=PATIENCE, cancel=work.cancel, notify=work.waiting, every=(0.01, 0.2))


def _no_limit(monitor: Monitor) -> None:
    monitor.ask("migrate-set-parameters", max_bandwidth=UNLIMITED)


def _look(monitor: Monitor, what: str) -> str:
    answer = monitor.ask("query-migrate")
    if answer.get("status") in ("failed", "cancelled"):
        raise DriverError(what, why=str(answer.get("error-desc", answer)))
    return str(answer.get("status", ""))


def _version(monitor: Monitor) -> str:
    answer = monitor.ask("query-version")
    return f"{answer['qemu']['major']}.{answer['qemu']['minor']}.{answer['qemu']['micro']} {answer['package']}".strip()


# ---- load -------------------------------------------------------------------------------------------------------


def load(handle: Handle, folder: Path, saved: Saved, work: WorkContext) -> None:
    """Fill the memory of a machine that was started for it, and let it run on.

    Args:
        handle: the machine; its QEMU waits.
        folder: the checkpoint's.
        saved: the checkpoint's settings.
        work: can cancel it.

    Raises:
        DriverError: QEMU cannot read it.
    """

    def connect() -> None:
        power.must_live(handle)
        with Monitor(handle.folder) as monitor:
            if saved.qemu != _version(monitor):
                raise DriverError(
                    "the checkpoint was made by another QEMU", why=f"{saved.qemu}; this is {_version(monitor)}"
                )
            _no_limit(monitor)
            monitor.ask("migrate-incoming", uri=f"exec:exec {ZSTD} -q -d -c {quote(str(folder / MEMORY))}")

    def loaded() -> None:
        power.must_live(handle)
        with Monitor(handle.folder) as monitor:
            if _look(monitor, "the memory cannot be restored") != "completed":
                raise NotYet("restoring the machine's memory")
            monitor.ask("cont")

    until(connect, what="QEMU starts", timeout=PATIENCE, cancel=work.cancel, every=(0.01, 0.1))
    until(
        loaded, what="a restored machine", timeout=PATIENCE, cancel=work.cancel, notify=work.waiting, every=(0.01, 0.2)
    )
