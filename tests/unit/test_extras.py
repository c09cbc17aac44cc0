"""`pip install 'imagebakery[all]'`: every extra, and nothing else."""

from __future__ import annotations

from importlib.metadata import metadata, requires

from packaging.requirements import Requirement


def needed_by(extra: str) -> set[str]:
    """Return the packages that an extra brings, those of the extras that it names included."""
    found: set[str] = set()
    for text in requires("imagebakery") or []:
        one = Requirement(text)
        if one.marker is None or not one.marker.evaluate({"extra": extra}) or one.marker.evaluate({"extra": ""}):
            continue
        if one.name == "imagebakery":
            found.update(name for inner in one.extras for name in needed_by(inner))
        else:
            found.add(one.name)
    return found


def test_all_brings_what_every_other_extra_brings() -> None:
    extras = set(metadata("imagebakery").get_all("Provides-Extra") or ())
    others = extras - {"all"}
    assert {"ansible", "aws", "openstack"} <= others
    assert needed_by("all") == {name for extra in others for name in needed_by(extra)}
