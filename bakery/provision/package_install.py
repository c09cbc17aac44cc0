"""Packages from the machine's own package manager: locks are waited for, passing faults are tried again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bakery.errors import Location, TaskError
from bakery.machine.access import access
from bakery.machine.output import caller
from bakery.util.retry import retry

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.model import Result

LOCK_TIMEOUT: Final = 600
"""Seconds that another package manager has to end: a first boot's unattended upgrade takes minutes."""
ATTEMPTS: Final = 5
_SERVER: Final = re.compile(
    r"\b(?:50[0234]|429)\s{1,2}(?:[A-Z][a-z]{2}|\[IP)|(?:Status code:|returned error:|HTTP) (?:50[0234]|429)\b"
    r"|Connection (?:failed|refused|reset|timed out)|[Tt]imed? ?out|Could not connect to \S+:\d|Unable to connect"
    r"|Failed to connect to \S+(?: port |:)\d|Hash Sum mismatch|File has unexpected size|Network is unreachable"
    r"|Curl error \((?:7|18|28|35|52|56)\)|failed retrieving file|is temporarily unaccessible"
    r"|temporary error|remote server returned error|could not connect to server \(check|opening \S+: IO ERROR"
    r"|HTTP: unrecognized server error"
)
_DNS: Final = re.compile(
    r"Temporary failure resolving|Could not resolve (?:host|')|Temporary failure in name resolution|DNS lookup error"
    r"|: DNS: |transient error \(try again later\)"
)
_LOCK: Final = re.compile(
    r"Could not get lock|Unable to (?:acquire|lock)|is another process using it|unable to lock database|ZYPP.*locked"
    r"|System management is locked|Waiting for process with pid"
)
_SCRIPT: Final = re.compile(
    r"(%\w+)\((\S+)\) scriptlet failed, exit status (\d+)"
    r"|ERROR: (?:\S+/)?([^\s/]+)\.([\w-]+): (?:script )?exited with error (\d+)"
    r"|error: (command failed to execute correctly)"
)


@dataclass(frozen=True, kw_only=True)
class PackageManager:
    """How one package manager is called so that it asks nothing, waits for locks and tells its failures.

    Args:
        refresh: the words that read the archives' lists; empty where installing does.
        fresh: a shell condition, true where the lists need not be read; empty where that cannot be told.
        install: the words in front of the packages.
        lean: words that leave out what is recommended only.
        env: its environment.
        absent: what it says of a package that it does not know.
        done: exit codes that are a success besides 0.
    """

    refresh: tuple[str, ...]
    install: tuple[str, ...]
    absent: str
    fresh: str = ""
    lean: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    done: tuple[int, ...] = ()


# apt 2.6 counts lists that could not be fetched as a success unless told so: apt.conf(5), APT::Update::Error-Mode.
_APT: Final = ("apt-get", "--quiet", "--yes", "--option", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}")
MANAGERS: Final[Mapping[str, PackageManager]] = {
    "apt-get": PackageManager(
        refresh=(*_APT, "--option", "APT::Update::Error-Mode=any", "update"),
        fresh="find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -60 | grep -q .",
        install=(
            *_APT,
            *("--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold"),
            *("--option", "Dpkg::Use-Pty=0"),  # else the log is full of percentages
            "install",
        ),
        lean=("--no-install-recommends",),
        env={"DEBIAN_FRONTEND": "noninteractive"},
        absent=r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate"
        r"|Version '\S+' for '(\S+)' was not",
    ),
    "dnf": PackageManager(
        refresh=(),
        install=("dnf", "--assumeyes", "--setopt=exit_on_lock=False", "install"),
        lean=("--setopt=install_weak_deps=False",),
        absent=r"No match for argument: (\S+)",
    ),
    "yum": PackageManager(
        refresh=(), install=("yum", "--assumeyes", "install"), absent=r"No (?:match for argument: |package )(\S+)"
    ),
    "zypper": PackageManager(
        refresh=("zypper", "--non-interactive", "refresh"),
        install=("zypper", "--non-interactive", "install", "--auto-agree-with-licenses"),
        lean=("--no-recommends",),
        env={"ZYPP_LOCK_TIMEOUT": str(LOCK_TIMEOUT)},
        absent=r"'(\S+)' not found in package names|No provider of '(\S+)' found",
        done=(102, 103),  # zypper(8): all is installed, and the machine or zypper should be started anew
    ),
    "apk": PackageManager(
        refresh=("apk", "--wait", str(LOCK_TIMEOUT), "update"),
        install=("apk", "--wait", str(LOCK_TIMEOUT), "add"),
        absent=r"^\s+(\S+) \(no such package\)",
    ),
    "pacman": PackageManager(
        refresh=(),
        install=("pacman", "--noconfirm", "--sync", "--refresh", "--needed"),
        absent=r"target not found: (\S+)",
    ),
}


