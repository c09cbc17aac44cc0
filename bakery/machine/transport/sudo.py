"""What sudo says when it does not let us become another user, and what to do about it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NO_SUDO: Final = "bakery: this machine has no sudo"
_TERMINAL: Final = re.compile(r"^sudo: .*(?:must have a tty|no tty present).*", re.MULTILINE)
_PASSWORD: Final = re.compile(
    r"^sudo: .*(?:password is required|terminal is required to read the password|interactive auth).*", re.MULTILINE
)
_FORBIDDEN: Final = re.compile(
    r"^.*(?:is not in the sudoers file|not allowed to execute|may not run sudo).*", re.MULTILINE
)


class SudoRefusal(NamedTuple):
    """Why another user could not be become, and what helps."""

    why: str
    hint: str


def sudo_refused(stderr: str) -> SudoRefusal | None:
    """Read what a failed command wrote: None when sudo is not what failed."""
    if NO_SUDO in stderr or re.search(r"\bsudo: (?:command )?not found|exec: sudo: not found", stderr):
        return SudoRefusal("there is no sudo on the machine", "log in as root, or install sudo in the base image")
    if "sudo: sh: command not found" in stderr:
        return SudoRefusal("sudo finds no sh", "name /bin and /usr/bin in secure_path of sudoers, or log in as root")
    if match := _PASSWORD.search(stderr):  # first: sudo asks for a terminal only to read a password from it
        return SudoRefusal(match[0], "let the login user sudo without a password (NOPASSWD), or log in as root")
    if match := _TERMINAL.search(stderr):
        return SudoRefusal(
            match[0],
            "have `Defaults:USER !requiretty` in sudoers for the login user, by cloud-init or in the base image, or "
            "log in as root",
        )
    if match := _FORBIDDEN.search(stderr):
        return SudoRefusal(match[0], "let the login user sudo without a password (NOPASSWD), or log in as root")
    return None
