"""Tries pyvbox against a real VirtualBox, one verb in a process of its own: `PACKAGES FOLDER VERB`.

Runs in the Python that VirtualBox's API is installed for. FOLDER holds what `test_virtualbox_sdk.py` made there.
Prints a JSON line: the verb, `works` or `fails`, and what it returned or raised.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Verbs:
    """The verbs, by name.

    Args:
        folder: where files are.
    """

    def __init__(self, folder: Path) -> None:
        import virtualbox
        from virtualbox import library

        self.folder, self.vb, self.lib = folder, virtualbox, library
        self.box = virtualbox.VirtualBox()

    @property
    def machine(self) -> Any:
        """The machine that was made for this."""
        return self.box.find_machine("golden")

    def locked(self) -> Any:
        """Return a machine that can be changed."""
        session = self.vb.Session()
        self.machine.lock_machine(session, self.lib.LockType.write)
        return session.machine

    def changed(self, name: str, value: Any) -> Any:
        """Set an attribute, save, and return what it then is, as another object shows it."""
        machine = self.locked()
        setattr(machine, name, value)
        machine.save_settings()
        return str(getattr(self.machine, name))

    def done(self, progress: Any) -> int:
        """Wait for the end of something long; returns VirtualBox's result."""
        progress.wait_for_completion(-1)
        if progress.result_code:
            raise RuntimeError(progress.error_info.text)
        return int(progress.result_code)

    # ---- the table --------------------------------------------------------------------------------------------

    def table(self) -> dict[str, Callable[[], Any]]:
        """Return all verbs."""
        lib = self.lib
        read = (
            "id_p state memory_size cpu_count settings_file_path snapshot_count session_state os_type_id hardware_uuid"
        )
        lost = "firmware_type chipset_type bios_settings audio_adapter rtc_use_utc hpet_enabled vram_size"
        return {
            "VirtualBox.version": lambda: self.box.version,
            "VirtualBox.machines": lambda: [machine.name for machine in self.box.machines],
            "VirtualBox.find_machine": lambda: self.machine.name,
            "VirtualBox.hard_disks": lambda: len(self.box.hard_disks),
            "VirtualBox.get_guest_os_type": lambda: self.box.get_guest_os_type("Linux_64").id_p,
            "VirtualBox.create_machine": lambda: self.box.create_machine("", "new", [], "Linux_64", ""),
            "VirtualBox.create_medium": self.create_medium,
            "VirtualBox.open_medium": lambda: self.medium().location,
            "VirtualBox.set_extra_data": lambda: self.box.set_extra_data("a", "b"),
            **{f"IMachine.{name}": self.reader(name) for name in (*read.split(), *lost.split())},
            "IMachine.get_extra_data": lambda: self.machine.get_extra_data("bakery:run"),
            "IMachine.set_extra_data": self.set_extra_data,
            "IMachine.memory_size = 192": lambda: self.changed("memory_size", 192),
            "IMachine.cpu_count = 2": lambda: self.changed("cpu_count", 2),
            "IMachine.firmware_type = efi": lambda: self.changed("firmware_type", lib.FirmwareType.efi),
            "IMachine.vram_size = 16": self.set_video_memory,
            "IMachine.set_boot_order": lambda: self.locked().set_boot_order(1, lib.DeviceType.hard_disk),
            "IMachine.add_storage_controller": self.add_controller,
            "IMachine.attach_device": self.attach,
            "IMachine.detach_device": self.detach,
            "IMachine.medium_attachments": self.attachments,
            "IMachine.attach_device, then detach_device": self.attach_and_detach,
            "IMachine.take_snapshot, off": lambda: self.snapshot(pause=False),
            "IMachine.take_snapshot, off, pause": lambda: self.snapshot(pause=True),
            "IMachine.restore_snapshot": self.restore,
            "IMachine.clone": self.clone,
            "IMachine.export_to": self.export,
            "IMachine.launch_vm_process": lambda: self.machine.launch_vm_process(self.vb.Session(), "headless", ""),
            "IMachine.create_session": lambda: str(self.machine.create_session().state),
            "IMachine.unregister, delete_config": self.unregister,
            "INATEngine.add_redirect": self.redirect,
            "ISerialPort.path": self.serial,
            "IAppliance.import_machines": self.import_appliance,
            "IMedium.clone_to": self.clone_medium,
        }

    def reader(self, name: str) -> Callable[[], str]:
        """Return what reads an attribute of the machine."""
        return lambda: str(getattr(self.machine, name))

    def create_medium(self) -> Any:
        """Make a disk."""
        lib = self.lib
        medium = self.box.create_medium(
            "VDI", str(self.folder / "new.vdi"), lib.AccessMode.read_write, lib.DeviceType.hard_disk
        )
        return self.done(medium.create_base_storage(1 << 20, [lib.MediumVariant.standard]))

    def medium(self, name: str = "extra.vdi") -> Any:
        """Open a disk that hangs on no machine."""
        lib = self.lib
        return self.box.open_medium(str(self.folder / name), lib.DeviceType.hard_disk, lib.AccessMode.read_write, False)

    def set_extra_data(self) -> str:
        """Write an entry of a machine."""
        machine = self.locked()
        machine.set_extra_data("bakery:x", "1")
        machine.save_settings()
        return str(self.machine.get_extra_data("bakery:x"))

    def set_video_memory(self) -> str:
        """Set the graphics memory the way that 6.0 had it, and ask the graphics adapter what it is."""
        machine = self.locked()
        machine.vram_size = 17
        machine.save_settings()
        size = int(self.machine.graphics_adapter.vram_size)
        if size != 17:
            raise RuntimeError(f"no error, and the graphics memory is {size} MiB as before")
        return str(size)

    def add_controller(self) -> str:
        """Add a controller."""
        machine = self.locked()
        name = machine.add_storage_controller("second", self.lib.StorageBus.sata).name
        machine.save_settings()
        return str(name)

    def attach(self) -> None:
        """Attach a disk, and save."""
        machine = self.locked()
        machine.attach_device("IDE", 1, 0, self.lib.DeviceType.hard_disk, self.medium())
        machine.save_settings()

    def detach(self) -> None:
        """Detach the machine's disk, without saving."""
        machine = self.locked()
        machine.detach_device("IDE", 0, 0)
        machine.discard_settings()

    def attach_and_detach(self) -> None:
        """Attach a disk and detach it again before anything is saved."""
        machine = self.locked()
        machine.attach_device("IDE", 1, 1, self.lib.DeviceType.hard_disk, self.medium("other.vdi"))
        machine.detach_device("IDE", 1, 1)
        machine.discard_settings()

    def attachments(self) -> int:
        """Read what is attached, twice, and detach in between."""
        count = len(self.machine.medium_attachments)
        machine = self.locked()
        count += len(machine.medium_attachments)
        machine.detach_device("IDE", 0, 0)
        machine.discard_settings()
        return count

    def snapshot(self, *, pause: bool) -> str:
        """Take a snapshot of a machine that is off."""
        progress, _ = self.locked().take_snapshot("second", "", pause)
        self.done(progress)
        return "taken"

    def restore(self) -> int:
        """Go back to the snapshot."""
        machine = self.locked()
        return self.done(machine.restore_snapshot(machine.find_snapshot("clean")))

    def clone(self) -> str:
        """Make a linked clone, by pyvbox's own helper."""
        lib = self.lib
        return str(
            self.machine.clone(
                self.machine.find_snapshot("clean"),
                lib.CloneMode.machine_state,
                [lib.CloneOptions.link],
                "linked",
                str(self.folder),
            ).name
        )

    def export(self) -> int:
        """Export an appliance."""
        appliance, path = self.box.create_appliance(), str(self.folder / "out.ova")
        self.machine.export_to(appliance, path)
        return self.done(appliance.write("ovf-2.0", [self.lib.ExportOptions.create_manifest], path))

    def import_appliance(self) -> int:
        """Import an appliance."""
        appliance = self.box.create_appliance()
        appliance.read(str(self.folder / "golden.ova"))  # pyvbox waits for its end, and interprets it
        return self.done(appliance.import_machines([self.lib.ImportOptions.import_to_vdi]))

    def unregister(self) -> int:
        """Unregister a machine and delete its files."""
        machine = self.box.find_machine("spare")
        media = machine.unregister(self.lib.CleanupMode.detach_all_return_hard_disks_only)
        return self.done(machine.delete_config(media))

    def redirect(self) -> list[str]:
        """Add a port rule."""
        machine = self.locked()
        engine = machine.get_network_adapter(0).nat_engine
        engine.add_redirect("ssh", self.lib.NATProtocol.tcp, "127.0.0.1", 22333, "", 22)
        machine.save_settings()
        return [str(rule) for rule in self.machine.get_network_adapter(0).nat_engine.redirects]

    def serial(self) -> str:
        """Lead the serial port to a file."""
        machine = self.locked()
        port = machine.get_serial_port(0)
        port.path = str(self.folder / "serial.log")
        port.host_mode = self.lib.PortMode.raw_file
        port.enabled = True
        machine.save_settings()
        return str(self.machine.get_serial_port(0).path)

    def clone_medium(self) -> int:
        """Copy a disk."""
        lib = self.lib
        to = self.box.create_medium(
            "VMDK", str(self.folder / "copy.vmdk"), lib.AccessMode.read_write, lib.DeviceType.hard_disk
        )
        return self.done(self.medium().clone_to(to, [lib.MediumVariant.vmdk_stream_optimized], None))


def main() -> None:
    """Try one verb, or print their names."""
    packages, folder, *names = sys.argv[1:]
    sys.path.insert(0, packages)
    table = Verbs(Path(folder)).table()
    if not names:
        sys.stdout.write(json.dumps(list(table)) + "\n")
        return
    try:
        answer = {"verb": names[0], "verdict": "works", "text": str(table[names[0]]())}
    except Exception as error:  # whatever it is, it is the answer
        answer = {"verb": names[0], "verdict": "fails", "text": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # XPCOM's own end may hang


if __name__ == "__main__":
    main()
