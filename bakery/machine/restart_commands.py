"""Which commands restart a machine, or switch it off: read from their words alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final, Literal

from bakery.util.results import Words

Intent = Literal["restart", "off", "maybe", ""]

_VERBS: Final[dict[str, Intent]] = {
    "reboot": "restart",
    "kexec": "restart",
    "soft-reboot": "restart",
    "poweroff": "off",
    "halt": "off",
}
"""systemctl(1)'s verbs; the first, the fourth and the fifth are programs too."""
_TARGETS: Final[dict[str, Intent]] = {
    "reboot.target": "restart",
    "kexec.target": "restart",
    "soft-reboot.target": "restart",
    "ctrl-alt-del.target": "restart",
    "runlevel6.target": "restart",
    "poweroff.target": "off",
    "halt.target": "off",
    "runlevel0.target": "off",
}
"""Units whose start does the same; source: systemd.special(7)."""
_BEFORE: Final = ("sudo", "exec", "nohup", "command", "env", "-n", "-E", "-H", "--")
_MENTION: Final = re.compile(
    r"(?:^|[\s;&|(){}'\"])(?:/\S*/)?"
    r"(?:(?:reboot|poweroff|halt)(?:\.target)?|shutdown|(?:tel)?init\s+[06]"
    r"|systemctl\s[^;&|\n]*\b(?:kexec|soft-reboot|runlevel[06]\.target|ctrl-alt-del\.target)(?:\.target)?"
    r"|kill\s[^;&|\n]*\s1)(?=$|[\s;&|(){}'\"])"
    r"|login1\.Manager[\s.](?:Reboot|PowerOff|Halt)|/sysrq-trigger"
)
_ONE: Final = re.compile(r"[\w\s./+:=@,-]*")
"""A single command, in which a shell would do nothing but split words."""


def intent(command: Words) -> Intent:
    """Say what becomes of the machine.

    Returns:
        `restart` or `off` for a command that does that and nothing else, `maybe` for one that has such a command in it.
    """
    if not isinstance(command, str):
        return _of(command) or ("maybe" if _MENTION.search(" ".join(command)) else "")
    if not _MENTION.search(command):
        return ""
    text = command.strip().removesuffix("&").removesuffix(";").strip()
    return (_of(shlex.split(text)) if _ONE.fullmatch(text) and "\n" not in text else "") or "maybe"


def _of(words: Sequence[str]) -> Intent:
    """Read the words of a single command."""
    at = next((index for index, word in enumerate(words) if word not in _BEFORE), len(words))
    if at == len(words):
        return ""
    program, arguments = words[at].rpartition("/")[2], list(words[at + 1 :])
    plain = [word for word in arguments if not word.startswith("-")]
    if {"--help", "--wtmp-only", "-w", "-c", "--show"} & set(arguments):
        return ""
    match program:
        case "systemctl":
            return _of_systemctl(plain)
        case "reboot" | "poweroff" | "halt":
            return _VERBS[program]
        case "shutdown":
            return "restart" if {"-r", "--reboot"} & set(arguments) else "off"
        case "init" | "telinit":
            return {"6": "restart", "0": "off"}.get(plain[0] if plain else "", "")  # type: ignore[return-value]
    return ""


def _of_systemctl(plain: Sequence[str]) -> Intent:
    """Read systemctl's verb, and the units that it starts."""
    if not plain or plain[0] not in ("start", "isolate"):
        return _VERBS.get(plain[0], "") if plain else ""
    for unit in plain[1:]:
        if unit in _TARGETS:
            return _TARGETS[unit]
    return ""


def mentions(text: bytes) -> bool:
    """Say whether a command of these is in a text that goes to a machine, such as a script."""
    return _MENTION.search(text.decode(errors="replace")) is not None
