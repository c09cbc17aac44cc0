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
_BEFORE: Final = ("sudo", "exec", "nohup", "command", "env", "-n", "-E", "-H", "--")
_MENTION: Final = re.compile(
    r"(?:^|[\s;&|(){}'\"])(?:/\S*/)?"
    r"(?:reboot|shutdown|poweroff|halt|(?:tel)?init\s+[06]|systemctl\s[^;&|\n]*\b(?:kexec|soft-reboot))(?=$|[\s;&|(){}'\"])"
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
            return _VERBS.get(plain[0], "") if plain else ""
        case "reboot" | "poweroff" | "halt":
            return _VERBS[program]
        case "shutdown":
            return "restart" if {"-r", "--reboot"} & set(arguments) else "off"
        case "init" | "telinit":
            return {"6": "restart", "0": "off"}.get(plain[0] if plain else "", "")  # type: ignore[return-value]
    return ""
