"""Puppet 7 of Debian 12: manifests, modules, hiera and facts; what fails, what is traced, what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import puppet
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes

pytestmark = pytest.mark.live
Write = Callable[[str, str], Path]
CONTENT = "file { '/etc/told': content => \"${facts['role']['name']} ${lookup('level')}\\n\" }\n"
HIERA = "version: 5\nhierarchy:\n- {name: all, path: common.yaml, datadir: data}\n"


@pytest.fixture
def project(write: Write) -> None:
    write("site.pp", f"include web\nnotify {{ 'hello': }}\n{CONTENT}")
    write("modules/web/manifests/init.pp", "class web {\n  file { '/etc/web': content => epp('web/t.epp') }\n}\n")
    write("modules/web/templates/t.epp", "web\n")
    write("modules/other/manifests/init.pp", "class other { }\n")
    write("hiera.yaml", HIERA)
    write("data/common.yaml", "level: 5\n")
    write("data/unread.yaml", "level: 6\n")


def test_a_manifest_with_modules_hiera_and_facts(m: Machine, project: None, tmp_path: Path) -> None:
    facts = {"role": {"name": Secret("hunter22")}}
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = puppet(m, "site.pp", modules="modules", hiera="hiera.yaml", data="data", facts=facts, keep=True)
    assert m.run("cat /etc/told /etc/web", hide=True).stdout == "hunter22 5\nweb\n"
    assert {item.name: item.outcome for item in done.items} == {
        "File[/etc/web]": "changed",
        "Notify[hello]": "ok",
        "File[/etc/told]": "changed",
    }
    assert done.items[0].location == f"{tmp_path}/modules/web/manifests/init.pp:2"
    assert changes == ["puppet: File[/etc/web]", "puppet: File[/etc/told]"]
    read = {name.removeprefix(f"{tmp_path}/") for kind, name in tracer.read if kind == "file"}
    assert read == {
        "site.pp",
        "modules/web/manifests/init.pp",
        "modules/web/templates/t.epp",
        "hiera.yaml",
        "data/common.yaml",
    }
    assert m.run("find / -xdev -path '*puppet*' -name '*.pem' -o -name 'last_run*'", hide=True).stdout == ""
    assert m.run("ls -A /tmp | grep -c puppet", warn=True, hide=True).stdout == "0\n"
    with collected_changes() as changes:
        puppet(m, "site.pp", modules="modules", hiera="hiera.yaml", data="data", facts=facts, keep=True)
    assert changes == []


FAULTS = {
    "syntax": ("file { '/x':\n  ensure =>\n}\n", "Syntax error", "", "site.pp:3"),
    "a failing exec": ("exec { 'bad':\n  command => '/bin/false',\n}\n", "Exec[bad] failed", "returned 1", "site.pp:1"),
    "an undefined variable": ("$a = 1\nnotice($gone)\n", "Unknown variable: 'gone'", "", "site.pp:2"),
    "a type of its own package": ("cron { 'x': command => 'true' }\n", "'cron'", "", "site.pp:1"),
    "a class": ("include gone\n", "Could not find class ::gone", "", "site.pp:1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_with_the_manifests_file_and_line(m: Machine, write: Write, fault: str) -> None:
    text, what, why, where = FAULTS[fault]
    file = write("site.pp", text)
    with pytest.raises(TaskError) as caught:
        puppet(m, "site.pp", keep=True)
    error = caught.value
    assert what in error.what
    assert why in error.why
    assert f"{error.where.file}:{error.where.line}" == f"{file.parent}/{where}"  # type: ignore[union-attr]  # seen at once
    assert ("puppet-module-puppetlabs-cron-core" in error.hint) is ("cron" in text)
    assert "/tmp/.bakery" not in str(error)
    assert m.run("ls -A /tmp | grep -c puppet", warn=True, hide=True).stdout == "0\n"


@pytest.mark.all
def test_an_environment_and_types_in_packages_of_their_own(m: Machine, write: Write) -> None:
    write(
        "env/manifests/site.pp",
        "host { 'one.example': ip => '192.0.2.1' }\nfile { '/etc/l': content => lookup('l') }\n",
    )
    write("env/hiera.yaml", HIERA)
    write("env/data/common.yaml", "l: x\n")
    done = puppet(m, environment="env", install=["puppet-agent", "puppet-module-puppetlabs-host-core"], keep=True)
    assert len(done.changed) == 2
    assert "192.0.2.1" in m.run("grep one.example /etc/hosts", hide=True).stdout


@pytest.mark.all
def test_noop_tells_what_it_would_change(m: Machine, write: Write) -> None:
    write("site.pp", "file { '/etc/never': content => 'x' }\n")
    assert [item.outcome for item in puppet(m, "site.pp", noop=True, keep=True).items] == ["changed"]
    assert m.run("test -e /etc/never", warn=True).failed


@pytest.mark.all
def test_what_was_installed_for_the_run_is_gone_after_it(m: Machine, write: Write) -> None:
    m.run("apt-get purge --yes --auto-remove puppet-agent 'puppet-module-*'", hide=True)
    before = m.run("dpkg-query -W", hide=True).stdout
    write("site.pp", "package { 'hello': ensure => absent }\n")
    puppet(m, "site.pp")
    assert m.run("dpkg-query -W", hide=True).stdout == before
    left = m.run("find /etc/puppet /var/lib/puppet /var/cache/puppet -type f", warn=True, hide=True)
    assert left.stdout == ""
