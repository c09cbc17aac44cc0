"""Publishing from one folder cloud to another: short enough to be read as the example of how a publisher is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bakery.drivers.publisher import Publisher
from bakery.errors import DriverError
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim
from bakery.testing.folder import driver
from bakery.testing.folder.cloud import FolderCloud
from bakery.util.retry import retry


@dataclass(frozen=True, kw_only=True)
class Folder(driver.Folder, Publisher):
    """Takes an image of a folder cloud to another one.

    Args:
        cloud: where it goes.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"folder"})
    base: Any = None

    def check(self) -> Iterator[Problem]:
        """See that the other cloud is there; it is not made by publishing to it."""
        if not Path(self.cloud).is_dir():
            yield Problem(what=f"there is no cloud in {self.cloud}", hint="make the folder")

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Upload the image's archive."""
        tree = Path(artifact.settings["cloud"]) / "images" / driver.image_number(artifact) / "tree.tar"
        if not tree.is_file():
            raise DriverError(f"the image {artifact.id} has no archive", why=str(tree))
        cloud = FolderCloud(Path(self.cloud))
        intent = claim.intend("image", cloud=self.cloud)
        number = retry(lambda: _once(cloud, tree, claim), claim.cancel)
        intent.made(number)
        settings = {"cloud": self.cloud, "patience": self.patience}
        return Artifact(driver="folder", id=number, name=name, format="tar", settings=settings)


def _once(cloud: FolderCloud, tree: Path, claim: Claim) -> str:
    """Upload it, unless an answer was lost: it is found again by the name that we chose."""
    for record in cloud.list("images"):
        if record["name"] == claim.name:
            return str(record["id"])
    return cloud.import_image(tree, claim.name, claim.tags)
