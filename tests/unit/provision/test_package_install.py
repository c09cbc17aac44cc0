"""Packages: the words for each manager, and what is tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakery.errors import TaskError
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import packages
from bakery.provision.package_install import MANAGERS, LockHeld, MirrorFailed
from bakery.testing import FakeMachine
from bakery.testing.machine import Ran
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cancel, "sleep", lambda *_: None)


def machine(manager: str = "apt-get") -> FakeMachine:
    m = FakeMachine({"*": ""}, facts=Facts(package_manager=manager))
    return m.answer("find /var/lib/apt/lists *", 1)


def says(*answers: Result | int) -> Callable[[Ran], Result | int]:
    left = list(answers)
    return lambda _: left.pop(0)


def failed(text: str) -> Result:
    return Result(command="", exited=100, stderr=text)


def test_apt_asks_nothing_waits_for_locks_and_counts_a_list_that_is_missing_as_a_failure() -> None:
    m = machine()
    packages(m, "nginx", "curl=7*")
    update, install = m.commands[1:]
    assert update.endswith("--option APT::Update::Error-Mode=any update")
    assert "DPkg::Lock::Timeout=600" in update
    assert install.endswith("install --no-install-recommends -- nginx 'curl=7*'")
    assert m.ran[-1].env == {"DEBIAN_FRONTEND": "noninteractive"}


def test_lists_that_were_just_read_are_not_read_again() -> None:
    m = machine().answer("find /var/lib/apt/lists *", 0)
    packages(m, "nginx", recommends=True)
    assert [command.split()[0] for command in m.commands] == ["find", "apt-get"]
    assert "--no-install-recommends" not in m.commands[-1]


@pytest.mark.parametrize(
    ("manager", "words"),
    [
        ("dnf", "dnf --assumeyes --setopt=exit_on_lock=False install --setopt=install_weak_deps=False -- nginx"),
        ("yum", "yum --assumeyes install -- nginx"),
        ("zypper", "zypper --non-interactive install --auto-agree-with-licenses --no-recommends -- nginx"),
        ("apk", "apk --wait 600 add -- nginx"),
        ("pacman", "pacman --noconfirm --sync --refresh --needed -- nginx"),
    ],
)
def test_each_manager_has_its_words(manager: str, words: str) -> None:
    m = machine(manager)
    packages(m, "nginx")
    assert m.commands[-1] == words


def test_a_machine_without_a_manager_says_what_is_known() -> None:
    with pytest.raises(TaskError, match="nginx cannot be installed: no package manager on the machine") as caught:
        packages(machine(""), "nginx")
    assert caught.value.why == "known are apt-get, dnf, yum, zypper, apk, pacman"


@pytest.mark.parametrize(
    ("manager", "text"),
    [
        ("apt-get", "E: Unable to locate package ngnix"),
        ("apt-get", "E: Version '99*' for 'ngnix' was not found"),
        ("apt-get", "E: Package 'ngnix' has no installation candidate"),
        ("dnf", "No match for argument: ngnix\nError: Unable to find a match: ngnix"),
        ("zypper", "'ngnix' not found in package names. Trying capabilities."),
        ("apk", "ERROR: unable to select packages:\n  ngnix (no such package):"),
        ("pacman", "error: target not found: ngnix"),
        ("dnf", "Waiting for process with pid 7 to finish.\nNo match for argument: ngnix"),
    ],
)
def test_a_package_that_is_not_there_is_named_and_not_asked_for_again(manager: str, text: str) -> None:
    m = machine(manager).answer("*ngnix", failed(text))
    with pytest.raises(TaskError, match=r"no such version of it: ngnix\n"):
        packages(m, "ngnix")
    assert sum("ngnix" in command for command in m.commands) == 1


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 199 (perl)", LockHeld),
        ("E: Failed to fetch http://x/InRelease  503  Service Unavailable", MirrorFailed),
        ("E: Failed to fetch http://x/InRelease  503  [IP: 192.0.2.1 80]", MirrorFailed),
        ("E: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'", MirrorFailed),
        ("E: Failed to fetch http://x/y.deb  Could not connect to x:80", MirrorFailed),
        ("error: failed to synchronize all databases (unable to lock database)", LockHeld),
        # All below were seen: dnf 4.14 and 5.4, zypper 1.14.42 and 1.14.101, pacman 6.0 and 7.1, apk 2.14 and 3.0.
        (
            "- Status code: 503 for http://x/rpm/repodata/repomd.xml (IP: 127.0.0.1)\nNo match for argument: x",
            MirrorFailed,
        ),
        ("- Curl error (7): Couldn't connect to server for http://x\nNo match for argument: x", MirrorFailed),
        (">>> Curl error (6): Could not resolve hostname for http://x [Could not resolve host: x]", MirrorFailed),
        (" - Location 'http://x/rpm/content' is temporarily unaccessible.\nNo provider of 'x' found.", MirrorFailed),
        ("Error message: Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server", MirrorFailed),
        ("Error message: Failed to connect to 127.0.0.1:1 after 0 ms: Could not connect to server", MirrorFailed),
        ("System management is locked by the application with pid 29438 (sleep).", LockHeld),
        ("error: failed retrieving file 'x.db' from x : The requested URL returned error: 503", MirrorFailed),
        ("WARNING: updating and opening http://x/apk: remote server returned error (try 'apk update')", MirrorFailed),
        ("WARNING: updating and opening http://x/apk: could not connect to server (check repositories", MirrorFailed),
        ("WARNING: updating and opening http://x/apk: IO ERROR", MirrorFailed),
        ("WARNING: updating and opening http://x/APKINDEX.tar.gz: HTTP 503: Service Unavailable", MirrorFailed),
        ("WARNING: updating and opening http://x/APKINDEX.tar.gz: HTTP: unrecognized server error", MirrorFailed),
        ("WARNING: updating and opening http://x/APKINDEX.tar.gz: DNS: name does not exist", MirrorFailed),
        ("ERROR: Unable to lock database: Interrupted system call", LockHeld),
    ],
)
def test_what_passes_is_tried_again(text: str, family: type[TaskError]) -> None:
    m = machine().answer("*update", says(failed(text), failed(text), 0))
    packages(m, "nginx")
    assert sum(command.endswith("update") for command in m.commands) == 3
    m = machine().answer("*update", failed(text))
    with pytest.raises(family, match="reading the package lists: ") as caught:
        packages(m, "nginx")
    assert caught.value.why == text
    assert caught.value.where is not None
    assert caught.value.where.file.name == "test_package_install.py"


@pytest.mark.parametrize(
    "text",
    [
        "Need to get 500 kB of archives.\ndpkg: error processing package nginx (--configure):",
        "Total download size: 503 KiB\nError: Transaction failed",
        "Failed to connect to bus: No such file or directory",
    ],
)
def test_what_only_looks_like_a_mirror_s_failure_is_not_tried_again(text: str) -> None:
    m = machine().answer("*nginx", failed(text))
    with pytest.raises(TaskError, match=r"installing nginx failed with exit code 100"):
        packages(m, "nginx")
    assert sum("nginx" in command for command in m.commands) == 1


def test_a_restart_that_zypper_asks_for_is_no_failure() -> None:
    m = machine("zypper").answer("*nginx", 102)
    packages(m, "nginx")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("warning: %post(x-1-1.noarch) scriptlet failed, exit status 3", "the script %post of x-1-1.noarch ended"),
        ("ERROR: x-1-r0.post-install: script exited with error 3", "the script post-install of x-1-r0 ended"),
        ("ERROR: lib/apk/exec/x-1-r0.post-install: exited with error 3", "the script post-install of x-1-r0 ended"),
        ("error: command failed to execute correctly", "a package's script failed"),
    ],
)
def test_a_package_s_script_that_failed_is_said_whether_the_manager_minds_or_not(
    monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(WorkContext, "notice", lambda _, text, **__: said.append(text))
    packages(machine("dnf").answer("*nginx", Result(command="", exited=0, stdout=text)), "nginx")
    assert [line.startswith(f"installing nginx: {what}") for line in said] == [True]
    with pytest.raises(TaskError, match=f"installing nginx failed: {what}"):
        packages(machine("dnf").answer("*nginx", failed(text)), "nginx")


def test_any_other_failure_is_final() -> None:
    m = machine().answer("*nginx", failed("dpkg: error processing package nginx (--configure):"))
    with pytest.raises(TaskError, match=r"installing nginx failed with exit code 100"):
        packages(m, "nginx")
    assert sum("nginx" in command for command in m.commands) == 1


def test_every_manager_that_facts_know_can_install_but_opkg() -> None:
    assert set(MANAGERS) == {"apt-get", "dnf", "yum", "zypper", "apk", "pacman"}
