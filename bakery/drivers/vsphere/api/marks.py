"""Marks on machines and templates: custom attributes where the server has them, and lines of the notes elsewhere."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from bakery.drivers.shared import marks
from bakery.drivers.shared.marks import BUILD, EXPIRES, IMAGE, KEY, RUN, STARTED, TEMPORARY
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import Properties, VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.source import LONGEST_NAME
from bakery.state.claim import Claim

__all__ = ["BUILD", "CREATED", "EXPIRES", "IMAGE", "KEY", "RUN", "STARTED", "TEMPORARY"]

CREATED = "bakery:created"
"""Only on kept images: when they were captured."""
ALL = (RUN, BUILD, EXPIRES, KEY, STARTED, IMAGE, CREATED)
RUN_ID = re.compile(r"bakery-([0-9]{8}-[0-9]{6}-[0-9a-f]+)-")
LINE = re.compile(r"^(bakery:[a-z]+)=(.*)$", re.MULTILINE)
PATHS = ("customValue", "config.annotation")
REFUSED = frozenset({"NoPermission", "RestrictedVersion", "NotSupported", "MethodNotFound"})


def new_name(claim: Claim) -> str:
    """Return a name that nothing else has; it begins with the run's."""
    return f"{claim.name[: LONGEST_NAME - 9]}-{secrets.token_hex(4)}"


def temporary(claim: Claim, key: str) -> dict[str, str]:
    """Return the marks of something that must not stay."""
    return marks.of_claim(claim, key)


def notes(text: str, values: Mapping[str, str]) -> str:
    """Return notes with marks as lines at their end; those of before are gone."""
    own = LINE.sub("", text).strip()
    lines = [f"{name}={value}" for name, value in values.items() if value]
    return "\n".join([*([own] if own else []), *lines])


def lines(text: str) -> dict[str, str]:
    """Return the marks that are lines of a text."""
    return dict(LINE.findall(text))


def set_attributes(center: VCenter, entity: Any, values: Mapping[str, str]) -> bool:
    """Set custom attributes; an empty text takes one away. False where this server, or this user, cannot.

    Args:
        center: where.
        entity: a machine or template.
        values: by the attributes' names, which are made where they are missing.
    """
    manager = center.content.customFieldsManager
    if manager is None:
        return False
    try:
        known = _definitions(center)
        for name, value in values.items():
            if name not in known:
                if not value:
                    continue
                known[name] = _define(center, manager, name)
            center.call(f"set the attribute {name}", partial(manager.SetField, entity, known[name], value))
    except VSphereError as error:
        if fault_of(error) not in REFUSED:
            raise
        return False
    return True


def _define(center: VCenter, manager: Any, name: str) -> int:
    vim = types.vim()
    what = f"define the attribute {name}"
    try:
        made = center.call(what, lambda: manager.AddCustomFieldDef(name=name, moType=vim.VirtualMachine))
    except VSphereError as error:
        known = _definitions(center)
        if fault_of(error) != "DuplicateName" or name not in known:
            raise
        return known[name]  # another build was quicker
    return int(made.key)


def _definitions(center: VCenter) -> dict[str, int]:
    """Return the keys of the custom attributes by their names."""
    manager = center.content.customFieldsManager
    if manager is None:
        return {}
    found = center.properties(manager, "field") or {}
    return {str(one.name): int(one.key) for one in found.get("field") or ()}


class Reader:
    """Reads marks; asks once how custom attributes are called.

    Args:
        center: where.
    """

    def __init__(self, center: VCenter) -> None:
        self._names = {key: name for name, key in _definitions(center).items()}

    def of(self, values: Properties) -> dict[str, str]:
        """Return the marks of a machine of which `PATHS` were read; of two values of one attribute the later counts."""
        noted = lines(str(values.get("config.annotation") or ""))
        attributes = {
            self._names.get(int(one.key), ""): str(one.value or "") for one in _each(values.get("customValue"))
        }
        return marks.read({**noted, **attributes})


def _each(values: Any) -> Iterable[Any]:
    return values or ()


def run_of(name: str) -> str:
    """Return the run that a name of ours begins with: `20261122-160627-1d7e`; empty where it is none."""
    match = RUN_ID.match(name)
    return match[1] if match else ""
