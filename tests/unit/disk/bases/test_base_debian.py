"""A Debian base as data: what is refused, what decides its key, and what mmdebstrap is told."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from bakery.disk.bases import debian_recipe as recipe
from bakery.disk.bases import owners
from bakery.disk.bases.base import Base
from bakery.disk.bases.debian import SUITES, Debian
from bakery.disk.bases.debian_build import digest, lines
from bakery.disk.bases.debian_build import shelf as shelf_of
from bakery.disk.bases.generations import BaseGenerations, _read, _write
from bakery.errors import DriverError, ImagefileError, PreflightError
from bakery.events import Event, Notice
from bakery.util.context import WorkContext


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"suite": "bookwrm"}, "no suite 'bookwrm'"),
        ({"suite": "bookworm", "packages": ("nginx; reboot",)}, "not the name of a Debian package"),
        ({"suite": "bookworm", "mirror": "debian.example"}, "not the address of a mirror"),
        ({"suite": "bookworm", "mirror": "http://m/debian [trusted=yes]"}, "not the address of a mirror"),
        ({"suite": "bookworm", "snapshot": "2026-11-01"}, "not a snapshot"),
        ({"suite": "bookworm", "snapshot": "20261101T000000Z", "mirror": "http://m/debian"}, "mirror or from a"),
    ],
)
def test_a_wrong_value_is_refused_at_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ImagefileError, match=message):
        Debian(**values)


def test_it_is_frozen_data() -> None:
    base = Debian("bookworm", packages=cast("tuple[str, ...]", ["curl"]))  # users write lists
    assert isinstance(base, Base)
    assert base == Debian("bookworm", ("curl",))
    assert hash(base) == hash(Debian("bookworm", ("curl",)))


def test_every_suite_that_can_be_named_has_a_recipe() -> None:
    assert set(SUITES) == set(recipe.SUITES)


def test_the_recipe_knows_what_decides_the_content_and_nothing_else() -> None:
    plain = Debian("bookworm")
    assert digest(plain) == digest(Debian("bookworm"))
    assert digest(Debian("bookworm", ("a0", "b0"))) == digest(Debian("bookworm", ("b0", "a0")))
    others = {
        digest(Debian("trixie")),
        digest(Debian("bookworm", ("curl",))),
        digest(Debian("bookworm", mirror="http://m/debian")),
        digest(Debian("bookworm", snapshot="20261101T000000Z")),
    }
    assert len(others | {digest(plain)}) == 5


def test_a_named_mirror_stays_in_the_image_and_a_snapshot_does_not() -> None:
    used, stays = lines(Debian("bookworm", mirror="http://m/debian"), None)
    assert used == stays
    assert used[0] == "deb http://m/debian bookworm main"
    used, stays = lines(Debian("bookworm", snapshot="20261101T000000Z"), None)
    assert used[2] == (
        "deb [check-valid-until=no] http://snapshot.debian.org/archive/debian-security/20261101T000000Z "
        "bookworm-security main"
    )
    assert stays == recipe.sources("bookworm")


@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie", "forky"])
def test_a_release_has_updates_and_security_updates_beside_it(suite: str) -> None:
    assert recipe.sources(suite) == [
        f"deb {recipe.ARCHIVE} {suite} main",
        f"deb {recipe.ARCHIVE} {suite}-updates main",
        f"deb http://security.debian.org/debian-security {suite}-security main",
    ]


def test_sid_is_one_suite_that_gets_all_its_updates_itself() -> None:
    assert recipe.sources("sid") == [f"deb {recipe.ARCHIVE} sid main"]


def test_mmdebstrap_gets_words_that_no_path_can_break() -> None:
    early = Path("/a folder/it's early.tar")
    words = recipe.words("trixie", ("nginx",), early=early, late=Path("/late.tar"), conf=None, mode="root")
    include = next(word for word in words if word.startswith("--include="))
    assert {"nginx", "linux-image-amd64", "systemd-repart"} <= set(include.removeprefix("--include=").split(","))
    assert """--essential-hook=tar-in '/a folder/it'"'"'s early.tar' /""" in words
    assert words[-1] == "trixie"


def test_our_files_belong_to_root_and_scripts_are_executable() -> None:
    contents = recipe.own_files()
    assert contents["etc/initramfs-tools/hooks/image"][1] == 0o755
    assert contents["etc/repart.d/50-root.conf"][1] == 0o644
    with tarfile.open(fileobj=io.BytesIO(recipe.archive(contents))) as tar:
        entries = {entry.name: entry for entry in tar.getmembers()}
    assert entries.keys() == contents.keys()
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(0, 0)}


def generation(folder: Path, *, made: float) -> Path:
    target = folder / "content"
    (target / "tree" / "etc").mkdir(parents=True)
    (target / "meta.json").write_text(json.dumps({"made": made}))
    (folder / "current").write_text("content")
    return target


def never(_folder: Path, _work: WorkContext) -> None:
    raise AssertionError("it was made anew")


def test_a_young_generation_is_used_and_its_name_is_the_key(tmp_path: Path) -> None:
    target = generation(tmp_path / "r", made=time.time() - 50)
    shelf = BaseGenerations(tmp_path / "r", work=WorkContext(cache=tmp_path), what="Debian", max_age=100)
    assert shelf.key() == "content"
    assert shelf.tree(never) == target


def test_a_tree_whose_owners_were_changed_is_made_anew_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = generation(tmp_path / "r", made=time.time())
    _write(target, {"made": time.time(), "owners": owners.witness(target / "tree")})
    said: list[Event] = []
    shelf = BaseGenerations(
        tmp_path / "r", work=WorkContext(cache=tmp_path, emit=said.append), what="Debian", max_age=100
    )
    assert shelf.tree(never) == target
    (target / "tree" / "etc").chmod(0o700)
    new = tmp_path / "new"
    monkeypatch.setattr(shelf, "_make_tree", lambda _make: new)
    assert shelf.tree(never) == new
    assert any(isinstance(event, Notice) and "made anew" in event.message for event in said)


def test_a_tree_that_is_not_there_any_more_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = generation(tmp_path / "r", made=time.time())
    shutil.rmtree(target / "tree")
    shelf = BaseGenerations(tmp_path / "r", work=WorkContext(cache=tmp_path), what="Debian", max_age=100)
    monkeypatch.setattr(shelf, "_make_tree", lambda _make: tmp_path)
    assert shelf.tree(never) == tmp_path


def test_a_tree_of_another_user_is_wrong_whoever_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    assert owners.wrong(tmp_path) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "must be root's, which here is the user id 4711" in owners.wrong(tmp_path)


def test_users_with_other_owners_have_bases_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "subuid"
    table.write_text("4711:100000:65536\n4712:165536:65536\n4713:100000:65536\n")
    monkeypatch.setattr(owners, "TABLES", (table, table))
    names = []
    for user in (0, 4711, 4712, 4713):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        names.append(shelf_of(Debian("bookworm"), WorkContext(cache=tmp_path)).folder.name)
    assert len(set(names)) == len(names)
    assert names[0] == f"debian-bookworm-{digest(Debian('bookworm'))[:16]}"
    table.write_text("4713:200000:65536\n")
    assert shelf_of(Debian("bookworm"), WorkContext(cache=tmp_path)).folder.name != names[-1]


def test_an_old_generation_has_no_key_unless_it_cannot_age(tmp_path: Path) -> None:
    generation(tmp_path / "r", made=0)
    work = WorkContext(cache=tmp_path)
    assert BaseGenerations(tmp_path / "r", work=work, what="Debian", max_age=100).key() is None
    assert BaseGenerations(tmp_path / "r", work=work, what="Debian", max_age=None).key() == "content"


def test_a_generation_from_the_future_is_not_young_since_the_clock_was_set_back(tmp_path: Path) -> None:
    generation(tmp_path / "r", made=time.time() + 86_400)
    assert BaseGenerations(tmp_path / "r", work=WorkContext(cache=tmp_path), what="Debian", max_age=100).key() is None


def test_any_flipped_bit_of_the_note_is_found_and_said(tmp_path: Path) -> None:
    target = generation(tmp_path / "r", made=0)
    _write(target, {"made": 0.0, "disk": {"digest": "ab", "size": 1, "mtime_ns": 2}})
    good = (target / "meta.json").read_bytes()
    for place in range(len(good) * 8):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        (target / "meta.json").write_bytes(bad)
        said: list[Event] = []
        shelf = BaseGenerations(
            tmp_path / "r", work=WorkContext(cache=tmp_path, emit=said.append), what="Debian", max_age=None
        )
        if shelf.key() is None:
            assert any(isinstance(event, Notice) and "cannot be read" in event.message for event in said)
        else:  # the name of the checksum itself, or a letter in whose place JSON takes another
            assert _read(target)["made"] == 0.0
            assert _read(target)["disk"] == {"digest": "ab", "size": 1, "mtime_ns": 2}


def test_offline_uses_the_old_one_and_says_so(tmp_path: Path) -> None:
    target = generation(tmp_path / "r", made=0)
    said: list[Event] = []
    work = WorkContext(cache=tmp_path, offline=True, emit=said.append)
    assert BaseGenerations(tmp_path / "r", work=work, what="Debian", max_age=100).tree(never) == target
    assert any(isinstance(event, Notice) and "offline" in event.message for event in said)


def test_offline_with_an_empty_cache_says_what_is_missing(tmp_path: Path) -> None:
    shelf = BaseGenerations(
        tmp_path / "r", work=WorkContext(cache=tmp_path, offline=True), what="Debian sid", max_age=100
    )
    with pytest.raises(PreflightError, match="Debian sid is not in the cache"):
        shelf.tree(never)


def test_a_mirror_that_is_down_is_no_reason_to_fail_while_an_old_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = generation(tmp_path / "r", made=0)
    said: list[Event] = []
    work = WorkContext(cache=tmp_path, emit=said.append)

    def down(*_: object) -> Path:
        raise DriverError("the mirror is down")

    shelf = BaseGenerations(tmp_path / "r", work=work, what="Debian", max_age=100)
    monkeypatch.setattr(shelf, "_make_tree", down)
    assert shelf.tree(never) == target
    assert any(isinstance(event, Notice) and "the mirror is down" in event.hint for event in said)


def test_cloud_init_is_told_that_there_is_no_locale_in_a_form_that_all_its_releases_take() -> None:
    """Text: 22.4.2 calls the truth value an invalid configuration, at every boot."""
    content, _ = recipe.own_files()["etc/cloud/cloud.cfg.d/91-locale.cfg"]
    assert yaml.safe_load(content) == {"locale": "false"}


def test_sealing_finds_that_a_base_makes_host_keys_by_itself() -> None:
    """It greps for that line by line; else it would install a unit of its own, for which sshd waits."""
    seal = files("bakery.machine").joinpath("seal.sh").read_text(encoding="utf-8")
    found = re.search(r"grep -r -s -l -E '([^']+)' \$UNIT_FOLDERS", seal)
    assert found
    unit = recipe.own_files()["etc/systemd/system/ssh-host-keys.service"][0].decode()
    assert any(re.search(found[1], line) for line in unit.splitlines())


def test_host_keys_are_made_before_no_socket() -> None:
    """Sockets come before basic.target, and the unit after it: a circle, for which systemd leaves one of them out."""
    files = recipe.own_files()
    unit = files["etc/systemd/system/ssh-host-keys.service"][0].decode()
    assert not any(".socket" in line for line in unit.splitlines() if not line.startswith("#"))
    assert "DefaultDependencies=no" in unit, "they are made while the rest of the system comes up"
    assert "Conflicts=shutdown.target" in unit
    assert b"After=ssh-host-keys.service" in files["etc/systemd/system/ssh@.service.d/host-keys.conf"][0]
