"""What is asked of Glance: changes, uploads, imports, sharing, the older images; and what is made of its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.api.errors import OpenStackError, OpenStackRetryableError
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.image import capture, checkpoints, images, keep, upload
from bakery.drivers.openstack.machine import base_images
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl, Old
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError, DriverError, Interrupted, PreflightError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel
from tests.contract.openstack_stand_in import Answer, Request, StandIn

Sent = Callable[..., list[Request]]
Script = Callable[..., None]
PLAIN = OpenStack(base="tiny", flavor="tiny", network="private", poll=0.01, image_timeout=5)
LOST = Answer(0, lost=True)
OWNER = "be3c5754bdc0485180bfd069949e0e59"


def image(api: StandIn, id_: str, **more: Any) -> str:
    """Put an image into Glance; its name is its id, unless said otherwise."""
    known = {"id": id_, "name": id_, "status": "active", "visibility": "private", "owner": OWNER, "tags": []}
    api.things["images"][id_] = {**known, "created_at": "2026-11-01T00:00:00Z", "size": 3, **more}
    return id_


def artifact(cloud: OpenStackCloud, source: OpenStack, name: str) -> Artifact:
    return Artifact(
        driver="openstack",
        id=name,
        name="web",
        format="glance",
        settings={"source": source.settings(), **cloud.record, "image": name},
        data={"glance_name": name},
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )


# ---- one change, one request ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "gone", "steps"),
    [
        ({"name": "web"}, (), [{"op": "replace", "path": "/name", "value": "web"}]),
        ({"os_distro": "debian"}, (), [{"op": "add", "path": "/os_distro", "value": "debian"}]),
        ({"hw_cpu_cores": "4"}, (), [{"op": "replace", "path": "/hw_cpu_cores", "value": "4"}]),
        ({"tags": ["b"]}, (), [{"op": "replace", "path": "/tags", "value": ["b"]}]),
        ({"os_hidden": True}, (), [{"op": "replace", "path": "/os_hidden", "value": True}]),
        ({"protected": False}, (), [{"op": "replace", "path": "/protected", "value": False}]),
        ({}, ("bakery:run", "bakery:none"), [{"op": "remove", "path": "/bakery:run"}]),
        ({"a/b~c": "x"}, (), [{"op": "add", "path": "/a~1b~0c", "value": "x"}]),
        (
            {"name": "web", "bakery:image": "web"},
            ("bakery:run",),
            [
                {"op": "replace", "path": "/name", "value": "web"},
                {"op": "add", "path": "/bakery:image", "value": "web"},
                {"op": "remove", "path": "/bakery:run"},
            ],
        ),
    ],
)
def test_a_change_is_one_patch(
    cloud: OpenStackCloud,
    api: StandIn,
    sent: Sent,
    changes: dict[str, Any],
    gone: tuple[str, ...],
    steps: list[dict[str, Any]],
) -> None:
    image(api, "i", tags=["a"], os_hidden=False, protected=True, hw_cpu_cores="2", **{"bakery:run": "r"})
    images.change(cloud, "i", changes, gone=gone)
    (request,) = sent("PATCH image /images/i")
    assert request.body == steps
    assert request.headers["Content-Type"] == "application/openstack-images-v2.1-json-patch"


def test_a_change_of_nothing_asks_for_nothing(cloud: OpenStackCloud, api: StandIn, sent: Sent) -> None:
    image(api, "i")
    images.change(cloud, "i", {}, gone=("bakery:run",))
    assert not sent("PATCH")


def test_a_change_whose_answer_is_lost_is_made_of_what_is_there_then(
    cloud: OpenStackCloud, api: StandIn, sent: Sent, script: Script
) -> None:
    image(api, "i", **{"bakery:run": "r"})
    script("PATCH image /images/i", LOST)
    changed = images.change(cloud, "i", {"bakery:image": "web"}, gone=("bakery:run",))
    assert [request.body for request in sent("PATCH")] == [
        [{"op": "add", "path": "/bakery:image", "value": "web"}, {"op": "remove", "path": "/bakery:run"}],
        [{"op": "replace", "path": "/bakery:image", "value": "web"}],
    ]
    assert images.properties_of(changed) == {"bakery:image": "web"}


# ---- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(images.FAILED))
def test_an_image_that_fails_ends_the_wait(cloud: OpenStackCloud, api: StandIn, claim: Claim, status: str) -> None:
    image(api, "i", status=status)
    with pytest.raises(DriverError, match="the image i failed") as caught:
        images.wait_active(cloud, "i", claim, 5)
    assert caught.value.why == f"Glance says: {status}"


def test_a_failed_import_says_why(cloud: OpenStackCloud, api: StandIn, claim: Claim) -> None:
    image(api, "i", status="killed", os_glance_failed_import="file: no room")
    with pytest.raises(DriverError) as caught:
        images.wait_active(cloud, "i", claim, 5)
    assert caught.value.why == "file: no room"


def test_an_image_that_vanishes_was_given_up(cloud: OpenStackCloud, claim: Claim, script: Script) -> None:
    with pytest.raises(DriverError, match="is gone before it was done"):
        images.wait_active(cloud, "i", claim, 5)
    queued = Answer(200, {"id": "i", "status": "queued"})
    script("GET image /images/i", Answer(404, {}), queued, Answer(404, {}))
    with pytest.raises(DriverError, match="is gone before it was done"):
        images.wait_active(cloud, "i", claim, 5, expected=False)


def test_an_image_is_waited_for_while_glance_has_no_time(cloud: OpenStackCloud, claim: Claim, script: Script) -> None:
    states = [Answer(200, {"id": "i", "status": status}) for status in ("queued", "saving", "active")]
    script("GET image /images/i", *[Answer(503, None)] * 7, *states)
    assert images.wait_active(cloud, "i", claim, 5).status == "active"


def test_a_wait_ends_at_its_deadline_with_the_state(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(api, "i", status="queued")
    monkeypatch.undo()  # the clock runs
    with pytest.raises(BakeryError, match="becomes active") as caught:
        images.wait_active(cloud, "i", claim, 0.05)
    assert "queued" in caught.value.why
    assert "image_timeout" in caught.value.hint


def test_a_wait_ends_when_the_build_is_cancelled(cloud: OpenStackCloud, api: StandIn, claim: Claim) -> None:
    image(api, "i", status="queued")
    cancel = Cancel()
    cancel.set("stop")
    with pytest.raises(Interrupted, match="stop"):
        images.wait_active(cloud, "i", replace(claim, cancel=cancel), 5)


@pytest.mark.parametrize(
    ("devices", "snapshots"),
    [
        (json.dumps([{"snapshot_id": "s", "boot_index": 0}, {"snapshot_id": None}]), ["s"]),
        ([{"snapshot_id": "s"}, {"snapshot_id": "t"}], ["s", "t"]),
        ("", []),
        (None, []),
    ],
)
def test_the_snapshots_of_an_image_are_read_from_nova_s_property(
    cloud: OpenStackCloud, api: StandIn, devices: Any, snapshots: list[str]
) -> None:
    image(api, "i", block_device_mapping=devices)
    (one,) = resources.list_all(cloud, "image", name="i")
    assert images.snapshots_of(one) == snapshots


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["creating", "available"], ""),
        (["creating", "error"], "Cinder says: error"),
        (["error_deleting"], "Cinder says: error_deleting"),
        (["creating", "gone"], "Cinder says: gone"),
    ],
)
def test_the_snapshots_of_an_image_are_waited_for(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, script: Script, states: list[str], said: str
) -> None:
    image(api, "i", block_device_mapping='[{"snapshot_id": "s"}]')
    answers = [
        Answer(404, {}) if state == "gone" else Answer(200, {"snapshot": {"id": "s", "status": state}})
        for state in states
    ]
    script("GET block_storage /snapshots/s", *answers)
    current = images.wait_active(cloud, "i", claim, 5)
    if not said:
        assert images.wait_snapshots(cloud, current, claim, 5) == ["s"]
        return
    with pytest.raises(DriverError, match="the snapshot s failed") as caught:
        images.wait_snapshots(cloud, current, claim, 5)
    assert caught.value.why == said


# ---- uploads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * ((1 << 20) + 5))
    return path


def taken(api: StandIn, **more: Any) -> Callable[[Request], Answer | None]:
    """Take uploads, as Glance does: its digest is that of the bytes it got, unless said otherwise."""

    def fault(request: Request) -> Answer | None:
        if request.method == "PUT" and request.path.endswith("/file"):
            one = api.things["images"][request.path.split("/")[2]]
            digest = hashlib.sha512(request.data).hexdigest()
            one.update(status="active", size=len(request.data), os_hash_algo="sha512", os_hash_value=digest, **more)
            api.looks.pop(one["id"], None)
            return Answer(204)
        return None

    return fault


def test_a_disk_is_uploaded_whole_and_once(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, sent: Sent, disk: Path
) -> None:
    api.fault = taken(api)
    uploaded = upload.send(cloud, disk, "raw", claim, timeout=5, properties={"hw_cpu_cores": "2"})
    (record,) = sent("POST image /images")
    assert record.body["visibility"] == "private"
    assert (record.body["disk_format"], record.body["container_format"]) == ("raw", "bare")
    assert record.body["hw_cpu_cores"] == "2", "a property is a text"
    assert record.body["bakery:key"] == record.body["name"]
    assert not [name for name in record.body if name.startswith("owner_specified")]
    (put,) = sent("PUT image")
    assert put.data == disk.read_bytes()
    assert put.headers["Content-Type"] == "application/octet-stream"
    assert put.headers["Content-Length"] == str(disk.stat().st_size)
    assert (uploaded.status, uploaded.size) == ("active", disk.stat().st_size)


def test_a_file_of_the_image_s_name_is_left_alone(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Openstacksdk's create_image would upload it."""
    monkeypatch.chdir(tmp_path)
    Path("key").write_bytes(b"private")
    images.create_empty(cloud, "key", claim, "raw", {})
    assert not sent("PUT")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (LOST, OpenStackRetryableError),
        (Answer(503, None), OpenStackRetryableError),
        (Answer(413, {"message": "too large"}), OpenStackError),
        (Answer(409, {"message": "not allowed"}), OpenStackError),
    ],
)
def test_an_upload_is_never_sent_twice(
    cloud: OpenStackCloud, claim: Claim, script: Script, sent: Sent, disk: Path, answer: Answer, kind: type[Exception]
) -> None:
    script("PUT image /images", answer, answer)
    with pytest.raises(kind, match=r"did not take the disk disk\.raw"):
        upload.send(cloud, disk, "raw", claim, timeout=5, properties={})
    assert len(sent("PUT image")) == 1


