"""What stands between us and a shell of ours on a machine: said from what it did in place of answering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bakery.errors import ConnectError
from bakery.machine.transport.sudo import sudo_refused

START_FILES: Final = {
    "bash": "/etc/bash.bashrc, ~/.bashrc, ~/.ssh/rc",
    "rbash": "/etc/bash.bashrc, ~/.bashrc, ~/.ssh/rc",
    "zsh": "/etc/zsh/zshenv, /etc/zshenv, ~/.zshenv, ~/.ssh/rc",
    "fish": "/etc/fish/config.fish, ~/.config/fish/config.fish, ~/.config/fish/conf.d, ~/.ssh/rc",
    "tcsh": "/etc/csh.cshrc, ~/.tcshrc, ~/.cshrc, ~/.ssh/rc",
    "csh": "/etc/csh.cshrc, ~/.cshrc, ~/.ssh/rc",
}
"""What a login shell reads when an SSH server gives it a command; source: the shells' manual pages, and sshd(8)."""
RESTRICTED: Final = ("rbash", "rksh", "rzsh", "rsh")
ASK: Final = "echo bakery-login-shell $SHELL"
"""Harmless in every shell: says whether it runs lines at all, and which one it is."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What is known of a line of ours that was not run.

    Args:
        user: who logged in.
        host: where.
        said: what came in place of our shell's answer.
        exited: the exit code that came; None while what took the line still runs.
        shell: the user's login shell, where an earlier command told it.
        asked: what came in answer to `ASK`.
        options: sshd's remark about the key that we logged in with, such as `FILE:1: key options: command`.
        sudo: True when the line went through sudo.
        missing: the stream on which our shell's answer did not come, where the other one had it.
    """

    user: str
    host: str
    said: str = ""
    exited: int | None = None
    shell: str = ""
    asked: str = ""
    options: str = ""
    sudo: bool = False
    missing: str = ""

    def explain(self) -> ConnectError:
        """Return the error that names what stands in the way."""
        what, hint = self._verdict()
        end = "it still runs" if self.exited is None else f"it ended with exit code {self.exited}"
        return ConnectError(
            f"no command of ours runs as {self.user} on {self.host}: {what}",
            why="\n".join(part for part in (self.said[-2000:], end) if part),
            hint=hint,
        )

    def _verdict(self) -> tuple[str, str]:
        if self.sudo and (refusal := sudo_refused(self.said)):
            return f"root cannot be become: {refusal.why}", refusal.hint
        if " command" in self.options:
            file = self.options.partition(": key options")[0]
            return (
                f"a forced command takes its place ({file})",
                f"log in as another user, or take command= away from the key in {file.rpartition(':')[0]}",
            )
        shell = self.shell or self._answered()
        files = START_FILES.get(shell.rpartition("/")[2], "" if shell else "; ".join(dict.fromkeys(_common())))
        if self.missing:
            return (
                f"its {self.missing} goes elsewhere",
                f"a start file redirects it: look for `exec >` in {files or 'its start files'}",
            )
        name = f"the login shell {shell}" if shell else "the login shell"
        if self.exited is None:
            return (
                f"{name} does not come to it",
                f"a start file waits for input or starts another program: look for `read` and `exec` in {files}",
            )
        if self._answered():
            why = "is restricted and" if shell.rpartition("/")[2] in RESTRICTED else "runs lines, but"
            return f"the login shell {shell} {why} does not start /bin/sh", f"chsh -s /bin/sh {self.user}"
        if self.said and self.asked.strip() and self.asked.strip() in self.said:
            return (
                "something else answers, whatever is asked",
                f"ForceCommand in sshd's configuration, or a login shell such as nologin: chsh -s /bin/sh {self.user}",
            )
        return (
            f"{name} ends before it comes to it",
            f"look for `exit`, `exec` and `return` in start files ({files}); else see ForceCommand, ChrootDirectory",
        )

    def _answered(self) -> str:
        """Return the login shell that answered `ASK` as a shell does; empty when none did."""
        for line in self.asked.splitlines():
            head, marker, rest = line.partition("bakery-login-shell ")
            if marker and not head.strip() and rest.startswith("/"):
                return rest.strip()
        return ""


def _common() -> list[str]:
    return [START_FILES["bash"], START_FILES["zsh"].partition(",")[2].strip()]
