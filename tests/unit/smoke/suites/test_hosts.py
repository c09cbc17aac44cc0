"""Which hosts of a suite are the machine under test."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bakery.smoke.suites.hosts import HostNames, OtherHostError, asked_hosts


def names(*globs: str, others: str = "refuse") -> HostNames:
    return HostNames(("web-1", "web", "laptop"), globs, others)  # type: ignore[arg-type]  # a literal


@pytest.mark.parametrize(
    "host",
    [None, "web", "web-1", "ssh://root@web:2222", "ansible://web?ansible_inventory=x", "docker://laptop", "bakery://x"],
)
def test_the_images_names_mean_the_machine_with_any_backend_and_user(host: str | None) -> None:
    assert names().is_tested(host)


@pytest.mark.parametrize("host", ["db", "local://", "ssh://web2", "webs", "ssh://[2001:db8::1]:22", ""])
def test_other_names_do_not(host: str) -> None:
    assert not names().is_tested(host)


@pytest.mark.parametrize(
    ("glob", "host"),
    [("db", "db"), ("d*", "ssh://root@db1:22"), ("local://", "local://"), ("docker://*", "docker://x"), ("*", "any")],
)
def test_further_names_may_be_said(glob: str, host: str) -> None:
    assert names(glob).is_tested(host)


def test_what_is_said_on_sudo_is_kept_and_nothing_else() -> None:
    asked = ["ssh://web?sudo=true&sudo_user=app&ssh_config=x", "web", None]
    assert names().translate(asked) == ["bakery://web-1?sudo=true&sudo_user=app", "bakery://web-1"]


def test_another_host_is_refused_left_out_or_kept() -> None:
    asked = ["web", "ssh://db", "local://"]
    with pytest.raises(OtherHostError, match="ssh://db, local://: not known to be the machine") as raised:
        names().translate(asked)
    assert "Suites(hosts=['ssh://db'])" in str(raised.value)
    assert names(others="skip").translate(asked) == ["bakery://web-1"]
    assert names(others="skip").translate(["db"]) == []
    assert names(others="run").translate(asked) == ["bakery://web-1", "ssh://db", "local://"]


def test_machines_that_run_beside_it_go_by_their_names() -> None:
    known = replace(names("*"), nodes=("db", "cache"), absent=("cache",))
    assert known.translate(["web", "ssh://root@db?sudo=true", "cache"]) == ["bakery://web-1", "bakery://db?sudo=true"]
    assert replace(names(), nodes=("db", "cache"), absent=("cache",)).translate(["cache"]) == []


def test_the_command_lines_hosts_come_before_the_modules() -> None:
    module = SimpleNamespace(testinfra_hosts=["a", "b"])
    assert asked_hosts("c,d", module) == ["c", "d"]
    assert asked_hosts(None, module) == ["a", "b"]
    assert asked_hosts(None, SimpleNamespace()) == [None]
    assert asked_hosts(None, SimpleNamespace(testinfra_hosts=iter(["x"]))) == ["x"]
