"""The folder cloud: a provider whose manners are a real one's, as far as no process is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.errors import DriverError, RetryableError
from bakery.testing.folder.cloud import HIDDEN_LOOKS, FolderCloud, Kind, NotFound
from bakery.testing.folder.faults import Fault, Faults, Injection

TAGS = {"bakery:run": "r-1", "bakery:build": "web@box"}


@pytest.fixture
def cloud(tmp_path: Path) -> FolderCloud:
    """An empty cloud."""
    return FolderCloud(tmp_path / "cloud")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image's archive, whatever is in it."""
    path = tmp_path / "tree.tar"
    path.write_bytes(b"a tree")
    return path


def machine(cloud: FolderCloud, number: str = "m-1", **record: Any) -> str:
    """Put a machine there whose process has ended long ago."""
    folder = cloud.path / "machines" / number
    folder.mkdir()
    whole = {"id": number, "name": f"name of {number}", "tags": TAGS, "created": 1.0, **record}
    (folder / "record.json").write_text(json.dumps(whole))
    return number


# ---- what it does ---------------------------------------------------------------------------------------------------


def test_a_new_cloud_is_empty_and_an_old_one_is_not_emptied(cloud: FolderCloud, archive: Path) -> None:
    for kind in get_args(Kind):
        assert cloud.list(kind) == []
    cloud.import_image(archive, "web", TAGS)
    assert [record["name"] for record in FolderCloud(cloud.path).list("images")] == ["web"]


def test_a_keypair_is_kept_with_its_tags_and_its_name_is_taken(cloud: FolderCloud) -> None:
    cloud.create_keypair("k", "ssh-ed25519 AAAA", TAGS)
    (record,) = cloud.list("keypairs")
    assert (record["name"], record["public_key"], record["tags"]) == ("k", "ssh-ed25519 AAAA", TAGS)
    assert record["created"] > 1e9
    with pytest.raises(DriverError, match="the keypair k exists"):
        cloud.create_keypair("k", "ssh-ed25519 BBBB", TAGS)
    assert len(cloud.list("keypairs")) == 1


def test_an_imported_image_is_available_and_has_its_archive(cloud: FolderCloud, archive: Path) -> None:
    number = cloud.import_image(archive, "web", TAGS)
    record = cloud.describe_image(number)
    assert (record["state"], record["name"], record["tags"]) == ("available", "web", TAGS)
    assert (cloud.path / "images" / number / "tree.tar").read_bytes() == b"a tree"


def test_two_images_may_have_one_name_but_never_one_id(cloud: FolderCloud, archive: Path) -> None:
    assert cloud.import_image(archive, "web", {}) != cloud.import_image(archive, "web", {})
    assert [record["name"] for record in cloud.list("images")] == ["web", "web"]


def test_a_renamed_image_knows_when_it_was_named(cloud: FolderCloud, archive: Path) -> None:
    number = cloud.import_image(archive, "candidate", {})
    made = cloud.describe_image(number)["created"]
    cloud.rename_image(number, "web")
    record = cloud.describe_image(number)
    assert (record["name"], record["created"]) == ("web", made)
    assert record["named"] >= made


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({}, "stopped"),
        ({"pid": 0}, "stopped"),
        ({"pid": 1 << 30}, "stopped"),
        ({"state": "building"}, "building"),
        ({"state": "error", "pid": 1}, "error"),
        ({"pid": 1}, "running"),
    ],
)
def test_a_machines_state_is_that_of_its_process_unless_the_cloud_says_otherwise(
    cloud: FolderCloud, record: dict[str, Any], state: str
) -> None:
    assert cloud.describe_machine(machine(cloud, **record))["state"] == state


def test_a_machine_is_not_made_twice_under_one_name(cloud: FolderCloud) -> None:
    machine(cloud, "m-1", name="bakery-r-1")
    assert cloud.run_machine("bakery-r-1", None, "k", {}) == "m-1"
    assert len(cloud.list("machines")) == 1


def test_a_machine_of_an_image_that_is_not_there_is_refused_and_none_is_made(cloud: FolderCloud) -> None:
    with pytest.raises(DriverError, match="there is no image i-none"):
        cloud.run_machine("bakery-r-1", "i-none", "k", {})
    assert cloud.list("machines") == []


def test_no_image_is_made_of_a_machine_that_runs(cloud: FolderCloud) -> None:
    machine(cloud, pid=1)
    with pytest.raises(DriverError, match="m-1 is not stopped"):
        cloud.create_image("m-1", "web", {})
    assert cloud.list("images") == []


def test_what_its_maker_never_finished_is_cleared_away(cloud: FolderCloud) -> None:
    (cloud.path / "machines" / "m-half" / "root").mkdir(parents=True)
    machine(cloud)
    assert [record["id"] for record in cloud.list("machines")] == ["m-1"]
    assert not (cloud.path / "machines" / "m-half").exists()


CALLS_ON_NOTHING: dict[str, Callable[[FolderCloud], object]] = {
    "describe a machine": lambda cloud: cloud.describe_machine("m-9"),
    "stop a machine": lambda cloud: cloud.stop_machine("m-9"),
    "describe an image": lambda cloud: cloud.describe_image("i-9"),
    "rename an image": lambda cloud: cloud.rename_image("i-9", "web"),
    "make an image": lambda cloud: cloud.create_image("m-9", "web", {}),
    "delete an image": lambda cloud: cloud.delete("images", "i-9"),
    "delete a keypair": lambda cloud: cloud.delete("keypairs", "k"),
    "delete a machine": lambda cloud: cloud.delete("machines", "m-9"),
}


