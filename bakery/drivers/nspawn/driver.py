"""The driver of containers on this host: launch, endpoint, capture, destroy, find; checkpoints are layers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bakery.disk import build, fit, image_files, qemuimg
from bakery.drivers.base import Driver
from bakery.drivers.nspawn import base_trees, checkpoints, host, processes, template_ahead
from bakery.drivers.nspawn import capture as disks
from bakery.drivers.nspawn.source import Nspawn, Rooted
from bakery.drivers.nspawn.start import Container
from bakery.drivers.nspawn.template_ahead import TemplateAhead
from bakery.drivers.qemu import acceleration
from bakery.drivers.qemu.machine_spec import MachineSpec, compression
from bakery.errors import DriverError, NotYet
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Where, from_json
from bakery.state.claim import Claim
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.waiting import Cancel, until

CONTAINER = "container"
CONSOLE = "console.log"
LAST_LINES = 15
POWER_OFF = signal.SIGRTMIN + 4
"""systemd(1): start poweroff.target."""
POWER_OFF_TIMEOUT = 120.0
AT_REST = ["sleep", "infinity"]
"""The command that a plain namespace's process 1 becomes when all is set up; see chroot.sh."""
READY = frozenset({"running", "degraded"})
LISTEN = 1.0
"""Seconds that systemd is listened to before we look whether the build was cancelled."""
CONTAINER_NEEDS = Needs(memory=512 << 20, cpus=1)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class StartPoint:
    """What a machine starts from.

    Args:
        tree: the base's file tree.
        key: the base's.
        layer: a saved layer above it.
        settings: for the artifact.
        disk: bytes of the artifact's disk.
    """

    tree: Path
    key: str
    layer: Path | None
    settings: dict[str, Any]
    disk: int

    @property
    def lowers(self) -> tuple[Path, ...]:
        """The layers, topmost first."""
        return (self.tree,) if self.layer is None else (self.layer, self.tree)


