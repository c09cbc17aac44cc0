"""A machine's guest, played by QEMU on the machine's real disk, with its memory, firmware, port and console."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bakery.drivers.qemu.command import accelerator
from bakery.drivers.qemu.firmware import find as find_firmware
from bakery.drivers.qemu.monitor import Monitor
from bakery.drivers.qemu.process import SOCKET
from bakery.drivers.virtualbox import credentials
from bakery.drivers.virtualbox.api.answers import MachineInfo
from bakery.errors import NotYet
from bakery.testing.virtualbox import session_lock, vdi
from bakery.testing.virtualbox.guest_process import ALIVE, EXIT, LOG, WORDS
from bakery.testing.virtualbox.root import ROOT, words
from bakery.util.process import start_process
from bakery.util.tools import dies_with_us

PATIENCE = 60.0
"""Seconds until QEMU must answer, or must have ended."""
LOOK = 0.02
Chains = Callable[[Path], list[Path]]
PAUSED = "paused"
QEMU = "qemu-system-x86_64"
NICS = {"virtio": "virtio-net-pci", "82540EM": "e1000", "82545EM": "e1000", "82543GC": "e1000"}
BUSES = {"IntelAhci": "ahci", "PIIX4": "ide", "PIIX3": "ide", "NVMe": "nvme", "LsiLogic": "scsi", "VirtioSCSI": "scsi"}
"""How QEMU attaches what hangs on a controller of VirtualBox."""


class PlayedGuest:
    """The guest of one machine.

    Args:
        folder: where it is noted that it runs, and how it ended.
        machine: what VirtualBox knows of it.
        chains: the files of a disk by its uppermost one, which comes first.
        oem_strings: what the machine's extra data put into its firmware's table, for SMBIOS type 11.
    """

    def __init__(
        self, folder: Path, machine: MachineInfo, chains: Chains, oem_strings: Callable[[], list[str]] = list
    ) -> None:
        self._folder = folder
        self._machine = machine
        self._chains = chains
        self._oem_strings = oem_strings
        self._copies: list[tuple[list[str], Path]] = []

    @property
    def state(self) -> str:
        """VirtualBox's word for its state, where it is another than `poweroff`: `running`, `aborted`, or empty."""
        if not (self._folder / WORDS).exists():
            return ""
        if self._alive():
            return "paused" if (self._folder / PAUSED).exists() else "running"
        try:
            return "" if (self._folder / EXIT).read_text(encoding="utf-8") == "0" else "aborted"
        except FileNotFoundError:
            return "aborted"

    def start(self) -> None:
        """Boot it, and return when QEMU answers.

        Raises:
            RuntimeError: it does not, or VirtualBox would not have started it.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        lock = words(Path(os.environ[ROOT]), "/usr/bin/python3", session_lock.__file__, self._machine.uuid)
        command = [*dies_with_us(), *self._command()]
        plan = {
            "qemu": command,
            "lock": lock,
            "disks": [{"raw": str(raw), "chain": chain} for chain, raw in self._copies],
        }
        (self._folder / WORDS).write_text(json.dumps(plan), encoding="utf-8")
        module = "bakery.testing.virtualbox.guest_process"
        start_process(
            [sys.executable, "-m", module, self._folder],
            cwd=self._folder,
            env={**os.environ, "VBOX_PROGRAM_PATH": "/usr/lib/virtualbox"},
        )
        self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (self._folder / EXIT).exists():
                said = (self._folder / LOG).read_text(errors="replace")
                raise RuntimeError(f"QEMU, which plays the guest, ended at once: {said.strip()[-500:]}")
            if (self._folder / SOCKET).exists():
                return
            time.sleep(LOOK)
        raise RuntimeError("QEMU, which plays the guest, does not answer")

    def ask(self, order: str, **arguments: Any) -> None:
        """Give QEMU an order over QMP."""
        try:
            with Monitor(self._folder) as monitor:
                monitor.ask(order, **arguments)
        except NotYet:
            self._wait_for_end()

    def pause(self) -> None:
        """Hold its processors still."""
        self.ask("stop")
        (self._folder / PAUSED).touch()

    def resume(self) -> None:
        """Let it run on."""
        (self._folder / PAUSED).unlink(missing_ok=True)
        self.ask("cont")

    def end(self) -> None:
        """Cut it off, and return when VirtualBox has let go of the machine."""
        try:
            with Monitor(self._folder) as monitor:
                monitor.ask("quit")
        except NotYet:
            pass
        self._wait_for_end()

    def settle(self) -> None:
        """Forget a guest that powered itself off."""
        if (self._folder / WORDS).exists() and self.state == "":
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._alive() and time.monotonic() < deadline:
            time.sleep(LOOK)

    def _alive(self) -> bool:
        """Say whether the process beside it runs, which holds a lock for as long."""
        try:
            with (self._folder / ALIVE).open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return not (self._folder / EXIT).exists() and time.time() - self._folder.stat().st_mtime < PATIENCE
        except BlockingIOError:
            return True
        return False

    # ---- QEMU's command line -----------------------------------------------------------------------------------

    def _command(self) -> list[str]:
        values = self._machine.values
        line = [QEMU, "-name", f"virtualbox-stand-in-{self._machine.uuid}", "-nodefaults", "-no-user-config"]
        line += ["-machine", "q35" if values["chipset"] == "ich9" else "pc", *accelerator("tcg")]
        line += ["-m", f"{values['memory']}M", "-smp", values["cpus"]]
        line += ["-display", "none", "-vga", "std", "-uuid", values["hardwareuuid"]]
        line += ["-qmp", f"unix:{SOCKET},server=on,wait=off"]
        line += ["-device", "virtio-rng-pci", *self._serial(), *self._network(), *self._firmware(), *self._table()]
        return line + [word for words in self._disks() for word in words]

    def _serial(self) -> list[str]:
        kind, _, path = self._machine.values.get("uartmode1", "").partition(",")
        return ["-serial", f"file:{path}"] if kind == "file" else []

    def _network(self) -> list[str]:
        values = self._machine.values
        if values.get("nic1") != "nat":
            return []
        rules = [values[key].split(",") for key in values if key.startswith("Forwarding(")]
        forwards = "".join(f",hostfwd={kind}:{host}:{port}-:{inside}" for _, kind, host, port, _, inside in rules)
        closed = "" if values.get("localhostReachable") == "1" else ",restrict=on"
        mac = ":".join(values["macaddress1"][at : at + 2] for at in range(0, 12, 2))
        card = NICS.get(values["nictype1"].strip(), "pcnet")
        return ["-netdev", f"user,id=n,ipv6=off{closed}{forwards}", "-device", f"{card},netdev=n,mac={mac}"]

    def _firmware(self) -> list[str]:
        if self._machine.values["firmware"] == "BIOS":
            return []
        firmware = find_firmware(QEMU)
        variables = self._folder / "firmware-variables.fd"
        shutil.copyfile(firmware.variables, variables)
        return [
            "-drive",
            f"if=pflash,format=raw,readonly=on,file={firmware.code}",
            "-drive",
            f"if=pflash,format=raw,file={variables}",
        ]

    def _table(self) -> list[str]:
        """Put the strings into QEMU's table, as files, in which a comma is one.

        Raises:
            RuntimeError: VirtualBox has no room for them.
        """
        strings, line = self._oem_strings(), list[str]()
        if not credentials.fits(strings):
            raise RuntimeError("One of the DMI strings is too long. Check all bios/Dmi* configuration entries.")
        for number, string in enumerate(strings):
            file = self._folder / f"oem-string-{number}"
            file.write_text(string, encoding="utf-8")
            line += ["-smbios", f"type=11,path={file}"]
        return line

    def _disks(self) -> Iterator[list[str]]:
        kinds = {
            self._machine.values[key]: self._machine.values[key.replace("name", "type")]
            for key in self._machine.values
            if key.startswith("storagecontrollername")
        }
        for number, kind in enumerate(kinds.values()):
            bus = BUSES[kind]
            if bus != "nvme" and not (bus == "ide" and self._machine.values["chipset"] != "ich9"):
                model = {"ahci": "ahci", "ide": "piix3-ide", "scsi": "virtio-scsi-pci"}[bus]
                yield ["-device", f"{model},id=c{number}"]
        for order, ((name, port, device), medium) in enumerate(sorted(self._machine.attachments.items())):
            if medium != "emptydrive":
                yield self._drive(order, list(kinds).index(name), BUSES[kinds[name]], (port, device), Path(medium))

    def _drive(self, order: int, controller: int, bus: str, place: tuple[int, int], medium: Path) -> list[str]:
        port, unit = place
        cd = medium.suffix.lower() == ".iso"
        form, file = ("raw", on_this_host(medium)) if cd else self._disk(medium, order)
        drive = {
            "driver": form,
            "node-name": f"d{order}",
            "read-only": cd,
            "file": {"driver": "file", "filename": str(file)},
        }
        kind = "cd" if cd else "hd"
        match bus:
            case "ahci":
                attached = f"ide-{kind},bus=c{controller}.{port}"
            case "ide":
                own = self._machine.values["chipset"] != "ich9"
                attached = f"ide-{kind},bus={'ide' if own else f'c{controller}'}.{port},unit={unit}"
            case "nvme":
                attached = f"nvme,serial=vbox{order}"
            case _:
                attached = f"scsi-{kind},bus=c{controller}.0,scsi-id={port}"
        boots = "" if cd else ",bootindex=0"
        return ["-blockdev", json.dumps(drive), "-device", f"{attached},drive=d{order}{boots}"]

    def _disk(self, medium: Path, order: int) -> tuple[str, Path]:
        """Return a disk's format for QEMU, and its file: a copy of a chain, which QEMU cannot read, else its own."""
        if not vdi.differencing(medium):
            return "vdi", medium
        raw = self._folder / f"disk-{order}.raw"
        self._copies.append(([str(path) for path in self._chains(medium)], raw))
        return "raw", raw


def on_this_host(medium: Path) -> Path:
    """Return where QEMU finds a file: those that VirtualBox brings are in its folder."""
    return medium if medium.exists() else Path(os.environ[ROOT]) / medium.relative_to(medium.anchor)
