"""Sealing, and lists of packages, on systems that are no Debian: trees made here that are like them.

An Alpine-like one has busybox as shell and tools and Debian's OpenRC as init; one like Fedora's family has a database
that Debian's rpm made, and SELinux's configuration without a policy. Alpine, Fedora and the others were not tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bakery import Seal
from bakery.machine import packages
from bakery.machine.seal import script

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap"),
]
SEED = "/var/lib/seedrng/seed.credit"
SPEC = """
Name: hello
Version: 1.2
Release: 3
Summary: a package
License: none
BuildArch: noarch
%description
a package
%files
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenRC, rpm and busybox of Debian with all that they need, unpacked and no more."""
    tree = tmp_path_factory.mktemp("tree") / "root"
    words = ["mmdebstrap", "--quiet", "--variant=extract", "--include=openrc,busybox-static,rpm", "bookworm", str(tree)]
    subprocess.run(words, check=True, capture_output=True)
    for name in ("usr/bin/dpkg-query", "usr/bin/apt-get", "usr/bin/systemctl"):
        (tree / name).unlink(missing_ok=True)
    for name in ("proc", "dev", "tmp", "run", "sys", "var/tmp", "root", "etc/runlevels/default"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "bin/sh").unlink(missing_ok=True)
    (tree / "bin/sh").symlink_to("busybox")
    inside(tree, ["/bin/sh"], "/bin/busybox mkdir -p /usr/local/bin; /bin/busybox --install -s /usr/local/bin")
    (tree / "dev/null").unlink(missing_ok=True)
    os.mknod(tree / "dev/null", 0o020666, os.makedev(1, 3))
    return tree


@pytest.fixture
def tree(unpacked: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    subprocess.run(["cp", "-a", "--reflink=auto", unpacked, tmp_path / "root"], check=True)
    return tmp_path / "root"


def put(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def inside(tree: Path, shell: list[str], text: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"}
    done = subprocess.run(
        ["chroot", str(tree), *shell], input=text, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


def sealed(tree: Path, shell: list[str]) -> dict[str, str]:
    lines = inside(tree, shell, script(Seal(trim=False), "ssh-ed25519 AAAAkey bakery")).splitlines()
    assert lines[-1] == "sealed"
    return dict(line.split(": ", 1) for line in lines[:-1])


def alpine(tree: Path) -> Path:
    """Busybox in the place of all tools but OpenRC's."""
    for name in ("bin", "sbin", "usr/bin", "usr/sbin"):
        folder = tree / name
        for path in [] if folder.is_symlink() else list(folder.iterdir()):
            if path.name not in ("busybox", "sh", "openrc", "openrc-run", "rc-update", "rc-status", "rc-service"):
                path.unlink()
    put(tree, {"etc/alpine-release": "3.24.1\n", "usr/bin/ssh-keygen": "#!/bin/sh\n", "sbin/apk": "#!/bin/sh\n"})
    for name in ("usr/bin/ssh-keygen", "sbin/apk"):
        (tree / name).chmod(0o755)
    return tree