class NspawnDriver(Driver[Nspawn]):
    """Containers on this host. Everything in them, mounts and helpers too, ends with one process, the launcher."""

    name = "nspawn"
    source = Nspawn
    requires: ClassVar[str] = "apt install systemd-container slirp4netns"

    def __init__(self) -> None:
        self._templates: dict[str, TemplateAhead] = {}

    def check(self, boot: Nspawn) -> Iterator[Problem]:
        """Look at this host's tools, and at the base."""
        yield from host.problems()
        yield from build.check()
        yield from tools.missing(qemuimg.PACKAGES)
        yield from qemuimg.check(boot.format, boot.compression)
        yield from base_trees.check(boot.base)

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say how containers run here, and what stands in the way."""
        del work
        problems = [*host.problems(), *build.check()]
        yield from problems
        if not any(problem.fatal for problem in problems):
            how = "with systemd inside" if host.mode() == "booted" else "as plain namespaces"
            who = "as this user" if host.rootless() else "as root"
            yield Problem(what=f"containers run {how}, {who}", fatal=False)

    def prepare(self, boot: Nspawn, work: WorkContext) -> str | None:
        """Make the base's tree, or find it in the cache; no disk is made of it."""
        if not isinstance(boot.base, Rooted):
            return super().prepare(boot, work)
        tree = base_trees.tree(boot.base, work)
        fit.require(tree.path, boot.disk_bytes, work)
        return tree.key

    def launch(self, boot: Nspawn | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a container from a base's tree, or from a saved layer above it."""
        start = _start(boot, claim)
        mode = host.mode(start.tree)
        if mode == "plain":
            claim.notice(
                f"no systemd in this container: {host.why_plain(start.tree)}",
                warning=True,
                hint="services are enabled, but not started",
            )
        groups = () if mode == "plain" or host.managed() else tuple(host.cgroup_parents())
        container = Container(
            name=claim.name,
            run=claim.run,
            folder=claim.folder / CONTAINER,
            lowers=start.lowers,
            mode=mode,
            cgroups=tuple(group / claim.name for group in groups),
        )
        intent = claim.intend(CONTAINER, folder=str(container.folder), cgroups=[str(g) for g in container.cgroups])
        container.make_folders(claim.keys)
        if start.layer is not None:
            checkpoints.plant_names(start.layer.parent, container.upper)
        pid = container.start(claim.folder / CONSOLE)
        resource = intent.made(str(pid), started=processes.started(pid))
        layout = disks.layout_of(start.key, start.disk)
        if template := template_ahead.begin(start.tree, layout, container.folder, claim):
            self._templates[claim.name] = template
        return Handle(
            driver=self.name,
            id=claim.name,
            resource=resource,
            folder=claim.folder,
            settings=start.settings,
            data={
                "mode": mode,
                "tree": str(start.tree),
                "key": start.key,
                "layer": str(start.layer or ""),
                "disk": start.disk,
            },
        )

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say which process leads the container, once systemd in it has started what it starts."""
        launcher = int(handle.resource.id or 0)
        if not processes.alive(launcher, handle.resource.data["started"]):
            raise DriverError(
                "the container has ended",
                why=_last_words(self.console(handle)),
                hint=f"all it wrote is in {handle.folder / CONSOLE}",
            )
        leader = processes.leader(launcher)
        if leader is None:
            raise NotYet("the container's first process")
        if handle.data["mode"] == "booted":
            _require_ready(leader)
        elif processes.words_of(leader)[:2] != AT_REST:
            raise NotYet("the container's root folder")  # until then, its root is this host's
        return Endpoint(
            transport="namespace", host="", port=0, data={"pid": leader, "start": processes.started(leader)}
        )

    def console(self, handle: Handle) -> str:
        """Return what systemd wrote on the console."""
        with suppress(FileNotFoundError):
            return (handle.folder / CONSOLE).read_text(errors="replace").replace("\r", "")
        return ""

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power off, put the layers together, and make the same kind of disk as a virtual machine has."""
        self._power_off(handle, claim)
        folder, shape = handle.folder / CONTAINER, from_json(MachineSpec, handle.settings)
        layers = [folder / "upper", *(Path(layer) for layer in (handle.data["layer"],) if layer)]

        form: qemuimg.Format = "raw" if shape.format == "raw" else "qcow2"

        def write(path: Path) -> str:
            return disks.write(
                path,
                format=form,
                layers=layers,
                tree=Path(handle.data["tree"]),
                layout=disks.layout_of(handle.data["key"], handle.data["disk"]),
                folder=folder,
                work=claim,
                compression=compression(shape),
            )

        return image_files.make(write, name, format=form, settings=handle.settings, claim=claim)

    def image_format(self, boot: Nspawn) -> str:
        """Return what the source asks for."""
        return boot.format

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Give the image its final name, in the old one's place."""
        del claim
        return image_files.keep(artifact, name)

    def delete(self, artifact: Artifact) -> None:
        """Delete an image."""
        image_files.delete(artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether an image is there, unchanged."""
        return image_files.intact(artifact)

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Save the machine's layer; its files only, so that a restored machine boots."""
        if host.rootless():
            return None
        leader = processes.leader(int(handle.resource.id or 0))
        if leader is None:
            raise DriverError("the container has ended", why=_last_words(self.console(handle)))
        below = Path(handle.data["layer"]) if handle.data["layer"] else None
        checkpoints.save(handle.folder / CONTAINER, leader, below, folder, claim.cancel)
        settings = {name: handle.data[name] for name in ("tree", "key", "disk")} | {"machine": dict(handle.settings)}
        return Checkpoint(driver=self.name, key=key, folder=folder, settings=settings)

    def destroy(self, resource: Resource) -> None:
        """End the container and remove its folder; or remove an image that was not kept."""
        if resource.kind == image_files.KIND:
            image_files.destroy(resource)
            return
        if template := self._templates.pop(resource.key, None):
            template.stop()
        processes.end(resource.key)
        for group in map(Path, resource.data.get("cgroups", ())):
            _remove_cgroup(group)
        build.remove(Path(resource.data["folder"]), WorkContext(cache=Path()))

    def find(self, where: Where) -> Iterator[Resource]:
        """Find containers that run on this host, from their launchers' command lines."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        for launcher in processes.launchers():
            age = uptime - int(launcher.started) / TICKS
            if where.run not in {None, launcher.run} or age < (where.older_than or 0.0):
                continue
            yield Resource(
                driver=self.name,
                kind=CONTAINER,
                key=launcher.name,
                id=str(launcher.pid),
                run=launcher.run,
                data={"folder": str(launcher.folder), "cgroups": list(launcher.cgroups), "started": launcher.started},
            )

    def needs(self, boot: Nspawn | Artifact | Checkpoint) -> Needs:
        """Return the larger need: the container's, whose tasks are guessed at, or the testing machine's."""
        if not isinstance(boot, Nspawn):
            return CONTAINER_NEEDS
        shape = boot.shape("")
        return Needs(
            memory=max(CONTAINER_NEEDS.memory, shape.memory),
            cpus=max(CONTAINER_NEEDS.cpus, shape.cpus),
            labels=acceleration.labels(shape.accel),
        )

    def _power_off(self, handle: Handle, claim: Claim) -> None:
        """Let systemd stop its services, so that their files are whole."""
        launcher, since = int(handle.resource.id or 0), handle.resource.data["started"]
        leader = processes.leader(launcher)
        if leader is not None:
            os.kill(leader, POWER_OFF if handle.data["mode"] == "booted" else signal.SIGKILL)

        def ended() -> None:
            if processes.alive(launcher, since):
                raise NotYet("the container is stopping its services")

        until(
            ended,
            what="the container's power-off",
            timeout=POWER_OFF_TIMEOUT,
            cancel=claim.cancel,
            notify=claim.waiting,
            every=(0.01, 0.1),
            hint=f"see {handle.folder / CONSOLE}",
        )


def _start(boot: Nspawn | Artifact | Checkpoint, claim: Claim) -> StartPoint:
    match boot:
        case Checkpoint(folder=Path() as folder, settings=known):
            return StartPoint(
                tree=Path(known["tree"]),
                key=known.get("key", ""),
                layer=folder / checkpoints.LAYER,
                settings=dict(known["machine"]),
                disk=known["disk"],
            )
        case Nspawn():
            tree = base_trees.tree(boot.base, claim)
            fit.require(tree.path, boot.disk_bytes, claim)
            fit.require_file(claim.folder, boot.disk_bytes)
            return StartPoint(
                tree=tree.path,
                key=tree.key,
                layer=None,
                settings=boot.shape(tree.login).to_json(),
                disk=boot.disk_bytes,
            )
    raise DriverError(
        f"a container cannot start from {type(boot).__name__}",
        why="it needs a base's file tree",
        hint="images are disks: they are booted by the qemu driver",
    )


def _require_ready(leader: int) -> None:
    """Ask systemd in the container for its state.

    Raises:
        NotYet: it is still starting.
        DriverError: it gave up.
    """
    if Path(processes.words_of(leader)[0]).name == "systemd-nspawn":
        raise NotYet("the container's first process")  # it has not become systemd yet
    # Its root folder is that of its mount namespace only where pivot_root(2) works, which it does not from a chroot.
    enter = ["nsenter", "--target", str(leader), "--all", "--root", "--wd"]
    words = [*enter, "systemctl", "is-system-running", "--wait"]
    try:
        said = run_process(words, cancel=Cancel(), timeout=LISTEN)
    except TimedOut:
        raise NotYet("systemd in the container is starting services") from None
    state = said.stdout.strip()
    if state == "maintenance":
        raise DriverError("systemd in the container is in emergency or rescue mode", hint="see the console")
    if state not in READY:
        raise NotYet(f"systemd in the container: {state or 'not yet there'}")


def _last_words(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:]) or "it wrote nothing"


def _remove_cgroup(group: Path) -> None:
    """Remove a control group and those below it; they are empty once their processes have ended."""

    def gone() -> None:
        try:
            for path, _, _ in os.walk(group, topdown=False):
                Path(path).rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise NotYet(f"{group}: {error.strerror}") from error

    until(gone, what=f"removing the control group {group}", timeout=10, cancel=WorkContext(cache=Path()).cancel)
