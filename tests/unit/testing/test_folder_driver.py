"""The example driver's verbs that need no machine: looking, naming, retiring, destroying from a record, publishing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import DriverError, NotYet
from bakery.model import Artifact, Endpoint, Handle, Resource, Where, to_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.testing.folder import publish
from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.folder.driver import Folder, FolderDriver, image_number
from bakery.testing.folder.faults import Injection

from .test_folder_cloud import machine

KEYS = make_keys("test")
Image = Callable[..., str]


@pytest.fixture
def cloud(tmp_path: Path) -> FolderCloud:
    """An empty cloud."""
    return FolderCloud(tmp_path / "cloud")


@pytest.fixture
def image(cloud: FolderCloud, tmp_path: Path) -> Image:
    """Put an image into the cloud and return its id."""
    archive = tmp_path / "tree.tar"
    archive.write_bytes(b"a tree")
    return lambda name, **tags: cloud.import_image(archive, name, tags)


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    """A claim with a journal in memory."""
    return Claim(
        cache=tmp_path / "cache",
        run="r-1",
        build="web@box",
        role="image",
        name="bakery-r-1-1",
        folder=tmp_path,
        keys=KEYS,
        images=tmp_path / "images",
        ledger=RecordingLedger(),
        driver="folder",
        tags={"bakery:run": "r-1", "bakery:build": "web@box"},
        note="step 3",
    )


def artifact(cloud: FolderCloud, number: str) -> Artifact:
    return Artifact(
        driver="folder", id=number, name="web", settings={"cloud": str(cloud.path), "patience": 0.2, "disk": None}
    )


def handle(cloud: FolderCloud, number: str, folder: Path) -> Handle:
    resource = Resource(driver="folder", kind="machine", key="k", id=number)
    settings = {"cloud": str(cloud.path), "patience": 0.2, "disk": None}
    return Handle(driver="folder", id=number, resource=resource, folder=folder, settings=settings)


# ---- where a machine is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"pid": 1}, Endpoint(transport="namespace", data={"pid": 1})),
        ({"state": "building"}, "the cloud is building the machine"),
        ({"hidden": 2}, "the cloud does not show the machine yet"),
        ({}, "the machine m-1 is stopped"),
        ({"state": "error"}, "the machine m-1 is error"),
    ],
)
def test_a_machine_has_its_place_has_it_later_or_never(
    cloud: FolderCloud, tmp_path: Path, record: dict[str, Any], answer: Endpoint | str
) -> None:
    machine(cloud, **record)
    try:
        found: Endpoint | str = FolderDriver().endpoint(handle(cloud, "m-1", tmp_path))
    except (NotYet, DriverError) as error:
        found = str(error).partition("\n")[0]
    assert found == answer


def test_a_cloud_that_is_busy_is_asked_again(cloud: FolderCloud, tmp_path: Path) -> None:
    machine(cloud, pid=1)
    cloud.faults.inject(Injection(call="describe_machine", fault="throttled"))
    with pytest.raises(NotYet, match="limit"):
        FolderDriver().endpoint(handle(cloud, "m-1", tmp_path))


# ---- keeping --------------------------------------------------------------------------------------------------------


def test_the_new_image_gets_the_name_and_only_then_the_old_one_goes(
    cloud: FolderCloud, image: Image, claim: Claim
) -> None:
    old, other, new = image("candidate"), image("db"), image("candidate")
    cloud.rename_image(old, "web")
    kept = FolderDriver().keep(artifact(cloud, new), "web", claim)
    assert kept.id == new
    assert {record["id"]: record["name"] for record in cloud.list("images")} == {new: "web", other: "db"}
    assert isinstance(claim.ledger, RecordingLedger)
    assert claim.ledger.committed


def test_an_image_that_was_named_later_than_ours_stays(cloud: FolderCloud, image: Image, claim: Claim) -> None:
    ours, later = image("candidate"), image("web")
    cloud._update("images", later, named=4e9)
    FolderDriver().keep(artifact(cloud, ours), "web", claim)
    assert {record["id"] for record in cloud.list("images")} == {ours, later}


def test_where_the_name_is_refused_the_old_image_stays(cloud: FolderCloud, image: Image, claim: Claim) -> None:
    old, new = image("web"), image("candidate")
    cloud.faults.inject(Injection(call="rename_image", fault="denied"))
    with pytest.raises(DriverError, match="denied"):
        FolderDriver().keep(artifact(cloud, new), "web", claim)
    assert {record["id"] for record in cloud.list("images")} == {old, new}
    assert isinstance(claim.ledger, RecordingLedger)
    assert not claim.ledger.committed


def test_an_image_is_intact_until_it_is_deleted_which_may_be_said_twice(cloud: FolderCloud, image: Image) -> None:
    driver, kept = FolderDriver(), artifact(cloud, image("web"))
    assert driver.intact(kept)
    driver.delete(kept)
    assert not driver.intact(kept)
    driver.delete(kept)


def test_an_image_that_is_a_file_too_is_known_in_the_cloud_by_its_number() -> None:
    in_cloud = Artifact(driver="folder", id="i-1", name="web")
    on_disk = Artifact(driver="folder", id="/images/web.qcow2", name="web", settings={"image": "i-1"})
    assert image_number(in_cloud) == image_number(on_disk) == "i-1"


@pytest.mark.parametrize(("disk", "shown"), [(None, "tar"), ("qcow2", "qcow2"), ("raw", "raw")])
def test_the_format_is_the_disk_files_or_the_archives(disk: Any, shown: str) -> None:
    assert FolderDriver().image_format(Folder(cloud="c", disk=disk)) == shown


# ---- destroying and finding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["id", "key", "both", "neither"])
def test_a_thing_is_destroyed_by_its_id_or_by_the_name_that_we_chose(
    cloud: FolderCloud, image: Image, known: str
) -> None:
    number, other = image("bakery-r-1-1"), image("other")
    resource = Resource(
        driver="folder",
        kind="image",
        key="bakery-r-1-1" if known in ("key", "both") else "lost",
        id=number if known in ("id", "both") else None,
        data={"cloud": str(cloud.path)},
    )
    for _ in range(2):
        FolderDriver().destroy(resource)
    assert {record["id"] for record in cloud.list("images")} == ({other} if known != "neither" else {number, other})


def test_a_keypair_has_no_id_but_its_name(cloud: FolderCloud) -> None:
    cloud.create_keypair("bakery-r-1-1", "ssh-ed25519 AAAA", {})
    cloud.create_keypair("other", "ssh-ed25519 AAAA", {})
    FolderDriver().destroy(
        Resource(driver="folder", kind="keypair", key="bakery-r-1-1", data={"cloud": str(cloud.path)})
    )
    assert [record["name"] for record in cloud.list("keypairs")] == ["other"]


@pytest.mark.parametrize(
    ("run", "older_than", "names"),
    [
        (None, None, ["k", "mine", "web"]),
        ("r-1", None, ["mine", "web"]),
        ("r-2", None, ["k"]),
        ("r-3", None, []),
        (None, 1e8, ["mine"]),
    ],
)
def test_what_carries_our_tags_is_found_by_run_and_age(
    cloud: FolderCloud, image: Image, run: str | None, older_than: float | None, names: list[str]
) -> None:
    tags = {"bakery:build": "web@box"}
    cloud.create_keypair("k", "ssh-ed25519 AAAA", {**tags, "bakery:run": "r-2"})
    machine(cloud, "m-1", name="mine", created=1.0)
    image("web", **{**tags, "bakery:run": "r-1"})
    image("of somebody else")
    where = Where(run=run, older_than=older_than, settings={"cloud": str(cloud.path)})
    assert sorted(resource.key for resource in FolderDriver().find(where)) == names


def test_what_was_found_can_be_destroyed_from_its_record_alone(cloud: FolderCloud, image: Image) -> None:
    image("web", **{"bakery:run": "r-1", "bakery:build": "web@box"})
    for resource in list(FolderDriver().find(Where(settings={"cloud": str(cloud.path)}))):
        data: dict[str, Any] = json.loads(json.dumps(to_json(resource)))
        data.pop("type")
        FolderDriver().destroy(Resource(**data))
    assert cloud.list("images") == []


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_checkpoints_are_found_by_build_with_their_key_and_note(cloud: FolderCloud, image: Image) -> None:
    number = image("step-abc", **{"bakery:build": "web@box", "bakery:step": "abc", "bakery:note": "step 3"})
    image("step-def", **{"bakery:build": "db@box", "bakery:step": "def", "bakery:note": ""})
    image("web", **{"bakery:build": "web@box"})
    source = Folder(cloud=str(cloud.path))
    ((checkpoint, note),) = FolderDriver().list_checkpoints(source, "web@box")
    assert (checkpoint.key, checkpoint.settings["image"], note) == ("abc", number, "step 3")
    assert checkpoint.settings["cloud"] == str(cloud.path)


# ---- publishing -----------------------------------------------------------------------------------------------------


def test_publishing_takes_the_archive_to_another_cloud(
    cloud: FolderCloud, image: Image, claim: Claim, tmp_path: Path
) -> None:
    there = FolderCloud(tmp_path / "there")
    source = publish.Folder(cloud=str(there.path))
    published = source.publish(artifact(cloud, image("web")), "web", claim)
    (record,) = there.list("images")
    assert (published.id, published.format, published.settings["cloud"]) == (record["id"], "tar", str(there.path))
    assert (record["name"], record["tags"]) == (claim.name, claim.tags)
    assert (there.path / "images" / published.id / "tree.tar").read_bytes() == b"a tree"


def test_publishing_whose_answer_was_lost_uploads_once(
    cloud: FolderCloud, image: Image, claim: Claim, tmp_path: Path
) -> None:
    there = FolderCloud(tmp_path / "there")
    there.faults.inject(Injection(call="import_image", fault="answer-lost"))
    published = publish.Folder(cloud=str(there.path)).publish(artifact(cloud, image("web")), "web", claim)
    assert [record["id"] for record in there.list("images")] == [published.id]


def test_an_image_without_an_archive_is_not_published(cloud: FolderCloud, claim: Claim, tmp_path: Path) -> None:
    there = FolderCloud(tmp_path / "there")
    with pytest.raises(DriverError, match="the image i-9 has no archive"):
        publish.Folder(cloud=str(there.path)).publish(artifact(cloud, "i-9"), "web", claim)
    assert there.list("images") == []


def test_the_other_cloud_must_be_there(tmp_path: Path) -> None:
    (problem,) = publish.Folder(cloud=str(tmp_path / "there")).check()
    assert problem.what == f"there is no cloud in {tmp_path}/there"
    (tmp_path / "there").mkdir()
    assert list(publish.Folder(cloud=str(tmp_path / "there")).check()) == []
