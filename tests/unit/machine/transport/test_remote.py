"""The lines that frame a remote command."""

from __future__ import annotations

import shlex

from bakery.machine.transport.remote_shell import end_line, framed, read_pid


def test_the_process_id_is_found_after_what_a_login_shell_says() -> None:
    head = b"bash: warning: setlocale: LC_ALL\nbakery-pid:4711\nfirst error\n"
    assert read_pid(head) == (4711, b"bash: warning: setlocale: LC_ALL\nfirst error\n")


def test_half_a_mark_is_no_mark() -> None:
    assert read_pid(b"bakery-pid:47") is None


def test_a_command_gets_a_session_of_its_own_where_the_server_gives_none() -> None:
    assert framed("true", "setsid").startswith("exec setsid sh -c ")
    assert not framed("true", "leader").startswith("exec")


def test_a_command_that_ends_in_a_comment_does_not_swallow_the_frame() -> None:
    assert "# note\n)" in framed("true # note", "leader")


def test_only_a_user_who_needs_it_ends_commands_through_sudo() -> None:
    assert "sudo" not in end_line(12, "TERM", sudo=False)
    words = shlex.split(end_line(12, "KILL", sudo=True))
    assert words[:4] == ["sudo", "-n", "sh", "-c"]
    assert words[-3:] == ["bakery-end", "12", "KILL"]
