"""Files between this host and a machine, over a link whose other end keeps them in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import Machine, Secret
from bakery.errors import CommandFailed, TaskError
from bakery.machine.files import binary, interpreter_of
from bakery.model import Result
from tests.unit.machine.box import Asked, Box

NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@pytest.fixture
def box() -> Box:
    return Box(folders={"/etc", "/opt/app"})


@pytest.fixture
def m(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return box.machine(monkeypatch, tmp_path)


# ---- put and write ----------------------------------------------------------------------------------------------


def test_a_file_arrives_with_its_bits_or_those_asked_for(m: Machine, box: Box, tmp_path: Path) -> None:
    (tmp_path / "site").write_bytes(b"\0\xff" * 70_000)
    (tmp_path / "site").chmod(0o640)
    m.put("site", "/etc/a")
    m.put("site", "/etc/b", preserve_mode=False)
    m.put("site", "/etc/c", mode=0o4755, owner="app:www")
    assert [(box.files[name].mode, box.files[name].owner) for name in ("/etc/a", "/etc/b", "/etc/c")] == [
        ("640", ""),
        ("644", ""),
        ("4755", "app:www"),
    ]
    assert box.files["/etc/a"].data == b"\0\xff" * 70_000


def test_a_file_goes_below_an_existing_folder_under_its_own_name(m: Machine, tmp_path: Path) -> None:
    (tmp_path / "site.conf").touch()
    assert m.put("site.conf", "/etc").remote == "/etc/site.conf"
    assert m.put(tmp_path / "site.conf", "/etc/").remote == "/etc/site.conf"


def test_a_stream_has_the_name_of_its_file(m: Machine, box: Box, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello")
    with (tmp_path / "motd").open("rb") as file:
        file.read(2)
        assert m.put(file, "/etc").remote == "/etc/motd"
    assert box.files["/etc/motd"].data == b"llo", "what was read of it already is the caller's"
    assert box.files["/etc/motd"].mode == "644"


def test_text_and_secrets_are_written_as_utf8(m: Machine, box: Box) -> None:
    m.write("/etc/a", "Öl\n")
    m.write("/etc/b", Secret("geheim"), mode=0o600)
    m.write("/etc/c", b"\xff", owner="app")
    m.write("/etc/d", "", owner="root")
    assert [box.files[f"/etc/{name}"].data for name in "abcd"] == ["Öl\n".encode(), b"geheim", b"\xff", b""]
    assert [box.files[f"/etc/{name}"].owner for name in "abcd"] == ["", "", "app", ""]
    assert not any("geheim" in asked.line for asked in box.asked)


def test_files_are_moved_as_the_tasks_user_in_its_folder_without_its_prefixes(m: Machine, box: Box) -> None:
    box.answer("*bakery-put*", _key_only)
    step = m.for_step("web", user="app")
    with step.cd("/srv"), step.prefix("exit 3"):
        step.write("x", "")
    assert "runuser -u app" in box.asked[0].line
    assert "cd -- /srv" in box.asked[0].line
    assert "exit 3" not in box.asked[0].line


def _key_only(asked: Asked) -> str:
    key = asked.words[-1]
    return f"{key}x{key}"


def test_a_file_with_holes_keeps_them(m: Machine, box: Box, tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    (tmp_path / "full").write_bytes(b"x" * 4096)
    m.put("disk", "/etc/disk")
    m.put("full", "/etc/full")
    assert (box.files["/etc/disk"].is_sparse, box.files["/etc/full"].is_sparse) == (True, False)


def test_a_pipe_is_read_once_and_sent_whole(m: Machine, box: Box, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o640)
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"from a pipe"])
    writer.start()
    m.put("pipe", "/etc/x")
    writer.join()
    assert (box.files["/etc/x"].data, box.files["/etc/x"].mode) == (b"from a pipe", "640")


def test_no_such_file_is_found_out_before_anything_is_sent(m: Machine, box: Box) -> None:
    with pytest.raises(FileNotFoundError):
        m.put("nothing", "/etc/x")
    assert box.asked == []


def test_an_upload_that_the_machine_refuses_is_its_words(m: Machine, box: Box) -> None:
    box.answer("*bakery-put*", Result(command="", exited=1, stderr="/none/: no such folder\n"))
    with pytest.raises(CommandFailed, match="`put /none/x` ended with exit code 1") as raised:
        m.write("/none/x", "")
    assert raised.value.why == "/none/: no such folder"


@pytest.mark.parametrize("said", ["", "a start file talks", "{key}/etc/x", "no key /etc/x no key"])
def test_an_upload_that_does_not_tell_where_it_is_did_not_happen(m: Machine, box: Box, said: str) -> None:
    def talk(asked: Asked) -> Result:
        return Result(command="", exited=0, stdout=said.format(key=asked.words[-1]), stderr="and more")

    box.answer("*bakery-put*", talk)
    with pytest.raises(TaskError, match="did not come to its end"):
        m.write("/etc/x", "")


@given(data=st.binary(max_size=5000), name=NAME, chunk=st.integers(1, 5000))
@settings(max_examples=40)
def test_any_file_of_any_name_makes_the_round_trip(data: bytes, name: str, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        box = Box(chunk=chunk)
        m = box.machine(monkeypatch, Path(folder))
        (Path(folder) / name).write_bytes(data)
        there = m.put(Path(folder, name), f"/srv/{name}").remote
        assert (there, box.files[there].data) == (f"/srv/{name}", data)
        m.get(there, back := io.BytesIO())
        assert back.getvalue() == data


# ---- get --------------------------------------------------------------------------------------------------------


def test_a_download_is_written_whole_below_folders_that_it_makes(m: Machine, box: Box, tmp_path: Path) -> None:
    m.write("/etc/motd", "Öl")
    assert m.get("/etc/motd").local == str(tmp_path / "motd")
    assert m.get("/etc/motd", "logs/new/").local == str(tmp_path / "logs/new/motd")
    assert m.get("/etc/motd", "logs").local == str(tmp_path / "logs/motd")
    assert m.get("/etc/motd", tmp_path / "other").local == str(tmp_path / "other")
    assert (tmp_path / "other").read_text() == "Öl"


@pytest.mark.parametrize("tail", [b"end", b""])
def test_a_download_has_holes_where_only_zeros_come(m: Machine, box: Box, tmp_path: Path, tail: bytes) -> None:
    box.chunk = 1 << 16
    data = b"x" * 5000 + bytes(8 << 20) + tail
    m.write("/srv/sparse", data)
    m.get("/srv/sparse", "here")
    assert (tmp_path / "here").read_bytes() == data
    assert (tmp_path / "here").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_download_as_text_is_decoded_across_pieces(m: Machine, box: Box, chunk: int) -> None:
    box.chunk = chunk
    m.write("/etc/motd", "漢字 Öl")
    m.get("/etc/motd", text := io.StringIO())
    assert text.getvalue() == "漢字 Öl"


@pytest.mark.parametrize("had", [None, "the older one"])
def test_a_download_that_fails_leaves_what_was_there(m: Machine, tmp_path: Path, had: str | None) -> None:
    if had is not None:
        (tmp_path / "here").write_text(had)
    with pytest.raises(CommandFailed, match="No such file"):
        m.get("/etc/nothing", "here")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == ([("here", had)] if had else [])


def test_a_download_with_another_digest_leaves_what_was_there(m: Machine, box: Box, tmp_path: Path) -> None:
    box.answer("*bakery-get*", Result(command="", exited=0, stdout="cut sh", stderr=f"{'0' * 64}  -\n"))
    with pytest.raises(TaskError, match="was changed on its way here"):
        m.get("/etc/x", "here")
    assert list(tmp_path.iterdir()) == []


# ---- copy -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "app" / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "app" / "a.py").write_text("a")
    (tmp_path / "app" / "sub" / "b.py").write_bytes(b"b" * 3000)
    (tmp_path / "app" / "sub" / "deep" / "c.pyc").write_text("c")
    (tmp_path / "app" / "link").symlink_to("a.py")
    return tmp_path / "app"


def test_a_folder_arrives_with_all_that_is_in_it(m: Machine, box: Box, tree: Path) -> None:
    m.copy("app", "/srv", owner="app")
    assert {name: file.data for name, file in box.files.items()} == {
        "/srv/a.py": b"a",
        "/srv/sub/b.py": b"b" * 3000,
        "/srv/sub/deep/c.pyc": b"c",
    }
    assert box.members["/srv/link"].linkname == "a.py"
    assert {(member.uid, member.gid) for member in box.members.values()} == {(33, 33)}


def test_a_folder_that_the_machine_has_keeps_its_bits(m: Machine, box: Box, tree: Path) -> None:
    box.folders |= {"/opt/app/sub"}
    m.copy(tree, "/opt/app", exclude=["*.pyc"])
    assert sorted(box.members) == ["/opt/app/a.py", "/opt/app/link", "/opt/app/sub/b.py", "/opt/app/sub/deep"]


def test_a_folder_given_to_put_is_copied(m: Machine, box: Box, tree: Path) -> None:
    assert m.put("app", "/srv").remote == "/srv"
    assert "/srv/a.py" in box.files


@pytest.mark.parametrize(("seconds", "packed"), [(0.0, False), (0.004, False), (0.02, True)])
def test_a_stream_is_packed_where_the_link_is_slow(
    m: Machine, box: Box, tree: Path, seconds: float, packed: bool
) -> None:
    box.round_trip = seconds
    m.copy(tree, "/srv")
    sent = box.asked[-1].input
    assert sent.startswith(gzip.compress(b"")[:2]) is packed
    assert box.files["/srv/sub/b.py"].data == b"b" * 3000


def test_what_is_no_folder_is_refused_before_anything_is_sent(m: Machine, box: Box, tree: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"a\.py is not a folder"):
        m.copy(tree / "a.py", "/srv")
    assert box.asked == []


def test_a_folder_that_came_otherwise_is_an_error(m: Machine, box: Box, tree: Path) -> None:
    def prepare_or_unpack(asked: Asked) -> str:
        words = asked.words
        return f"{words[6]}0 0{words[6]}" if len(words[6]) == 16 else f"{hashlib.sha256(b'').hexdigest()}  -\n"

    box.answer("*bakery-copy*", prepare_or_unpack)
    with pytest.raises(TaskError, match="was changed on its way to the machine"):
        m.copy(tree, "/srv")


@pytest.mark.parametrize(("tar", "said"), [("tar (GNU tar) 1.34\n", []), ("BusyBox v1.36\n", ["disk"])])
def test_holes_are_filled_with_a_word_where_the_machines_tar_knows_none(
    m: Machine, box: Box, tree: Path, tar: str, said: list[str]
) -> None:
    with (tree / "disk").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    box.tar = tar
    m.copy(tree, "/srv")
    assert [notice for notice in box.notices if "holes of disk are filled" in notice] == (box.notices if said else [])
    assert len(box.notices) == len(said)
    assert box.files["/srv/disk"].data == (tree / "disk").read_bytes()
    assert (len(box.asked[-1].input) < 1 << 20) is not bool(said)


def test_what_is_no_file_is_left_out_with_a_word(m: Machine, box: Box, tree: Path) -> None:
    for name in "abcd":
        os.mkfifo(tree / name)
    m.copy(tree, "/srv", exclude=("a",))
    assert [notice for notice in box.notices if "b, c, d of" in notice and "are not copied" in notice] == box.notices
    assert len(box.notices) == 1
    assert "/srv/b" not in box.files


# ---- scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("#!/bin/bash -eu\n", ["/bin/bash", "-eu"]),
        ("#! /usr/bin/env python3\r\n", ["/usr/bin/env", "python3"]),
        ("echo no line\n", ["sh"]),
        ("", ["sh"]),
        ("#!", ["sh"]),
        ("#! \n", ["sh"]),
    ],
)
def test_the_interpreter_is_read_from_the_first_line(tmp_path: Path, first: str, words: list[str]) -> None:
    (tmp_path / "script").write_text(first)
    assert interpreter_of((tmp_path / "script").read_bytes()) == words


def test_a_stream_of_text_gives_bytes() -> None:
    assert binary(io.StringIO("Öl")).read() == "Öl".encode()
    stream = io.BytesIO(b"x")
    assert binary(stream) is stream