def test_an_upload_that_arrived_otherwise_is_damaged(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, disk: Path
) -> None:
    fault = taken(api)

    def spoil(request: Request) -> Answer | None:
        said = fault(request)
        if said:
            api.things["images"][request.path.split("/")[2]]["os_hash_value"] = "0" * 128
        return said

    api.fault = spoil
    with pytest.raises(DriverError, match="Glance holds other bytes") as caught:
        upload.send(cloud, disk, "raw", claim, timeout=5, properties={})
    assert hashlib.sha512(disk.read_bytes()).hexdigest() in caught.value.why


@pytest.mark.parametrize(
    ("algorithm", "value", "sha512", "damaged"),
    [
        ("sha512", "ab", "AB", False),
        ("sha512", "ab", "cd", True),
        ("sha512", "ab", "", False),
        ("sha256", "ab", "cd", False),
        (None, None, "cd", False),
    ],
)
def test_digests_are_compared_where_glance_says_one(
    algorithm: str | None, value: str | None, sha512: str, damaged: bool
) -> None:
    from openstack.image.v2.image import Image

    one = Image(id="i", os_hash_algo=algorithm, os_hash_value=value)
    if damaged:
        with pytest.raises(DriverError, match="other bytes in i"):
            upload.verify(one, sha512)
    else:
        upload.verify(one, sha512)


