"""Destroying from a journal record alone: the machine, its places in VirtualBox's registry, its folder."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from bakery.disk import image_files
from bakery.drivers.virtualbox.api.answers import INACCESSIBLE, MachineInfo
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.api.vboxmanage import MediumKind, VBoxManage
from bakery.drivers.virtualbox.machine import power, registered
from bakery.drivers.virtualbox.machine.launch import ADDITIONS, VIRTUALBOX
from bakery.errors import DriverError
from bakery.model import Resource

KINDS: tuple[MediumKind, ...] = ("disk", "dvd")


def destroy(box: VBoxManage, resource: Resource) -> None:
    """Destroy a machine, or an image that was not kept.

    Raises:
        DriverError: something of it is still there.
    """
    if resource.kind == image_files.KIND:
        close_media(box, Path(resource.key))
        image_files.destroy(resource)
        return
    folder = Path(resource.data["folder"]) / VIRTUALBOX
    # By its UUID first, where that was ours to choose: what is exported has the image's name.
    known = [str(resource.data["uuid"])] if "uuid" in resource.data else []
    machine = registered.in_folder(box, [*known, resource.key], folder)
    if machine is not None and machine.state == INACCESSIBLE:
        box.forget(machine.uuid)
    elif machine is not None:
        power.cut_off(box, machine)
        box.unregister(machine.uuid)
        _let_go_of_additions(box, machine)
    if folder.exists():
        close_media(box, folder)
    remove(folder)


def _let_go_of_additions(box: VBoxManage, machine: MachineInfo) -> None:
    """Take the ISO of the guest additions out of the registry again, unless another machine has it."""
    for medium in machine.attachments.values():
        if Path(medium).name == ADDITIONS:
            with suppress(VirtualBoxError):
                box.close_medium("dvd", medium)


def close_media(box: VBoxManage, place: Path) -> None:
    """Take all media at or below a place out of VirtualBox's registry, those that stand on others first.

    Raises:
        VirtualBoxError: one is in use.
    """
    if not box.installed:
        return
    for kind in KINDS:
        media = [medium for medium in box.media(kind) if medium.location.is_relative_to(place)]
        while media:
            parents = {medium.parent for medium in media}
            leaves = [medium for medium in media if medium.uuid not in parents] or media
            for medium in leaves:
                box.close_medium(kind, medium.uuid)
            media = [medium for medium in media if medium not in leaves]


def remove(folder: Path) -> None:
    """Delete what VirtualBox wrote.

    Raises:
        DriverError: it cannot be deleted.
    """
    with suppress(FileNotFoundError):
        try:
            shutil.rmtree(folder)
        except PermissionError as error:
            raise DriverError(f"the machine's folder {folder} cannot be deleted", why=str(error)) from error
