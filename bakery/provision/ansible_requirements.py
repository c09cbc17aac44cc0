"""Roles and collections that a playbook needs, fetched by ansible-galaxy and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import TaskError
from bakery.machine.output import caller
from bakery.provision.ansible_events import listening
from bakery.provision.ansible_host import AnsibleProgram, settings
from bakery.util.lock import hold
from bakery.util.observer import note_input

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess

_LOCAL: Final = ("file", "dir", "subdirs")


def installed(
    inside: MachineAccess, program: AnsibleProgram, requirements: Path, folder: Path, *, offline: bool
) -> Path:
    """Return the folder that has them: roles below `roles`, collections below `ansible_collections`.

    Args:
        inside: whose build it is.
        program: Ansible.
        requirements: the file, as ansible-galaxy takes it.
        folder: ours, for what must not be kept.
        offline: True downloads nothing.

    Raises:
        TaskError: they cannot be had.
    """
    note_input("file", str(requirements))
    data = requirements.read_bytes()
    if _is_local(data):  # these may change while the file stays as it is
        _install(inside, program, requirements, folder / "galaxy", folder, offline=offline)
        return folder / "galaxy"
    kept = inside.work.cache / "ansible" / hashlib.sha256(data).hexdigest()[:32]
    kept.parent.mkdir(parents=True, exist_ok=True)
    what = f"another bake is installing what {requirements.name} names"
    with hold(kept.with_suffix(".lock"), what=what, work=inside.work):
        if not kept.is_dir():
            part = kept.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _install(inside, program, requirements, part, folder, offline=offline)
            part.rename(kept)
    return kept


def _install(
    inside: MachineAccess, program: AnsibleProgram, requirements: Path, target: Path, folder: Path, *, offline: bool
) -> None:
    target.mkdir()
    for words in galaxy_calls(requirements.read_bytes(), str(requirements), str(target), offline=offline):
        with listening(lambda _: None) as (descriptor, told):
            result = program.run(
                inside,
                "galaxy",
                words,
                env=settings(None, folder),
                cwd=requirements.parent,
                descriptor=descriptor,
                timeout=None,
            )
        if _is_local(requirements.read_bytes()):
            told.note_inputs((str(folder), *program.folders))
        if result.failed:
            raise TaskError(
                f"ansible-galaxy cannot install what {requirements.name} names",
                why=result.stderr.strip() or result.stdout.strip(),
                where=caller(),
                hint="offline: the roles and collections must be files here" if offline else "",
            )


def galaxy_calls(data: bytes, file: str, target: str, *, offline: bool = False) -> list[list[str]]:
    """Return the words of those calls of ansible-galaxy that install what is required.

    Args:
        data: the requirements.
        file: that has them, where ansible-galaxy runs.
        target: the folder, there.
        offline: True downloads nothing.
    """
    wanted = _parsed(data)
    calls = []
    if isinstance(wanted, list) or wanted.get("roles"):
        calls.append(["role", "install", "--role-file", file, "--roles-path", f"{target}/roles"])
    if isinstance(wanted, dict) and wanted.get("collections"):
        calls.append(["collection", "install", "-r", file, "-p", target, *(["--offline"] if offline else [])])
    return calls


def _parsed(data: bytes) -> Any:
    import yaml

    return yaml.safe_load(data) or {}


def _is_local(data: bytes) -> bool:
    """Say whether something in it comes from this host's files."""
    wanted = _parsed(data)
    each = wanted if isinstance(wanted, list) else [*wanted.get("roles", []), *wanted.get("collections", [])]
    return any(_is_local_entry(entry) for entry in each)


def _is_local_entry(entry: Any) -> bool:
    if isinstance(entry, str):
        return entry.startswith((".", "/")) or entry.endswith(".tar.gz")
    places = [str(entry.get(name, "")) for name in ("src", "name", "source")]
    return entry.get("type") in _LOCAL or any(place.startswith((".", "/", "file:")) for place in places)
