"""The driver of the folder cloud: short enough to be read as the example of how a driver is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from bakery.disk import image_files
from bakery.disk.qemuimg import Format
from bakery.drivers.base import Driver
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Problem, Resource, Source, Where
from bakery.state.claim import Claim
from bakery.testing.folder.cloud import BUSYBOX, FolderCloud, Kind, NotFound
from bakery.testing.folder.disk import write_disk
from bakery.util.retry import retry
from bakery.util.waiting import until

KINDS: dict[str, Kind] = {"keypair": "keypairs", "machine": "machines", "image": "images"}


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """A machine in the folder cloud: a busybox system in namespaces of its own. Commands in it are real.

    Args:
        cloud: the folder.
        base: None for an empty system, or an image of this cloud.
        patience: seconds to wait for a machine or an image.
        disk: the format in which the image is a disk file beside the imagefile as well; None for one that is in the
            cloud alone.
    """

    driver: ClassVar[str] = "folder"
    cloud: str
    base: Any = None
    patience: float = 10.0
    disk: Format | None = None


class FolderDriver(Driver[Folder]):
    """A provider for tests."""

    name: ClassVar[str] = "folder"
    source: ClassVar[type[Source]] = Folder
    requires: ClassVar[str] = "apt-get install busybox-static"
    checkpoints_cost: ClassVar[bool] = True

    def check(self, boot: Folder) -> Iterator[Problem]:
        """See that machines can be made at all."""
        del boot
        if not any(Path(path).exists() for path in BUSYBOX):
            yield Problem(what="busybox is not installed", hint=self.requires)

    def launch(self, boot: Folder | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Make a keypair and a machine."""
        settings, image = _settings(boot)
        cloud = FolderCloud(Path(settings["cloud"]))
        place = {"cloud": settings["cloud"]}
        intent = claim.intend("keypair", **place)
        retry(lambda: _unless_there(cloud, claim, intent.resource), claim.cancel)
        intent.made(intent.resource.key)
        intent = claim.intend("machine", **place)
        number = retry(lambda: cloud.run_machine(claim.name, image, claim.name, claim.tags), claim.cancel)
        resource = intent.made(number)
        return Handle(driver=self.name, id=number, resource=resource, folder=claim.folder, settings=settings)

    def overlaps(self, boot: Folder) -> bool:
        """Like a cloud's, so that tests see what happens there."""
        del boot
        return True

    def endpoint(self, handle: Handle) -> Endpoint:
        """Return the machine's leader process."""
        try:
            record = _cloud(handle.settings).describe_machine(handle.id)
        except NotFound:
            raise NotYet("the cloud does not show the machine yet") from None
        except RetryableError as error:
            raise NotYet(error.what) from None
        match record["state"]:
            case "running":
                return Endpoint(transport="namespace", data={"pid": record["pid"]})
            case "building":
                raise NotYet("the cloud is building the machine")
            case state:
                raise DriverError(f"the machine {handle.id} is {state}", why="it ended without being asked to")

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Stop the machine and make an image, under a name that says that it is not tested yet."""
        cloud = _cloud(handle.settings)
        retry(lambda: cloud.stop_machine(handle.id), claim.cancel)
        intent = claim.intend("image", cloud=handle.settings["cloud"])
        number = retry(lambda: _image_once(cloud, handle.id, claim), claim.cancel)
        intent.made(number)
        self._available(cloud, number, handle.settings, claim)
        artifact = Artifact(
            driver=self.name, id=number, name=name, format="tar", settings=handle.settings, created=datetime.now(UTC)
        )
        disk: Format | None = handle.settings.get("disk")
        return write_disk(cloud.path / "images" / number / "tree.tar", artifact, disk, claim) if disk else artifact

    def _available(self, cloud: FolderCloud, number: str, settings: Any, claim: Claim) -> None:
        def probe() -> None:
            try:
                state = cloud.describe_image(number)["state"]
            except NotFound:
                raise NotYet("the cloud does not show the image yet") from None
            except RetryableError as error:
                raise NotYet(error.what) from None
            if state == "killed":
                raise DriverError(f"the image {number} failed", why="the cloud says: killed")
            if state != "available":
                raise NotYet(f"the image is {state}")

        until(
            probe,
            what=f"the image {number} becomes available",
            timeout=settings["patience"],
            cancel=claim.cancel,
            notify=claim.waiting,
        )

    def image_format(self, boot: Folder) -> str:
        """Return the format of the disk file, or of the archive in the cloud."""
        return boot.disk or "tar"

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Give the image its final name; then, and only then, retire older ones of that name."""
        cloud, number = _cloud(artifact.settings), image_number(artifact)
        retry(lambda: cloud.rename_image(number, name), claim.cancel)
        if artifact.id != number:
            artifact = image_files.keep(artifact, name)
        claim.commit()
        # Looked up only now, and only those named before: of two builders at once, the image of the later one stays.
        named = [record for record in retry(lambda: cloud.list("images"), claim.cancel) if record["name"] == name]
        own = [(record["named"], record["id"]) for record in named if record["id"] == number]
        for record in named if own else ():  # ours is gone already, where a later builder was quicker
            if (record.get("named", 0), record["id"]) < own[0]:
                _gone(cloud, "images", record["id"])
        return artifact

    def delete(self, artifact: Artifact) -> None:
        """Delete an image."""
        _gone(_cloud(artifact.settings), "images", image_number(artifact))
        if artifact.id != image_number(artifact):
            image_files.delete(artifact)

    def intact(self, artifact: Artifact) -> bool:
        """See whether the image is there."""
        number = image_number(artifact)
        if artifact.id != number and not image_files.intact(artifact):
            return False
        return any(record["id"] == number for record in _cloud(artifact.settings).list("images"))

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Make an image of the machine as it runs, with the step's key and the note in its tags."""
        del folder
        cloud = _cloud(handle.settings)
        intent = claim.intend("image", f"step-{key}", cloud=handle.settings["cloud"])
        tags = {"bakery:build": claim.build, "bakery:step": key, "bakery:note": claim.note}
        intent.made(retry(lambda: cloud.create_image(handle.id, f"step-{key}", tags, running=True), claim.cancel))
        intent.keep()
        return _checkpoint(handle.settings, key, str(intent.resource.id))

    def list_checkpoints(self, boot: Folder, build: str) -> Iterator[tuple[Checkpoint, str]]:
        """Find them by their tags."""
        for record in FolderCloud(Path(boot.cloud)).list("images"):
            tags = record["tags"]
            if "bakery:step" in tags and tags["bakery:build"] == build:
                yield _checkpoint(_settings(boot)[0], tags["bakery:step"], record["id"]), tags["bakery:note"]

    def destroy(self, resource: Resource) -> None:
        """Delete by id, or by the name that we chose, where the answer with the id was lost."""
        if resource.kind == image_files.KIND:
            image_files.destroy(resource)
            return
        cloud, kind = FolderCloud(Path(resource.data["cloud"])), KINDS[resource.kind]
        for record in cloud.list(kind):
            if record["name"] == resource.key or (resource.id and record.get("id") == resource.id):
                _gone(cloud, kind, record.get("id") or record["name"])

    def find(self, where: Where) -> Iterator[Resource]:
        """Find by tag."""
        cloud = FolderCloud(Path(where.settings["cloud"]))
        now = datetime.now(UTC).timestamp()
        for word, kind in KINDS.items():
            for record in cloud.list(kind):
                run = record["tags"].get("bakery:run", "")
                if not run or (where.run and run != where.run) or now - record["created"] < (where.older_than or 0):
                    continue
                yield Resource(
                    driver=self.name,
                    kind=word,
                    key=record["name"],
                    id=record.get("id") or record["name"],
                    run=run,
                    build=record["tags"]["bakery:build"],
                    data={"cloud": where.settings["cloud"]},
                )


