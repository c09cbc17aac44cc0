"""Puppet with a server: what the agent is given, and that it is taken away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.events import Notice
from bakery.machine.facts import Facts
from bakery.provision import puppet_agent
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine

FOLDER = "/tmp/.bakery-puppet-x"


def machine(project: Path) -> FakeMachine:
    m = FakeMachine({"*": ""}, folder=project, facts=Facts(package_manager="apt-get"))
    m.answer("dpkg-query *", "puppet-agent\n")
    m.answer("mktemp -d /tmp/.bakery-puppet-XXXXXX", f"{FOLDER}\n")
    return m.answer("d=/etc/facter*", "/etc/facter\n")


def test_the_agent_is_known_by_its_pair_and_knows_the_server(tmp_path: Path) -> None:
    m = machine(tmp_path)
    (tmp_path / "one.pem").write_text("-----BEGIN CERTIFICATE-----")
    key, ca = Secret("-----BEGIN KEY-----"), "-----BEGIN CERTIFICATE----- ca"
    puppet_agent(m, "puppet.test", certname="one", facts={"role": "web"}, noop=True, ca=ca, cert="one.pem", key=key)
    run = next(command for command in m.commands if "--onetime" in command)
    assert "--server=puppet.test --serverport=8140 --certname=one --environment=production --noop" in run
    assert f"--ssldir={FOLDER}/ssl" in run
    assert m.files[f"{FOLDER}/ssl/certs/ca.pem"].text.endswith(" ca")
    assert m.files[f"{FOLDER}/ssl/certs/one.pem"].text == "-----BEGIN CERTIFICATE-----"
    written = m.files[f"{FOLDER}/ssl/private_keys/one.pem"]
    assert (written.text, written.mode) == ("-----BEGIN KEY-----", 0o600)
    assert json.loads(m.files["/etc/facter/facts.d/bakery.json"].text) == {"role": "web"}
    assert {"rm -rf -- /etc/facter", f"rm -rf -- {FOLDER}"} <= set(m.commands)
    assert not [event for event in m.events if isinstance(event, Notice)]


def test_a_server_that_signs_by_a_password_is_told_it_and_one_that_is_unknown_is_said(tmp_path: Path) -> None:
    m = machine(tmp_path)
    puppet_agent(m, "puppet.test", certname="one", challenge_password=Secret("hunter22"))
    assert "hunter22" in m.files[f"{FOLDER}/conf/csr_attributes.yaml"].text
    assert not any("hunter22" in command for command in m.commands)
    assert [event.hint for event in m.events if isinstance(event, Notice)] == ["ca= is what it is known by"]


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="belong together"):
        puppet_agent(machine(tmp_path), "puppet.test", certname="one", cert="x")


def test_facts_go_also_where_the_machine_dies(tmp_path: Path) -> None:
    m = machine(tmp_path).answer("*--onetime*", TaskError("gone"))
    with pytest.raises(TaskError, match="gone"):
        puppet_agent(m, "puppet.test", certname="one", facts={"role": "web"})
    assert "rm -rf -- /etc/facter" in m.commands
