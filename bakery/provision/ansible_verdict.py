"""Whether a play went well: told by its results, never by Ansible's exit code alone.

Of ansible-core 2.19 an exit code of 0 may mean that nothing was run, 2 a failed task or a misspelt option, and 4 a host
that was not reached, a failed task beside one, or a playbook that cannot be read.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import BakeryError, DriverError, Location, NotYet, TaskError
from bakery.machine.command import Command
from bakery.machine.execute import lost
from bakery.machine.output import caller

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess
    from bakery.model import Result
    from bakery.provision.ansible_events import Told
    from bakery.provision.ansible_words import PlayOptions
    from bakery.provision.items import Item

_ORIGIN: Final = re.compile(r"^\s*Origin: (/.+?):(\d+)(?::\d+)?\s*$", re.MULTILINE)
_ERROR: Final = re.compile(r"^(?:\[ERROR\]|ERROR!?|ansible-\w+: error):? *", re.MULTILINE)
_CAUSED: Final = "<<< caused by >>>"
_NOT_ALIVE: Final = ("unreachable",)


def judge(inside: MachineAccess, play: PlayOptions, told: Told, result: Result) -> None:
    """Return where a play went well.

    Raises:
        TaskError: it did not.
        DriverError: because the machine died.
    """
    if result.exited == -1:
        raise _error(play, f"was ended: it ran longer than {result.seconds:.0f} s", why=_last(told))
    failed = [item for item in told.items if item.outcome in ("failed", "unreachable")]
    hosts = {host for host, stats in told.stats.items() if stats["failures"] or stats["unreachable"]}
    if told.stats:
        failed = [item for item in failed if item.host in hosts]  # the others were rescued
    if failed:
        raise _failed(inside, play, failed[-1], told)
    if result.exited:
        raise _unread(play, result)
    if not [item for item in told.own if item.outcome not in _NOT_ALIVE]:
        raise _nothing(play, told, result)


def _failed(inside: MachineAccess, play: PlayOptions, item: Item, told: Told) -> Exception:
    if item.host == play.host and (item.outcome == "unreachable" or _is_dead(inside)):
        return _lost(inside, play, item)
    where = "" if item.host == play.host else f" on {item.host}"
    verb = "could not reach its host" if item.outcome == "unreachable" else "failed"
    skipped = sum(other.outcome == "ignored" for other in told.items)
    hint = f"{skipped} earlier failures were ignored, as the play says" if skipped else ""
    return _error(play, f"task {item.name!r} {verb}{where}", why=item.text, hint=hint, where=_location(item))


def _is_dead(inside: MachineAccess) -> bool:
    """Say whether the machine died under the task, which for Ansible may be a failure of its command."""
    try:
        with suppress(NotYet):  # it restarts
            inside.alive()
    except DriverError:
        return True
    return False


def _lost(inside: MachineAccess, play: PlayOptions, item: Item) -> BakeryError:
    try:
        error = lost(inside.link, inside.alive, Command(command="ansible", title=_title(play)), item.text)
        error.why = item.text or error.why
    except DriverError as died:
        error = died
        error.why = error.why or item.text
    error.where = _location(item) or caller()
    return error


def _unread(play: PlayOptions, result: Result) -> TaskError:
    """Ansible itself gave up: a syntax error, a missing role, a vault without password, a wrong option."""
    text = result.stderr if _ERROR.search(result.stderr) else f"{result.stdout}\n{result.stderr}"
    match = _ERROR.search(text)
    said = text[match.end() :].strip() if match else text.strip()
    if "parse inventory source" in said and _CAUSED in text:  # of ours: what it really could not read are variables
        said = text.partition(_CAUSED)[2].partition("[WARNING]")[0].strip()
    origin = _ORIGIN.search(said)
    where = Location(Path(origin[1]), int(origin[2])) if origin else None
    first, _, rest = said.partition("\n")
    hint = ""
    if "vault" in first.lower() or "decrypt" in first.lower():
        hint = "vault=: a Secret, a file with the password, or several by vault id"
    return _error(play, first or f"ended with exit code {result.exited}", why=rest.strip(), hint=hint, where=where)


def _nothing(play: PlayOptions, told: Told, result: Result) -> TaskError:
    """Say why a playbook that "succeeded" ran nothing."""
    if told.idle and not told.items:
        why = f"no host matches {', '.join(told.idle)}; the machine is {play.host!r}"
        why += f" in {', '.join(play.groups)}" if play.groups else ", in no group"
        hint = "groups=[...] or host=... gives it the names that the plays ask for"
    elif play.start_at_task:
        why, hint = f"no task is called {play.start_at_task!r}", "start_at_task= is the task's whole name"
    elif play.tags or play.skip_tags:
        why, hint = (
            "no task has the tags that were asked for",
            "`ansible-playbook --list-tags` shows those that are there",
        )
    else:
        why, hint = _ERROR.sub("", result.stderr).strip() or "its plays have no tasks", ""
    return _error(play, "ran nothing", why=why, hint=hint)


def _error(play: PlayOptions, what: str, *, why: str = "", hint: str = "", where: Location | None = None) -> TaskError:
    return TaskError(f"{_title(play)}: {what}", why=why, hint=hint, where=where or caller())


def _title(play: PlayOptions) -> str:
    return f"ansible {' '.join(path.name for path in play.playbooks)}"


def _last(told: Told) -> str:
    return f"the last task that ended: {told.items[-1].name}" if told.items else "no task had ended"


def _location(item: Item) -> Location | None:
    file, _, line = item.location.rpartition(":")
    return Location(Path(file), int(line)) if file and line.isdigit() else None
