"""What can be fetched together, and how the answers to testinfra's questions are read from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bakery.smoke.questions import plain_words
from bakery.smoke.shell import Reply

_SYSTEM: Final = (
    "uname -s",
    "uname -m",
    "uname -r",
    "cat /etc/os-release",
    "test -d /run/systemd/system/",
    "command -v command",
    "command -v systemctl",
    "command -v ss",
    "command -v netstat",
    "command -v dpkg-query",
    "command -v rpm",
    "command -v apk",
)
_UNITS: Final = "systemctl show --no-pager --property=Id,Names,LoadState,ActiveState,UnitFileState '*'"
INSTANCES: Final = r"${Architecture}\t${Status}\t${Version}\n"
"""What `StrictPackage` asks dpkg-query of a package: a line for each architecture that it is there for."""
_PACKAGES: Final = r"dpkg-query -W -f '${Package}\t${Architecture}\t${Status}\t${Version}\n'"
_FILE: Final = (
    'p=%s; for t in e f d x p S L; do if test -$t "$p"; then echo 0; else echo 1; fi; done; '
    "stat -Lc '%%U:%%u:%%G:%%g:%%a:%%Y:%%s:%%i' \"$p\" 2>&1"  # a name may have blanks: "domain users"
)
_FLAGS: Final = ("-e", "-f", "-d", "-x", "-p", "-S", "-L")
_FIELDS: Final = ("%U", "%u", "%G", "%g", "%a", "%Y", "%s", "%i")


class FactGroup(Protocol):
    """Answers that are fetched together."""

    def commands(self) -> Iterable[str]:
        """Return what to run on the machine."""
        ...

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        """Turn what came back into answers, by question."""
        ...


def group_of(command: str) -> tuple[str, FactGroup | None, bool]:
    """Find the group that may know the answer: its name, the group, and whether it lasts until something is changed."""
    if command in _SYSTEM:
        return "system", _System(), True
    match plain_words(command):
        case ["systemctl", "is-active" | "is-enabled", _]:
            return "units", _Units(), False
        case ["dpkg-query", "-f", form, "-W", _] if form in ("${Status}", "${Status} ${Version}", INSTANCES):
            return "packages", _Packages(), True
        case ["test", flag, path] if flag in _FLAGS:
            return f"file {path}", _File(path), False
        case ["stat", "-Lc", form, path] if form in _FIELDS:
            return f"file {path}", _File(path), False
        case [program, "--numeric", "--listening", "--tcp" | "--udp" | "--unix"] if program.endswith("ss"):
            return (
                "sockets",
                Verbatim(tuple(f"{program} --numeric --listening --{k}" for k in ("tcp", "udp", "unix"))),
                False,
            )
    return "", None, False


@dataclass(frozen=True)
class Verbatim:
    """The very commands of the questions, run together."""

    questions: tuple[str, ...]

    def commands(self) -> Iterable[str]:
        return self.questions

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        return dict(zip(self.questions, replies, strict=True))


class _System:
    """What the machine is, found out by one shell: programs that are started cost more than what they say."""

    def commands(self) -> Iterable[str]:
        return ("; ".join(f"{question} 2>/dev/null; printf '\\001%d\\002' $?" for question in _SYSTEM),)

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        answers: dict[str, Reply] = {}
        for question, said in zip(_SYSTEM, replies[0].stdout.split(b"\x02"), strict=False):
            text, mark, exited = said.rpartition(b"\x01")
            if mark and (exited == b"0" or not question.startswith(("cat", "uname"))):  # these say why they fail
                answers[question] = Reply(int(exited), text)
        return answers


class _Units:
    """States of all units that systemd has loaded. The exit codes are those of systemctl(1)."""

    _active: Final = {"active": 0, "inactive": 3, "failed": 3}
    _enabled: Final = {"enabled": 0, "static": 0, "disabled": 1, "masked": 1}

    def commands(self) -> Iterable[str]:
        return (_UNITS,)

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        answers: dict[str, Reply] = {}
        for block in replies[0].stdout.decode(errors="replace").split("\n\n"):
            unit = {key: value for key, _, value in (line.partition("=") for line in block.strip().splitlines())}
            if unit.get("LoadState") not in ("loaded", "masked"):
                continue  # systemctl says more about units that are missing or broken: let it
            active, enabled = unit.get("ActiveState", ""), unit.get("UnitFileState", "")
            for name in _names(unit.get("Names", "")):
                if active in self._active:
                    answers[f"systemctl is-active {name}"] = _said(active, self._active[active])
                if enabled in self._enabled and name.removesuffix(".service") == unit["Id"].removesuffix(".service"):
                    answers[f"systemctl is-enabled {name}"] = _said(enabled, self._enabled[enabled])
        return answers


def _names(listed: str) -> Iterable[str]:
    for name in listed.split():
        yield shlex.quote(name)
        if name.endswith(".service"):
            yield shlex.quote(name.removesuffix(".service"))


def _said(text: str, exited: int = 0) -> Reply:
    return Reply(exited, text.encode() + b"\n")


class _Packages:
    """All that dpkg has ever heard of. What it says of a name that stands for several packages is left to dpkg."""

    def commands(self) -> Iterable[str]:
        return (_PACKAGES,)

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        instances: dict[str, list[tuple[str, str, str]]] = {}
        for line in replies[0].stdout.decode(errors="replace").splitlines():
            name, architecture, status, version = line.split("\t")
            instances.setdefault(name, []).append((architecture, status, version))
        answers: dict[str, Reply] = {}
        for name, known in instances.items():
            _, status, version = known[0]
            lines = "".join("\t".join(instance) + "\n" for instance in known)
            answers[_asked(INSTANCES, name)] = Reply(0, lines.encode())
            if len(known) == 1:
                answers[_asked("${Status}", name)] = Reply(0, status.encode())
                answers[_asked("${Status} ${Version}", name)] = Reply(0, f"{status} {version}".encode())
        return answers


def _asked(form: str, name: str) -> str:
    return f"dpkg-query -f {shlex.quote(form)} -W {shlex.quote(name)}"


@dataclass(frozen=True)
class _File:
    """All that testinfra asks about one path, but for its content."""

    path: str

    def commands(self) -> Iterable[str]:
        return (_FILE % shlex.quote(self.path),)

    def read(self, replies: list[Reply]) -> Mapping[str, Reply]:
        path = shlex.quote(self.path)
        lines = replies[0].stdout.decode(errors="surrogateescape").splitlines()
        flags, rest = lines[: len(_FLAGS)], lines[len(_FLAGS) :]
        answers = {f"test {flag} {path}": Reply(int(code)) for flag, code in zip(_FLAGS, flags, strict=True)}
        if replies[0].exited:
            failure = Reply(replies[0].exited, b"", "\n".join(rest).encode(errors="surrogateescape") + b"\n")
            return answers | {f"stat -Lc {form} {path}": failure for form in _FIELDS}
        fields = zip(_FIELDS, rest[0].split(":"), strict=True)
        return answers | {f"stat -Lc {form} {path}": _said(value) for form, value in fields}
