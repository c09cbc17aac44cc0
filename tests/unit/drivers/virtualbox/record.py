"""Writes down what the real VirtualBox answers: `python tests/unit/drivers/virtualbox/record.py ROOT FOLDER`.

ROOT is a folder of `bakery.testing.virtualbox.root.make`, FOLDER an empty one. Needs root, takes some seconds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from bakery.testing.virtualbox.root import Home

RECORDINGS = Path(__file__).with_name("recordings.json")
UUID = "8fd92fe8-17a6-4e42-946d-0cec6d104080"
CREATE = ("createvm", "--name=web", f"--uuid={UUID}", "--ostype=Linux_64", "--platform-architecture=x86", "--register")


def verbs(folder: Path) -> list[tuple[str, list[str]]]:
    """Return what is asked, with a name for each answer that is kept; the order matters."""
    disk, seed, ova = f"{folder}/disk.vdi", f"{folder}/seed.iso", f"{folder}/web.ova"
    attach = ["storageattach", "web", "--storagectl=disk", "--device=0"]
    return [
        ("version", ["--version"]),
        ("vms_none", ["list", "vms"]),
        ("os_types", ["list", "ostypes"]),
        ("", [*CREATE, f"--basefolder={folder}/machines"]),
        ("name_taken", [*CREATE[:2], *CREATE[3:], f"--basefolder={folder}/machines"]),
        ("", ["storagectl", "web", "--name", "disk", "--add=sata", "--controller=IntelAhci", "--portcount=2"]),
        ("", [*attach, "--port=0", "--type=hdd", f"--medium={disk}"]),
        ("", [*attach, "--port=1", "--type=dvddrive", f"--medium={seed}"]),
        ("", ["modifyvm", "web", "--nic1=nat", "--nat-pf1=bakery-ssh,tcp,127.0.0.1,22022,,22"]),
        ("", ["modifyvm", "web", "--uart1", "0x3F8", "4", "--uart-mode1", "file", f"{folder}/serial.log"]),
        ("", ["setextradata", "web", "bakery:run", "r1"]),
        ("vms", ["list", "vms"]),
        ("info", ["showvminfo", "web", "--machinereadable"]),
        ("info_none", ["showvminfo", "nosuch", "--machinereadable"]),
        ("extra_data", ["getextradata", "web", "enumerate"]),
        ("system_properties", ["list", "systemproperties"]),
        ("", ["guestproperty", "set", "web", "/Example/role", "it's 'web' @ home"]),
        ("", ["guestproperty", "set", "web", "/Example/lines", "one\ntwo"]),
        ("guest_properties", ["guestproperty", "enumerate", "web"]),
        ("not_running_for_guest_control", ["guestcontrol", "web", "run", "--exe=/bin/true", "--username=root"]),
        ("not_running", ["controlvm", "web", "acpipowerbutton"]),
        ("no_module", ["startvm", "web", "--type=headless"]),
        ("too_few_words", ["storagectl", "web", "--name=disk", "--portcount=3"]),
        ("", ["snapshot", "web", "take", "clean"]),
        ("info_snapshot", ["showvminfo", "web", "--machinereadable"]),
        ("disks", ["list", "hdds"]),
        ("cds", ["list", "dvds"]),
        ("medium_in_use", ["closemedium", "disk", disk]),
        ("medium_none", ["closemedium", "disk", f"{folder}/nosuch.vdi"]),
        ("", ["export", "web", f"--output={ova}", "--options=manifest"]),
        ("appliance", ["import", ova, "--dry-run"]),
        ("damage", []),
        ("appliance_damaged", ["import", ova, "--dry-run"]),
        ("import_damaged", ["import", ova, "--vsys=0", "--vmname=again", f"--basefolder={folder}/again"]),
        ("", ["unregistervm", "web", "--delete"]),
    ]


def damage(ova: Path) -> None:
    """Change a byte of the disk in an appliance, past the head that VirtualBox reads first."""
    with tarfile.open(ova) as archive:
        disk = next(member for member in archive if member.name.endswith(".vmdk"))
    with ova.open("r+b") as file:
        file.seek(disk.offset_data + 200)
        file.write(b"X")


def main(root: Path, folder: Path) -> None:
    """Ask all of it, and write the answers."""
    home = Home(root=root, path=folder / "home")
    home.path.mkdir()
    raw = folder / "disk.raw"
    raw.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vdi", str(raw), str(folder / "disk.vdi")], check=True)
    (folder / "seed.iso").write_bytes(bytes(1 << 20))
    answers = {}
    for name, words in verbs(folder):
        if name == "damage":
            damage(folder / "web.ova")
            continue
        done = home.real(*words)
        if name:
            texts = [
                re.sub(r"linux-headers-\S+", "linux-headers-of-this-host.", text.replace(str(folder), "/recorded"))
                for text in (done.stdout, done.stderr)
            ]
            answers[name] = {"exit": done.returncode, "stdout": texts[0], "stderr": texts[1]}
    home.end()
    RECORDINGS.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
