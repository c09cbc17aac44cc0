"""A Debian release as a root folder, which stands in for a host: it shares this host's kernel, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
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
INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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
chroot "$root" "$@" && exit 0 || exit $?
"""
"""Process 1 of mount and PID namespaces of its own: all it mounts and starts ends with it, and orphans that end are its
to wait for, which `bake` would not do. /tmp stays on the disk, as images are written there."""


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
        """What is `/srv` inside: virtual environment, caches, images."""
        return self.place / "work"

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
        self.run("/checkout/tools/host-packages", "tests", check=True)
        stamp.write_text(digest)

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

    def run(self, *words: str, check: bool = False, lowest: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, in the checkout, and return what it wrote, errors among it.

        Args:
            words: the command.
            check: raise where it fails.
            lowest: with the oldest release of every dependency that `pyproject.toml` allows.

        Raises:
            CalledProcessError: it fails, and `check` is set.
        """
        to = subprocess.PIPE
        done = subprocess.run(
            self.command(words, lowest=lowest), check=False, text=True, stdout=to, stderr=subprocess.STDOUT
        )
        if check and done.returncode:
            print(done.stdout)
            done.check_returncode()
        return done

    def command(self, words: Sequence[str], *, lowest: bool = False) -> list[str]:
        """Return the words that run a command inside."""
        passed = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
        variables = [
            f"PATH={_environment(lowest=lowest)}/bin:{INSIDE}",
            "HOME=/root",
            "LANG=C.UTF-8",
            "BAKERY_CACHE_DIR=/srv/cache",
            f"PIP_CERT={CERTIFICATES}",
            *passed,
        ]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", ENTER, "enter"),
            *(str(self.path), str(CHECKOUT), str(self.work), str(CERTIFICATES)),
            *("env", "-i", *variables, "sh", "-c", 'cd /checkout && exec "$@"', "run", *words),
        ]

    def install(self, *, lowest: bool = False) -> None:
        """Make the virtual environment; one for this pyproject.toml stays.

        Args:
            lowest: with the oldest release of every dependency that it names, else with the newest.

        Raises:
            CalledProcessError: pip fails; it has said why.
        """
        venv = _environment(lowest=lowest)
        stamp, digest = self.work / f"{Path(venv).name}-made-of", _digest(CHECKOUT / "pyproject.toml")
        if stamp.exists() and stamp.read_text() == digest:
            return
        self.run("python3", "-m", "venv", venv, check=True)
        pip = [f"{venv}/bin/pip", "install", "--quiet"]
        self.run(*pip, "--upgrade", "pip", "uv", check=True)  # Debian 12's pip knows no groups
        if lowest:  # of what is named here; what those need in turn is the newest that they allow
            pip = [f"{venv}/bin/uv", "pip", "install", "--quiet", "--python", venv, "--resolution", "lowest-direct"]
        self.run(*pip, "-e", "/checkout[aws,openstack,vmware]", "--group", "dev", check=True)
        stamp.write_text(digest)


def _environment(*, lowest: bool) -> str:
    return "/srv/venv-lowest" if lowest else "/srv/venv"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
