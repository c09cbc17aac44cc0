"""What stands between us and a shell of ours."""

from __future__ import annotations

import pytest

from bakery.machine.transport.obstacle import Refusal


def refused(**known: object) -> str:
    return str(Refusal(user="root", host="vm", **known).explain())  # type: ignore[arg-type]  # the tests name them right


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (
            {
                "options": "/root/.ssh/authorized_keys:3: key options: command pty",
                "said": "log in as admin",
                "exited": 142,
            },
            [
                "forced command",
                "/root/.ssh/authorized_keys:3",
                "log in as admin",
                "exit code 142",
                "take command= away",
            ],
        ),
        (
            {"asked": "bakery-login-shell /bin/rbash\n", "said": "rbash: exec: restricted", "exited": 1},
            ["the login shell /bin/rbash is restricted", "exec: restricted", "chsh -s /bin/sh root"],
        ),
        (
            {"asked": "bakery-login-shell /opt/menu\n", "exited": 1},
            ["/opt/menu runs lines, but does not start /bin/sh"],
        ),
        ({"shell": "/bin/bash", "exited": 0}, ["the login shell /bin/bash ends before", "`exit`", "~/.bashrc"]),
        ({"exited": 0}, ["ends before", "~/.bashrc", ".zshenv", "ForceCommand"]),
        ({"shell": "/usr/bin/fish"}, ["does not come to it", "`read` and `exec`", "config.fish", "it still runs"]),
        (
            {"said": "no account", "asked": "no account\n", "exited": 1},
            ["whatever is asked", "nologin", "ForceCommand"],
        ),
        (
            {"shell": "/bin/bash", "exited": 0, "missing": "output"},
            ["its output goes elsewhere", "`exec >`", "~/.bashrc"],
        ),
        (
            {"sudo": True, "said": "sudo: sorry, you must have a tty to run sudo", "exited": 1},
            ["root cannot be become", "!requiretty"],
        ),
    ],
)
def test_what_stands_in_the_way_is_named(known: dict[str, object], words: list[str]) -> None:
    text = refused(**known)
    assert [word for word in words if word not in text] == []


def test_a_line_that_is_merely_repeated_is_no_shell_that_answers() -> None:
    assert "whatever is asked" in refused(
        said="echo bakery-login-shell $SHELL", asked="echo bakery-login-shell $SHELL", exited=0
    )
