"""Where a user tells us to write: what is refused before anything starts, and with which name that would do."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.build import destinations
from bakery.build.destinations import (
    Destination,
    check_all,
    check_suffix,
    dependency_file,
    image_file,
    junit_file,
    picture_file,
)
from bakery.build.makefile import rule
from bakery.errors import UsageError

Place = Callable[[str, Path], Destination]
QCOW2 = b"QFI\xfb" + bytes(100)


def refused(place: Destination, *kept: Path) -> UsageError:
    with pytest.raises(UsageError) as raised:
        place.check(kept)
    return raised.value


def test_a_file_that_is_not_there_yet_may_be_made_with_folders_on_the_way(tmp_path: Path) -> None:
    image_file("a/b/web.qcow2", tmp_path / "a/b/web.qcow2").check([tmp_path / ".bakery"])
    assert list(tmp_path.iterdir()) == []  # a look makes nothing


@pytest.mark.parametrize("data", [QCOW2, b"", bytes(510) + b"\x55\xaa"])
def test_an_image_takes_the_place_of_an_image(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "web.qcow2"
    path.write_bytes(data)
    image_file("web.qcow2", path).check([])


def test_a_link_to_an_image_is_followed(tmp_path: Path) -> None:
    (tmp_path / "web.qcow2").write_bytes(QCOW2)
    (tmp_path / "link").symlink_to("web.qcow2")
    image_file("link", tmp_path / "link").check([])
    (tmp_path / "web.qcow2").write_text("a letter")
    assert refused(image_file("link", tmp_path / "link")).what == "-o link: it exists and is not a disk image"


@pytest.mark.parametrize(
    ("place", "ours", "kind"),
    [
        (image_file, QCOW2, "a disk image"),
        (dependency_file, rule(["web"], ["a.conf"]).encode(), "a list of dependencies"),
        (junit_file, b'<?xml version="1.0"?><testsuites/>', "a JUnit report"),
    ],
)
def test_only_what_we_write_there_ourselves_is_replaced(tmp_path: Path, place: Place, ours: bytes, kind: str) -> None:
    path = tmp_path / "it"
    path.write_bytes(ours)
    place("it", path).check([])
    path.write_text("years of work\n")
    error = refused(place("it", path))
    assert error.what.endswith(f"it exists and is not {kind}")
    assert "name another file" in error.hint
    assert path.read_text() == "years of work\n"


def test_a_list_of_dependencies_is_not_read_whole_where_it_cannot_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "web.d"
    path.write_text(rule(["web"], ["a.conf"]))
    monkeypatch.setattr(destinations, "_LARGEST_DEPFILE", 3)
    assert "is not a list of dependencies" in refused(dependency_file("web.d", path)).what


def test_a_folder_is_no_file_and_a_name_in_it_is_offered(tmp_path: Path) -> None:
    error = refused(image_file("out", tmp_path))
    assert (error.what, error.hint) == ("-o out: it is a folder", "name a file: -o out/web.qcow2")
    error = refused(image_file("out/", tmp_path / "out"))
    assert (error.what, error.hint) == ("-o out/: it is a folder", "name a file in it: -o out/web.qcow2")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (stat.S_IFBLK, "a block device"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFIFO, "a named pipe"),
    ],
)
def test_what_is_no_plain_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, kind: str) -> None:
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result((mode, *[0] * 9)))
    assert refused(image_file("x", tmp_path / "x")).what == f"-o x: it is {kind}"


@pytest.mark.parametrize("name", ["/dev/web.qcow2", "/proc/web.qcow2", "/sys/kernel/web.qcow2"])
def test_the_kernels_file_systems_are_no_place_for_a_file(name: str) -> None:
    assert refused(image_file(name, Path(name))).what == f"-o {name}: it is no place for a file"


def test_a_link_into_the_kernels_file_systems_is_none_either(tmp_path: Path) -> None:
    (tmp_path / "web.qcow2").symlink_to("/proc/web.qcow2")
    assert "is no place for a file" in refused(image_file("web.qcow2", tmp_path / "web.qcow2")).what


def test_what_is_bakerys_own_is_written_by_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "short").symlink_to("cache")
    error = refused(image_file("short/web.qcow2", tmp_path / "short/web.qcow2"), tmp_path / "cache")
    assert "where bakery keeps its own files" in error.what
    assert error.hint == "name a file elsewhere: -o web.qcow2"


def test_what_another_project_keeps_is_not_written_over(tmp_path: Path) -> None:
    kept = tmp_path / "other/.bakery/images/laptop/web.qcow2"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(QCOW2)
    (tmp_path / "web.qcow2").symlink_to(kept)
    for given in ("web.qcow2", "other/.bakery/images/laptop/web.qcow2"):
        assert "where bakery keeps its own files" in refused(image_file(given, tmp_path / given)).what


def test_a_picture_takes_the_place_of_a_picture_alone(tmp_path: Path) -> None:
    path = tmp_path / "screen.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n...")
    picture_file("screen.png", path).check([])
    path.write_bytes(QCOW2)
    assert refused(picture_file("screen.png", path)).what == "-o screen.png: it exists and is not a PNG picture"


def test_a_file_cannot_be_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refused(junit_file("file/x.xml", tmp_path / "file/x.xml"))
    assert error.what == f"--junit file/x.xml: it cannot be made: {tmp_path}/file is not a folder"


def test_a_folder_that_cannot_be_written_to_is_found_out_before_hours_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"{tmp_path} cannot be written to" in refused(image_file("x", tmp_path / "a/x")).what


def test_what_cannot_even_be_looked_at_is_an_error_of_the_users(tmp_path: Path) -> None:
    name = "x" * 300
    assert "cannot be looked at: File name too long" in refused(image_file(name, tmp_path / name)).what


def test_two_options_of_one_line_name_two_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    check_all([image_file("a", tmp_path / "a"), dependency_file("b", tmp_path / "b")], [])
    with pytest.raises(UsageError, match="-o and --depfile name the same file: link/a") as raised:
        check_all([image_file("a", tmp_path / "a"), dependency_file("link/a", tmp_path / "link/a")], [])
    assert raised.value.hint == "for example -o web.qcow2 --depfile web.d"


@pytest.mark.parametrize(
    ("given", "form"),
    [("web.qcow2", "qcow2"), ("web.IMG", "qcow2"), ("web.img", "raw"), ("a.b/web.raw", "raw"), ("web.OVA", "ova")],
)
def test_a_name_that_says_the_format_or_nothing_but_a_disk_does(given: str, form: str) -> None:
    check_suffix(given, form, "web")


@pytest.mark.parametrize(
    ("given", "form", "says", "fit"),
    [
        ("web.raw", "qcow2", "says raw", 'web.qcow2, or format="raw" in the source'),
        ("web.qcow2", "raw", "says qcow2", 'web.raw, or format="qcow2" in the source'),
        ("web", "qcow2", "does not say so", "web.qcow2"),
        ("web-1.4", "qcow2", "ends with .4", "web-1.4.qcow2"),
        ("out/web.vmdk", "raw", "ends with .vmdk", "out/web.raw"),
        ("web.qcow2.tmp", "qcow2", "ends with .tmp", "web.qcow2"),
        ("web.qcow2", "ova", "says qcow2", "web.ova"),
        ("web.ova", "qcow2", "says ova", "web.qcow2"),
    ],
)
def test_a_name_that_says_something_else_is_refused_with_one_that_does(
    given: str, form: str, says: str, fit: str
) -> None:
    with pytest.raises(UsageError) as raised:
        check_suffix(given, form, "web")
    assert raised.value.what == f"-o {given}: the image is {form}, and the name {says}"
    assert raised.value.hint == f"write -o {fit}"


def test_an_image_at_a_provider_is_no_file_here() -> None:
    with pytest.raises(UsageError, match=r"web is no file on this host \(its format is ami\)"):
        check_suffix("web.ami", "ami", "web")
