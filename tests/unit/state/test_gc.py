"""Destroying what dead runs left: from journals, and from tags where there is no journal any more."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.errors import CleanupError, DriverError, PreflightError, RetryableError, UsageError
from bakery.model import Handle, Resource, Where
from bakery.state import progress
from bakery.state.claim import Claim
from bakery.state.destroy import ATTEMPTS, destroy_all
from bakery.state.gc import Swept, collect, sweep
from bakery.state.journal import Journal, Op
from bakery.state.ledger import ClaimLedger, MergedLedger
from bakery.state.progress import BuildProgress, Note
from bakery.state.project import RunFolder, State
from bakery.state.ssh_keys import make_keys, save_keys
from bakery.util.waiting import Cancel


def thing(key: str, *, driver: str = "shop", kind: str = "disk", run: str = "r") -> Resource:
    return Resource(driver=driver, kind=kind, key=key, id=f"id-{key}", run=run, build="web@box")


class Shop:
    """A provider: what is there, what will not go, how often it is too busy, and whether all may go together."""

    def __init__(self, *keys: str, errors: dict[str, Exception] | None = None) -> None:
        self.there = set(keys)
        self.order: list[str] = []
        self.errors = errors or {}
        self.together = False
        self.busy = 0
        self.threads: set[str] = set()

    def __call__(self, name: str) -> Shop:
        if name == "unknown":
            raise PreflightError("no driver is called unknown", hint="pip install it")
        return self

    def destroy(self, resource: Resource) -> None:
        self.threads.add(threading.current_thread().name)
        if self.busy:
            self.busy -= 1
            raise RetryableError("throttled")
        if error := self.errors.get(resource.key):
            raise error
        self.order.append(resource.key)
        self.there.discard(resource.key)

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        return [list(resources)] if self.together else [[resource] for resource in reversed(resources)]

    def find(self, where: Where) -> Iterator[Resource]:
        yield from (thing(key, run=where.run or "r") for key in sorted(self.there))


class NoSleep(Cancel):
    """Counts pauses in place of making them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / ".bakery", tmp_path / "cache")


def dead_run(state: State, *lines: tuple[Op, Resource]) -> RunFolder:
    folder = state.new_run()
    with Journal(folder.path) as journal:
        for op, resource in lines:
            journal.write(op, resource)
    return folder


def last_words(folder: RunFolder) -> dict[str, str]:
    return {entry.resource.key: entry.op for entry in folder.replay().entries}


# ---- one thing after the other ----------------------------------------------------------------------------------


def test_the_newest_goes_first_and_each_is_written_down(state: State) -> None:
    folder, shop, told = state.new_run(), Shop("a", "b", "c"), list[str]()
    with Journal(folder.path) as journal:
        errors = destroy_all(
            [thing("a"), thing("b"), thing("c")], driver=shop, journal=journal, cancel=NoSleep(), notify=told.append
        )
    assert (errors, shop.order, shop.there) == ([], ["c", "b", "a"], set())
    assert told == ["shop disk id-c", "shop disk id-b", "shop disk id-a"]
    assert last_words(folder) == {"a": "gone", "b": "gone", "c": "gone"}


def test_one_that_will_not_go_saves_no_other(state: State) -> None:
    folder, shop = state.new_run(), Shop("a", "b", errors={"b": DriverError("in use")})
    with Journal(folder.path) as journal:
        (error,) = destroy_all([thing("a"), thing("b")], driver=shop, journal=journal, cancel=NoSleep())
    assert (error.what, error.why, error.hint) == ("shop disk id-b could not be destroyed", "in use", "bake gc r")
    assert last_words(folder) == {"a": "gone", "b": "failed"}


def test_our_own_mistakes_are_named_by_their_kind(state: State) -> None:
    folder, shop = state.new_run(), Shop(errors={"a": ZeroDivisionError("division by zero")})
    with Journal(folder.path) as journal:
        (error,) = destroy_all([thing("a")], driver=shop, journal=journal, cancel=NoSleep())
    assert error.why == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("failures", "gone"), [(1, True), (ATTEMPTS - 1, True), (ATTEMPTS, False)])
def test_what_a_provider_is_too_busy_for_is_asked_again(state: State, failures: int, gone: bool) -> None:
    folder, cancel, shop = state.new_run(), NoSleep(), Shop("a")
    shop.busy = failures
    with Journal(folder.path) as journal:
        errors = destroy_all([thing("a")], driver=shop, journal=journal, cancel=cancel)
    assert [error.why for error in errors] == ([] if gone else ["throttled"])
    assert len(cancel.pauses) == min(failures, ATTEMPTS - 1)


def test_a_cancelled_run_destroys_all_the_same(state: State) -> None:
    folder, shop, cancel = state.new_run(), Shop("a"), Cancel()
    cancel.set("Ctrl-C")
    with Journal(folder.path) as journal:
        assert destroy_all([thing("a")], driver=shop, journal=journal, cancel=cancel) == []
    assert shop.there == set()


