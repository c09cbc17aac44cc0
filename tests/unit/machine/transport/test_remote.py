"""The lines that look after a remote command."""

from __future__ import annotations

import shlex

from bakery.machine.transport.remote_shell import end_line


def test_only_a_user_who_needs_it_ends_commands_through_sudo() -> None:
    assert "sudo" not in end_line(12, sudo=False)
    words = shlex.split(end_line(12, sudo=True))
    assert words[:4] == ["sudo", "-n", "sh", "-c"]
    assert words[-2:] == ["bakery-end", "12"]
