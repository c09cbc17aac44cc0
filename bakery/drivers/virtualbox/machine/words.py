"""The words for VBoxManage that make a machine what its source says, as pure functions."""

from __future__ import annotations

from pathlib import Path

from bakery.drivers.virtualbox.source import MEBIBYTE, VirtualBox

DISK = "disk"
"""VirtualBox's name for the controller that we make, and the disk on it."""
RULE = "bakery-ssh"
"""VirtualBox's name for the NAT rule that leads to the guest's port 22."""
_CONTROLLERS = {
    "sata": ("--add=sata", "--controller=IntelAhci", "--portcount=1"),
    "ide": ("--add=ide", "--controller=PIIX4"),
    "scsi": ("--add=scsi", "--controller=LSILogic"),
    "nvme": ("--add=pcie", "--controller=NVMe", "--portcount=1"),
    "virtio": ("--add=virtio", "--controller=VirtIO", "--portcount=1"),
}
DRIVES = "bakery-drives"
"""VirtualBox's name for the controller that we add where none of a machine's own takes a CD drive."""


def settings(source: VirtualBox) -> list[str]:
    """Return the options of `modifyvm` for the hardware of a new machine."""
    words = [
        f"--memory={source.memory_bytes // MEBIBYTE}",
        f"--cpus={source.cpus}",
        f"--firmware={'bios' if source.firmware == 'bios' else 'efi'}",
        f"--chipset={source.chipset}",
        f"--paravirt-provider={source.paravirtualization}",
        f"--tpm-type={source.tpm}",
        f"--graphicscontroller={source.graphics}",
        f"--vram={source.video_mebibytes}",
        "--ioapic=on",
        "--rtc-use-utc=on",
        f"--audio-enabled={'on' if source.audio else 'off'}",
        f"--audio-out={'on' if source.audio else 'off'}",
        "--clipboard-mode=disabled",
        "--drag-and-drop=disabled",
        "--boot1=disk",
        "--boot2=none",
        "--boot3=none",
        "--boot4=none",
    ]
    words += [f"--usb-{kind}={'on' if source.usb == kind else 'off'}" for kind in ("ohci", "ehci", "xhci")]
    return [*words, "--mouse=ps2", "--nic1=nat", f"--nic-type1={source.nic}"]


def connections(source: VirtualBox, *, port: int, console: Path) -> list[str]:
    """Return the options of `modifyvm` for what connects a machine with this host while an image is built.

    Args:
        source: what the user asked for.
        port: of this host's loopback; it leads to the guest's port 22.
        console: the file that gets what the guest writes on its first serial port.
    """
    return [
        "--nic1=nat",
        "--cable-connected1=on",
        f"--nat-pf1={RULE},tcp,127.0.0.1,{port},,22",
        f"--nat-localhostreachable1={'on' if source.host_access else 'off'}",
        "--uart1",
        "0x3F8",
        "4",
        "--uart-mode1",
        "file",
        str(console),
        *source.modifyvm,
    ]


def disconnections(rules: frozenset[str]) -> list[str]:
    """Return the options of `modifyvm` that take this host out of a machine's settings again.

    Args:
        rules: names of the NAT rules that the machine has.
    """
    ours = ["--nat-pf1", "delete", RULE] if RULE in rules else []
    return [*ours, "--nat-localhostreachable1=off", "--uart-mode1", "disconnected", "--uart1", "off"]


def controller(source: VirtualBox) -> list[str]:
    """Return the options of `storagectl` for the disk's controller of a new machine."""
    return ["--name", DISK, *_CONTROLLERS[source.controller], "--bootable=on"]


def drives() -> list[str]:
    """Return the options of `storagectl` for a controller that takes CD drives."""
    return ["--name", DRIVES, *_CONTROLLERS["ide"], "--bootable=on"]


def disk(source: VirtualBox, path: Path) -> list[str]:
    """Return the options of `storageattach` for a new machine's disk."""
    words = [f"--storagectl={DISK}", "--port=0", "--device=0", "--type=hdd", f"--medium={path}"]
    return [*words, "--nonrotational=on", "--discard=on"] if source.controller == "sata" else words


def drive(controller: str, port: int, device: int, medium: str) -> list[str]:
    """Return the options of `storageattach` for a CD drive.

    Args:
        controller: VirtualBox's name for it.
        port: of the controller.
        device: of the port.
        medium: an ISO file, or `none` to take the drive away.
    """
    words = [f"--storagectl={controller}", f"--port={port}", f"--device={device}"]
    return [*words, "--medium=none"] if medium == "none" else [*words, "--type=dvddrive", f"--medium={medium}"]
