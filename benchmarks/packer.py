"""The same base, the same step, by Packer's QEMU builder (Debian's package) and by bakery."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from bakery.build.package_mirror import LOOPBACK
from bakery.disk.bases import host_apt
from bakery.disk.bases.debian import Debian
from bakery.drivers.nspawn import base_template
from bakery.drivers.nspawn.capture import layout_of
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from benchmarks.bench import Project, Row, timed

STEP = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes nginx"
DISK = 8 << 30
"""Nspawn's default."""
IMAGEFILE = '''
import bakery
from bakery.drivers import Debian, Nspawn, Qemu

@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), accel="tcg", memory="1G", cpus=2)

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), accel="tcg", memory="1G", cpus=2)

@bakery.task
def nginx(m):
    """{note}"""
    m.run({step!r})

@bakery.test
def nginx_runs(host):
    assert host.service("nginx").is_running

@bakery.image
def web(): ...
'''


def run(folder: Path) -> list[Row]:
    """Measure all cases in one run."""
    project = Project(folder / "ours")
    project.write(IMAGEFILE.format(step=STEP, note=""))
    base = Debian("bookworm").disk(WorkContext(cache=folder / "ours" / "cache"))
    tree = Debian("bookworm").tree(WorkContext(cache=folder / "ours" / "cache"))
    # Packer starts from a finished disk of the base, and so do both of ours.
    base_template.prepare(tree.path, layout_of(tree.key, DISK), WorkContext(cache=folder / "ours" / "cache"))
    theirs = packer(folder / "theirs", base.path)
    rows: list[Row] = []

    def row(case: str, aim: str, *words: str) -> None:
        rows.append(Row(case, "packer build", project.bake(*words), theirs, aim, project.phases()))

    row("QEMU, cold, no smoke test", "0.8", "--only", "machine", "--no-test")
    project.forget(steps=False)
    project.write(IMAGEFILE.format(step=STEP + " # again", note=""))
    row("QEMU, booted base checkpointed, no smoke test", "0.7", "--only", "machine", "--no-test")
    project.forget()
    row("QEMU, cold, with smoke tests", "", "--only", "machine")
    project.forget()
    row("Nspawn, cold, no smoke test", "0.1", "--only", "container", "--no-test")
    project.forget()
    row("Nspawn, cold, QEMU boot and smoke tests", "0.4", "--only", "container")
    rows.append(Row("nothing changed", "", project.bake("--only", "container"), None, "0.5 s"))
    return rows


def packer(folder: Path, base: Path) -> float:
    """Time `packer build` on a copy of our base disk, with the same processors, memory and package mirror."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = make_keys("benchmark")
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(keys.user_private, encoding="utf-8")
    credential = base64.b64encode(keys.user_public.encode()).decode()
    setup = host_apt.apt_setup(host_apt.host_apt("bookworm"), loopback=LOOPBACK)
    script = folder / "step.sh"
    script.write_text(f"{setup.place()}\n{STEP}\n", encoding="utf-8")
    builder = {
        "type": "qemu",
        "iso_url": str(base),
        "iso_checksum": "none",
        "disk_image": True,
        "format": "qcow2",
        "accelerator": "tcg",
        "cpus": 2,
        "memory": 1024,
        "headless": True,
        "disk_compression": True,
        "output_directory": str(folder / "out"),
        "ssh_username": "root",
        "ssh_private_key_file": str(key),
        "ssh_timeout": "10m",
        "shutdown_command": "poweroff",
        "skip_resize_disk": True,
        "qemuargs": [
            ["-cpu", "max"],
            ["-accel", "tcg,thread=multi"],
            ["-machine", "pc"],
            ["-smbios", f"type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root={credential}"],
        ],
    }
    base_template = folder / "template.json"
    provisioners = [{"type": "shell", "script": str(script)}]
    base_template.write_text(json.dumps({"builders": [builder], "provisioners": provisioners}), encoding="utf-8")
    environ = {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(folder / "cache")}
    return timed(["packer", "build", "-force", base_template], folder, environ)
