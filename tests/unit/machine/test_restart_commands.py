"""Which commands restart a machine."""

from __future__ import annotations

import io

import pytest

from bakery.errors import TaskError
from bakery.machine.restart_commands import Intent, intent
from bakery.testing import FakeMachine
from bakery.util.results import Words


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("reboot", "restart"),
        (["reboot"], "restart"),
        ("sudo -n /sbin/reboot", "restart"),
        ("systemctl reboot", "restart"),
        ("systemctl --no-block reboot", "restart"),
        ("systemctl kexec", "restart"),
        ("shutdown -r now", "restart"),
        (("shutdown", "-r", "+1"), "restart"),
        ("nohup reboot &", "restart"),
        ("init 6", "restart"),
        ("telinit 6", "restart"),
        ("poweroff", "off"),
        ("shutdown -h now", "off"),
        ("systemctl halt", "off"),
        ("init 0", "off"),
        ("systemctl start reboot.target", "restart"),
        ("systemctl --no-block isolate runlevel6.target", "restart"),
        ("systemctl start ctrl-alt-del.target", "restart"),
        ("systemctl isolate poweroff.target", "off"),
        ("apt-get -y upgrade && reboot", "maybe"),
        ("[ ! -e /run/reboot-required ] || reboot", "maybe"),
        ("(sleep 1; reboot) &", "maybe"),
        ("sh -c 'sleep 1; shutdown -r now'", "maybe"),
        (["sh", "-c", "sleep 1; reboot"], "maybe"),
        ("cat >/usr/local/bin/x <<'EOF'\nreboot\nEOF", "maybe"),
        ("shutdown -c", "maybe"),
        ("reboot --help", "maybe"),
        ("sleep 1 && systemctl start reboot.target", "maybe"),
        ("echo b >/proc/sysrq-trigger", "maybe"),
        ("kill -INT 1", "maybe"),
        (
            "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager Reboot b 0",
            "maybe",
        ),
        ("env LC_ALL=C reboot", "maybe"),
        ("timeout 9 reboot", "maybe"),
        ("systemctl isolate multi-user.target", ""),
        ("kill 1234", ""),
        ("apt-get install reboot-notifier", ""),
        ("systemctl enable nginx", ""),
        ("systemctl restart sshd", ""),
        ("cat /run/reboot-required", ""),
        ("initctl 6", ""),
        ("true", ""),
    ],
)
def test_a_restart_is_known_by_its_words(command: Words, what: Intent) -> None:
    assert intent(command) == what


def test_a_command_that_restarts_is_a_reboot() -> None:
    m = FakeMachine()
    assert m.run("reboot", warn=True).ok
    assert m.sudo("shutdown -r now", timeout=30).command == "shutdown -r now"
    assert m.reboots == [600, 30]


def test_a_command_that_switches_the_machine_off_is_refused_at_once() -> None:
    with pytest.raises(TaskError, match="`poweroff` would switch the machine off") as raised:
        FakeMachine({"*": ""}).run("poweroff", warn=True)
    assert raised.value.where is not None
    assert "m.reboot()" in raised.value.hint


def test_a_machine_is_a_fabric_connection_in_what_tasks_use() -> None:
    m = FakeMachine()
    with m as same, same.cd("/srv"), same.cd("app"):
        assert (same is m, m.cwd, m.user, m.is_connected) == (True, "/srv/app", "root", False)
    assert (m.cwd, m.port, m.host) == ("", 22, "fake")
    m.close()
    with pytest.raises(AttributeError, match=r"m\.put, m\.get"):
        m.sftp()  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        m.rnu("id")  # type: ignore[attr-defined]  # that is the point


def test_a_task_of_another_user_writes_files_of_its_own() -> None:
    m = FakeMachine().with_defaults(user="app")
    m.write("/srv/app/conf", "text")
    m.put(io.StringIO("text"), "/srv/app/put")
    assert {file.owner for file in m.files.values()} == {"app"}
    m.write("/srv/app/other", "text", owner="root")
    assert m.files["/srv/app/other"].owner == "root"
