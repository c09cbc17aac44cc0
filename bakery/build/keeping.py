"""From a machine, or a file, to an image that is the user's: made under a temporary name, kept once it is tested."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bakery.build.kept_images import write_down
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.user_errors import about_source
from bakery.build.versions import link_current, with_version
from bakery.drivers.publisher import Publisher
from bakery.events import Notice
from bakery.model import Artifact
from bakery.state import package_lists
from bakery.state.ledger import ClaimLedger, MergedLedger


def capture(scope: Scope, running: RunningMachine) -> Artifact:
    """Power off through the guest and make an image under a temporary name; ours until it is kept."""
    with scope.phase("capture"):
        running.link.close()
        scope.machines.prepare_test(running.driver)
        claim, ledger = scope.claims.new("image", running.driver.name)
        return _taken(scope, running.driver.capture(running.handle, scope.build.image, claim), ledger)


def publish(scope: Scope, image: Artifact | None) -> Artifact:
    """Take the image of another build to a provider, as it is, under a temporary name; ours until it is kept."""
    publisher = scope.build.boot
    assert isinstance(publisher, Publisher)  # noqa: S101  that is what such a build is
    assert image is not None  # noqa: S101  it stands on the build that makes it
    with scope.phase("publish"), about_source(scope.job):
        scope.machines.prepare_test(scope.run.drivers.get(publisher.driver))
        claim, ledger = scope.claims.new("image", publisher.driver)
        return _taken(scope, publisher.publish(image, scope.build.image, claim), ledger)


def _taken(scope: Scope, image: Artifact, ledger: ClaimLedger) -> Artifact:
    scope.images[image.id] = ledger
    return replace(image, build=scope.build.name, created=image.created or datetime.now(UTC))


def _origins(scope: Scope) -> dict[str, Any]:
    """Return what an image remembers of how it was made, for the manifest and the next image's comparison."""
    return {
        "imagefile": scope.job.imagefile.name,
        "run": scope.run.folder.id,
        "base_key": scope.base_key,
        package_lists.KEY: package_lists.save(scope.run.state.folder, scope.packages),
    }


def keep(scope: Scope, image: Artifact) -> Artifact:
    """Make the tested image the user's: final name, copies, catalogue. No clean-up touches it afterwards.

    Raises:
        PostError: it is kept, and cannot be written into the catalogue.
    """
    if image.id not in scope.images:  # it was kept before, and only tested again: no newer than it was
        scope.run.state.mark_image(image)
        return image
    with scope.phase("keep"):
        scope.machines.end_those_done_with()
        driver = scope.run.drivers.get(image.driver)
        claim, ledger = scope.claims.new("keep", image.driver)
        name, version = scope.run.naming.take(scope.job, scope.run.state)
        both = replace(claim, ledger=MergedLedger(ledger, scope.images.pop(image.id)))
        with scope.run.state.room(scope.run.folder.path / f"{claim.folder.name}.spare"):
            kept = driver.keep(image, name, both)
        kept = replace(
            kept,
            key=image.key,
            build=image.build,
            created=image.created,
            data={**image.data, **kept.data, **_origins(scope)},
        )
        kept = with_version(kept, scope.job, version)
        both.commit()
        write_down(scope.run, kept, f"artifact-{claim.folder.name}.json")
        if problem := link_current(kept):
            scope.emit(Notice(level="warning", message=problem))
        return kept
