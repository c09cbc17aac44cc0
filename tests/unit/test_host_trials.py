"""What `make test-hosts` writes down, and the page that it draws of it."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from bakery.disk.bases.debian import SUITES
from bakery.disk.bases.host_apt import HostApt
from tests.hosts import trial
from tests.hosts.__main__ import PAGE, RECORD
from tests.hosts.record import BEGIN, END, GUESTS, WAYS, Trial, Trials, guests
from tests.hosts.roots import CHECKOUT, LOWEST, HostRoot, ThisHost

NOTHING = Trials(hosts={}, trials=())
STATUS = """\
Package: systemd-container
Status: install ok installed
Version: 999-1

Package: systemd
Status: install ok installed
Architecture: amd64
Version: 262.1-1
Depends: libc6

Package: qemu-system-x86
Version: 1:11.1.2+ds-1

"""


def one(host: str = "sid", guest: str = "forky", **changes: str) -> Trial:
    values = {"date": "2026-11-30", "outcome": "ok", **changes}
    return Trial(host=host, what="nspawn", guest=guest, **values, facts={"systemd": "262.1"})


def test_the_page_says_what_was_written_down() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert Trials.read(RECORD).page(page) == page


def test_every_guest_that_bakery_knows_has_a_row_and_every_way_an_imagefile() -> None:
    assert GUESTS == SUITES
    assert WAYS.keys() == trial.SOURCES.keys()


@pytest.mark.parametrize(("way", "guest"), [(way, guest) for way in WAYS for guest in guests(way)])
def test_the_imagefile_of_every_cell_is_read(way: str, guest: str, tmp_path: Path) -> None:
    (tmp_path / "imagefile.py").write_text(trial.imagefile(way, guest))
    names = runpy.run_path(str(tmp_path / "imagefile.py"))
    assert names["here"]().base.suite == guest
    assert ("upgrade" in names) == (way == "nspawn-next")


def test_a_release_is_upgraded_to_the_next_one() -> None:
    assert "s/forky/sid/g" in trial.imagefile("nspawn-next", "forky")
    assert guests("nspawn-next") == GUESTS[:-1]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    trials = NOTHING.learn(one(), {"python3": "3.14.8"}).learn(one("trixie"), {"python3": "3.13.5"})
    trials.write(tmp_path / "trials.json")
    read = Trials.read(tmp_path / "trials.json")
    assert (read.hosts, sorted(read.trials)) == (trials.hosts, sorted(trials.trials))


def test_a_newer_trial_takes_the_place_of_the_older_one_alone() -> None:
    trials = NOTHING.learn(one(), {}).learn(one(guest="sid"), {}).learn(one(date="2027-01-02"), {"python3": "3.15.0"})
    assert sorted((found.guest, found.date) for found in trials.trials) == [
        ("forky", "2027-01-02"),
        ("sid", "2026-11-30"),
    ]
    assert trials.hosts == {"sid": {"python3": "3.15.0"}}


def test_a_cell_says_the_day_the_versions_and_what_went_wrong() -> None:
    assert one().cell == "2026-11-30; systemd 262.1"
    assert one(outcome="the container has ended").cell == "2026-11-30; **the container has ended**; systemd 262.1"


def test_the_packages_metadata_names_the_pythons_that_were_tried_and_no_other() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {found[1] for line in project["classifiers"] if (found := re.fullmatch(r".*:: (3\.\d+)", line))}
    assert named == {".".join(host["python3"].split(".")[:2]) for host in Trials.read(RECORD).hosts.values()}


def test_what_was_not_run_is_empty_and_the_rest_of_the_page_stays() -> None:
    page = NOTHING.learn(one(), {}).page(f"before\n{BEGIN}\nwas there\n{END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "was there" not in page
    assert "| forky |  |  |  | 2026-11-30; systemd 262.1 |" in page
    assert "| sid |  |  |  |  |" in page


@pytest.mark.parametrize(
    ("name", "version"), [("systemd", "262.1"), ("qemu-system-x86", "11.1.2"), ("libc6", ""), ("qemu", "")]
)
def test_versions_are_read_from_dpkgs_own_file(name: str, version: str) -> None:
    assert trial.package(STATUS, name) == version


def test_pythons_version_is_that_of_the_interpreter() -> None:
    status = "Package: python3\nVersion: 3.14.7-1\n\nPackage: python3.14\nVersion: 3.14.8-1\n"
    assert trial.tool_versions(status) == {"python3": "3.14.8"}


@pytest.mark.parametrize(
    ("debian", "upstream"),
    [
        ("252.39-1~deb12u2", "252.39"),
        ("1:10.6p1-2", "10.6p1"),
        ("6.18.12-1", "6.18.12"),
        ("1:7.2+dfsg-7+deb12u16", "7.2"),
        ("2.06-13+deb12u1", "2.06"),
        ("1.47.2-3+b3", "1.47.2"),
    ],
)
def test_a_version_is_cut_to_what_its_makers_call_it(debian: str, upstream: str) -> None:
    assert trial.package(f"Package: it\nVersion: {debian}\n", "it") == upstream


def test_the_error_of_a_run_is_one_line_of_a_table() -> None:
    said = 'no json\n{"type": "notice", "what": "x"}\n{"type": "failed", "error": "E", "what": "a | b\\nc"}\n'
    assert trial.first_error(said) == "a / b"
    assert trial.first_error("Traceback") == "failed"


def test_a_host_is_made_from_the_mirror_of_this_one_and_entered_in_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = HostRoot("sid", tmp_path)
    words = host.words(HostApt(archive="http://mirror.example/debian"), tmp_path / "apt.conf")
    assert words[-3:] == ["sid", str(tmp_path / "root"), "deb http://mirror.example/debian sid main"]
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    command = host.command(["bake", "doctor"])
    assert command[-2:] == ["bake", "doctor"]
    assert "https_proxy=http://proxy.example" in command
    assert not [word for word in command if word.startswith("AWS_")]


def test_this_machine_is_a_host_of_its_own_release_and_is_not_entered(tmp_path: Path) -> None:
    command = ThisHost("sid", tmp_path).command(["bake", "doctor"], venv=LOWEST)
    assert "unshare" not in command
    assert command[-3:] == [str(CHECKOUT), "bake", "doctor"]
    programs = tmp_path / "work" / "venv-lowest" / "bin"
    assert any(word.startswith(f"PATH={programs}:") for word in command)


def test_this_machine_is_no_host_of_another_release(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="not warty; without --here a root folder is made"):
        ThisHost("warty", tmp_path).make()
