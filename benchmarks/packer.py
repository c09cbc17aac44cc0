"""The same base, the same step, by Packer's QEMU builder (Debian's package) and by bakery."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

from bakery.build.package_mirror import LOOPBACK
from bakery.disk.bases import host_apt
from bakery.disk.bases.debian import Debian
from bakery.drivers.nspawn import base_template
from bakery.drivers.nspawn.capture import layout_of
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from benchmarks.bench import Aim, Failed, Project, Row, accelerator, timed

STEP = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes nginx"
DISK = 8 << 30
"""The sources' default."""
EXAMPLE_DISK = 4 << 30
"""What the example asks for."""
IMAGEFILE = """
import bakery
from bakery.drivers import Debian, Local, Nspawn, Qemu

@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), accel={accel!r}, memory="1G", cpus=2)

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), accel={accel!r}, memory="1G", cpus=2)

@bakery.source
def fastest() -> Local:
    return Local(base=Debian("bookworm"), memory="1G", cpus=2)

@bakery.task
def nginx(m):
    m.run({step!r})

@bakery.test
def nginx_runs(host):
    assert host.service("nginx").is_running

@bakery.image
def web(): ...
"""
EXAMPLE = Path(__file__).parents[1] / "imagefile.py.example"


def run(folder: Path) -> list[Row]:
    """Measure all cases in one run; packer once before and once after them, and its shorter time counts."""
    if shutil.which("packer") is None:
        raise Failed("packer is not installed")
    project = Project(folder / "ours")
    project.write(IMAGEFILE.format(step=STEP, accel=accelerator()))
    work = WorkContext(cache=folder / "ours" / "cache")
    base = Debian("bookworm").disk(work)
    tree = Debian("bookworm").tree(work)
    # Packer starts from a finished disk of the base, and so does every one of ours.
    for size in (DISK, EXAMPLE_DISK):
        base_template.prepare(tree.path, layout_of(tree.key, size), work)
    theirs = [packer(folder / "theirs", base.path)]
    timed_rows: list[tuple[str, float | None, float, str]] = []

    def row(case: str, limit: float | None, *words: str) -> None:
        timed_rows.append((case, limit, project.bake(*words), project.phases()))
        project.forget()

    row("Local, cold, boot and smoke tests", 0.22, "--only", "fastest")
    row("QEMU, cold, no smoke test", 0.45, "--only", "machine", "--no-test")
    row("QEMU, cold, boot and smoke tests", 0.7, "--only", "machine")
    row("Nspawn, cold, no smoke test", 0.04, "--only", "container", "--no-test")
    row("Nspawn, cold, boot and smoke tests", 0.22, "--only", "container")
    project.write(EXAMPLE.read_text(encoding="utf-8"))
    row("the example (Local), cold, boot and smoke tests", 0.22)
    theirs.append(packer(folder / "theirs", base.path))
    return [
        Row(case, "packer build, no test", ours, min(theirs), Aim(limit) if limit else None, note)
        for case, limit, ours, note in timed_rows
    ]


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
        "accelerator": accelerator(),
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
            *([["-accel", "tcg,thread=multi"]] if accelerator() == "tcg" else []),
            ["-machine", "pc"],
            ["-smbios", f"type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root={credential}"],
        ],
    }
    template = folder / "template.json"
    provisioners = [{"type": "shell", "script": str(script)}]
    template.write_text(json.dumps({"builders": [builder], "provisioners": provisioners}), encoding="utf-8")
    environ = {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(folder / "cache")}
    return timed(["packer", "build", "-force", template], folder, environ)
