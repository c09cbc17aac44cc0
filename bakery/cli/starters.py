"""What `bake init` writes: templates, and what each driver puts into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final

from bakery.imagefile.loader import FILE


@dataclass(frozen=True, kw_only=True)
class Starter:
    """How a first imagefile builds with one driver.

    Args:
        name: the source class.
        imports: what is imported from `bakery.drivers`.
        source: the name of the source function.
        doc: its docstring.
        base: an expression: what a machine boots first.
        more: further arguments, each with a comma before it.
        extra: the package's extra that brings the SDK.
        here: whether it builds on this host, with programs of this host.
        drivers: what `bake doctor` is asked for, where that is another name than the starter's.
    """

    name: str
    imports: str
    source: str
    doc: str
    base: str = 'Debian("bookworm")'
    more: str = ""
    extra: str = ""
    here: bool = True
    drivers: str = ""


STARTERS: Final[Mapping[str, Starter]] = {
    "local": Starter(
        name="Local",
        imports="Debian, Local",
        source="laptop",
        doc="This computer: a container where virtual machines would be emulated.",
        drivers="qemu nspawn",
    ),
    "qemu": Starter(name="Qemu", imports="Debian, Qemu", source="laptop", doc="A virtual machine on this computer."),
    "nspawn": Starter(
        name="Nspawn", imports="Debian, Nspawn", source="container", doc="A container on this computer: quick to build."
    ),
    "virtualbox": Starter(
        name="VirtualBox", imports="Debian, VirtualBox", source="box", doc="A virtual machine of VirtualBox."
    ),
    "ec2": Starter(
        name="Ec2",
        imports="Ec2, Newest",
        source="aws",
        doc="A throw-away instance; the account is the one that `aws` uses.",
        base='Newest(owner="136693071363", name="debian-12-amd64-*")',
        more=', region="eu-central-1"',
        extra="aws",
        here=False,
    ),
    "openstack": Starter(
        name="OpenStack",
        imports="OpenStack",
        source="cloud",
        doc="A throw-away server; OS_CLOUD says in which cloud.",
        base='"debian-12"',
        more=', flavor="m1.small", network="private"',
        extra="openstack",
        here=False,
    ),
    "vsphere": Starter(
        name="VSphere",
        imports="VSphere",
        source="center",
        doc="A clone of a template; VSPHERE_SERVER, VSPHERE_USER and VSPHERE_PASSWORD say where.",
        base='"debian-12-template"',
        more=', network="VM Network"',
        extra="vmware",
        here=False,
    ),
}
TEMPLATES: Final[Mapping[str, str]] = {
    "minimal": "one source, one task, one test",
    "web": "a web server with variables and several tests",
    "golden": "an image that others stand on, and one that does",
    "ci": "the jobs that bake on GitHub and GitLab",
}
HOST_PACKAGES: Final = (
    "qemu-system-x86 qemu-utils ovmf ipxe-qemu mmdebstrap debian-archive-keyring arch-test e2fsprogs mtools "
    "dosfstools gdisk fdisk xorriso zstd grub-common grub-pc-bin grub-efi-amd64-bin systemd-container uidmap "
    "slirp4netns openssh-client gpgv"
)
"""Debian packages with which a host of a CI service builds: those of `tools/host-packages`, but for what is there."""
CI_FILES: Final = {".github/workflows/images.yml": "github", ".gitlab-ci.yml": "gitlab"}


def files_of(template: str, driver: str, file: str = FILE) -> dict[str, str]:
    """Return what is to be written: paths from the project's folder, and their text.

    Args:
        template: one of `TEMPLATES`.
        driver: one of `STARTERS`.
        file: the imagefile's name.
    """
    starter = STARTERS[driver]
    made = {file: _filled("minimal.py.in" if template == "ci" else f"{template}.py.in", starter, driver)}
    if template == "ci":
        made |= {path: _job(name, starter, driver) for path, name in CI_FILES.items()}
    return made


def _job(name: str, starter: Starter, driver: str) -> str:
    """Return a CI service's file; where machines are rented, with a job that sweeps what a dead runner left."""
    text = _filled(f"{name}.yml.in", starter, driver)
    return text if starter.here else text + _filled(f"{name}-sweep.yml.in", starter, driver)


def _filled(name: str, starter: Starter, driver: str) -> str:
    text = files("bakery.cli").joinpath("templates", name).read_text(encoding="utf-8")
    imagefile = name.endswith(".py.in")
    return Template(text).substitute(
        imports=starter.imports,
        source=starter.source,
        doc=starter.doc,
        base=starter.base,
        more=starter.more,
        driver=starter.name if imagefile else starter.drivers or driver,
        package=f"imagebakery[{starter.extra}]" if starter.extra else "imagebakery",
        host_packages=HOST_PACKAGES if starter.here else "openssh-client",
    )
