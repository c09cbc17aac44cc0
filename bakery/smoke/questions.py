"""Which commands are mere questions: known to change nothing on the machine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

_LOOKS: Final = frozenset(
    {
        *(
            "arch",
            "cat",
            "cut",
            "df",
            "dpkg-query",
            "free",
            "getcap",
            "getenforce",
            "getent",
            "getfacl",
            "grep",
            "head",
        ),
        *("id", "ls", "lsattr", "lsb_release", "lsblk", "lscpu", "lsmod", "lspci", "md5sum", "netstat", "nproc"),
        *("pgrep", "pidof", "printenv", "ps", "pwd", "readlink", "realpath", "sha1sum", "sha256sum", "sha512sum"),
        *("stat", "systemd-detect-virt", "test", "uname", "wc", "which", "whoami"),
    }
)
"""Programs that only look, whatever their arguments are."""
_CAREFUL: Final[Mapping[str, frozenset[str]]] = {
    "systemctl": frozenset(
        {"is-active", "is-enabled", "is-failed", "is-system-running", "list-unit-files", "show", "status"}
    ),
    "command": frozenset({"-v"}),
    "apt-cache": frozenset({"policy", "show"}),
    "apt-config": frozenset({"dump"}),
    "dpkg": frozenset({"--print-architecture", "-L", "-S", "-l", "-s", "--listfiles", "--list", "--status"}),
    "apk": frozenset({"-e", "info"}),
    "rpm": frozenset({"-q", "-qa"}),
    "ss": frozenset({"--numeric"}),
    "swapon": frozenset({"--show", "--summary"}),
    "timedatectl": frozenset({"show", "status"}),
}
"""Programs that only look when this is their first argument."""
_WORD: Final = re.compile(r"""(?:[\w@%+:,./=-]|'[^'\n]*'|"[^"$`\\!\n]*")+""")
_COMMAND: Final = re.compile(rf"{_WORD.pattern}(?: +{_WORD.pattern})*(?= *(?:[|&]| 2>|$))")
_BETWEEN: Final = re.compile(r" *(?:\|\||\||&&) *| +2>(?:/dev/null|&1)(?= |$)")
"""What may stand between questions, or behind one, and changes nothing either."""
_IP_SHOWS: Final = frozenset({"a", "addr", "address", "l", "link", "r", "route", "rule", "-4", "-6", "-o", "show"})
_FIND_ACTS: Final = ("-delete", "-exec", "-execdir", "-ok", "-okdir", "-fprint", "-fprint0", "-fprintf", "-fls")


def plain_words(command: str) -> list[str]:
    """Split a command into words if a shell would do nothing else with it; empty where it would."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return words if shlex.join(words) == command else []


def is_question(command: str) -> bool:
    """Say whether a command is known to change nothing: one that only looks, or several behind each other."""
    at, expects = 0, True
    while at < len(command):
        if expects:
            found = _COMMAND.match(command, at)
            if found is None or not _only_looks(shlex.split(found[0])):
                return False
        else:
            found = _BETWEEN.match(command, at)
            if found is None:
                return False
        expects = not (expects or "2>" in found[0])
        at = found.end()
    return bool(command) and not expects


def _only_looks(words: Sequence[str]) -> bool:
    program, arguments = words[0].rsplit("/", 1)[-1], words[1:]
    if program in _LOOKS:
        return True
    first = arguments[0] if arguments else ""
    match program:
        case "find":
            return not any(word in _FIND_ACTS for word in arguments)
        case "hostname":
            return not arguments or (len(arguments) == 1 and first in ("-s", "-f", "-d", "-i", "-I"))
        case "ip":
            return bool(arguments) and all(word in _IP_SHOWS for word in arguments)
        case "sysctl":
            return first == "-n" and not any(mark in word for word in arguments for mark in ("=", "-w", "-p"))
        case "uniq":
            return all(word.startswith("-") for word in arguments[:-1])
        case "crontab":
            return arguments[-1:] == ["-l"]
        case _:
            return first in _CAREFUL.get(program, ())
