"""Files on datastores, by the names that vSphere has for them: `[store] folder/file`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from bakery.drivers.vsphere.api import tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.errors import DriverError
from bakery.util.context import WorkContext

OURS = "bakery-"
"""How each folder begins that a machine of ours has."""
DELETING: Final = 600.0
"""Seconds."""
NOT_THERE = frozenset({"FileNotFound", "NotFound"})
FORM = re.compile(r"\[(?P<store>[^\]]+)\] ?(?P<path>.*)")


@dataclass(frozen=True)
class DatastorePath:
    """A file or folder.

    Args:
        store: the datastore's name.
        path: below it, without a slash in front.
    """

    store: str
    path: str

    def __str__(self) -> str:
        """`[store] folder/file`."""
        return f"[{self.store}] {self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what vSphere writes.

        Raises:
            DriverError: it is none.
        """
        match = FORM.fullmatch(text)
        if match is None:
            raise DriverError(f"{text!r} is no file on a datastore")
        return cls(match["store"], match["path"])

    @property
    def folder(self) -> Self:
        """The folder that it is in; the datastore itself where it is in none."""
        return type(self)(self.store, self.path.rpartition("/")[0])

    def child(self, name: str) -> Self:
        """Return what is in this folder under a name."""
        return type(self)(self.store, f"{self.path}/{name}" if self.path else name)


def folder_of(center: VCenter, machine: Any) -> DatastorePath:
    """Return the folder of a machine's own files.

    Raises:
        DriverError: it is gone, or vSphere does not say.
    """
    values = center.properties(machine, "config.files") or {}
    if "config.files" not in values:
        raise DriverError("vSphere does not say where the machine's files are")
    return DatastorePath.parse(str(values["config.files"].vmPathName)).folder


def beside(center: VCenter, machine: Any, name: str) -> DatastorePath:
    """Return the path of a file beside a machine's own, which every kind of datastore has room for."""
    return folder_of(center, machine).child(name)


def datacenter_of(center: VCenter, thing: Any) -> Any:
    """Return pyvmomi's reference to the datacenter that something is in.

    Raises:
        DriverError: it is in none that this user may see.
    """
    vim = types.vim()
    current = thing
    while current is not None and not isinstance(current, vim.Datacenter):
        current = (center.properties(current, "parent") or {}).get("parent")
    if current is None:
        raise DriverError(f"vSphere does not say in which datacenter {moid(thing)} is")
    return current


def delete(center: VCenter, path: DatastorePath, datacenter: Any, work: WorkContext) -> None:
    """Delete a file, or a folder with all that is in it; one that is not there is deleted.

    Args:
        center: where.
        path: which.
        datacenter: pyvmomi's reference to the datastore's datacenter.
        work: for the wait.

    Raises:
        VSphereError: refused; `VSphereRetryableError` while something has it open.
    """
    manager = center.content.fileManager
    try:
        tasks.run(
            center,
            f"delete {path}",
            lambda: manager.DeleteDatastoreFile_Task(name=str(path), datacenter=datacenter),
            work,
            timeout=DELETING,
            repeat=True,
        )
    except VSphereError as error:
        if fault_of(error) not in NOT_THERE:
            raise


def delete_abandoned(center: VCenter, folder: DatastorePath, datacenter: Any, work: WorkContext) -> None:
    """Delete a folder that was a machine's of ours, unless it is a machine's still: the image's, it may be.

    Args:
        center: where.
        folder: which; nothing happens to one that is not named as ours are.
        datacenter: as `delete` has it.
        work: for the wait.

    Raises:
        DriverError: it may be one of a machine whose files nobody can see now.
    """
    if not folder.path.startswith(OURS) or "/" in folder.path:
        return
    vim = types.vim()
    # The summary has it too where a machine's own settings cannot be read.
    for ref, values in center.all({vim.VirtualMachine: ("name", "config.files", "summary.config.vmPathName")}):
        files = values.get("config.files")
        path = files.vmPathName if files is not None else values.get("summary.config.vmPathName")
        if not path:
            raise DriverError(
                f"the folder {folder} cannot be deleted",
                why=f"vSphere does not say where the files of {values.get('name') or moid(ref)} are",
            )
        if str(path).startswith(f"{folder}/"):
            return
    delete(center, folder, datacenter, work)
