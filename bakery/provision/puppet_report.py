"""Reading what Puppet says of a run: its report, and its errors with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import TaskError
from bakery.machine.output import caller
from bakery.provision.items import Item

if TYPE_CHECKING:
    from bakery.errors import Location
    from bakery.model import Result
    from bakery.provision.uploads import Uploads

_PLACE: Final = re.compile(r"\(file: ([^,)]+)(?:, line: (\d+))?")
"""An error at the end of a file has no line where a server tells of it."""
_TYPE: Final = re.compile(
    r"Unknown resource type: '(\w+)'|Could not find resource type '?(\w+)|Invalid resource type (\w+)"
)
CORE: Final = {
    "augeas": "augeas-core",
    "cron": "cron-core",
    "host": "host-core",
    "mount": "mount-core",
    "nagios_host": "nagios-core",
    "nagios_service": "nagios-core",
    "selboolean": "selinux-core",
    "selmodule": "selinux-core",
    "ssh_authorized_key": "sshkeys-core",
    "sshkey": "sshkeys-core",
    "yumrepo": "yumrepo-core",
    "zfs": "zfs-core",
    "zone": "zone-core",
    "zpool": "zfs-core",
}
"""Types that left Puppet's own core with version 6, and the module that has them; Debian has a package of each."""


def items_of(report: str, sent: Uploads) -> list[Item]:
    """Read the resources of a report; none where there is no report, as for a manifest that does not compile.

    What Puppet always has (stages, classes, schedules) is left out.
    """
    if not report.strip():
        return []
    statuses = _parsed(report).get("resource_statuses") or {}
    return [_item(status, sent) for status in statuses.values() if status.get("file") or _happened(status)]


def _happened(status: dict[str, Any]) -> bool:
    return bool(status.get("changed") or status.get("failed") or status.get("failed_to_restart"))


def _item(status: dict[str, Any], sent: Uploads) -> Item:
    events = status.get("events") or []
    file, line = status.get("file"), status.get("line")
    failed = status.get("failed") or status.get("failed_to_restart")
    changed = status.get("changed") and status.get("resource_type") != "Notify"  # a message is no change of a machine
    pending = any(event.get("status") == "noop" for event in events)
    outcome = "failed" if failed else "skipped" if status.get("skipped") else "changed" if changed or pending else "ok"
    return Item(
        name=status.get("resource", ""),
        outcome=outcome,  # type: ignore[arg-type]  # one of the literals
        seconds=float(status.get("evaluation_time") or 0.0),
        location=str(sent.place(file, int(line))) if file and line else "",
        text="\n".join(sent.localized(str(event.get("message", ""))) for event in events),
    )


def failure(done: Result, items: Sequence[Item], sent: Uploads) -> TaskError:
    """Say why a run failed: the first resource that did, or what does not compile."""
    errors = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.startswith("Error: ")]
    failed = [item for item in items if item.outcome == "failed"]
    if done.exited == -1:
        return TaskError(f"puppet was ended: it ran longer than {done.seconds:.0f} s", where=caller())
    if failed:
        first = failed[0]
        why = first.text or "\n".join(errors)
        return TaskError(f"puppet: {first.name} failed", why=why, where=_where(first, errors, sent))
    if not errors:
        why = (done.stderr or done.stdout).strip()
        hint = "install= names the packages that bring Puppet" if done.exited == 127 else ""  # noqa: PLR2004  not found
        return TaskError(f"puppet ended with exit code {done.exited}", why=why, hint=hint, where=caller())
    said = "\n".join(errors)
    return TaskError(
        f"puppet: {sent.localized(errors[0].removeprefix('Error: '))}",
        why=sent.localized("\n".join(errors[1:])),
        hint="; ".join(_hints(said)),
        where=_place(said, sent) or caller(),
    )


def _where(item: Item, errors: Sequence[str], sent: Uploads) -> Location | None:
    file, _, line = item.location.rpartition(":")
    return sent.place(file, int(line)) if file and line.isdigit() else _place("\n".join(errors), sent) or caller()


def _place(text: str, sent: Uploads) -> Location | None:
    found = _PLACE.search(text)
    return sent.place(found[1], int(found[2] or 1)) if found else None


def _hints(said: str) -> Iterator[str]:
    for match in _TYPE.findall(said):
        name = next(filter(None, match))
        if name in CORE:
            yield (
                f"the type {name} has a package of its own since Puppet 6: "
                f"puppet(..., install=['puppet-agent', 'puppet-module-puppetlabs-{CORE[name]}'])"
            )


def _parsed(report: str) -> dict[str, Any]:
    """Read YAML that names classes of Ruby's."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """Takes objects of other languages for what they are made of."""

    def plain(loader: yaml.SafeLoader, _suffix: str, node: Any) -> Any:
        match node:
            case yaml.MappingNode():
                return loader.construct_mapping(node, deep=True)
            case yaml.SequenceNode():
                return loader.construct_sequence(node, deep=True)
            case _:
                return loader.construct_scalar(node)

    PlainLoader.add_multi_constructor("!ruby/", plain)
    data: dict[str, Any] = yaml.load(report, PlainLoader)  # noqa: S506  a SafeLoader that knows more tags
    return data
