"""The driver interface: six verbs that every driver has, and some that it may have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from bakery.disk.bases.base import Base
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Source, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext

S = TypeVar("S", bound=Source)


class PrivateNetwork(Protocol):
    """A network of machines, apart from all others; its addresses are given by whoever uses it."""

    def attach(self, handle: Handle, mac: str) -> None:
        """Give a running machine one more network card, whose other end is this network.

        Args:
            handle: a machine that was launched with `claim.networked`.
            mac: the card's address, as in `52:54:00:12:34:56`.

        Raises:
            DriverError: the provider refuses.
        """
        ...


class Driver(ABC, Generic[S]):
    """A provider of machines and images.

    A driver holds no state that matters: everything that it must know to destroy a thing is in the `Resource` that the
    journal holds. It makes nothing without `claim.intend(...)` first. One instance serves all builds of a process,
    from several threads.
    """

    name: ClassVar[str]
    """What the journal writes."""
    source: ClassVar[type[Source]]
    """What users return from `@bakery.source`."""
    requires: ClassVar[str] = ""
    """How to install what it needs: `apt install qemu-utils`."""
    checkpoints_cost: ClassVar[bool] = False
    """True where a checkpoint costs money: then only tasks with `checkpoint=True` make one."""

    syncs: ClassVar[bool] = False
    """True where a checkpoint holds only what the machine has written to its disk: `sync` runs before one is made."""

    saves_boot: ClassVar[bool] = False
    """Whether a checkpoint of the freshly booted machine saves more time than it costs."""

    @abstractmethod
    def check(self, boot: S) -> Iterator[Problem]:
        """Look, read-only, at whatever would make the build fail; yield all problems at once."""

    def name_conflicts(self, boot: S, name: str) -> Iterator[Problem]:
        """Say, before anything is made, what would keep the finished image from getting its name; read-only.

        Args:
            boot: the build's source.
            name: the image's name.
        """
        del boot, name
        yield from ()

    @abstractmethod
    def launch(self, boot: S | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine from a source, or from an image or a checkpoint that this driver made.

        Raises:
            DriverError: when the provider refuses.
            RetryableError: when it refuses for now.
        """

    @abstractmethod
    def endpoint(self, handle: Handle) -> Endpoint:
        """Say how to reach the machine. Also the probe for life: it is asked again when a connection is lost.

        Raises:
            NotYet: it has no address yet.
            DriverError: it is dead; with its last words.
        """

    @abstractmethod
    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power the machine off through its guest, and make an image of its disk under a temporary name.

        Args:
            handle: the sealed machine, still running.
            name: what the image will be called once it is kept.
            claim: for the image, which is a resource as well.
        """

    @abstractmethod
    def destroy(self, resource: Resource) -> None:
        """Destroy from the record alone. Idempotent: what is not found is gone. Returns when it is really gone.

        Raises:
            DriverError: it is still there.
        """

    @abstractmethod
    def find(self, where: Where) -> Iterator[Resource]:
        """Find what carries our tags, without a journal."""

    # ---- optional -------------------------------------------------------------------------------------------

    def prepare(self, boot: S, work: WorkContext) -> str | None:
        """Make or find what the machine starts from, and return the key of its content.

        Returns:
            The first parent of all step keys; None where the content is not known, so that no step can be reused.
        """
        base: Any = boot.base
        if isinstance(base, Artifact):
            return base.key or base.sha256 or base.id
        if base is None or isinstance(base, str):
            return str(base)
        return base.disk(work).key if isinstance(base, Base) else None

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Make the tested image the user's: swap it in under its final name, copy, share, retire the old one.

        Called once, after the smoke tests. The old image of that name may go only after the new one stands.
        """
        del name, claim
        return artifact

    def image_format(self, boot: S) -> str | None:
        """Say in which format `capture` makes an image: `qcow2` or `raw` for a file on this host, else a word for it.

        None where that is not known before.
        """
        del boot
        return None

    def delete(self, artifact: Artifact) -> None:
        """Delete a kept image (`bake rm`), with everything that belongs to it.

        Raises:
            DriverError: it is in use, or the provider refuses.
        """
        raise NotImplementedError

    def intact(self, artifact: Artifact) -> bool:
        """Say whether a kept image is still there, unchanged."""
        raise NotImplementedError

    def console(self, handle: Handle) -> str:
        """Return what the machine wrote on its console so far; empty where there is none."""
        del handle
        return ""

    def describe(self, handle: Handle) -> Mapping[str, str]:
        """Say what runs the machine, for reports: `{"accelerator": "tcg"}`. Nothing that is secret."""
        del handle
        return {}

    def collect_diagnostics(self, handle: Handle, folder: Path) -> None:
        """Write whatever explains a failure into `folder`: console text, a screenshot."""
        text = self.console(handle)
        if text:
            (folder / "console.log").write_text(text)

    def screenshot(self, resource: Resource, to: Path) -> None:
        """Write what a running machine shows on its screen as a PNG file.

        Args:
            resource: the machine, as `find` yields it.
            to: the file.

        Raises:
            NotImplementedError: this driver's machines have no screen that can be seen.
        """
        raise NotImplementedError

    def screen_socket(self, resource: Resource) -> Path:
        """Return the UNIX socket at which a running machine shows its screen to VNC viewers.

        Raises:
            NotImplementedError: this driver's machines have none.
        """
        raise NotImplementedError

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Save the running machine under a step's key, into `folder` of the cache; it runs on afterwards.

        One that lives at the provider keeps `claim.note` beside it. Returns None where this driver, or this machine,
        cannot.
        """
        del handle, key, folder, claim
        return None

    def list_checkpoints(self, boot: S, build: str) -> Iterator[tuple[Checkpoint, str]]:
        """Find the checkpoints of a build that live at the provider, whichever host made them, each with its note.

        Args:
            boot: where to look.
            build: the build's name.
        """
        del boot, build
        yield from ()

    def overlaps(self, boot: S) -> bool:
        """Say whether a machine may be started while the one before it is still being destroyed.

        Worth it where destroying takes seconds; wrong where both want the same address or port.
        """
        del boot
        return False

    def prepare_launch(self, boot: S, claim: Claim) -> None:
        """Make beforehand what `launch` will need under this claim besides the image, which is still being captured.

        Called only where machines overlap. A refusal is no failure: `launch` then makes what is missing itself.

        Args:
            boot: what the captured machine was built from.
            claim: under which `launch` will be called.
        """
        del boot, claim

    def private_network(self) -> AbstractContextManager[PrivateNetwork]:
        """Make a network for machines that are tested together; it ends with the `with` block.

        Of drivers whose source says `takes_nodes = True`.
        """
        raise NotImplementedError

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Say in which order things are destroyed: one list after the other, what is in a list at the same time.

        Args:
            resources: oldest first.
        """
        return [[resource] for resource in reversed(resources)]

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say what this host can do with this driver, for `bake doctor`: a line each; no hint means that it is well."""
        del work
        yield from ()

    def needs(self, boot: S | Artifact | Checkpoint) -> Needs:
        """Say what a machine takes from this host."""
        del boot
        return Needs()
