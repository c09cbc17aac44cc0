"""The nouns of all rooms: as JSON and back, and what each can be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.model import EMPTY, Artifact, Endpoint, Needs, Resource, Result, Source, Stream, to_json
from bakery.redaction.secret import Secret

texts = st.text(max_size=20)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(texts, plain_json, max_size=3)
dates = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]))
artifacts = st.builds(
    Artifact,
    driver=texts,
    id=texts,
    name=texts,
    format=texts,
    size=st.none() | st.integers(0, 1 << 50),
    sha256=texts,
    settings=mappings,
    data=mappings,
    key=texts,
    build=texts,
    created=st.none() | dates,
    verdict=st.sampled_from(["", "passed", "failed", "untested"]),
)


class Colour(Enum):
    """Something that has few values."""

    RED = "red"
    SIZE = timedelta(seconds=2)


@dataclass(frozen=True)
class Inner:
    """Model data in model data."""

    value: Path


@dataclass(frozen=True)
class Outer:
    """Model data of each kind."""

    inner: Inner
    many: tuple[Inner, ...] = ()
    quiet: str = field(default="not shown", metadata={"json": False})


# ---- to_json --------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(plain_json)
def test_json_stays_what_it_is(value: Any) -> None:
    assert to_json(value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Path("/images/web.qcow2"), "/images/web.qcow2"),
        (Colour.RED, "red"),
        (Colour.SIZE, 2.0),
        (datetime(2026, 11, 22, 14, 30, 5, tzinfo=UTC), "2026-11-22T14:30:05+00:00"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        ({3: Path("a")}, {"3": "a"}),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ((1, (2, [Path("x")])), [1, [2, ["x"]]]),
        (Inner(Path("/a")), {"type": "Inner", "value": "/a"}),
        (
            Outer(Inner(Path("/a")), (Inner(Path("/b")),)),
            {
                "type": "Outer",
                "inner": {"type": "Inner", "value": "/a"},
                "many": [{"type": "Inner", "value": "/b"}],
            },
        ),
        (EMPTY, {}),
    ],
)
def test_model_data_becomes_json(value: Any, shown: Any) -> None:
    assert to_json(value) == shown
    json.dumps(to_json(value))


@pytest.mark.parametrize(
    "value",
    [
        Secret("hunter2", "pw"),
        {"deep": [{"password": Secret("hunter2")}]},
        b"bytes",
        object(),
        print,
        Outer,
        Inner,
        1j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_model_data_is_refused_and_never_shown(value: Any) -> None:
    with pytest.raises(TypeError, match="is not model data") as caught:
        to_json(value)
    assert "hunter2" not in str(caught.value)


# ---- artifacts ------------------------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(artifacts)
def test_an_artifact_is_read_back_as_it_was_written(artifact: Artifact) -> None:
    assert Artifact.from_json(json.loads(json.dumps(to_json(artifact)))) == artifact


def test_an_artifact_of_another_version_is_read_as_far_as_it_is_known() -> None:
    data = {"type": "Artifact", "driver": "qemu", "id": "/web.qcow2", "name": "web", "colour": "red"}
    assert Artifact.from_json(data) == Artifact(driver="qemu", id="/web.qcow2", name="web")


def test_an_artifact_may_have_no_date() -> None:
    assert Artifact.from_json({"driver": "d", "id": "i", "name": "n", "created": None}).created is None


@pytest.mark.parametrize("created", ["", "yesterday", "2026-13-01", "14:30"])
def test_a_date_that_is_none_is_a_value_error(created: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month"):
        Artifact.from_json({"driver": "d", "id": "i", "name": "n", "created": created})


def test_only_a_local_image_has_a_path() -> None:
    assert Artifact(driver="qemu", id="/images/web.qcow2", name="web").path == Path("/images/web.qcow2")
    with pytest.raises(AttributeError, match="the image ami-1 is not a local file"):
        Artifact(driver="ec2", id="ami-1", name="web").path  # noqa: B018  reading it is the test


# ---- the others -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "shown"),
    [
        (Resource(driver="qemu", kind="process", key="k", id="4711"), "qemu process 4711"),
        (Resource(driver="ec2", kind="instance", key="token-1"), "ec2 instance token-1"),
        (Resource(driver="ec2", kind="instance", key="token-1", id=""), "ec2 instance token-1"),
    ],
)
def test_a_resource_is_called_by_its_id_or_by_the_name_that_we_chose(resource: Resource, shown: str) -> None:
    assert str(resource) == shown


@dataclass(frozen=True, kw_only=True)
class Box(Source):
    """A source with a field of its own."""

    size: int = 1


def test_a_source_on_another_base_is_the_same_otherwise() -> None:
    first = Box(base="debian", size=3)
    second = first.on("golden")
    assert (second, first) == (Box(base="golden", size=3), Box(base="debian", size=3))
    assert type(second) is Box


def test_an_endpoint_is_root_on_this_hosts_port_22_where_nothing_is_said() -> None:
    assert (Endpoint().transport, Endpoint().user, Endpoint().host, Endpoint().port) == ("ssh", "root", "127.0.0.1", 22)


@pytest.mark.parametrize(
    ("before", "more", "after"),
    [
        ((), {}, ()),
        ((("kvm", 1),), {}, (("kvm", 1),)),
        ((("kvm", 1),), {"gpu": 2}, (("gpu", 2), ("kvm", 1))),
        ((("kvm", 1),), {"kvm": 3}, (("kvm", 3),)),
    ],
)
def test_needs_take_labels_besides(
    before: tuple[tuple[str, int], ...], more: Mapping[str, int], after: tuple[tuple[str, int], ...]
) -> None:
    needs = Needs(memory=5, cpus=2, labels=before).taking(more)
    assert needs == Needs(memory=5, cpus=2, labels=after)


@pytest.mark.parametrize(("exited", "ok"), [(0, True), (1, False), (-1, False), (255, False)])
def test_a_result_is_true_where_the_command_went_well(exited: int, ok: bool) -> None:
    result = Result(command="c", exited=exited)
    assert (result.ok, result.failed, bool(result), result.return_code) == (ok, not ok, ok, exited)


@pytest.mark.parametrize(
    ("stream", "count", "shown"),
    [
        ("stdout", 2, "\n\nb\nc"),
        ("stdout", 10, "\n\na\nb\nc"),
        ("stderr", 1, "\n\nlast"),
    ],
)
def test_a_results_tail_is_its_last_lines(stream: Stream, count: int, shown: str) -> None:
    assert Result(command="c", exited=1, stdout="a\nb\nc\n", stderr="first\nlast").tail(stream, count) == shown


def test_the_tail_of_nothing_is_nothing() -> None:
    assert Result(command="c", exited=1).tail("stdout").strip() == ""