def test_an_upload_ends_when_the_build_is_cancelled(claim: Claim, disk: Path) -> None:
    cancel = Cancel()
    reader = upload.ProgressReader(disk, replace(claim, cancel=cancel))
    pieces = iter(reader)
    next(pieces)
    cancel.set("stop")
    with pytest.raises(Interrupted):
        next(pieces)
    assert len(reader) == disk.stat().st_size


def test_the_digest_is_made_anew_when_a_file_is_read_again(claim: Claim, disk: Path) -> None:
    reader = upload.ProgressReader(disk, claim)
    for _ in range(2):
        assert b"".join(reader) == disk.read_bytes()
    assert reader.digest.hexdigest() == hashlib.sha512(disk.read_bytes()).hexdigest()


# ---- images that Glance fetches -------------------------------------------------------------------------------------


def test_glance_is_asked_to_fetch_an_address(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, sent: Sent, script: Script
) -> None:
    script("POST image /images/", Answer(202))
    wanted = GlanceUrl(url="https://example.org/d.qcow2", properties={"hw_disk_bus": "scsi"})
    upload.fetched(cloud, wanted, claim)
    record, order = sent("POST image /images")
    assert (record.body["hw_disk_bus"], record.body["disk_format"]) == ("scsi", "qcow2")
    assert order.path.endswith("/import")
    assert order.body == {"method": {"name": "web-download", "uri": "https://example.org/d.qcow2"}}


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_refused_import_is_an_error_at_once(cloud: OpenStackCloud, claim: Claim, script: Script, status: int) -> None:
    """Openstacksdk's import_image returns the refusal, and raises nothing."""
    script("POST image /images/", Answer(status, {"message": "Import method web-download not allowed"}))
    with pytest.raises(OpenStackError, match=r"did not fetch https://example\.org/d") as caught:
        upload.fetched(cloud, GlanceUrl(url="https://example.org/d"), claim)
    assert caught.value.status == status
    assert "not allowed" in caught.value.why


