"""What was written down is read back as it was; what is damaged is told by its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery import events, model
from bakery.drivers.qemu.checkpoints import Saved
from bakery.drivers.qemu.layers import Layer
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Resource, from_json, to_json
from bakery.smoke.identity import Identity
from bakery.smoke.job import SmokeJob, TestRef
from bakery.state.progress import BuildProgress, Note
from bakery.state.ssh_keys import Keys

RESOURCE = Resource(driver="qemu", kind="process", key="bakery-1", id="4711", data={"pid": 4711, "nested": [{"a": 1}]})
HANDLE = Handle(driver="qemu", id="bakery-1", resource=RESOURCE, folder=Path("/m"), settings={"memory": 1})
SAVED = Saved(
    shape=MachineSpec(qemu_args=("-s", "-S")),
    identity=MachineIdentity(accel="tcg", uuid="u", mac="m", instance="i"),
    layers=(Layer("/a", "raw"), Layer("/b", "qcow2")),
    host_key="ssh-ed25519 AAAA",
    qemu="10.0.2",
)
NOTE = Note(
    name="n",
    build="web@laptop",
    handle=HANDLE,
    things=(("process", "p"), ("file", "f")),
    progress=BuildProgress(done=2, key=None, stands_on=("k1", "k2"), began="nginx"),
)


def files(instance: Any) -> Any:
    """What a file has of it."""
    return json.loads(json.dumps(to_json(instance)))


@pytest.mark.parametrize(
    "thing",
    [
        RESOURCE,
        HANDLE,
        SAVED,
        NOTE,
        Artifact(driver="qemu", id="/i", name="web", size=None, created=datetime.now(UTC), verdict="passed"),
        Artifact(driver="qemu", id="/i", name="web"),
        Endpoint(host="10.0.0.1", gateway=Endpoint(host="bastion", gateway=Endpoint(host="outer", key="agent"))),
        Checkpoint(driver="qemu", key="k", folder=Path("/c"), warm=True),
        Checkpoint(driver="ec2", key="k", folder=None),
        Keys(user_private="a", user_public="b", host_private="c", host_public="d"),
        Identity(machine_id=None, host_keys=frozenset({"SHA256:x", "SHA256:y"})),
        TestRef(file=Path("/t.py"), name="test_web", image="web", index=0, line=3),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_is_written_is_read_back(thing: Any) -> None:
    assert from_json(type(thing), files(thing)) == thing
    assert json.dumps(to_json(from_json(type(thing), files(thing)))) == json.dumps(to_json(thing))


@given(st.recursive(st.none() | st.text() | st.integers() | st.booleans(), st.lists, max_leaves=9))
def test_data_without_a_type_is_taken_as_it_is(value: Any) -> None:
    assert from_json(Resource, {"driver": "d", "kind": "k", "key": "y", "data": {"x": value}}).data == {"x": value}


def test_names_that_the_class_does_not_have_are_passed_over() -> None:
    known = from_json(Resource, {"type": "Resource", "driver": "d", "kind": "k", "key": "y", "of_a_later_version": 1})
    assert known == Resource(driver="d", kind="k", key="y")


@dataclass(frozen=True)
class Named:
    """Things by name."""

    named: Mapping[str, Identity]


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (Resource, {"driver": "d", "kind": "k"}, "Resource.key is missing"),
        (Handle, {"driver": "d", "id": "i", "folder": "/", "resource": {}}, "Handle.resource.driver is missing"),
        (Handle, {"driver": "d", "id": "i", "folder": "/", "resource": []}, "Handle.resource is no object"),
        (Handle, {"driver": "d", "id": "i", "folder": 7, "resource": to_json(RESOURCE)}, "Handle.folder: "),
        (Saved, {**asdict(SAVED), "layers": {}}, "Saved.layers is no list"),
        (Saved, {**asdict(SAVED), "layers": [{"file": "/a"}]}, r"Saved.layers\[0\].format is missing"),
        (Artifact, {"driver": "d", "id": "i", "name": "n", "created": "once"}, "Artifact.created: Invalid isoformat"),
        (Endpoint, {"gateway": {"gateway": 1}}, "Endpoint.gateway.gateway is no object"),
        (Endpoint, None, "Endpoint is no object"),
        (Named, {"named": {"a": 1}}, "Named.named.a is no object"),
        (Named, {"named": []}, "Named.named is no object"),
    ],
)
def test_what_is_damaged_is_told_by_its_place(kind: type, data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        from_json(kind, data)


@dataclass(frozen=True)
class Every:
    """All shapes that declared types may have."""

    pair: tuple[str, Path]
    many: tuple[Path, ...]
    some: list[Path]
    names: frozenset[str]
    choice: Literal["a", "b"]
    either: int | str
    perhaps: Path | None
    table: dict[str, Any] = field(default_factory=dict[str, Any])
    named: Mapping[str, Identity] = field(default_factory=dict[str, Identity])
    told: float = 0.5


def test_every_shape_of_a_declared_type_is_read() -> None:
    data = {"pair": ["a", "/p"], "many": ["/m"], "some": ["/s"], "names": ["n"], "choice": "b", "either": "x"}
    assert from_json(
        Every, {**data, "perhaps": None, "table": {"a": [1]}, "named": {"a": {"machine_id": "x"}}}
    ) == Every(
        pair=("a", Path("/p")),
        many=(Path("/m"),),
        some=[Path("/s")],
        names=frozenset({"n"}),
        choice="b",
        either="x",
        perhaps=None,
        table={"a": [1]},
        named={"a": Identity(machine_id="x")},
    )


READ = [
    kind
    for module in (model, events)
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind)
]


@pytest.mark.parametrize("kind", [*READ, Saved, Note, SmokeJob], ids=lambda kind: kind.__name__)
def test_the_types_that_a_class_declares_can_be_looked_up(kind: Any) -> None:
    """Those that are imported for the type checker alone could not be."""
    assert get_type_hints(kind).keys() >= {f.name for f in fields(kind)}


@pytest.mark.parametrize(
    "kind", [kind for kind in READ if issubclass(kind, events.Event)], ids=lambda kind: kind.__name__
)
def test_every_event_is_read_back(kind: type[events.Event]) -> None:
    needed: dict[str, Any] = {
        f.name: () if str(f.type).startswith("tuple") else 1
        for f in fields(kind)
        if f.init and f.default is MISSING and f.default_factory is MISSING
    }
    event = kind(**needed)
    assert from_json(kind, json.loads(json.dumps(event.to_json()))) == event
