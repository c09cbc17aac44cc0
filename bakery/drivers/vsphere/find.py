"""Find what carries our marks, without a journal: for `bake gc --driver vsphere --older-than 6h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bakery.drivers.shared.marks import is_older
from bakery.drivers.vsphere.api import libraries, marks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.image.library import ITEM
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.model import Resource, Where


def find(center: VCenter, where: Where) -> Iterator[Resource]:
    """Yield a record for every machine, template and item of a library that is temporary, of our making, and fits."""
    if center.is_vcenter:  # first, as what belongs to an item goes with it
        yield from _items(center, where)
    vim = types.vim()
    read = marks.Reader(center)
    for ref, values in center.all({vim.VirtualMachine: ("name", *marks.PATHS)}):
        name = str(values.get("name", ""))
        carried = _temporary(read.of(values), name, where)
        if carried and _fits(carried, where):
            yield Resource(
                driver="vsphere",
                kind=MACHINE,
                key=name,
                id=moid(ref),
                run=carried[marks.RUN],
                build=carried.get(marks.BUILD, ""),
                data=center.record,
            )


def _items(center: VCenter, where: Where) -> Iterator[Resource]:
    for own in libraries.local_libraries(center):
        for entry in libraries.entries(center, own):
            carried = _temporary(marks.lines(entry.description), entry.name, where)
            if carried and _fits(carried, where):
                yield Resource(
                    driver="vsphere",
                    kind=ITEM,
                    key=entry.name,
                    id=entry.id,
                    run=carried[marks.RUN],
                    build=carried.get(marks.BUILD, ""),
                    data={"library": own, **center.record},
                )


def _temporary(carried: Mapping[str, str], name: str, where: Where) -> dict[str, str]:
    """Return the marks of something that must not stay; a clone that was just made may have nothing but its name."""
    if marks.RUN in carried and marks.EXPIRES in carried:
        return dict(carried)
    if marks.IMAGE in carried:
        return {}
    run = where.run if where.run and name.startswith(f"bakery-{where.run}-") else marks.run_of(name)
    return {marks.RUN: run} if run else {}


def _fits(carried: Mapping[str, str], where: Where) -> bool:
    if where.run and carried[marks.RUN] != where.run:
        return False
    return is_older(carried.get(marks.STARTED, ""), where.older_than, undated=False)
