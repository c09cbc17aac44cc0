"""Checkpoints in the cache: made once, used by many, dropped when they are not what they were."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from bakery.cache import bases
from bakery.cache.checkpoints import inventory
from bakery.cache.checkpoints.lease import Lease
from bakery.cache.checkpoints.shared_lock import Flock
from bakery.cache.checkpoints.store import LIMIT, Store, boot_id, limit
from bakery.errors import ImagefileError
from bakery.events import Event, Notice
from bakery.model import Checkpoint
from bakery.util.context import WorkContext
from bakery.util.lock import hold

MIB = 1 << 20


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        self.events: list[Event] = []
        self.cache = tmp_path / "cache"
        self.base = self.cache / "bases" / "disk"
        self.base.parent.mkdir(parents=True)
        self.base.write_text("base")

    def store(self, *, most: int = LIMIT, boot: str = "boot-1") -> Store:
        return Store(WorkContext(cache=self.cache, emit=self.events.append), most, boot)

    def make(self, store: Store, key: str, *, on: str | None = None, size: int = MIB) -> None:
        with Lease(store) as lease:
            self.make_in(lease, key, on=on, size=size)

    def make_in(self, lease: Lease, key: str, *, on: str | None = None, size: int = MIB) -> None:
        place = lease.make(key)
        assert place
        (place.folder / "disk").write_bytes(os.urandom(size))
        under = str(lease.store.folder / on / "disk") if on else str(self.base)
        settings = {"layers": [under, str(place.folder / "disk")], "memory": 3}
        place.keep(Checkpoint(driver="qemu", key=key, folder=place.folder, warm=True, settings=settings))

    def age(self, store: Store, key: str, seconds: float) -> None:
        path = store.folder / f"{key}.lock"
        used = path.stat().st_mtime - seconds
        os.utime(path, (used, used))

    @property
    def notices(self) -> str:
        return " ".join(event.message for event in self.events if isinstance(event, Notice))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.ls()]


def test_what_was_made_is_found(bench: Bench) -> None:
    store = bench.store()
    bench.make(store, "s1-a")
    with Lease(store) as lease:
        found = lease.get("s1-a")
        assert found
        assert (found.driver, found.key, found.warm) == ("qemu", "s1-a", True)
        assert found.folder == store.folder / "s1-a"
        assert found.settings["memory"] == 3
        assert lease.get("s1-b") is None
    (entry,) = store.ls()
    assert entry.size >= MIB
    assert store.size() >= MIB


def test_it_is_made_once(bench: Bench) -> None:
    store = bench.store()
    with Lease(store) as one, Lease(store) as two:
        place = one.make("s1-a")
        assert place
        assert two.make("s1-a") is None
        assert two.get("s1-a") is None
        place.keep(Checkpoint(driver="qemu", key="s1-a", folder=place.folder))
        assert two.get("s1-a")
        assert two.make("s1-a") is None
    with Lease(store) as lease:
        assert lease.make("s1-a") is None
        assert lease.get("s1-a")


def test_what_was_not_finished_goes_when_the_build_ends_and_no_sooner(bench: Bench) -> None:
    store = bench.store()
    with Lease(store) as lease:
        place = lease.make("s1-a")
        assert place
        (place.folder / "disk").write_text("a machine stands on this")
        assert store.prune(keep_bytes=0) == []
        assert (place.folder / "disk").exists()
    assert list(store.folder.iterdir()) == []


def test_what_a_dead_process_left_is_swept(bench: Bench) -> None:
    store = bench.store()
    bench.make(store, "s1-a")
    (store.folder / "s1-b").mkdir()
    (store.folder / "s1-b" / "disk").write_text("torn")
    (store.folder / ".doomed-s1-c-99").mkdir()
    with Lease(store) as lease:
        assert lease.get("s1-b") is None
    assert "the checkpoint s1-b is dropped: it was not finished" in bench.notices
    store.prune()
    assert keys(store) == ["s1-a"]
    assert not (store.folder / ".doomed-s1-c-99").exists()


def cut_short(store: Store, bench: Bench) -> None:
    os.truncate(store.folder / "s1-a" / "disk", 10)


def written_to(store: Store, bench: Bench) -> None:
    with (store.folder / "s1-a" / "disk").open("r+b") as file:
        file.write(b"x")


def gone(store: Store, bench: Bench) -> None:
    (store.folder / "s1-a" / "disk").unlink()


def manifest_torn(store: Store, bench: Bench) -> None:
    os.truncate(store.folder / "s1-a" / "manifest.json", 30)


def base_made_anew(store: Store, bench: Bench) -> None:
    bench.base.rename(bench.base.with_name("old"))
    bench.base.write_text("base")


@pytest.mark.parametrize("damage", [cut_short, written_to, gone, manifest_torn, base_made_anew])
def test_a_damaged_checkpoint_is_dropped_with_a_notice(bench: Bench, damage: Callable[[Store, Bench], None]) -> None:
    store = bench.store()
    bench.make(store, "s1-a")
    damage(store, bench)
    with Lease(store) as lease:
        assert lease.get("s1-a") is None
        assert "the checkpoint s1-a is dropped" in bench.notices
        assert lease.make("s1-a")


def test_after_a_power_cut_only_what_was_flushed_is_trusted(bench: Bench) -> None:
    store = bench.store()
    bench.make(store, "s1-flushed")
    with Lease(store) as lease:
        bench.make_in(lease, "s1-cut")
        later = bench.store(boot="boot-2")
        assert later.fault("s1-cut") == "the host went down before it was on the disk"
        assert later.fault("s1-flushed") == ""
        assert store.fault("s1-cut") == ""
    assert bench.store(boot="boot-2").fault("s1-cut") == ""
    bench.make(bench.store(boot=""), "s1-nameless")
    assert bench.store(boot="").fault("s1-nameless") == ""


def test_a_checkpoint_whose_parent_was_made_anew_is_not_used(bench: Bench) -> None:
    store = bench.store()
    bench.make(store, "s1-a")
    bench.make(store, "s1-b", on="s1-a")
    cut_short(store, bench)
    with Lease(store) as lease:
        assert lease.get("s1-a") is None
        bench.make_in(lease, "s1-a")
        assert lease.get("s1-b") is None
    assert "on which it stands, is gone or was made anew" in bench.notices


def test_the_least_recently_used_goes_first_and_chains_stay_whole(bench: Bench) -> None:
    store = bench.store(most=100 * MIB)
    bench.make(store, "s1-a")
    bench.make(store, "s1-b", on="s1-a")
    bench.make(store, "s1-c")
    for key, seconds in [("s1-a", 300), ("s1-b", 200), ("s1-c", 100)]:
        bench.age(store, key, seconds)
    assert [entry.stands_on for entry in store.ls()] == [(), ("s1-a",), ()]
    assert [entry.key for entry in store.prune(keep_bytes=int(2.5 * MIB))] == ["s1-b"]
    assert [entry.key for entry in store.prune(keep_bytes=int(1.5 * MIB))] == ["s1-a"]
    assert keys(store) == ["s1-c"]


def test_the_limit_is_kept_after_each_build(bench: Bench) -> None:
    store = bench.store(most=int(2.5 * MIB))
    for number in range(4):
        bench.make(store, f"s1-{number}")
        bench.age(store, f"s1-{number}", 100 - number)
    assert keys(store) == ["s1-2", "s1-3"]


def test_what_is_shared_by_links_counts_once(bench: Bench) -> None:
    store = bench.store(most=int(2.5 * MIB))
    bench.make(store, "s1-a", size=2 * MIB)
    with Lease(store) as lease:
        place = lease.make("s1-b")
        assert place
        os.link(store.folder / "s1-a" / "disk", place.folder / "disk")
        place.keep(Checkpoint(driver="nspawn", key="s1-b", folder=place.folder))
    assert len(keys(store)) == 2


def test_old_ones_go_and_used_ones_are_young(bench: Bench) -> None:
    store = bench.store()
    for key in ("s1-a", "s1-b"):
        bench.make(store, key)
        bench.age(store, key, 86400)
    with Lease(store) as lease:
        assert lease.get("s1-a")
    assert [entry.key for entry in store.prune(older_than=3600)] == ["s1-b"]


def test_what_is_in_use_stays_with_all_that_it_stands_on(bench: Bench) -> None:
    store = bench.store()
    bench.make(store, "s1-a")
    bench.make(store, "s1-b", on="s1-a")
    with Lease(store) as lease:
        assert lease.get("s1-b")
        assert store.prune(keep_bytes=0) == []
        assert not store.drop("s1-a")
    assert [entry.key for entry in store.prune(keep_bytes=0)] == ["s1-b", "s1-a"]
    assert list(store.folder.iterdir()) == []


def test_many_threads_make_and_use_and_prune_at_once(bench: Bench) -> None:
    faults: list[str] = []

    def work(number: int) -> None:
        store = bench.store(most=6 * MIB // 4)
        for turn in range(12):
            key = f"s1-{(number + turn) % 5}"
            with Lease(store) as lease:
                found = lease.get(key)
                if found is None and (place := lease.make(key)):
                    (place.folder / "disk").write_bytes(key.encode() * (MIB // 8))
                    place.keep(Checkpoint(driver="qemu", key=key, folder=place.folder))
                    found = lease.get(key)
                if found and found.folder and not (found.folder / "disk").read_bytes().startswith(key.encode()):
                    faults.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_bases_that_nobody_asked_for_lately_go_unless_they_are_needed(bench: Bench) -> None:
    store = bench.store()
    for name in ("bases/old", "bases/new", "bases/open", "bases/under", "downloads/held", "appliances/old"):
        with hold(bench.cache / name / "lock", what="making it", work=store.work):
            (bench.cache / name / "disk").write_text(name)
            (bench.cache / name / "tree").mkdir()
        if name != "bases/new":
            os.utime(bench.cache / name / "lock", (1000, 1000))
    with Lease(store) as lease:
        place = lease.make("s1-a")
        assert place
        settings = {"base": str(bench.cache / "bases" / "under" / "disk")}
        place.keep(Checkpoint(driver="qemu", key="s1-a", folder=place.folder, settings=settings))
    assert {entry.name for entry in bases.ls(bench.cache)} == {
        "bases/old",
        "bases/new",
        "bases/open",
        "bases/under",
        "downloads/held",
        "appliances/old",
    }
    held = FileLock(bench.cache / "downloads" / "held" / "lock")
    with (bench.cache / "bases" / "open" / "disk").open(), held:
        os.utime(bench.cache / "downloads" / "held" / "lock", (1000, 1000))
        assert {entry.name for entry in bases.prune(store, older_than=3600)} == {"bases/old", "appliances/old"}
    assert not (bench.cache / "bases" / "old" / "disk").exists()
    gone = bases.prune(store, older_than=1e6)
    assert {entry.name for entry in gone} == {"bases/open", "downloads/held"}


def test_bases_that_fitted_are_not_measured_again_until_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, looks = Bench(tmp_path), list[Path]()
    bench.base.unlink()
    size = inventory.size

    def look(folders: list[Path]) -> int:
        looks.extend(folders)
        return size(folders)

    monkeypatch.setattr(inventory, "size", look)

    def base(name: str, used: float) -> None:
        folder = bench.cache / "bases" / name
        folder.mkdir()
        (folder / "disk").write_bytes(bytes(MIB))
        (folder / "lock").touch()
        os.utime(folder / "lock", (used, used))

    def fit(most: int = 2 * MIB + MIB // 2) -> list[str]:
        looks.clear()
        return [entry.name for entry in bases.fit(bench.store(), most)]

    base("one", 1000)
    assert (fit(), len(looks)) == ([], 1)
    base("two", 2000)
    assert (fit(), len(looks)) == ([], 2), "another came"
    assert (fit(), len(looks)) == ([], 0), "nothing came"
    base("three", 3000)
    assert fit() == ["bases/one"]
    assert (fit(), len(looks)) == ([], 2)
    assert fit(MIB + MIB // 2) == ["bases/two"], "the limit is another"
    with (bench.cache / "bases" / "three" / "disk").open():
        assert (fit(MIB // 2), fit(MIB // 2), len(looks)) == ([], [], 1), "what is in use goes as soon as it is not"
    assert fit(MIB // 2) == ["bases/three"]


def test_a_lock_that_was_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    one, two, three = (Flock(tmp_path / "lock") for _ in range(3))
    assert one.try_shared()
    assert two.try_shared()
    assert not three.try_alone()
    two.release()
    assert one.try_alone()
    one.remove()
    assert three.try_alone()
    assert not one.try_shared()
    three.release()
    three.release()


@pytest.mark.parametrize(
    ("text", "bytes_"), [("20G", 20 << 30), ("1.5 GiB", 3 << 29), ("500MB", 500 << 20), ("7", 7), ("", LIMIT)]
)
def test_the_limit_is_read_from_the_environment(text: str, bytes_: int) -> None:
    assert limit({"BAKERY_CACHE_LIMIT": text}) == bytes_


def test_a_limit_that_is_no_size_is_an_error() -> None:
    with pytest.raises(ImagefileError, match="is no size"):
        limit({"BAKERY_CACHE_LIMIT": "plenty"})
    assert isinstance(boot_id(), str)