def packages(m: Machine, *names: str, recommends: bool = False, timeout: float | None = None) -> None:
    """Install packages with the machine's own package manager: apt, dnf, yum, zypper, apk or pacman.

    What another package manager holds locked is waited for, up to ten minutes. A mirror that fails, or a name that
    cannot be resolved, is tried again, with growing pauses; a package that does not exist is not.

    Args:
        m: the machine.
        names: the packages, as that manager takes them: `nginx`, `nginx=1.22*`.
        recommends: True installs what they recommend, too, where the manager can leave that out.
        timeout: seconds for each call of the manager.

    Raises:
        TaskError: no package manager that is known; a package that does not exist; what the manager said last.
    """
    if not names:
        raise TypeError("packages(m) needs the names of packages")
    manager = MANAGERS.get(m.facts.package_manager)
    if manager is None:
        raise TaskError(
            f"{' '.join(names)} cannot be installed: no package manager on the machine that is known",
            why=f"known are {', '.join(MANAGERS)}",
            where=caller(),
            hint="begin with a base that has it, or put the files there: m.put(...), m.copy(...)",
        )
    call = _Caller(m, manager, timeout)
    if manager.refresh and not (manager.fresh and m.run(manager.fresh, user="root", warn=True, hide=True).ok):
        call(manager.refresh, "reading the package lists")
    lean = () if recommends else manager.lean
    call((*manager.install, *lean, "--", *names), f"installing {' '.join(names)}")


class LockHeld(TaskError):  # noqa: N818  what happened
    """Another package manager is at work."""


class MirrorFailed(TaskError):  # noqa: N818  what happened
    """A server, or a name server, did not answer as it should."""


class _Caller:
    """Calls one package manager, again where that may help."""

    def __init__(self, m: Machine, manager: PackageManager, timeout: float | None) -> None:
        self._m, self._manager, self._timeout = m, manager, timeout
        self._inside = access(m)
        self._where = caller()

    def __call__(self, words: Sequence[str], doing: str) -> None:
        def say(number: int, error: BaseException) -> None:
            self._inside.work.notice(f"{error.args[0]}; attempt {number + 1} follows", warning=True)

        def unlocked() -> None:
            retry(
                lambda: self._once(words, doing),
                self._inside.work.cancel,
                on=LockHeld,
                attempts=LOCK_TIMEOUT // 5,
                first=0.2,
                longest=5,
            )

        retry(unlocked, self._inside.work.cancel, on=MirrorFailed, attempts=ATTEMPTS, first=1, longest=30, say=say)

    def _once(self, words: Sequence[str], doing: str) -> None:
        result = self._m.run(list(words), user="root", env=self._manager.env, timeout=self._timeout, warn=True)
        if result.exited not in (0, *self._manager.done):
            raise _failure(result, doing, self._manager, self._where)
        for what in _scripts(result):
            self._inside.work.notice(f"{doing}: {what}", warning=True)


def _failure(result: Result, doing: str, manager: PackageManager, where: Location | None) -> TaskError:
    """Tell which kind of failure it is; only some get better by themselves."""
    said = f"{result.stdout}\n{result.stderr}"
    why = _last_words(result)
    # A manager that leaves out an archive that fails then knows none of its packages, and says that as well.
    for pattern, family, reason, hint in _MIRRORS:
        if pattern.search(said):
            return family(f"{doing}: {reason}", why=why, where=where, hint=hint)
    found = re.findall(manager.absent, said, re.MULTILINE)
    absent = [next(filter(None, match)) if isinstance(match, tuple) else match for match in found]
    if absent:
        what = f"no such package, or no such version of it: {', '.join(dict.fromkeys(absent))}"
        hint = "is it called otherwise on this release, or in an archive that is not enabled?"
        return TaskError(what, why=why, where=where, hint=hint)
    if _LOCK.search(said):
        reason, hint = "another package manager holds the lock", "what does the machine do at its boot?"
        return LockHeld(f"{doing}: {reason}", why=why, where=where, hint=hint)
    scripts = "; ".join(_scripts(result))
    what = f"{doing} failed: {scripts}" if scripts else f"{doing} failed with exit code {result.exited}"
    return TaskError(what, why=why, where=where)


def _scripts(result: Result) -> Iterator[str]:
    """Say which scripts of packages failed: dnf 4 and pacman count that as a success, others do not."""
    for rpm, package, code, other, name, number, unnamed in _SCRIPT.findall(f"{result.stdout}\n{result.stderr}"):
        yield (
            f"a package's script failed: {unnamed}"
            if unnamed
            else f"the script {rpm or name} of {package or other} ended with exit code {code or number}"
        )


_MIRRORS: Final = (
    (_DNS, MirrorFailed, "a name cannot be resolved", "has the machine a name server?"),
    (_SERVER, MirrorFailed, "a mirror does not answer as it should", "is there another mirror?"),
)


def _last_words(result: Result) -> str:
    lines = [line for line in result.stderr.splitlines() if line.strip()] or result.stdout.splitlines()
    return "\n".join(lines[-15:])
