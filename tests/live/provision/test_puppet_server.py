"""Puppet's own server, from Debian 12, in the container that its agent runs in; in one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.events import Event, Notice
from bakery.machine.machine import Machine
from bakery.provision import packages, puppet_agent
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes
from tests.live.provision.conftest import Container, booted

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(1800)]
Write = Callable[[str, str], Path]
SITE = "/etc/puppet/code/environments/production/manifests/site.pp"
GOOD = "file { '/etc/served': content => \"${facts['role']['name']}\\n\" }\n"
SIGN = "#!/bin/sh\nopenssl req -noout -text | grep -q 'challengePassword.*hunter22'\n"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with booted(tmp_path_factory.mktemp("server"), "server") as made:
        yield made


@pytest.fixture
def m(alone: Container, tmp_path: Path, events: list[Event]) -> Machine:
    return alone.machine(tmp_path, events)


@pytest.fixture(scope="module")
def server(alone: Container, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A server that signs by a password; with what an agent needs to know of it."""
    root = alone.machine(tmp_path_factory.mktemp("root"), [])
    packages(root, "puppetserver", "puppet-agent", "openssl")
    root.run("echo '127.0.0.1 puppet.test' >>/etc/hosts")
    root.run(f"mkdir -p {SITE.rpartition('/')[0]}")
    root.write("/etc/puppet/sign", SIGN, mode=0o755)
    root.run("puppet config set --section server autosign /etc/puppet/sign")
    for name in ("certname", "server"):
        root.run(f"puppet config set --section main {name} puppet.test")
    root.run("systemctl restart puppetserver", timeout=600)  # its unit waits until it answers
    ca = root.run("puppet config print cacert --section server", hide=True).stdout.strip()
    return {"server": "puppet.test", "ca": root.run(f"cat {ca}", hide=True).stdout}


def test_a_catalog_is_applied_by_a_request_that_the_server_signs(
    m: Machine, server: dict[str, Any], tmp_path: Path
) -> None:
    m.write(SITE, GOOD)
    words = {"certname": "one", "challenge_password": Secret("hunter22"), "facts": {"role": {"name": "web"}}, **server}
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = puppet_agent(m, keep=True, **words)
    assert m.run("cat /etc/served", hide=True).stdout == "web\n"
    assert {item.name: item.outcome for item in done.items if item.location} == {"File[/etc/served]": "changed"}
    assert changes == ["puppet: File[/etc/served]"]
    assert tracer.problems == ["the Puppet server puppet.test decides what is done"]
    assert m.run("ls -A /tmp | grep bakery; find / -xdev -name one.pem -path '*private*'", warn=True).stdout == ""
    assert m.run("test -e /etc/facter", warn=True).failed


def test_a_pair_that_the_server_made_is_used_and_nothing_of_it_stays(m: Machine, server: dict[str, Any]) -> None:
    m.write(SITE, "notice($trusted['certname'])\nfile { '/etc/two': content => $trusted['certname'] }\n")
    m.run("puppetserver ca generate --certname two", timeout=300)
    ssl = m.run("puppet config print ssldir --section server", hide=True).stdout.strip()
    cert = m.run(f"cat {ssl}/certs/two.pem", hide=True).stdout
    key = Secret(m.run(f"cat {ssl}/private_keys/two.pem; rm {ssl}/*/two.pem", hide=True).stdout)
    puppet_agent(m, certname="two", cert=cert, key=key, keep=True, **server)
    assert m.run("cat /etc/two", hide=True).stdout == "two"
    assert m.run("find / -xdev -name two.pem -path '*private*'", warn=True, hide=True).stdout == ""


FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "unsigned": ({}, GOOD, "sign", ""),
    "a manifest": ({"challenge_password": Secret("hunter22")}, "file { '/x':\n", "Syntax error", f"{SITE}:1"),
    "a resource": ({"challenge_password": Secret("hunter22")}, "exec { '/bin/false': }\n", "Exec[/bin/false]", ":1"),
    "another authority": ({"ca": "other"}, GOOD, "certificate", ""),
    "nobody there": ({"port": 9}, GOOD, "9", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said(m: Machine, server: dict[str, Any], fault: str) -> None:
    words, site, what, where = FAULTS[fault]
    m.write(SITE, site)
    if "ca" in words:
        m.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=other -out /tmp/other.pem", hide=True
        )
        words = {"ca": m.run("cat /tmp/other.pem; rm /tmp/other.pem", hide=True).stdout}
    name = fault.replace(" ", "-")
    with pytest.raises(TaskError) as caught:
        puppet_agent(m, certname=name, keep=True, **{**server, **words})
    assert what in str(caught.value)
    assert str(caught.value.where).endswith(where)
    assert m.run("ls -A /tmp | grep bakery", warn=True, hide=True).stdout == ""


def test_a_server_that_is_believed_unseen_is_said(m: Machine, server: dict[str, Any], events: list[Event]) -> None:
    m.write(SITE, "")
    puppet_agent(m, "puppet.test", certname="three", challenge_password=Secret("hunter22"), keep=True)
    assert "puppet: the server puppet.test is believed unseen" in [e.message for e in events if isinstance(e, Notice)]
