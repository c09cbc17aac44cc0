"""Reading what Salt returns: states one by one, or what it could not read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import TaskError
from bakery.machine.output import caller
from bakery.provision.items import Item, ItemOutcome

if TYPE_CHECKING:
    from bakery.errors import Location
    from bakery.model import Result
    from bakery.provision.uploads import Uploads

_LINE: Final = re.compile(r"; line (\d+)$|line (\d+)", re.MULTILINE)
_SLS: Final = re.compile(r"SLS '?(?:\w+:)?([\w./-]+)'?")


def parsed(text: str) -> Any:
    """Return what the minion returned: results by their keys, or a list of errors; None where it returned nothing."""
    start = text.find("{")
    try:
        return json.loads(text[start:])["local"] if start >= 0 else None
    except (ValueError, KeyError):
        return None


def items_of(returned: Any) -> list[Item]:
    """Read the states in the order in which they ran."""
    if not isinstance(returned, Mapping):
        return []
    results = [(key, one) for key, one in returned.items() if isinstance(one, Mapping) and "result" in one]
    results.sort(key=lambda pair: pair[1].get("__run_num__", 0))
    return [_item(key, one) for key, one in results]


def _item(key: str, result: Mapping[str, Any]) -> Item:
    module, _, rest = key.partition("_|-")
    function = rest.rpartition("_|-")[2]
    changed = bool(result.get("changes")) or result["result"] is None  # None: would change, with test=True
    outcome: ItemOutcome = "failed" if result["result"] is False else "changed" if changed else "ok"
    if result.get("__state_ran__") is False and outcome == "ok":
        outcome = "skipped"
    return Item(
        name=f"{module}.{function} {result.get('__id__') or result.get('name', '')}",
        outcome=outcome,
        seconds=float(result.get("duration") or 0.0) / 1000,
        text=str(result.get("comment", "")).strip(),
    )


def failure(
    done: Result, returned: Any, items: Sequence[Item], sent: Uploads, names: Sequence[str]
) -> TaskError | None:
    """Say why a run failed: the first state that did, or what Salt could not read.

    Returns:
        None where it did not: a state file that renders to nothing is a failure for Salt alone, and by itself.
    """
    what = f"salt {', '.join(names) or 'highstate'}"
    if done.exited == -1:
        return TaskError(f"{what} was ended: it ran longer than {done.seconds:.0f} s", where=caller())
    failed = [item for item in items if item.outcome == "failed"]
    if failed:
        first = next((item for item in failed if "requisite" not in item.text), failed[0])
        sls = returned_sls(returned, first)
        return TaskError(
            f"{what}: state {first.name!r} failed",
            why=first.text,
            where=_file(sls, sent) or _place(first.text, sent) or caller(),
        )
    if isinstance(returned, list) or (returned and not items):
        errors = [str(one).strip() for one in returned] if isinstance(returned, list) else [str(returned)]
        text = sent.localized("\n".join(errors))
        first_line, _, rest = text.partition("\n")
        return TaskError(f"{what}: {first_line}", why=rest.strip(), where=_place(text, sent) or caller())
    if not items:
        return TaskError(f"{what} ran nothing", why=_said(done), hint="the state file has no states", where=caller())
    if done.failed:
        return TaskError(f"{what} ended with exit code {done.exited}", why=_said(done), where=caller())
    return None


def returned_sls(returned: Any, item: Item) -> str:
    """Return the state file that an item stands in, as Salt names it: `web.nginx`."""
    for key, one in returned.items():
        if isinstance(one, Mapping) and _item(key, one).name == item.name:
            return str(one.get("__sls__", ""))
    return ""


def _file(sls: str, sent: Uploads, line: int = 1) -> Location | None:
    """Find a state file by Salt's name of it."""
    base = sls.replace(".", "/")
    for name in (f"{base}.sls", f"{base}/init.sls"):
        place = sent.place(f"{sent.folder}/states/{name}", line)
        if sls and place.file.is_file():
            return place
    return None


def _place(text: str, sent: Uploads) -> Location | None:
    sls, line = _SLS.search(text), _LINE.search(text)
    number = int(next(filter(None, line.groups()))) if line else 1
    return _file(sls[1].removesuffix(".sls").replace("/", "."), sent, number) if sls else None


def _said(done: Result) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-4000:]
