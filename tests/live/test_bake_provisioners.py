"""One imagefile with a script, Salt, Puppet, a restart and Ansible: baked whole, tested on a fresh boot, cached."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.drivers.nspawn import host
from tests.live.baking import Done, Project, clean

pytest.importorskip("ansible")
pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(7200)]
IMAGEFILE = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Nspawn, Qemu
from bakery.provision import ansible, puppet, salt


@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), disk="6G", memory="2G")


@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), disk="6G")


@bakery.task
def script(m: Machine) -> None:
    m.script('#!/bin/sh\\nset -eu\\necho "$BAKERY_IMAGE" >/etc/by-script\\n')


@bakery.task
def by_salt(m: Machine) -> None:
    salt(m, "web", pillar={"level": 3})


@bakery.task(idempotent=True)
def by_puppet(m: Machine) -> None:
    puppet(m, "site.pp", modules="modules", facts={"role": "web"})


@bakery.task
def restart(m: Machine) -> None:
    m.run("touch /run/this-boot")
    m.reboot()
    m.run("test ! -e /run/this-boot")
    m.run("test -e /etc/by-puppet && systemctl is-active by-salt && date >/etc/by-restart")


@bakery.task(idempotent=True)
def by_ansible(m: Machine) -> None:
    ansible(m, "site.yml", groups=["web"])


@bakery.test
def all_of_them_were_there(host: Host) -> None:
    assert host.file("/etc/by-script").content_string == "web\\n"
    assert host.file("/etc/by-salt").content_string == "3\\n"
    assert host.file("/etc/by-puppet").content_string == "web\\n"
    assert host.file("/etc/by-restart").exists
    assert host.file("/etc/by-ansible").content_string == "one\\n"


@bakery.test
def their_units_start_by_themselves(host: Host) -> None:
    assert host.service("by-salt").is_running
    assert host.service("by-ansible").is_running


@bakery.test
def none_of_them_is_left(host: Host) -> None:
    for path in ("/etc/salt", "/var/cache/salt", "/etc/puppet/ssl", "/var/lib/puppet/ssl", "/root/.ansible"):
        assert not host.file(path).exists
    assert not host.package("puppet-agent").is_installed
    assert not host.package("gcc").is_installed
    assert host.run("ls -A /tmp /var/tmp | grep bakery").rc == 1


@bakery.image(tasks=[script, by_salt, by_puppet, restart, by_ansible])
def web() -> None:
    return None
"""
UNIT = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
FILES = {
    "salt/web.sls": """
/etc/by-salt:
  file.managed: [{contents_pillar: level}]
/etc/systemd/system/by-salt.service:
  file.managed: [{source: "salt://unit"}]
by-salt:
  service.running: [{enable: true}]
""",
    "salt/unit": UNIT,
    "site.pp": "include web\n",
    "modules/web/manifests/init.pp": """
class web {
  file { '/etc/by-puppet': content => "${facts['role']}\\n" }
}
""",
    "modules/unused/manifests/init.pp": "class unused { }\n",
    "site.yml": "- {hosts: web, roles: [web]}\n",
    "roles/web/tasks/main.yml": """
- copy: {src: content, dest: /etc/by-ansible, mode: "0644"}
- copy: {src: unit, dest: /etc/systemd/system/by-ansible.service, mode: "0644"}
- systemd_service: {name: by-ansible, enabled: true, state: started, daemon_reload: true}
""",
    "roles/web/files/content": "one\n",
    "roles/web/files/unit": UNIT,
    "roles/unused/tasks/main.yml": "- debug: {}\n",
}


def write(project: Project, **changes: str) -> None:
    project.write(IMAGEFILE)
    for name, text in {**FILES, **changes}.items():
        (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / name).write_text(text)


def steps(project: Project) -> dict[str, str]:
    return {event["step"]: event["outcome"] for event in project.events() if event["type"] == "step-ended"}


@pytest.fixture
def figures(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """How long it took, for who looks at the long form: shown also where the test passes."""
    told: list[str] = []
    yield told
    record_property("figures", told)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(told) + "\n")


SOURCES = [
    pytest.param(
        "container",
        marks=pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
    ),
    "machine",
]
EVERY = ["script", "by_salt", "by_puppet", "restart", "by_ansible"]


@pytest.mark.parametrize("source", SOURCES)
def test_five_tasks_are_baked_tested_and_cached(project: Project, figures: list[str], source: str) -> None:
    def bake(what: str) -> Done:
        started = time.monotonic()
        done = project.bake("--only", source, timeout=6000)
        clean(done, 0)
        figures.append(f"{source}: {what} took {time.monotonic() - started:.0f} s")
        ended = [event for event in project.events() if event["type"] == "step-ended"]
        figures.append(", ".join(f"{event['step']} {event['outcome']} {event['seconds']:.1f} s" for event in ended))
        return done

    write(project)
    bake("the first bake")
    assert steps(project) == dict.fromkeys(EVERY, "ok")
    assert project.bake("--only", source).code == 0
    assert set(steps(project).values()) <= {"cached"}
    write(project, **{"roles/web/files/content": "one\n", "roles/unused/tasks/main.yml": "- debug: {msg: x}\n"})
    (project.folder / "modules/unused/manifests/init.pp").write_text("class unused { notice('x') }\n")
    assert project.bake("--only", source).code == 0
    assert set(steps(project).values()) <= {"cached"}
    project.write(IMAGEFILE.replace('"one\\n"', '"two\\n"'))
    (project.folder / "roles/web/files/content").write_text("two\n")
    why = project.bake("why", "web", "--only", source).out
    assert "roles/web/files/content changed" in why
    bake("one file of a role changed: the bake")
    assert steps(project) == {**dict.fromkeys(EVERY, "cached"), "by_ansible": "ok"}
    assert all(not Path(name).name.startswith("__pycache__") for name in map(str, project.folder.rglob("*")))
