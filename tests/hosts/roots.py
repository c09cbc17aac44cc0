"""A Debian release as a root folder, which stands in for a host: it shares this host's kernel, and nothing else."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bakery.disk.bases import debian_recipe
from bakery.disk.bases.host_apt import HostApt, host_apt

CHECKOUT = Path(__file__).parents[2]
PACKAGES = CHECKOUT / "tools" / "host-packages"
FIRST = "ca-certificates,git,python3-venv"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
APT = "etc/apt/apt.conf.d/99host"
DRACUT = "etc/dracut.conf.d/host.conf"
NEWEST, LOWEST, BAKE = "venv", "venv-lowest", "venv-bake"
"""Virtual environments: for bakery's tests with the newest and the oldest release of every dependency that
`pyproject.toml` allows, and with what `pip install` gives a user."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
ENTER = """
set -eu
root=$1 checkout=$2 work=$3 certificates=$4
shift 4
mount --bind "$root" "$root"
mkdir -p "$root/checkout" "$root/srv"
mount --bind "$checkout" "$root/checkout"
mount --bind "$work" "$root/srv"
[ ! -e "$certificates" ] || mount --bind -o ro "$certificates" "$root$certificates"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/.host"
pivot_root "$root" "$root/.host"
cd /
umount --lazy /.host
"$@" && exit 0 || exit $?
"""
"""Process 1 of mount and PID namespaces of its own: all it mounts and starts ends with it, and orphans that end are its
to wait for, which `bake` would not do. /tmp stays on the disk, as images are written there. The root is a real one, not
that of a chroot, in which nobody may make a user namespace."""


@dataclass(frozen=True)
class HostRoot:
    """A root folder.

    Args:
        suite: the release, as in `trixie`.
        place: a folder for it and for what its runs leave.
    """

    suite: str
    place: Path

    @property
    def path(self) -> Path:
        """The root folder itself."""
        return self.place / "root"

    @property
    def work(self) -> Path:
        """What is `srv` inside: virtual environments, caches, images."""
        return self.place / "work"

    @property
    def srv(self) -> str:
        """Inside, the folder of what its runs leave."""
        return "/srv"

    @property
    def checkout(self) -> str:
        """Inside, the folder of bakery's source."""
        return "/checkout"

    def make(self, *, fresh: bool = False) -> None:
        """Make it, unless it is there and the list of packages is what it was made of.

        Args:
            fresh: make it anew in any case.

        Raises:
            CalledProcessError: a command fails; it has said why.
        """
        stamp, digest = self.place / "made-of", _digest(PACKAGES)
        if not fresh and stamp.exists() and stamp.read_text() == digest:
            return
        shutil.rmtree(self.place, ignore_errors=True)
        self.work.mkdir(parents=True)
        host = host_apt(self.suite) or HostApt()
        settings = self.place / "apt.conf"
        settings.write_text(host.conf)
        subprocess.run(self.words(host, settings), check=True)
        (self.path / APT).write_text(host.conf)
        (self.path / DRACUT).parent.mkdir(parents=True, exist_ok=True)
        (self.path / DRACUT).write_text('compress="cat"\n')  # Debian 14's initramfs: nothing boots it
        self.run("tools/host-packages", check=True)
        stamp.write_text(digest)

    def equip(self) -> None:
        """Install what bakery's own tests need besides, unless it is there.

        Raises:
            CalledProcessError: apt fails; it has said why.
        """
        self.run("tools/host-packages", "tests", check=True)

    def words(self, host: HostApt, settings: Path) -> list[str]:
        """Return how mmdebstrap makes the tree: from where this host has its packages."""
        return [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={FIRST}",
            "--aptopt=APT::Install-Recommends false",
            f"--aptopt={settings}",
            "--dpkgopt=force-unsafe-io",
            self.suite,
            str(self.path),
            *debian_recipe.sources(self.suite, host.archive, host.security, options=host.options),
        ]

    def run(self, *words: str, check: bool = False, venv: str = BAKE) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, in the checkout, and return what it wrote, errors among it.

        Args:
            words: the command.
            check: raise where it fails.
            venv: the virtual environment whose programs come first.

        Raises:
            CalledProcessError: it fails, and `check` is set.
        """
        to = subprocess.PIPE
        done = subprocess.run(
            self.command(words, venv=venv), check=False, text=True, stdout=to, stderr=subprocess.STDOUT
        )
        if check and done.returncode:
            print(done.stdout)
            done.check_returncode()
        return done

    def command(self, words: Sequence[str], *, venv: str = BAKE) -> list[str]:
        """Return the words that run a command inside."""
        return [
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", ENTER, "enter"),
            *(str(self.path), str(CHECKOUT), str(self.work), str(CERTIFICATES)),
            *self.cleanly(words, venv),
        ]

    def cleanly(self, words: Sequence[str], venv: str) -> list[str]:
        """Return the words that run a command with variables of its own, in the checkout."""
        passed = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
        variables = [
            f"PATH={self.srv}/{venv}/bin:{PATH}",
            "HOME=/root",
            "LANG=C.UTF-8",
            f"BAKERY_CACHE_DIR={self.srv}/cache",
            f"PIP_CERT={CERTIFICATES}",
            *passed,
        ]
        return ["env", "-i", *variables, "sh", "-c", 'cd "$0" && exec "$@"', self.checkout, *words]

    def install(self, venv: str) -> None:
        """Make a virtual environment; one for this pyproject.toml stays.

        Args:
            venv: which one, of `NEWEST`, `LOWEST` and `BAKE`.

        Raises:
            CalledProcessError: pip fails; it has said why.
        """
        place = f"{self.srv}/{venv}"
        stamp, digest = self.work / f"{venv}-made-of", _digest(CHECKOUT / "pyproject.toml")
        if stamp.exists() and stamp.read_text() == digest:
            return
        self.run("python3", "-m", "venv", place, check=True)
        pip = [f"{place}/bin/pip", "install", "--quiet"]
        if venv == BAKE:
            self.run(*pip, "-e", self.checkout, check=True)
        else:
            self.run(*pip, "--upgrade", "pip", "uv", check=True)  # Debian 12's pip knows no groups
            if venv == LOWEST:  # of what is named here; what those need in turn is the newest that they allow
                pip = [
                    *("env", f"SSL_CERT_FILE={CERTIFICATES}"),  # uv reads no PIP_CERT
                    f"{place}/bin/uv",
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    place,
                    "--resolution",
                    "lowest-direct",
                ]
            self.run(*pip, "-e", f"{self.checkout}[aws,openstack,vmware]", "--group", "dev", check=True)
        stamp.write_text(digest)


@dataclass(frozen=True)
class ThisHost(HostRoot):
    """This machine itself, where it is of the release that was asked for: nothing is made, its tools are used."""

    @property
    def path(self) -> Path:
        """Its root folder."""
        return Path("/")

    @property
    def srv(self) -> str:
        """The folder of what its runs leave."""
        return str(self.work)

    @property
    def checkout(self) -> str:
        """The folder of bakery's source."""
        return str(CHECKOUT)

    def make(self, *, fresh: bool = False) -> None:
        """Look whether it is that release, and install what baking needs."""
        del fresh
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME")
        if codename != self.suite:
            sys.exit(f"tests.hosts: this host is {codename}, not {self.suite}; without --here a root folder is made")
        self.work.mkdir(parents=True, exist_ok=True)
        self.run("tools/host-packages", check=True)

    def command(self, words: Sequence[str], *, venv: str = BAKE) -> list[str]:
        """Return the words that run a command."""
        return self.cleanly(words, venv)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
