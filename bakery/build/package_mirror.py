"""What a local machine is given only while it is built: a way to the host's package mirror. Taken back by the seal."""

from __future__ import annotations

from bakery.build.running import RunningMachine
from bakery.disk.bases import host_apt
from bakery.disk.bases.host_apt import AptSetup
from bakery.imagefile.base_images import LOCAL

LOOPBACK = "10.0.2.2"  # QEMU's and slirp4netns's address for the host


def enter(running: RunningMachine) -> None:
    """Give a fresh machine what it needs to reach packages from this host, where that is not the default."""
    if _uses_apt(running):
        host_apt.apply(running.machine.for_step("build-time settings"), _setup(running))


def leave(running: RunningMachine) -> None:
    """Take back what a machine needed to reach packages from this host."""
    if _uses_apt(running):
        host_apt.undo(running.machine.for_step("build-time settings"), _setup(running))


def _uses_apt(running: RunningMachine) -> bool:
    return running.driver.name in LOCAL and running.machine.facts.package_manager == "apt-get"


def _setup(running: RunningMachine) -> AptSetup:
    return host_apt.apt_setup(host_apt.host_apt(running.machine.facts.codename), loopback=LOOPBACK)
