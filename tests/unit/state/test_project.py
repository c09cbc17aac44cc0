"""What lies beside an imagefile: runs, the catalogue, files that are whole, and whose they are."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bakery.errors import PreflightError, UsageError
from bakery.model import Artifact
from bakery.state import ownership
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State, cache_folder
from bakery.state.ssh_keys import make_keys, read_keys, save_keys


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.beside(tmp_path / "imagefile.py", {"BAKERY_CACHE_DIR": str(tmp_path / "cache")})


def image(number: int, name: str = "web", build: str = "") -> Artifact:
    return Artifact(
        driver="box", id=f"{name}-{number}", name=name, build=build or f"{name}[release={number}]@box", size=number
    )


# ---- places -----------------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_user_says(tmp_path: Path) -> None:
    assert cache_folder({"BAKERY_CACHE_DIR": str(tmp_path / "a/../b")}) == tmp_path / "b"
    assert cache_folder({"BAKERY_CACHE_DIR": "~/c"}) == Path(os.environ["HOME"]) / "c"
    assert cache_folder({}).name == "bakery"


def test_the_state_ignores_itself_in_git_and_keeps_what_the_user_wrote_there(state: State) -> None:
    state.prepare()
    ignore = state.folder / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("runs\n")
    state.prepare()
    assert ignore.read_text() == "runs\n"


# ---- runs -------------------------------------------------------------------------------------------------------


def test_runs_sort_by_time_also_where_the_clock_was_set_back(state: State) -> None:
    first = state.new_run()
    ahead = state.runs_folder / f"{datetime.now(UTC) + timedelta(days=400):%Y%m%d-%H%M%S}-ffff"
    ahead.mkdir()
    (state.runs_folder / "notes").mkdir()
    (state.runs_folder / "a file").touch()
    names = [first.id, ahead.name, state.new_run().id, state.new_run().id]
    assert sorted(names) == names
    assert [run.id for run in state.runs()] == [*names, "notes"]
    assert len({*names}) == 4


def test_a_runs_folder_is_private(state: State) -> None:
    assert stat.S_IMODE(state.new_run().path.stat().st_mode) == 0o700


def test_a_project_without_runs_has_none(state: State) -> None:
    assert state.runs() == []
    with pytest.raises(UsageError, match="no run matches 'x'") as raised:
        state.run("x")
    assert raised.value.hint == "runs: none"


def test_a_run_is_named_by_any_part_that_only_one_has(state: State) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-bbbb", "20260102-000000-bbbb2"):
        (state.runs_folder / name).mkdir(parents=True)
    assert state.run("aaaa").id == "20260101-000000-aaaa"
    assert state.run("20260102-000000-bbbb").id == "20260102-000000-bbbb", "a whole name is no part of another"
    with pytest.raises(UsageError, match="several runs match 'bbbb'") as raised:
        state.run("bbbb")
    assert raised.value.hint == "runs: 20260102-000000-bbbb, 20260102-000000-bbbb2"


def test_a_run_says_what_it_is(state: State) -> None:
    run = state.new_run()
    assert (run.about(), run.alive, run.readable) == ({}, False, True)
    run.write_about({"builds": ["web"]})
    assert run.about() == {"builds": ["web"]}
    (run.path / "run.json").write_text("{")
    assert run.about() == {}
    with Journal(run.path):
        assert run.alive


def test_a_run_whose_lock_is_anothers_counts_as_alive(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    run = state.new_run()
    (run.path / "lock").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "lock")
    assert (run.readable, run.alive) == (False, True)


# ---- the catalogue ----------------------------------------------------------------------------------------------


def test_images_are_found_by_id_build_name_and_spec_the_newest_first(state: State) -> None:
    for number in (1, 2):
        state.add_image(image(number))
    state.add_image(image(3, "web-trixie", "db@box"))
    assert state.image("web-1").size == 1
    assert state.image("web[release=1]@box").size == 1
    with pytest.raises(UsageError, match="'web' means images of 2 builds"):
        state.image("web")
    state.add_image(replace(image(2), id="web-3", size=4))
    assert state.image("web[release=2]@box").size == 4
    assert state.image("db").size == 3
    with pytest.raises(UsageError, match="no image 'x' was built here") as raised:
        state.image("x")
    assert raised.value.hint == "images: web, web-trixie"


def test_an_image_takes_the_place_of_an_older_one_with_its_id(state: State) -> None:
    state.add_image(image(1))
    state.add_image(image(2))
    state.add_image(replace(image(1), verdict="passed"))
    assert [(i.id, i.verdict) for i in state.images()] == [("web-2", ""), ("web-1", "passed")]
    state.mark_image(replace(image(2), verdict="failed"))
    state.mark_image(image(9))
    assert [(i.id, i.verdict) for i in state.images()] == [("web-2", "failed"), ("web-1", "passed")]
    state.forget_image(image(2))
    assert [i.id for i in state.images()] == ["web-1"]


def test_an_empty_catalogue_says_how_to_fill_it(state: State) -> None:
    with pytest.raises(UsageError) as raised:
        state.image("web")
    assert raised.value.hint == "images: none yet; `bake build` makes one"


def test_a_catalogue_that_was_changed_by_hand_is_refused(state: State) -> None:
    state.add_image(image(1))
    catalogue = state.folder / "catalogue.json"
    catalogue.write_text(catalogue.read_text().replace('"web-1"', '"web-9"'))
    with pytest.raises(PreflightError, match="the catalogue of images is damaged") as raised:
        state.images()
    assert "its checksum is another" in raised.value.why
    with pytest.raises(PreflightError):
        state.add_image(image(2))
    assert '"web-9"' in catalogue.read_text(), "nothing is written over it"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"images": 3}', '{"images": [3]}', '{"images": [{}]}', "null"])
def test_a_catalogue_that_is_none_is_refused(state: State, text: str) -> None:
    state.prepare()
    (state.folder / "catalogue.json").write_text(text)
    with pytest.raises(PreflightError, match="damaged"):
        state.images()


def test_a_catalogue_of_the_first_version_has_no_sum(state: State) -> None:
    state.add_image(image(1))
    catalogue = state.folder / "catalogue.json"
    data = json.loads(catalogue.read_text())
    del data["sum"]
    catalogue.write_text(json.dumps(data))
    assert [i.id for i in state.images()] == ["web-1"]


def test_only_an_image_that_is_a_file_has_a_path() -> None:
    assert replace(image(1), id="/srv/web.qcow2").path == Path("/srv/web.qcow2")
    with pytest.raises(AttributeError, match="is not a local file"):
        _ = image(1).path


# ---- keys -------------------------------------------------------------------------------------------------------


def test_keys_are_read_back_and_nobody_elses_to_read(tmp_path: Path) -> None:
    keys = make_keys("bakery-test")
    save_keys(keys, tmp_path)
    assert read_keys(tmp_path) == keys
    assert keys.user_public.endswith(" bakery-test")
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600]
    assert keys.user_public.split()[1] != keys.host_public.split()[1]


# ---- whose they are ---------------------------------------------------------------------------------------------


@dataclass
class Owners:
    """Who a file system says that its files belong to; `os.chown` changes it."""

    folder: Path
    root_owns: set[Path] = field(default_factory=set[Path])
    changed: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def chown(self, path: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        self.changed[str(Path(path).relative_to(self.folder))] = (uid, gid)


@pytest.fixture
def owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owners]:
    """Root works for user 4711, whose folder it is; all that is made in it is root's."""
    owners = Owners(tmp_path)
    real_stat, real_lstat = Path.stat, Path.lstat

    def owned(info: os.stat_result, uid: int) -> os.stat_result:
        return os.stat_result((*info[:4], uid, uid, *info[6:10]))

    monkeypatch.setattr(Path, "stat", lambda self, **o: owned(real_stat(self, **o), 4711 if self == tmp_path else 0))
    monkeypatch.setattr(Path, "lstat", lambda self: owned(real_lstat(self), 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "4711")
    monkeypatch.setattr(os, "chown", owners.chown)
    (tmp_path / "run" / "machines" / "m1" / "root" / "etc").mkdir(parents=True)
    (tmp_path / "run" / "machines" / "m1" / "keys.json").touch()
    (tmp_path / "run" / "machines" / "m1" / "root" / "etc" / "passwd").touch()
    (tmp_path / "run" / "report.html").touch()
    (tmp_path / "run" / "link").symlink_to("/etc")
    yield owners
    monkeypatch.undo()


def test_what_sudo_made_is_handed_to_the_user_but_no_machines_files(owners: Owners) -> None:
    ownership.hand_over([owners.folder / "run"], owners.folder)
    assert owners.changed == dict.fromkeys(
        [
            "run",
            "run/link",
            "run/machines",
            "run/machines/m1",
            "run/machines/m1/keys.json",
            "run/machines/m1/root",
            "run/report.html",
        ],
        (4711, 4711),
    )


def test_a_file_that_has_another_name_elsewhere_is_left(owners: Owners) -> None:
    os.link(owners.folder / "run" / "report.html", owners.folder / "twin")
    ownership.hand_over_alone([owners.folder / "twin", owners.folder / "nothing"], owners.folder)
    assert owners.changed == {}


@pytest.mark.parametrize(("sudo", "root"), [("", True), ("x", True), ("0", True), ("33", True), ("4711", False)])
def test_nothing_is_handed_over_where_nobody_called_sudo(
    owners: Owners, monkeypatch: pytest.MonkeyPatch, sudo: str, root: bool
) -> None:
    monkeypatch.setenv("SUDO_UID", sudo)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 4711)
    ownership.hand_over([owners.folder / "run"], owners.folder)
    assert owners.changed == {}


def test_a_folder_that_is_gone_has_no_owner(owners: Owners) -> None:
    ownership.hand_over([owners.folder / "run"], owners.folder / "nothing")
    assert owners.changed == {}


def test_a_projects_state_is_handed_over_with_what_was_made(owners: Owners) -> None:
    state = State(owners.folder / ".bakery", owners.folder / "cache")
    run: RunFolder = state.new_run()
    (run.path / "report.html").touch()
    owners.changed.clear()
    state.hand_over(run.path)
    assert {".bakery", ".bakery/runs", f".bakery/runs/{run.id}", f".bakery/runs/{run.id}/report.html", "cache"} <= {
        *owners.changed
    }
