from __future__ import annotations

import pytest

from bakery.smoke.questions import is_question, plain_words


@pytest.mark.parametrize(
    "command",
    [
        "cat -- /etc/passwd",
        "grep -qs -- root /etc/passwd",
        "systemctl is-active nginx",
        "md5sum /a | cut -d' ' -f1",
        'systemctl list-unit-files | grep -q "^nginx"',
        "/usr/bin/ss --numeric --all",
        "getent passwd root",
        "rpm -q x",
        "ls /a 2>/dev/null",
        "test -e /a && cat /a",
        "ls /a 2>&1 | grep x",
        "stat /a || ls b",
        "getent group ssh | cut -d: -f3",
        "sysctl -n kernel.ostype",
        'ls -Z /a | cut -d " " -f 1',
        "find / -iname x",
        "hostname -s",
        "uniq --repeated /etc/hosts",
        "ip -6 addr",
    ],
)
def test_a_mere_question_is_known_as_one(command: str) -> None:
    assert is_question(command)


@pytest.mark.parametrize(
    "command",
    [
        "systemctl start nginx",
        "cat x > y",
        "cat `reboot`",
        "cat $(reboot)",
        "test -e x && rm x",
        "rm x",
        "rpm -e x",
        "sysctl -n a=1",
        "find -L / -delete",
        "ls; rm x",
        "ls\nrm x",
        "ls &",
        "A=1 ls",
        "'",
        "",
        "true",
        'systemctl list-unit-files | grep -q "$(reboot)"',
        "md5sum $(x) | cut -d' ' -f1",
        "ls 2>/dev/null rm",
        "ls && ",
        "| ls",
        "ls b2>f",
        "ls 2>&1x",
        "hostname x",
        "uniq a b",
        "ip link set x up",
        "crontab -r",
        "ls | tee x",
        "=ls x",
        "ls 2>&1 && rm x",
        "ls a\n",
        "cat x >/dev/null",
        "sysctl -w a",
        "ls *",
    ],
)
def test_whatever_may_change_something_is_no_question(command: str) -> None:
    assert not is_question(command)


def test_a_command_with_anything_for_a_shell_in_it_has_no_plain_words() -> None:
    assert plain_words("ls 'a b'") == ["ls", "a b"]
    assert plain_words("ls a*") == []
    assert plain_words("ls ~") == []