@pytest.mark.parametrize(
    ("answer", "methods"),
    [
        (Answer(200, {"import-methods": {"value": ["web-download"], "type": "array"}}), ["web-download"]),
        (Answer(200, {}), []),
        (Answer(404, {}), []),
    ],
)
def test_the_ways_to_import(cloud: OpenStackCloud, script: Script, answer: Answer, methods: list[str]) -> None:
    script("GET image /info/import", answer)
    assert upload.methods(cloud) == methods


# ---- downloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "damaged"])
def test_a_download_is_under_its_name_only_when_its_digest_is_glance_s(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, script: Script, whole: bool
) -> None:
    data = b"disk" * 1000
    image(
        api,
        "i",
        disk_format="qcow2",
        os_hash_algo="sha512",
        os_hash_value=hashlib.sha512(data).hexdigest(),
        size=len(data),
    )
    script("GET image /images/i/file", Answer(200, data if whole else data[:-1]))
    current = images.wait_active(cloud, "i", claim, 5)
    target = claim.images / "web.qcow2"
    if whole:
        assert images.download(cloud, current, "web", claim) == str(target)
        assert target.read_bytes() == data
        return
    with pytest.raises(DriverError, match="the download of i is damaged"):
        images.download(cloud, current, "web", claim)
    assert not target.exists()


def test_a_refused_download_is_no_file(cloud: OpenStackCloud, api: StandIn, claim: Claim, script: Script) -> None:
    """Openstacksdk's download_image returns the refusal as if it were the data."""
    image(api, "i", disk_format="qcow2")
    script("GET image /images/i/file", Answer(403, {"message": "download_image is disallowed by policy"}))
    current = images.wait_active(cloud, "i", claim, 5)
    with pytest.raises(OpenStackError, match="did not hand out the image"):
        images.download(cloud, current, "web", claim)
    assert not (claim.images / "web.qcow2").exists()


# ---- members --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Answer(200, {"member": "p", "status": "pending"}), Answer(409, {"message": "is"})])
def test_a_member_is_let_in_once(cloud: OpenStackCloud, script: Script, sent: Sent, answer: Answer) -> None:
    script("POST image /images/i/members", answer)
    images.share(cloud, "i", "p")
    (request,) = sent("POST image /images/i/members")
    assert request.body == {"member": "p"}


def test_a_member_that_is_refused_is_an_error(cloud: OpenStackCloud, script: Script) -> None:
    script("POST image /images/i/members", Answer(403, {"message": "limit"}))
    with pytest.raises(OpenStackError, match="did not share the image with p"):
        images.share(cloud, "i", "p")


def test_a_member_accepts(cloud: OpenStackCloud, script: Script, sent: Sent) -> None:
    script("PUT image /images/i/members/p", Answer(200, {"member": "p", "status": "accepted"}))
    images.accept(cloud, "i", "p")
    (request,) = sent("PUT image")
    assert request.body["status"] == "accepted"


