"""Reading what our Ruby inside Chef and Itamae tells: a line of JSON for each resource, and one for an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import Location, TaskError
from bakery.machine.output import caller
from bakery.provision.items import Item

if TYPE_CHECKING:
    from bakery.model import Result
    from bakery.provision.uploads import Uploads

RUBY: Final = Path(__file__).parent / "inside_ruby"
_LINE: Final = re.compile(r"(/.+):(\d+)")


@dataclass(frozen=True, kw_only=True)
class ResourceEvents:
    """What was told.

    Args:
        items: the resources, in the order in which they were done.
        error: what ended the run, where it was not a resource; empty where nothing did.
        where: its line, where that is one of the user's.
    """

    items: list[Item] = field(default_factory=list[Item])
    error: str = ""
    where: Location | None = None

    def failure(self, tool: str, done: Result) -> TaskError | None:
        """Say why a run failed; None where it did not.

        Args:
            tool: `chef` or `itamae`.
            done: how the program ended.
        """
        if done.exited == -1:
            return TaskError(f"{tool} was ended: it ran longer than {done.seconds:.0f} s", where=caller())
        if failed := next((item for item in self.items if item.outcome == "failed"), None):
            why = failed.text or self.error
            return TaskError(f"{tool}: {failed.name} failed", why=why, where=_location(failed) or caller())
        if self.error:
            first, _, rest = self.error.partition("\n")
            return TaskError(f"{tool}: {first}", why=rest, where=self.where or caller())
        if done.failed:
            why = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-20:])
            return TaskError(f"{tool} ended with exit code {done.exited}", why=why, where=caller())
        if not self.items:
            return TaskError(f"{tool} ran nothing", hint="its recipes have no resources", where=caller())
        return None


def read_events(text: str, sent: Uploads, original: Callable[[str], str] = str) -> ResourceEvents:
    """Read the lines; one that is cut off, as by the end of the machine, is left out.

    Args:
        text: the file's content.
        sent: what was sent, for paths on this host.
        original: returns a text with the places that were sent in the place of copies that the tool made of them.
    """
    messages = list(_messages(text))
    errors = [message for message in messages if message["type"] == "error"]
    return ResourceEvents(
        items=[_item(message, sent, original) for message in messages if message["type"] == "resource"],
        error=sent.localized(original(errors[0]["text"])) if errors else "",
        where=_place(errors[0]["lines"], sent, original) if errors else None,
    )


def _messages(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _item(message: dict[str, Any], sent: Uploads, original: Callable[[str], str]) -> Item:
    where = _place([message["line"]], sent, original)
    return Item(
        name=message["name"],
        outcome=message["outcome"],
        seconds=round(float(message["seconds"]), 3),
        location=str(where) if where else "",
        text=sent.localized(original(message["text"])),
    )


def _place(lines: Sequence[str], sent: Uploads, original: Callable[[str], str]) -> Location | None:
    """Find the first of some lines that is in what was sent; the others are the tool's own."""
    for line in lines:
        found = _LINE.fullmatch(original(line))
        if found and found[1].startswith(f"{sent.folder}/") and not found[1].startswith(f"{sent.folder}/own/"):
            return sent.place(found[1], int(found[2]))
    return None


def _location(item: Item) -> Location | None:
    file, _, line = item.location.rpartition(":")
    return Location(Path(file), int(line)) if file else None
