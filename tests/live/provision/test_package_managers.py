"""`packages` by dnf, zypper, pacman and apk as they are, on a Debian that has them, from repositories of our own.

BAKERY_TEST_APK names a static apk (Alpine's package apk-tools-static); without it, apk is left out. Fedora, openSUSE,
Arch and Alpine themselves were not tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.events import Event, Notice
from bakery.machine.machine import Machine
from bakery.provision import package_install, packages
from bakery.provision.package_install import MirrorFailed
from tests.live.provision.conftest import Container, booted
from tests.live.provision.repositories import set_up

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(1800)]
APK = Path(os.environ["BAKERY_TEST_APK"]) if "BAKERY_TEST_APK" in os.environ else None
INSTALL = {
    "dnf": "dnf --assumeyes install slow-bakery",
    "zypper": "zypper --non-interactive install slow-bakery",
    "pacman": "pacman --noconfirm --sync --refresh slow-bakery",
    "apk": "apk add slow-bakery",
}
ADDRESSES = "/etc/yum.repos.d/ours.repo /etc/zypp/repos.d/ours.repo /etc/pacman.conf $(ls /etc/apk/repositories)"
CLEAN = f"""
for path in /usr/bin/apt-get /usr/bin/dnf /usr/bin/zypper /usr/bin/pacman /usr/local/bin/apk; do
  [ ! -e $path.away ] || mv $path.away $path
done
for name in hello-bakery later-bakery slow-bakery bad-bakery; do
  rpm --erase --noscripts $name
  pacman --noconfirm --remove $name
  apk del $name
  rm -f /usr/share/$name
done >/dev/null 2>&1
rm -rf /srv/fault /run/slow-* /var/cache/dnf /var/cache/libdnf5 /var/cache/zypp /var/lib/pacman/sync /var/cache/apk/*
rm -rf /var/lib/dnf/plugins/local*  # where Debian has dnf 5 keep all that it ever installed, as one more repository
sed -i s/no.such.host.invalid/127.0.0.1/ {ADDRESSES} 2>/dev/null
for path in /usr/bin/apt-get /usr/bin/dnf /usr/bin/zypper /usr/bin/pacman /usr/local/bin/apk; do
  [ $path = "$(command -v "$1")" ] || [ ! -e $path ] || mv $path $path.away
done
"""


@pytest.fixture(scope="module", params=["bookworm", "forky"])
def managers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container with all of them: dnf 4 and 5, and two releases of the others."""
    folder = tmp_path_factory.mktemp("managers")
    with booted(folder, f"managers-{request.param}", request.param) as made:
        set_up(made.machine(folder, []), "dnf" if request.param == "bookworm" else "dnf5", APK)
        yield made


@pytest.fixture(
    params=["dnf", "zypper", "pacman", pytest.param("apk", marks=pytest.mark.skipif(not APK, reason="no apk"))]
)
def manager(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def m(managers: Container, manager: str, tmp_path: Path, events: list[Event]) -> Machine:
    """The container, as one that has this manager alone, and none of our packages."""
    machine = managers.machine(tmp_path, events)
    machine.run(["sh", "-c", CLEAN, "clean", manager], hide=True)
    return machine


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice) and event.level == "warning"]


def test_what_is_asked_for_is_installed_and_what_is_there_stays(m: Machine, manager: str, events: list[Event]) -> None:
    assert m.facts.package_manager == manager
    packages(m, "hello-bakery")
    packages(m, "hello-bakery", "later-bakery")
    assert m.run("cat /usr/share/hello-bakery /usr/share/later-bakery").stdout == "it is here\n" * 2
    assert warnings(events) == []


def test_a_package_that_does_not_exist_is_named_at_once(m: Machine, events: list[Event]) -> None:
    with pytest.raises(TaskError, match=r"no such version of it: no-such-bakery\n"):
        packages(m, "hello-bakery", "no-such-bakery")
    assert warnings(events) == []


def test_another_process_of_the_manager_is_waited_for(m: Machine, manager: str) -> None:
    m.run(["systemd-run", "--collect", "--unit=other", "sh", "-c", INSTALL[manager]], hide=True)
    m.wait_for("test -e /run/slow-begun")
    packages(m, "hello-bakery")
    assert m.run("ls /run/slow-done /usr/share/hello-bakery").ok


@pytest.mark.parametrize("status", ["500", "502", "503", "504", "429"])
def test_a_mirror_that_does_not_answer_for_a_moment_is_asked_again(
    m: Machine, events: list[Event], status: str
) -> None:
    m.write("/srv/fault", status)
    m.run(["systemd-run", "--collect", "sh", "-c", "sleep 3; rm /srv/fault"], hide=True)
    packages(m, "later-bakery")
    assert m.run("cat /usr/share/later-bakery").stdout == "it is here\n"
    assert all("a mirror does not answer as it should; attempt " in text for text in warnings(events))
    assert warnings(events) or m.facts.package_manager in ("dnf", "zypper")  # which ask more than once by themselves


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("echo 503 >/srv/fault", "a mirror does not answer as it should"),
        ("systemctl stop repositories", "a mirror does not answer as it should"),
        (f"sed -i s/127.0.0.1/no.such.host.invalid/ {ADDRESSES}", "a name cannot be resolved"),
    ],
)
def test_a_mirror_that_stays_away_is_said(
    m: Machine, events: list[Event], monkeypatch: pytest.MonkeyPatch, fault: str, what: str
) -> None:
    monkeypatch.setattr(package_install, "ATTEMPTS", 2)
    m.run(fault, hide=True)
    try:
        with pytest.raises(MirrorFailed, match=what):
            packages(m, "later-bakery")
    finally:
        m.run("systemctl is-active repositories || systemd-run --unit=repositories /srv/server.py", hide=True)
    assert len(warnings(events)) == 1


def test_a_packages_own_script_that_fails_is_said(m: Machine, manager: str, events: list[Event]) -> None:
    lenient = manager == "pacman" or (manager == "dnf" and m.run("dnf --version", hide=True).stdout.startswith("4"))
    if not lenient:
        with pytest.raises(TaskError, match=r"the script %?post\S* of bad-bakery-1.2-\S+ ended with exit code 3"):
            packages(m, "bad-bakery")
        return
    packages(m, "bad-bakery")
    (warning,) = warnings(events)
    assert "installing bad-bakery: " in warning


def test_a_package_after_which_the_machine_wants_a_restart_is_installed(m: Machine) -> None:
    packages(m, "slow-bakery")
    assert m.run("cat /usr/share/slow-bakery").stdout == "it is here\n"