def _settings(boot: Folder | Artifact | Checkpoint) -> tuple[dict[str, Any], str | None]:
    if isinstance(boot, Artifact):
        return {name: value for name, value in boot.settings.items() if name != "image"}, image_number(boot)
    if isinstance(boot, Checkpoint):
        return {name: value for name, value in boot.settings.items() if name != "image"}, boot.settings["image"]
    image = image_number(boot.base) if isinstance(boot.base, Artifact) else boot.base
    return {"cloud": boot.cloud, "patience": boot.patience, "disk": boot.disk}, image


def image_number(artifact: Artifact) -> str:
    """Return what the cloud calls an image."""
    number: str = artifact.settings.get("image", artifact.id)
    return number


def _checkpoint(settings: Mapping[str, Any], key: str, image: str) -> Checkpoint:
    return Checkpoint(driver="folder", key=key, settings={**settings, "image": image})


def _cloud(settings: Any) -> FolderCloud:
    return FolderCloud(Path(settings["cloud"]))


def _unless_there(cloud: FolderCloud, claim: Claim, resource: Resource) -> None:
    """Create the keypair; an answer that was lost is found again by the name that we chose."""
    if all(record["name"] != resource.key for record in cloud.list("keypairs")):
        cloud.create_keypair(resource.key, claim.keys.user_public, claim.tags)


def _image_once(cloud: FolderCloud, machine: str, claim: Claim) -> str:
    for record in cloud.list("images"):
        if record["name"] == claim.name:
            number: str = record["id"]
            return number
    try:
        return cloud.create_image(machine, claim.name, claim.tags)
    except NotFound:
        raise RetryableError("the cloud does not show the machine yet") from None


def _gone(cloud: FolderCloud, kind: Kind, number: str) -> None:
    try:
        cloud.delete(kind, number)
    except NotFound:
        return