def test_a_system_like_alpine_is_sealed(tree: Path) -> None:
    alpine(tree)
    files = ["/etc/ssh/ssh_host_ed25519_key", SEED, "/root/.ash_history", "/var/cache/apk/APKINDEX.tar.gz"]
    put(tree, dict.fromkeys(files, "x"))
    put(tree, {"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "etc/hostname": "x\n"})
    done = sealed(tree, ["/bin/sh", "-s"])
    assert done["host_keys"].startswith("installed the service bakery-host-keys") or "removed" in done["host_keys"]
    assert done["machine_id"] == "emptied"
    assert done["caches"] == "apk"
    assert done["selinux"].startswith("skipped")
    assert not [name for name in files if (tree / name.lstrip("/")).exists()]
    assert not (tree / "etc/machine-id").exists(), "dbus-uuidgen makes a missing one and refuses an empty one"
    service = tree / "etc/init.d/bakery-host-keys"
    assert "/usr/bin/ssh-keygen -A" in service.read_text()
    assert os.access(service, os.X_OK)
    assert (tree / "etc/runlevels/default/bakery-host-keys").is_symlink()
    assert "bakery-host-keys" in inside(tree, ["/bin/sh"], "rc-update show default")
    assert sealed(tree, ["/bin/sh", "-s"])["machine_id"].startswith("skipped"), "it may be sealed again"


def test_an_sshd_of_openrc_that_makes_keys_is_left_alone(tree: Path) -> None:
    alpine(tree)
    put(tree, {"etc/init.d/sshd": "#!/sbin/openrc-run\nstart_pre() {\n  ssh-keygen -A\n}\n"})
    assert sealed(tree, ["/bin/sh", "-s"])["host_keys"] == "new ones are made at boot"
    assert not (tree / "etc/init.d/bakery-host-keys").exists()


def test_a_system_like_fedora_is_sealed(tree: Path) -> None:
    put(
        tree,
        {
            "etc/selinux/config": "# SELINUX= can be:\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
            "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection": "mac-address=52:54:00:1:2:3\n",
            "etc/NetworkManager/system-connections/office.nmconnection": "[connection]\n",
            "etc/sysconfig/network-scripts/ifcfg-eth0": "# Created by cloud-init automatically, no edit.\nHWADDR=1\n",
            "etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n",
        },
    )
    done = sealed(tree, ["/bin/sh", "-s"])
    assert done["selinux"].startswith("asked for labels at the next boot")
    assert (tree / ".autorelabel").exists()
    left = sorted(
        path.name for folder in ("NetworkManager", "sysconfig") for path in (tree / "etc" / folder).rglob("*.*")
    )
    assert "office.nmconnection" in left
    assert "cloud-init-eth0.nmconnection" not in left
    scripts = tree / "etc/sysconfig/network-scripts"
    assert [path.name for path in scripts.iterdir()] == ["ifcfg-lo"]
    put(tree, {"etc/selinux/config": "SELINUX=disabled\n"})
    assert sealed(tree, ["/bin/sh", "-s"])["selinux"].startswith("skipped")


def test_what_makes_host_keys_at_boot_is_stopped_before_they_go(tree: Path) -> None:
    """A task of a moment is over before the boot has come so far: the key that it made was in the image."""
    asked = 'echo "$*" >>/asked; ls /etc/ssh >>/asked'
    put(tree, {"usr/local/bin/systemctl": f"#!/bin/sh\n{asked}\n", "etc/ssh/ssh_host_ed25519_key": "a key\n"})
    (tree / "usr/local/bin/systemctl").chmod(0o755)
    (tree / "run/systemd/system").mkdir(parents=True)
    sealed(tree, ["/bin/sh", "-s"])
    first, *there = (tree / "asked").read_text().splitlines()
    assert first == "--quiet stop ssh-host-keys.service bakery-host-keys.service sshd-keygen@*.service"
    assert "ssh_host_ed25519_key" in there
    assert not (tree / "etc/ssh/ssh_host_ed25519_key").exists()


def test_packages_of_an_rpm_database_are_listed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "hello.spec").write_text(SPEC)
    defined = ["--define", f"_topdir {tmp_path}/rpmbuild"]
    subprocess.run(["rpmbuild", *defined, "-bb", tmp_path / "hello.spec"], check=True, capture_output=True)
    (package,) = (tmp_path / "rpmbuild").rglob("*.rpm")
    shutil.copy(package, tree / "tmp/hello.rpm")
    inside(tree, ["/bin/sh"], "rpm --initdb; rpm --install --nodeps --noscripts /tmp/hello.rpm")
    assert packages.parse(inside(tree, ["/bin/sh"], packages.SCRIPT)) == {"hello.noarch": "1.2-3"}
