"""What a single ESXi host can do, and what takes a vCenter: said in pre-flight, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator

from bakery.drivers.vsphere.options import LibraryItem, VSphereMachine
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Problem

WHY = "a single ESXi host has none; a vCenter does"


def problems(source: VSphere) -> Iterator[Problem]:
    """Yield what a source asks for that a single ESXi host does not have.

    Args:
        source: what the user asked for, by nothing but its options.
    """
    if source.image not in {"machine", "ova"}:
        yield Problem(
            what=f"image={source.image!r}: a single ESXi host keeps no templates and libraries, clones no snapshots",
            hint='image="machine": a machine that is off, which is copied; or image="ova"',
        )
    if source.clone == "linked":
        yield Problem(what="clone='linked': a single ESXi host clones nothing", hint="without it, disks are copied")
    if isinstance(source.base, VSphereMachine):
        yield Problem(
            what="base=VSphereMachine(...): a single ESXi host copies no snapshots",
            hint="base= names a machine that is off",
        )
    asked = {
        "base=LibraryItem(...): content libraries": isinstance(source.base, LibraryItem),
        "folder=...: folders of machines": bool(source.folder),
        "datastore_cluster=...: datastore clusters": bool(source.datastore_cluster),
        "tags=...: tags": bool(source.tag_names),
        "attributes=...: custom attributes": bool(source.attributes),
        "customization=...: guest customization": source.customization is not None,
        "tpm=True: key providers, which virtual TPMs need": source.tpm,
    }
    yield from (Problem(what=what, why=WHY) for what, wanted in asked.items() if wanted)
