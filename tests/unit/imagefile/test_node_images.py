"""Images that are tested beside others: what `nodes=` takes, and what the plan makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.builds import Plan
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.variables import Settings

FILE = """
import bakery
from bakery.drivers import Debian, Qemu
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Qemu:
    return Qemu(base=Debian("bookworm"))

@bakery.source
def far() -> Folder:
    return Folder(cloud="x")

@bakery.task
def nothing(m): ...

@bakery.image(sources=[here])
def db(): ...

@bakery.image(sources=[here, far], nodes=%s)
def web(): ...
"""


def planned(folder: Path, nodes: str, *images: str, more: str = "") -> Plan:
    file = folder / "imagefile.py"
    file.write_text(FILE % nodes + more)
    return plan(loader.load(file), Settings(), Selection(images=images))


def test_what_an_image_is_tested_beside_is_made_before_it(tmp_path: Path) -> None:
    made = planned(tmp_path, "[db]", "web")
    assert [build.name for build in made.builds] == ["db@here", "web@here", "web@far"]
    web = made.build("web@here")
    assert (web.nodes, web.after, web.needed) == ({"db": "db@here"}, (), ("db@here",))


def test_machines_may_have_names_of_their_own(tmp_path: Path) -> None:
    made = planned(tmp_path, '{"primary": db, "replica-1": db}')
    assert made.build("web@here").nodes == {"primary": "db@here", "replica-1": "db@here"}
    assert made.build("web@here").needed == ("db@here",)


def test_a_provider_without_private_networks_tests_an_image_alone(tmp_path: Path) -> None:
    assert planned(tmp_path, "[db]").build("web@far").nodes == {}


@pytest.mark.parametrize(
    ("nodes", "what"),
    [
        ('["db"]', "nodes= of image web holds 'db', which is no image"),
        ("[nothing]", "nodes= of image web holds nothing, which is no image"),
        ("db", "nodes= of image web is "),
        ('{"a b": db}', "nodes= of image web has the name 'a b'"),
        ('{"-a": db}', "nodes= of image web has the name '-a'"),
        ("[db, db]", "two machines of image web have one name: db"),
        ('{"web": db}', "two machines of image web have one name: web"),
    ],
)
def test_what_no_machine_can_be_made_of_is_refused(tmp_path: Path, nodes: str, what: str) -> None:
    with pytest.raises(ImagefileError) as raised:
        planned(tmp_path, nodes)
    assert raised.value.what.startswith(what)
    assert raised.value.where is not None


def test_images_that_are_tested_beside_each_other_are_a_ring(tmp_path: Path) -> None:
    ring = "\n@bakery.image(sources=[here], nodes={'b': db})\ndef other(): ...\n"
    assert planned(tmp_path, "[db]", more=ring).build("other@here").nodes == {"b": "db@here"}
    ring = (
        "@bakery.source\ndef on_web() -> Qemu:\n    return Qemu(base=web)\n\n@bakery.image(sources=[on_web])\ndef db()"
    )
    (tmp_path / "imagefile.py").write_text((FILE % "[db]").replace("@bakery.image(sources=[here])\ndef db()", ring))
    with pytest.raises(ImagefileError, match="need each other in a ring: db@on_web -> web@here -> db@on_web"):
        plan(loader.load(tmp_path / "imagefile.py"), Settings())