@pytest.mark.parametrize("call", CALLS_ON_NOTHING.values(), ids=CALLS_ON_NOTHING)
def test_what_is_not_there_is_not_found(cloud: FolderCloud, call: Callable[[FolderCloud], object]) -> None:
    with pytest.raises(NotFound):
        call(cloud)


# ---- what goes wrong ------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[Fault, type[DriverError], str]] = [
    ("throttled", RetryableError, "request limit exceeded"),
    ("server-error", RetryableError, "503"),
    ("quota", DriverError, "quota exceeded"),
    ("denied", DriverError, "permission denied"),
]


@pytest.mark.parametrize(("fault", "error", "words"), REFUSALS)
def test_a_refused_call_has_done_nothing(
    cloud: FolderCloud, archive: Path, fault: Fault, error: type[DriverError], words: str
) -> None:
    cloud.faults.inject(Injection(call="import_image", fault=fault))
    with pytest.raises(DriverError, match=words) as caught:
        cloud.import_image(archive, "web", {})
    assert type(caught.value) is error
    assert caught.value.what.startswith("import_image: ")
    assert cloud.list("images") == []


def test_a_lost_answer_is_that_of_a_call_that_did_its_work(cloud: FolderCloud, archive: Path) -> None:
    cloud.faults.inject(Injection(call="import_image", fault="answer-lost"))
    with pytest.raises(RetryableError, match="timed out"):
        cloud.import_image(archive, "web", {})
    assert [record["name"] for record in cloud.list("images")] == ["web"]


def test_what_is_invisible_is_seen_after_some_looks_and_listed_all_along(cloud: FolderCloud, archive: Path) -> None:
    number = cloud.import_image(archive, "web", {})
    cloud._update("images", number, hidden=HIDDEN_LOOKS)
    for _ in range(HIDDEN_LOOKS):
        with pytest.raises(NotFound):
            cloud.describe_image(number)
    assert cloud.describe_image(number)["id"] == number


def test_what_is_immortal_stays_until_the_cloud_lets_it_go(cloud: FolderCloud) -> None:
    cloud.create_keypair("k", "ssh-ed25519 AAAA", {})
    cloud.faults.inject(Injection(call="delete_keypairs", fault="immortal"))
    for _ in range(2):
        with pytest.raises(DriverError, match="in use"):
            cloud.delete("keypairs", "k")
    cloud._update("keypairs", "k", immortal=False)
    cloud.delete("keypairs", "k")
    assert cloud.list("keypairs") == []


def test_only_the_call_that_was_named_goes_wrong(cloud: FolderCloud, archive: Path) -> None:
    cloud.faults.inject(Injection(call="rename_image", fault="denied"))
    number = cloud.import_image(archive, "web", {})
    with pytest.raises(DriverError, match="denied"):
        cloud.rename_image(number, "other")
    cloud.rename_image(number, "other")
    assert cloud.describe_image(number)["name"] == "other"


# ---- faults by number -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "times", "hit"),
    [
        (1, 1, [1]),
        (2, 1, [2]),
        (1, 3, [1, 2, 3]),
        (3, 10, [3, 4, 5]),
        (9, 1, []),
        (1, 0, []),
    ],
)
def test_a_fault_hits_so_many_calls_from_a_certain_one(tmp_path: Path, first: int, times: int, hit: list[int]) -> None:
    faults = Faults(tmp_path)
    faults.inject(Injection(call="list_images", fault="throttled", first=first, times=times))
    seen = [number for number in range(1, 6) if faults.at("list_images") is not None]
    assert seen == hit


def test_calls_are_counted_by_name_and_by_all_processes_together(tmp_path: Path) -> None:
    Faults(tmp_path).inject(Injection(call="a", fault="denied", first=3))
    assert [Faults(tmp_path).at(call) for call in ("a", "b", "a", "b", "a")] == [None, None, None, None, "denied"]


def test_of_two_faults_of_one_call_the_first_that_is_named_counts(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    faults.inject(
        Injection(call="a", fault="throttled", first=2), Injection(call="a", fault="denied", first=1, times=3)
    )
    assert [faults.at("a") for _ in range(4)] == ["denied", "throttled", "denied", None]


def test_planning_anew_counts_anew_and_clearing_ends_it(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    for _ in range(2):
        faults.inject(Injection(call="a", fault="denied"))
        assert [faults.at("a"), faults.at("a")] == ["denied", None]
    faults.inject(Injection(call="a", fault="denied"))
    faults.clear()
    assert faults.at("a") is None
    assert list(tmp_path.iterdir()) == []
    faults.clear()


@settings(max_examples=30)
@given(
    calls=st.lists(st.sampled_from("ab"), max_size=12),
    plan=st.lists(
        st.builds(
            Injection,
            call=st.sampled_from("ab"),
            fault=st.sampled_from(get_args(Fault)),
            first=st.integers(1, 4),
            times=st.integers(0, 3),
        ),
        max_size=3,
    ),
)
def test_faults_do_what_their_plan_says(
    tmp_path_factory: pytest.TempPathFactory, calls: list[str], plan: list[Injection]
) -> None:
    faults = Faults(tmp_path_factory.mktemp("cloud"))
    faults.inject(*plan)
    counts = {"a": 0, "b": 0}
    for call in calls:
        counts[call] += 1
        due = [i.fault for i in plan if i.call == call and i.first <= counts[call] < i.first + i.times]
        assert faults.at(call) == (due[0] if due else None)
