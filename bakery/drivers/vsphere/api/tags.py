"""Tags: found by the names of their categories and their own, made where that is asked for, attached to an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.api.rest import TAKEN, identified
from bakery.errors import PreflightError
from bakery.model import Problem
from bakery.util.suggestions import nearest

CATEGORY, TAG = "/com/vmware/cis/tagging/category", "/com/vmware/cis/tagging/tag"
ASSOCIATION = "/com/vmware/cis/tagging/tag-association"
MOST: Final = 20
"""Names that an error lists."""


@dataclass
class TagCatalogue:
    """The categories and tags of a vCenter, each list read when it is first needed.

    Args:
        center: where.
    """

    center: VCenter
    _categories: dict[str, str] = field(default_factory=dict[str, str])
    _tags: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def categories(self) -> dict[str, str]:
        """Return the ids of the categories by their names."""
        if not self._categories:
            self._categories = self._named(CATEGORY, self.center.rest("list the categories", "GET", CATEGORY))
        return self._categories

    def tags(self, category: str) -> dict[str, str]:
        """Return the ids of the tags of a category, by their names; none where there is no such category."""
        own = self.categories().get(category)
        if own is not None and category not in self._tags:
            what, path = f"list the tags of {category}", identified(TAG, own)
            ids = self.center.rest(what, "POST", path, params={"~action": "list-tags-for-category"})
            self._tags[category] = self._named(TAG, ids)
        return self._tags.get(category, {})

    def forget(self) -> None:
        """Read all of it anew when it is needed next."""
        self._categories, self._tags = {}, {}

    def _named(self, path: str, ids: Any) -> dict[str, str]:
        known: dict[str, str] = {}
        for own in ids or ():
            data = self.center.rest(f"describe {own}", "GET", identified(path, str(own))) or {}
            known[str(data.get("name", ""))] = str(own)
        return known


def split(text: str) -> tuple[str, str]:
    """Return category and name of `category:name`; the name may have colons in it."""
    category, _, name = text.partition(":")
    return category, name


def problems(center: VCenter, wanted: Sequence[str], *, make: bool) -> Iterator[Problem]:
    """Yield a problem for each tag that is not there.

    Args:
        center: where.
        wanted: as `category:name`.
        make: it is made then, which is said.
    """
    catalogue = TagCatalogue(center)
    for text in wanted:
        category, name = split(text)
        known = catalogue.tags(category)
        if name in known:
            continue
        if make:
            yield Problem(what=f"the tag {text} is not there and will be made", fatal=False)
            continue
        there = sorted(known) if category in catalogue.categories() else sorted(catalogue.categories())
        kind = "tags" if category in catalogue.categories() else "categories"
        near = nearest(name if kind == "tags" else category, there)
        yield Problem(
            what=f"there is no tag {text!r}",
            why=f"there are the {kind} {', '.join(there[:MOST])}" if there else f"there are no {kind}",
            hint=f"did you mean {near!r}?" if near else "make it in vCenter, or let bakery do so: make_tags=True",
        )


def attach(center: VCenter, machine: Any, wanted: Sequence[str], *, make: bool) -> None:
    """Attach tags to a machine or template; one that is attached already stays so.

    Args:
        center: where.
        machine: pyvmomi's reference to it.
        wanted: as `category:name`.
        make: make those that are missing.

    Raises:
        PreflightError: one is not there any more.
        VSphereError: refused.
    """
    catalogue = TagCatalogue(center)
    thing = {"object_id": {"type": "VirtualMachine", "id": moid(machine)}}
    for text in wanted:
        own = _made(catalogue, *split(text)) if make else catalogue.tags(split(text)[0]).get(split(text)[1])
        if own is None:
            raise PreflightError(f"there is no tag {text!r} any more")
        params = {"~action": "attach"}
        center.rest(f"attach the tag {text}", "POST", identified(ASSOCIATION, own), thing, params=params)


def _made(catalogue: TagCatalogue, category: str, name: str) -> str:
    """Return a tag's id, made where it is missing, with its category."""
    if (own := catalogue.tags(category).get(name)) is not None:
        return own
    if (above := catalogue.categories().get(category)) is None:
        # An empty list of types is all types.
        spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": list[str]()}
        above = _create(catalogue, f"make the category {category}", CATEGORY, spec)
        if above is None:
            return _made(catalogue, category, name)
    spec = {"name": name, "description": "", "category_id": above}
    made = _create(catalogue, f"make the tag {category}:{name}", TAG, spec)
    return made if made is not None else _made(catalogue, category, name)


def _create(catalogue: TagCatalogue, what: str, path: str, spec: dict[str, Any]) -> str | None:
    """Make a category or a tag; None where another build, or we with an answer that was lost, was quicker."""
    try:
        made = str(catalogue.center.rest(what, "POST", path, {"create_spec": spec}))
    except VSphereError as error:
        if fault_of(error) != TAKEN:
            raise
        catalogue.forget()
        return None
    catalogue.forget()
    return made