def test_what_may_go_together_goes_in_threads_and_keeps_its_errors(state: State) -> None:
    folder, shop = state.new_run(), Shop("a", "b", "c", errors={"b": DriverError("in use")})
    shop.together = True
    with Journal(folder.path) as journal:
        errors = destroy_all([thing(key) for key in "abc"], driver=shop, journal=journal, cancel=NoSleep())
    assert [error.what for error in errors] == ["shop disk id-b could not be destroyed"]
    assert shop.there == {"b"}
    assert all(name.startswith("clean-up") for name in shop.threads)


def test_a_driver_that_cannot_be_had_fails_alone(state: State) -> None:
    folder, shop = state.new_run(), Shop("a", "b")
    things = [thing("a"), thing("x", driver="unknown"), thing("y", driver="unknown"), thing("b")]
    with Journal(folder.path) as journal:
        errors = destroy_all(things, driver=shop, journal=journal, cancel=NoSleep())
    assert [error.what for error in errors] == [f"unknown disk id-{key} could not be destroyed" for key in "yx"]
    assert shop.order == ["b", "a"]


def test_a_full_disk_under_the_journal_stops_no_clean_up(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shop = state.new_run(), Shop("a", "b", errors={"b": DriverError("in use")})

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with Journal(folder.path) as journal:
        monkeypatch.setattr(journal, "write", full)
        errors = destroy_all([thing("a"), thing("b")], driver=shop, journal=journal, cancel=NoSleep())
    assert (shop.there, len(errors)) == ({"b"}, 1)


# ---- bake gc ----------------------------------------------------------------------------------------------------


def test_what_a_dead_run_left_goes_and_what_is_the_users_stays(state: State) -> None:
    folder = dead_run(
        state,
        ("intend", thing("a")),
        ("made", thing("b")),
        ("kept", thing("image")),
        ("gone", thing("c")),
        ("moved", thing("d")),
        ("failed", thing("e")),
    )
    shop = Shop("a", "b", "c", "d", "e", "image")
    swept = collect(state, shop)
    assert shop.there == {"c", "d", "image"}
    assert [resource.key for resource in swept.destroyed] == ["e", "b", "a"]
    assert (swept.exit_code, last_words(folder)["e"]) == (0, "gone")
    assert collect(state, shop) == Swept(), "nothing is left to do"


def test_a_dry_run_touches_nothing(state: State) -> None:
    folder, shop = dead_run(state, ("made", thing("a")), ("made", thing("b"))), Shop("a", "b")
    swept = collect(state, shop, dry_run=True)
    assert [resource.key for resource in swept.destroyed] == ["b", "a"]
    assert (shop.there, last_words(folder)) == ({"a", "b"}, {"a": "made", "b": "made"})


def test_a_run_that_is_alive_is_left_alone(state: State) -> None:
    folder, shop = dead_run(state, ("made", thing("a"))), Shop("a")
    with Journal(folder.path):
        swept = collect(state, shop)
    assert (swept.alive, swept.destroyed, shop.there) == ([folder.id], [], {"a"})


def test_what_is_held_goes_only_when_its_run_is_named(state: State) -> None:
    folder, shop = dead_run(state, ("held", thing("a")), ("made", thing("b"))), Shop("a", "b")
    swept = collect(state, shop)
    assert (swept.held, shop.there) == ([folder.id], {"a"})
    swept = collect(state, shop, run=folder.id)
    assert (swept.held, shop.there) == ([], set())


def test_a_run_of_another_user_is_named_and_not_touched(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shop = dead_run(state, ("made", thing("a"))), Shop("a")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert collect(state, shop).unreadable == [folder.id]
    assert (shop.there, folder.alive) == ({"a"}, True)
    with pytest.raises(PreflightError, match="belongs to another user"):
        collect(state, shop, run=folder.id)


def test_damage_and_leftovers_are_exit_code_10(state: State) -> None:
    folder = dead_run(state, ("made", thing("a")), ("made", thing("b")))
    path = folder.path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"key":"a"', b'"key":"x"'))
    shop = Shop("a", "b", errors={"b": DriverError("in use")})
    swept = collect(state, shop)
    assert (swept.damaged, swept.destroyed, len(swept.left)) == ({folder.id: [1]}, [], 1)
    assert swept.exit_code == CleanupError.exit_code == 10
    assert Swept(damaged={"r": [1]}).exit_code == 10


def test_a_run_that_is_not_there_is_a_mistake(state: State) -> None:
    with pytest.raises(UsageError, match="no run matches 'x'"):
        collect(state, Shop(), run="x")


def note(build: str, key: str) -> Note:
    handle = Handle(driver="shop", id=f"id-{key}", folder=Path("/x"), resource=thing(key, kind="machine"))
    return Note(
        name="m", build=build, handle=handle, things=(("machine", key),), progress=BuildProgress(done=1, key="k")
    )


def test_keys_go_with_their_machine_but_not_those_of_one_that_was_taken_over(state: State) -> None:
    folder = dead_run(state, ("made", thing("m1", kind="machine")), ("moved", thing("m2", kind="machine")))
    for name in ("m1", "m2", "m3"):
        machine = folder.path / "machines" / name
        machine.mkdir(parents=True)
        save_keys(make_keys("test"), machine)
        if name != "m3":
            progress.write(machine, note("web", name))
    collect(state, Shop("m1"))
    left = {path.relative_to(folder.path / "machines").as_posix() for path in folder.path.glob("machines/*/*")}
    assert left == {"m2/keys.json", "m2/progress.json"}


# ---- by tags ----------------------------------------------------------------------------------------------------


def test_tags_are_enough_where_no_journal_is_left() -> None:
    shop = Shop("a", "b", "c", errors={"b": DriverError("in use")})
    gone, left = sweep(shop, Where(run="old"), lambda _run: False)
    assert [resource.key for resource in gone] == ["a", "c"]
    assert [(error.what, error.why) for error in left] == [("shop disk id-b could not be destroyed", "in use")]


def test_tags_of_a_run_that_is_alive_here_are_left_alone() -> None:
    shop = Shop("a")
    assert sweep(shop, Where(), lambda run: run == "r") == ([], [])
    assert shop.there == {"a"}


def test_a_dry_sweep_touches_nothing() -> None:
    shop = Shop("a")
    gone, _ = sweep(shop, Where(), lambda _run: False, dry_run=True)
    assert ([resource.key for resource in gone], shop.there) == (["a"], {"a"})


# ---- claims and ledgers -----------------------------------------------------------------------------------------


def claim(tmp_path: Path, ledger: ClaimLedger | MergedLedger) -> Claim:
    keys = make_keys("test")
    return Claim(
        cache=tmp_path,
        build="web@box",
        run="r",
        role="build",
        name="bakery-r-1",
        folder=tmp_path,
        keys=keys,
        tags={},
        images=tmp_path,
        ledger=ledger,
        driver="shop",
    )


def test_a_thing_is_written_down_before_it_is_made_and_with_its_id_afterwards(tmp_path: Path) -> None:
    said: list[tuple[Op, str | None, object]] = []
    with Journal(tmp_path, lambda op, resource: said.append((op, resource.id, dict(resource.data)))) as journal:
        ledger = ClaimLedger(journal)
        intent = claim(tmp_path, ledger).intend("disk", region="eu")
        assert said == [("intend", None, {"region": "eu"})]
        made = intent.made("vol-1", size=8)
        assert said[1:] == [("made", "vol-1", {"region": "eu", "size": 8})]
        assert (made.key, list(ledger.resources.values())) == ("bakery-r-1", [made])
        assert claim(tmp_path, ledger).intend("disk", "other").made().id == "other"


def test_what_is_kept_is_no_longer_the_claims(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        ledger = ClaimLedger(journal)
        own = claim(tmp_path, ledger)
        first, second = own.intend("disk", "a"), own.intend("disk", "b")
        first.made()
        second.made()
        first.keep()
        first.keep()
        assert [resource.key for resource in ledger.resources.values()] == ["b"]
        own.commit()
        assert ledger.resources == {}
    assert last_words(RunFolder(tmp_path)) == {"a": "kept", "b": "kept"}


def test_what_is_left_on_purpose_is_held(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        ledger = ClaimLedger(journal)
        claim(tmp_path, ledger).intend("machine", "m").made("i-1")
        ledger.hold()
        assert ledger.resources == {}
    assert last_words(RunFolder(tmp_path)) == {"m": "held"}


def test_a_new_name_and_the_image_are_handed_over_together_the_image_first(tmp_path: Path) -> None:
    said: list[tuple[Op, str]] = []
    with Journal(tmp_path, lambda op, resource: said.append((op, resource.key))) as journal:
        image, new = ClaimLedger(journal), ClaimLedger(journal)
        claim(tmp_path, image).intend("image", "i").made()
        merged = claim(tmp_path, MergedLedger(new, image))
        merged.intend("copy", "c").made()
        alone = merged.intend("alias", "x")
        alone.made()
        alone.keep()
        said.clear()
        merged.commit()
    assert said == [("kept", "i"), ("kept", "c")]
    assert last_words(RunFolder(tmp_path)) == {"i": "kept", "c": "kept", "x": "kept"}


# ---- how far a machine has come ---------------------------------------------------------------------------------


def test_a_machines_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = replace(
        note("web@box", "m"), progress=BuildProgress(done=2, key=None, stands_on=("a", "b"), began="nginx")
    )
    progress.write(tmp_path, written)
    assert progress.read(tmp_path) == written
    progress.forget(tmp_path)
    progress.forget(tmp_path)
    assert progress.read(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1}', '{"version": 1, "progress": 3}', "\xff"]
)
def test_a_note_that_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / progress.FILE).write_bytes(text.encode("latin-1"))
    assert progress.read(tmp_path) is None


@pytest.mark.parametrize("left_out", ["name", "build", "handle", "things", "progress"])
def test_a_note_that_lacks_a_part_is_none(tmp_path: Path, left_out: str) -> None:
    progress.write(tmp_path, note("web@box", "m"))
    data = json.loads((tmp_path / progress.FILE).read_text())
    del data[left_out]
    (tmp_path / progress.FILE).write_text(json.dumps(data))
    assert progress.read(tmp_path) is None
