"""The command line that starts a container, and the folders that it needs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bakery.drivers.nspawn import build_time_files, hierarchy, host
from bakery.drivers.nspawn.layers import copy_attributes, mount_option
from bakery.errors import DriverError
from bakery.state.ssh_keys import Keys
from bakery.util import process_attributes
from bakery.util.process import start_process

HERE = Path(__file__).parent
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "systemd-remount-fs.service")
"""Masked while the machine runs: timers that would work behind the tasks' back, with dpkg's lock; and the unit that
applies the options of / in fstab, which is about a disk that there is not."""
KEPT_ENVIRONMENT = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container that is to be started.

    Args:
        name: the machine's name, unique on this host.
        run: the id of its run.
        folder: its own folder; not there yet.
        lowers: the layers it stands on, topmost first: a saved layer, the base.
        mode: with systemd inside or without.
        cgroups: control groups to make for it; none where the host's systemd does.
    """

    name: str
    run: str
    folder: Path
    lowers: Sequence[Path]
    mode: host.Mode
    cgroups: tuple[Path, ...] = ()

    @property
    def upper(self) -> Path:
        """What the machine changes ends up here."""
        return self.folder / "upper"

    @property
    def root(self) -> Path:
        """Where the layers are seen as one tree, in the container's own mount namespace."""
        return self.folder / "root"

    @property
    def command(self) -> list[str]:
        """The words that start it."""
        scope = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes", f"--unit={self.label}"]
        user = ["--user", "--map-root-user", "--map-auto"] if host.rootless() else []
        lowers = mount_option([self.folder / "scaffold", *self.lowers])
        return [
            *(scope if self.mode == "booted" and host.managed() else []),
            "unshare",
            *user,
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            str(HERE / "boot.sh"),
            self.name,
            self.run,
            self.mode,
            lowers,
            mount_option([self.upper]),
            mount_option([self.folder / "work"]),
            str(self.root),
            str(self.folder / "net"),
            "\n".join(map(str, self.cgroups)),
            *self._inner,
        ]

    @property
    def label(self) -> str:
        """A name for systemd, which allows a host name's length and letters."""
        return f"bakery-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def _inner(self) -> list[str]:
        if self.mode == "plain":
            return ["sh", str(HERE / "chroot.sh"), str(self.root), self.name]
        return [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--settings=no",
            "--register=no",
            "--keep-unit",
            f"--directory={self.root}",
            f"--machine={self.label}",
            f"--network-namespace-path={self.folder / 'net'}",
            "--capability=CAP_NET_ADMIN",
            "--console=read-only",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--kill-signal=SIGRTMIN+4",
            *(f"systemd.mask={unit}" for unit in MASKED),
        ]

    def make_folders(self, keys: Keys) -> None:
        """Make what the container needs on this host's disk.

        Args:
            keys: of the machine.
        """
        self.folder.mkdir(mode=0o700)
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
        copy_attributes(self.lowers[0], self.upper)  # an overlay's root folder looks as its uppermost layer says
        build_time_files.build(self.folder / "scaffold", self.lowers, keys, booted=self.mode == "booted")

    def start(self, console: Path) -> int:
        """Start the launcher and return its process id. What it writes goes into `console`.

        Raises:
            DriverError: a tool is not installed.
        """
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment["PATH"] = f"{environment.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        if self.mode == "booted":
            environment |= hierarchy.environment(self.lowers)
        with console.open("ab") as log:
            try:
                process = start_process(
                    [*process_attributes.words(), *self.command],
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=Path("/"),
                    umask=process_attributes.UMASK,
                )
            except FileNotFoundError as error:
                raise DriverError(f"{self.command[0]} is not installed", hint="apt install util-linux") from error
        # Somebody has to take note of its end, or it stays in the process list for as long as we run.
        threading.Thread(target=process.wait, daemon=True, name=f"end of {self.name}").start()
        return process.pid