# ---- deleting -------------------------------------------------------------------------------------------------------


def test_an_image_goes_with_its_snapshots_and_its_protection(cloud: OpenStackCloud, api: StandIn, sent: Sent) -> None:
    image(api, "i", protected=True, block_device_mapping='[{"snapshot_id": "s"}]')
    api.things["snapshots"]["s"] = {"id": "s", "name": "s", "status": "available"}
    images.delete(cloud, "i")
    assert "i" not in api.things["images"]
    assert api.things["snapshots"] == {}
    assert sent("PATCH")[0].body == [{"op": "replace", "path": "/protected", "value": False}]
    images.delete(cloud, "i")  # once more is well


def test_an_image_in_use_may_go_later(cloud: OpenStackCloud, api: StandIn, script: Script) -> None:
    image(api, "i")
    script("DELETE image /images/i", Answer(409, {"message": "Image i is in use"}), Answer(403, {"message": "no"}))
    with pytest.raises(OpenStackRetryableError) as caught:
        images.delete(cloud, "i")
    assert "what uses it must go first" in caught.value.hint
    with pytest.raises(OpenStackError) as refused:
        images.delete(cloud, "i")
    assert not isinstance(refused.value, OpenStackRetryableError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("creating", OpenStackRetryableError), ("deleting", OpenStackRetryableError), ("available", OpenStackError)],
)
def test_a_snapshot_in_the_middle_of_something_may_go_later(
    cloud: OpenStackCloud, api: StandIn, script: Script, status: str, kind: type[OpenStackError]
) -> None:
    api.things["snapshots"]["s"] = {"id": "s", "name": "s", "status": status}
    script("DELETE block_storage /snapshots/s", Answer(400, {"badRequest": {"message": "Invalid snapshot"}}))
    with pytest.raises(OpenStackError) as caught:
        images.delete_snapshot(cloud, "s")
    assert type(caught.value) is kind


