"""Reading what VBoxManage prints: machine-readable records, lists of machines and media, its version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PAIR = re.compile(r'^(?:"([^"=]+)"|([^"=\s]+))=(.*)$')
_VERSION = re.compile(r"^(\d+)\.(\d+)\.(\d+)\S*$", re.MULTILINE)
_MACHINE = re.compile(r'^"(.*)" \{([0-9a-f-]{36})\}$', re.MULTILINE)
_PROPERTY = re.compile(r"^(\S.*?) += '", re.MULTILINE)
_ADDITIONS = re.compile(r"^Default Guest Additions ISO:[ \t]*(\S.*)$", re.MULTILINE)
_INACCESSIBLE = re.compile(r"^Name: +<inaccessible!>\nUUID: +(\S+)\nConfig file: +(.+)$", re.MULTILINE)
_EXTRA = re.compile(r"^Key: (.+?), Value: (.*)$", re.MULTILINE)


INACCESSIBLE = "inaccessible"
"""The state of a machine whose settings file VirtualBox cannot read: it is gone, or on a disk that is not there."""


@dataclass(frozen=True)
class MachineName:
    """A registered machine: what it is called, and its UUID."""

    name: str
    uuid: str


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A disk or CD image that VirtualBox has in its registry.

    Args:
        uuid: VirtualBox's name for it.
        location: the file.
        parent: the UUID of what it stands on; empty for a base.
        state: `created`, `locked write`, `inaccessible`, ...
        format: `VDI`, `VMDK`, `VHD`, `RAW`.
    """

    uuid: str
    location: Path
    parent: str = ""
    state: str = ""
    format: str = ""


@dataclass(frozen=True, kw_only=True)
class MachineInfo:
    """A machine as `showvminfo --machinereadable` shows it.

    Args:
        name: its name.
        uuid: its UUID.
        state: VirtualBox's word: `poweroff`, `running`, `saved`, `aborted`, `gurumeditation`, ...
        config: its settings file.
        values: all that was said, by key.
    """

    name: str
    uuid: str
    state: str
    config: Path
    values: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def forwards(self) -> dict[str, int]:
        """Ports of this host by the name of their NAT rule."""
        rules = [value.split(",") for key, value in self.values.items() if key.startswith("Forwarding(")]
        return {rule[0]: int(rule[3]) for rule in rules}

    @property
    def attachments(self) -> dict[tuple[str, int, int], str]:
        """Media by controller, port and device; `emptydrive` for a drive without one."""
        names = {value for key, value in self.values.items() if key.startswith("storagecontrollername")}
        slots = re.compile(rf"^({'|'.join(map(re.escape, sorted(names)))})-(\d+)-(\d+)$") if names else None
        matches = ((slots.match(key), value) for key, value in self.values.items()) if slots else ()
        return {(m[1], int(m[2]), int(m[3])): value for m, value in matches if m and value != "none"}

    @property
    def snapshots(self) -> dict[str, str]:
        """UUIDs of the machine's snapshots, by name."""
        named = {
            key.removeprefix("SnapshotName"): value
            for key, value in self.values.items()
            if key.startswith("SnapshotName")
        }
        return {name: self.values.get(f"SnapshotUUID{suffix}", "") for suffix, name in named.items()}


def pairs(text: str) -> dict[str, str]:
    """Read `key=value` lines, with or without quotes; lines of any other form are passed over.

    Debian's VBoxManage prints a warning in front of them, and VirtualBox itself some lines without a value.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _PAIR.match(line):
            found[match[1] or match[2]] = _unquoted(match[3])
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"')
    return value


def machine_info(text: str) -> MachineInfo:
    """Read a machine's record.

    Raises:
        ValueError: it is none.
    """
    values = pairs(text)
    try:
        return MachineInfo(
            name=values["name"],
            uuid=values["UUID"],
            state=values["VMState"],
            config=Path(values["CfgFile"]),
            values=values,
        )
    except KeyError as error:
        raise ValueError(f"no {error} in what VBoxManage says of the machine") from None


def machines(text: str) -> list[MachineName]:
    """Read `list vms`."""
    return [MachineName(name, uuid) for name, uuid in _MACHINE.findall(text)]


def inaccessible(text: str) -> list[MachineInfo]:
    """Read in `list --long vms` the machines of which VirtualBox knows no more than where their settings should be."""
    return [
        MachineInfo(name=Path(config).stem, uuid=uuid, state=INACCESSIBLE, config=Path(config))
        for uuid, config in _INACCESSIBLE.findall(text)
    ]


def media(text: str) -> list[Medium]:
    """Read `list hdds` and `list dvds`: one paragraph for each."""
    return list(_media(text))


def _media(text: str) -> Iterator[Medium]:
    for paragraph in re.split(r"\n\s*\n", text):
        values = dict(re.findall(r"^([A-Z][\w ]*?):\s+(.*)$", paragraph, re.MULTILINE))
        if "UUID" not in values or "Location" not in values:
            continue
        parent = values.get("Parent UUID", "base")
        yield Medium(
            uuid=values["UUID"],
            location=Path(values["Location"]),
            parent="" if parent == "base" else parent,
            state=values.get("State", ""),
            format=values.get("Storage format", ""),
        )


def os_types(text: str) -> frozenset[str]:
    """Read `list ostypes`."""
    return frozenset(re.findall(r"^ID(?: / Description)?:\s+(\S+)", text, re.MULTILINE))


def extra_data(text: str) -> dict[str, str]:
    """Read `getextradata ... enumerate`."""
    return dict(_EXTRA.findall(text))


def guest_properties(text: str) -> list[str]:
    """Read the names in `guestproperty enumerate`."""
    return _PROPERTY.findall(text)


def additions(text: str) -> Path | None:
    """Read in `list systemproperties` where the ISO of the guest additions is; None where there is none."""
    match = _ADDITIONS.search(text)
    return Path(match[1].strip()) if match else None


def version(text: str) -> tuple[int, int, int]:
    """Read `--version`, as in `7.2.22_Debianr175245`, wherever in the text it stands.

    Raises:
        ValueError: there is none.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no version in {text.strip()[-200:]!r}")
    return int(match[1]), int(match[2]), int(match[3])
