"""Which build stands on which, where an image is published: pure data."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from bakery.build.outputs import check_outputs
from bakery.errors import ImagefileError, UsageError
from bakery.imagefile import loader
from bakery.imagefile.builds import ImageRef, Plan
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.variables import Settings
from bakery.model import to_json

HEAD = """
import bakery
from bakery.drivers import Debian, Ec2, Nspawn, Qemu

@bakery.variables
class Vars:
    release: str = "bookworm"

@bakery.source
def laptop(v) -> Qemu:
    return Qemu(base=Debian(v.release))

@bakery.source
def box(v) -> Nspawn:
    return Nspawn(base=Debian(v.release))

@bakery.source
def far() -> Ec2:
    return Ec2(base="ami-1")

@bakery.task
def nginx(m): ...

@bakery.test
def works(host): ...
"""
TWO = """
@bakery.source
def aws(v) -> bakery.publish.Ec2:
    return bakery.publish.Ec2(tags={"release": v.release})

@bakery.test(only=[aws])
def works_there(host): ...

@bakery.image(sources=[laptop, far, aws], matrix={"release": ["bookworm", "trixie"]})
def web(v):
    return f"web-{v.release}"
"""


def planned(folder: Path, text: str, select: Selection | None = None) -> Plan:
    file = folder / "imagefile.py"
    file.write_text(HEAD + textwrap.dedent(text), encoding="utf-8")
    return plan(loader.load(file), Settings(), select)


def test_an_image_made_here_is_published_from_the_build_of_the_same_values(tmp_path: Path) -> None:
    made = planned(tmp_path, TWO)
    builds = [build for build in made.builds if build.publishes]
    assert [(build.name, build.after) for build in builds] == [
        ("web[release=bookworm]@aws", ("web[release=bookworm]@laptop",)),
        ("web[release=trixie]@aws", ("web[release=trixie]@laptop",)),
    ]
    assert builds[0].boot.base == ImageRef(build="web[release=bookworm]@laptop")
    assert builds[0].driver == "ec2"
    assert builds[0].steps == ()
    assert [test.name for test in builds[0].tests] == ["works", "works_there"]
    assert [test.name for test in made.build("web[release=trixie]@laptop").tests] == ["works"]
    assert json.dumps(to_json(made))


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (Selection(images=("web-trixie",), only=("aws",)), ["web[release=trixie]@laptop", "web[release=trixie]@aws"]),
        (Selection(images=("web-trixie",), only=("laptop",)), ["web[release=trixie]@laptop"]),
        (Selection(images=("web-trixie",), exclude=("aws", "far")), ["web[release=trixie]@laptop"]),
    ],
)
def test_what_is_published_is_made_first_and_alone_on_request(
    tmp_path: Path, select: Selection, names: list[str]
) -> None:
    assert [build.name for build in planned(tmp_path, TWO, select).builds] == names


NAMED = """
@bakery.source
def aws() -> bakery.publish.Ec2:
    return bakery.publish.Ec2({arguments})

@bakery.image(sources=[{sources}])
def web(): ...

@bakery.image(sources=[box])
def other(): ...

@bakery.source
def on_other() -> bakery.publish.Ec2:
    return bakery.publish.Ec2(base=other)

@bakery.image(sources=[on_other])
def other_there(): ...
"""


def test_the_source_to_publish_can_be_named_and_so_can_another_image(tmp_path: Path) -> None:
    made = planned(tmp_path, NAMED.format(arguments="base=box", sources="laptop, box, aws"))
    assert made.build("web@aws").after == ("web@box",)
    assert made.build("other_there@on_other").after == ("other@box",)


@pytest.mark.parametrize(
    ("arguments", "sources", "said", "hint"),
    [
        ("", "laptop, box, aws", "aws can publish what laptop or box makes", "say which: base=laptop"),
        ("", "far, aws", "aws has no image to publish: none of image web is made with nspawn or qemu", "on this host"),
        ("base=far", "laptop, far, aws", "aws has no image to publish", "on this host"),
        ("base=box", "laptop, aws", "aws publishes what box makes, which is no source of image web", "[box, aws]"),
        ("base=works", "laptop, aws", "the base of aws is a test, not an image", ""),
        ("base=aws", "laptop, aws", "aws has no image to publish", "on this host"),
    ],
)
def test_mistakes_are_said_before_anything_is_made(
    tmp_path: Path, arguments: str, sources: str, said: str, hint: str
) -> None:
    with pytest.raises(ImagefileError) as raised:
        planned(tmp_path, NAMED.format(arguments=arguments, sources=sources))
    assert said in raised.value.what
    assert hint in raised.value.hint
    assert raised.value.where is not None


def test_a_task_that_is_only_for_a_published_image_would_never_run(tmp_path: Path) -> None:
    text = TWO.replace("@bakery.test(only=[aws])\ndef works_there(host)", "@bakery.task(only=[aws])\ndef there(m)")
    with pytest.raises(ImagefileError, match="task there is only for aws, where an image is published") as raised:
        planned(tmp_path, text)
    assert raised.value.where is not None


def test_the_file_that_is_asked_for_is_the_one_made_here(tmp_path: Path) -> None:
    chosen = Selection(images=("web-trixie",), only=("aws",))
    check_outputs(planned(tmp_path, TWO, chosen), tmp_path / "web.qcow2")
    with pytest.raises(UsageError, match="2 images would be built"):
        check_outputs(planned(tmp_path, TWO, Selection(images=("web-trixie",))), tmp_path / "web.qcow2")


SEVERAL = """
from bakery.drivers import Disk
import bakery.publish

@bakery.source
def wide() -> Qemu:
    return Qemu(base=Debian("bookworm"), disks=[Disk("1G")])

@bakery.image(sources=[wide])
def golden(): ...

@bakery.source
def on_golden() -> Qemu:
    return Qemu(base=golden)

@bakery.image(sources=[on_golden])
def app(): ...

@bakery.source
def there():
    return {source}

@bakery.image(sources=[there])
def last(): ...
"""


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("Qemu(base=app)", ""),
        (
            "Nspawn(base=golden)",
            "last@there builds on golden@wide, an image of several disks, and Nspawn takes the first",
        ),
        ("Nspawn(base=app)", "last@there builds on app@on_golden, an image of several disks"),
        (
            "bakery.publish.Ec2(base=app)",
            "last@there publishes app@on_golden, an image of several disks, and Ec2 takes",
        ),
    ],
)
def test_an_image_of_several_disks_goes_only_where_all_of_them_arrive(
    tmp_path: Path, source: str, refused: str
) -> None:
    text = SEVERAL.format(source=source)
    if not refused:
        assert planned(tmp_path, text).build("last@there").after == ("app@on_golden",)
        return
    with pytest.raises(ImagefileError) as raised:
        planned(tmp_path, text)
    assert raised.value.what.startswith(refused)
    assert raised.value.where is not None