# ---- the user's image -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"visibility": "private", "tags": []}),
        ({"visibility": "community"}, {"visibility": "community"}),
        ({"tags": ("a", "b")}, {"tags": ["a", "b"]}),
        ({"properties": {"os_distro": "debian", "hw_cpu_cores": "2"}}, {"os_distro": "debian", "hw_cpu_cores": "2"}),
        ({"min_disk": 3, "min_ram": 256}, {"min_disk": 3, "min_ram": 256}),
        ({"protect": True}, {"protected": True}),
    ],
)
def test_keeping_gives_the_image_all_that_was_asked_for_in_one_request(
    clouds: OpenStackClouds,
    cloud: OpenStackCloud,
    api: StandIn,
    claim: Claim,
    sent: Sent,
    options: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    marks = {"bakery:run": "r", "bakery:expires": "2100", "bakery:key": "k", "bakery:started": "s", "bakery:step": "x"}
    image(api, "i", protected=False, min_disk=0, min_ram=0, **marks)
    kept = keep.keep(clouds, artifact(cloud, replace(PLAIN, **options), "i"), "web", claim)
    (patch,) = sent("PATCH image /images/i")
    steps = {step["path"][1:]: step for step in patch.body}
    for name, value in {**expected, "name": "web", "bakery:image": "web", "bakery:build": "web@cloud"}.items():
        assert steps[name]["value"] == value
    assert {name for name, step in steps.items() if step["op"] == "remove"} == set(marks)
    assert ("protected" in steps) is bool(options.get("protect"))
    assert (kept.name, kept.data["glance_name"], kept.size) == ("web", "web", 3)


def test_members_may_use_the_image_before_it_has_its_name(
    clouds: OpenStackClouds, cloud: OpenStackCloud, api: StandIn, claim: Claim, sent: Sent, script: Script
) -> None:
    image(api, "i")
    script("POST image /images/i/members", Answer(200, {"member": "p"}), Answer(200, {"member": "q"}))
    keep.keep(clouds, artifact(cloud, replace(PLAIN, members=("p", "q")), "i"), "web", claim)
    made = [str(request) for request in sent() if request.method in {"PATCH", "POST"}]
    assert made == [
        "PATCH image /images/i",
        "POST image /images/i/members",
        "POST image /images/i/members",
        "PATCH image /images/i",
    ]
    assert sent("PATCH")[0].body == [{"op": "replace", "path": "/visibility", "value": "shared"}]


def test_a_refused_name_leaves_the_older_image_alone(
    clouds: OpenStackClouds, cloud: OpenStackCloud, api: StandIn, claim: Claim, sent: Sent, script: Script
) -> None:
    image(api, "i")
    image(api, "old", **{"bakery:image": "web"})
    script("PATCH image /images/i", Answer(403, {"message": "visibility=public is forbidden"}))
    with pytest.raises(OpenStackError, match="did not change the image i"):
        keep.keep(clouds, artifact(cloud, replace(PLAIN, visibility="public"), "i"), "web", claim)
    assert len(sent("PATCH")) == 1
    assert isinstance(claim.ledger, RecordingLedger)


def days_ago(days: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    ("rule", "gone", "hidden"),
    [
        (Old(), set(), {"a", "b", "c"}),
        (Old(hide=False), set(), set()),
        (Old(newest=0), {"a", "b", "c"}, set()),
        (Old(newest=1), {"b", "c"}, {"a"}),
        (Old(newest=1, hide=False), {"b", "c"}, set()),
        (Old(newest=0, days=2.5), {"c"}, {"a", "b"}),
        (Old(newest=9), set(), {"a", "b", "c"}),
        (Old(newest=0, dry_run=True), set(), set()),
    ],
)
def test_what_happens_to_older_images(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, rule: Old, gone: set[str], hidden: set[str]
) -> None:
    for days, name in enumerate("abc", start=1):
        image(api, name, created_at=days_ago(days), os_hidden=False, **{"bakery:image": "web"})
    image(api, "new", **{"bakery:image": "web"})
    image(api, "another", **{"bakery:image": "db"})
    image(api, "half-made", **{"bakery:image": "web", "bakery:expires": "2100-01-01T00:00:00Z"})
    image(api, "theirs", owner="another", **{"bakery:image": "web"})
    before = set(api.things["images"])
    keep.older(cloud, replace(PLAIN, old=rule), "web", "new", claim)
    assert before - set(api.things["images"]) == gone
    assert {name for name, one in api.things["images"].items() if one.get("os_hidden")} == hidden


def test_an_older_image_that_was_hidden_before_is_deleted_too(
    cloud: OpenStackCloud, api: StandIn, claim: Claim
) -> None:
    image(api, "a", os_hidden=True, **{"bakery:image": "web"})
    keep.older(cloud, replace(PLAIN, old=Old(newest=0)), "web", "new", claim)
    assert "a" not in api.things["images"]


@pytest.mark.parametrize(
    ("more", "in_use", "stays", "said"),
    [
        ({}, "refuse", True, "it is in use by server theirs (s)"),
        ({}, "delete", False, "is gone"),
        ({"protected": True}, "delete", True, "it is protected"),
    ],
)
def test_an_older_image_in_use_or_protected_stays_and_that_is_said(
    cloud: OpenStackCloud, api: StandIn, claim: Claim, more: dict[str, Any], in_use: Any, stays: bool, said: str
) -> None:
    image(api, "a", **{"bakery:image": "web", **more})
    api.things["servers"]["s"] = {"id": "s", "name": "theirs", "image": {"id": "a"}, "status": "ACTIVE"}
    events: list[Any] = []
    rule = Old(newest=0, in_use=in_use)
    keep.older(cloud, replace(PLAIN, old=rule), "web", "new", replace(claim, emit=events.append))
    assert ("a" in api.things["images"]) is stays
    assert any(said in event.message for event in events)


@pytest.mark.parametrize(
    ("more", "server", "said"),
    [
        ({}, True, "the image i is in use"),
        ({"protected": True}, False, "the image i is protected"),
        ({}, False, ""),
    ],
)
def test_a_kept_image_is_deleted_unless_it_is_used(
    clouds: OpenStackClouds,
    cloud: OpenStackCloud,
    api: StandIn,
    more: dict[str, Any],
    server: bool,
    said: str,
) -> None:
    image(api, "i", **more)
    if server:
        api.things["servers"]["s"] = {"id": "s", "name": "theirs", "image": {"id": "i"}, "status": "ACTIVE"}
    driver = OpenStackDriver()
    kept = artifact(cloud, PLAIN, "i")
    assert driver.intact(kept)
    if said:
        with pytest.raises(DriverError, match=said):
            keep.delete(cloud, kept)
    else:
        keep.delete(cloud, kept)
        assert not driver.intact(kept)
    assert ("i" in api.things["images"]) is bool(said)


@pytest.mark.parametrize("status", ["queued", "deactivated", "killed"])
def test_an_image_that_cannot_be_booted_is_not_intact(
    clouds: OpenStackClouds, cloud: OpenStackCloud, api: StandIn, status: str
) -> None:
    image(api, "i", status=status)
    assert not OpenStackDriver().intact(artifact(cloud, PLAIN, "i"))


# ---- captures and checkpoints ---------------------------------------------------------------------------------------


@pytest.fixture
def server(cloud: OpenStackCloud, api: StandIn) -> Handle:
    api.things["servers"]["s"] = {"id": "s", "name": "n", "status": "SHUTOFF"}
    settings = {"source": replace(PLAIN, checkpoints=True, keep_checkpoints=1).settings(), **cloud.record}
    return Handle(
        driver="openstack",
        id="s",
        resource=None,  # type: ignore[arg-type]  # not looked at
        folder=Path(),
        settings=settings,
        data=cloud.record,
    )


def test_a_capture_is_an_image_under_a_temporary_name(
    cloud: OpenStackCloud, server: Handle, claim: Claim, sent: Sent
) -> None:
    made = capture.capture(cloud, server, "web", claim)
    (action,) = [request for request in sent("POST compute /servers/s/action") if "createImage" in request.body]
    order = action.body["createImage"]
    assert order["name"].startswith(claim.name)
    assert order["metadata"]["bakery:key"] == order["name"]
    assert order["metadata"]["bakery:image"] == "", "the base's own would be handed on"
    assert (made.name, made.format, made.data["glance_name"]) == ("web", "glance", order["name"])
    assert made.settings["image"] == made.id


def test_a_capture_whose_answer_is_lost_makes_one_image(
    cloud: OpenStackCloud, server: Handle, claim: Claim, script: Script, api: StandIn
) -> None:
    before = api.left()
    script("POST compute /servers/s/action", LOST)
    made = capture.capture(cloud, server, "web", claim)
    assert api.left() - before == {f"images {made.id}"}


@pytest.mark.parametrize("status", ["DELETED", "SOFT_DELETED", "SHELVED_OFFLOADED", "ERROR", "gone"])
def test_a_machine_that_ended_cannot_be_imaged(
    cloud: OpenStackCloud, server: Handle, claim: Claim, api: StandIn, status: str
) -> None:
    if status == "gone":
        del api.things["servers"]["s"]
    else:
        api.things["servers"]["s"].update(status=status, fault={"message": "a reason"})
    with pytest.raises(DriverError, match=f"the server s is {status} and cannot be imaged") as caught:
        capture.capture(cloud, server, "web", claim)
    assert caught.value.why == ("" if status == "gone" else "a reason")


@pytest.mark.parametrize("answer", [None, Answer(409, {"conflictingRequest": {"message": "busy"}}), LOST])
def test_a_running_machine_is_powered_off_through_its_guest(
    cloud: OpenStackCloud, server: Handle, claim: Claim, api: StandIn, script: Script, sent: Sent, answer: Answer | None
) -> None:
    api.things["servers"]["s"]["status"] = "ACTIVE"
    if answer:
        script("POST compute /servers/s/action", answer)
    capture.capture(cloud, server, "web", claim)
    bodies = [list(request.body) for request in sent("POST compute /servers/s/action")]
    assert bodies[-1] == ["createImage"]
    assert bodies[0] == ["os-stop"]
    assert len(bodies) == (2 if answer is None else 3)


def test_a_checkpoint_carries_its_step_and_the_older_ones_go(
    cloud: OpenStackCloud, server: Handle, claim: Claim, api: StandIn, sent: Sent
) -> None:
    old = {"tags": [checkpoints.TAG], "bakery:build": "web@cloud", "bakery:step": "k0"}
    image(api, "old", **old)
    saved = checkpoints.save(cloud, server, "k1", replace(claim, note="inputs"))
    kept = api.things["images"][saved.settings["image"]]
    assert (kept["name"], kept["bakery:step"], kept["bakery:note"]) == ("bakery-step-k1", "k1", "inputs")
    assert kept["tags"] == [checkpoints.TAG]
    assert not [name for name in tags.TEMPORARY if name in kept]
    assert "old" not in api.things["images"]
    listed = [request for request in sent("GET image /images") if request.path == "/images"]
    assert listed[-1].query["bakery:build"] == "web@cloud"


def test_checkpoints_are_found_by_anybody_newest_first(cloud: OpenStackCloud, api: StandIn) -> None:
    for days, name in enumerate("abc"):
        marks = {"bakery:build": "web@cloud", "bakery:step": f"step-{name}", "bakery:note": f"note-{name}"}
        image(api, name, created_at=days_ago(days), tags=[checkpoints.TAG], **marks)
    image(api, "else", tags=[checkpoints.TAG], **{"bakery:build": "db@cloud", "bakery:step": "x"})
    listed = list(checkpoints.list_checkpoints(cloud, PLAIN, "web@cloud"))
    assert [(one.key, one.settings["image"], note) for one, note in listed] == [
        ("step-a", "a", "note-a"),
        ("step-b", "b", "note-b"),
        ("step-c", "c", "note-c"),
    ]


def test_a_note_that_glance_could_not_hold_is_left_out(
    cloud: OpenStackCloud, server: Handle, claim: Claim, api: StandIn
) -> None:
    saved = checkpoints.save(cloud, server, "k", replace(claim, note="x" * (checkpoints.MOST + 1)))
    assert "bakery:note" not in api.things["images"][saved.settings["image"]]


def test_an_old_checkpoint_in_use_stays_for_the_next_time(
    cloud: OpenStackCloud, server: Handle, claim: Claim, api: StandIn, script: Script
) -> None:
    image(api, "old", tags=[checkpoints.TAG], **{"bakery:build": "web@cloud", "bakery:step": "k0"})
    script("DELETE image /images/old", Answer(409, {"message": "in use"}))
    events: list[Any] = []
    checkpoints.save(cloud, server, "k1", replace(claim, emit=events.append))
    assert "old" in api.things["images"]
    assert any("the old checkpoint old stays: 409: in use" in str(getattr(event, "message", "")) for event in events)


# ---- where a machine starts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("only", "only"),
        (GlanceImage(name="deb*"), "deb-2"),
        (GlanceImage(name="deb-?", owner="another"), "deb-1"),
        (GlanceImage(properties={"os_distro": "fedora"}), "fed"),
        (GlanceImage(name="deb*", visibility="public"), "deb-1"),
    ],
)
def test_a_base_is_found(cloud: OpenStackCloud, api: StandIn, base: Any, found: str) -> None:
    api.things["images"].clear()
    image(api, "only")
    image(api, "fed", os_distro="fedora")
    image(api, "deb-1", owner="another", visibility="public", created_at=days_ago(9))
    image(api, "deb-2", created_at=days_ago(2))
    image(api, "deb-3", created_at=days_ago(1), status="queued")
    assert base_images.resolve(cloud, base).id == found


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("none", "no image here fits 'none'"),
        ("twin", "2 images here fit 'twin'"),
        ("00000000-0000-4000-8000-000000000000", "there is no image 00000000-0000-4000-8000-000000000000 here"),
        ("00000000-0000-4000-8000-000000000001", "is queued and cannot be started from"),
        (GlanceImage(name="a*", owner="p"), r"no image here fits GlanceImage\(name='a\*', owner='p'"),
        ("", "OpenStack cannot start from ''"),
        (7, "OpenStack cannot start from 7"),
    ],
)
def test_a_base_that_is_not_clear_is_refused(cloud: OpenStackCloud, api: StandIn, base: Any, said: str) -> None:
    for number in (1, 2):
        image(api, f"twin-{number}", name="twin")
    image(api, "00000000-0000-4000-8000-000000000001", status="queued")
    with pytest.raises(PreflightError, match=said):
        base_images.resolve(cloud, base)


def test_an_image_of_ours_is_a_base(cloud: OpenStackCloud, api: StandIn) -> None:
    image(api, "i")
    assert base_images.resolve(cloud, artifact(cloud, PLAIN, "i")).id == "i"
