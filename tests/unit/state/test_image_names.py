"""How a user names a kept image: one rule for `bake ssh`, `test`, `rm`, `rollback`, `mutate` and `screenshot`."""

from __future__ import annotations

import pytest

from bakery.errors import UsageError
from bakery.model import Artifact
from bakery.state.image_names import meant, names_build, short_name
from bakery.state.versions import versioned


def image(build: str, name: str, number: str, version: str = "") -> Artifact:
    made = Artifact(driver="folder", id=number, name=name, build=build)
    return versioned(made, name.removesuffix(f"-{version}"), version) if version else made


ONE = (image("web@laptop", "web", "i-1"), image("web@laptop", "web", "i-2"))
TWO = (*ONE, image("web@far", "web", "i-3"))
MATRIX = (
    image("web[release=a]@laptop", "web-a", "i-1"),
    image("web[release=b]@laptop", "web-b", "i-2"),
    image("web[release=b]@far", "web-b", "i-3"),
)
VERSIONS = (image("web@laptop", "web-1", "i-1", "1"), image("web@far", "web-1", "i-2", "1"))
TWINS = (image("web[release=a]@laptop", "web", "i-1"), image("web[release=b]@laptop", "web", "i-2"))


@pytest.mark.parametrize(
    ("images", "name", "number"),
    [
        (ONE, "web", "i-2"),
        (ONE, "web@laptop", "i-2"),
        (ONE, "i-1", "i-1"),
        (TWO, "web@laptop", "i-2"),
        (TWO, "web@far", "i-3"),
        (TWO, "i-1", "i-1"),
        (MATRIX, "web-a", "i-1"),
        (MATRIX, "web-b@far", "i-3"),
        (MATRIX, "web[release=b]@laptop", "i-2"),
        (MATRIX, "web@far", "i-3"),
        (VERSIONS, "web@far", "i-2"),
        (VERSIONS, "web-1@laptop", "i-1"),
    ],
)
def test_a_name_means_the_newest_image_of_one_build(images: tuple[Artifact, ...], name: str, number: str) -> None:
    assert meant(images, name).id == number


@pytest.mark.parametrize(
    ("images", "name", "choices"),
    [
        (TWO, "web", "web@laptop, web@far"),
        (MATRIX, "web", "web-a, web-b@laptop, web-b@far"),
        (MATRIX, "web@laptop", "web-a, web-b@laptop"),
        (MATRIX, "web-b", "web-b@laptop, web-b@far"),
        (VERSIONS, "web", "web@laptop, web@far"),
        (VERSIONS, "web-1", "web@laptop, web@far"),
        (TWINS, "web", "web[release=a]@laptop, web[release=b]@laptop"),
    ],
)
def test_a_name_of_several_builds_images_is_no_guess(images: tuple[Artifact, ...], name: str, choices: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' means images of") as raised:
        meant(images, name)
    assert raised.value.hint == f"name one of them: {choices}"
    for choice in choices.split(", "):
        assert meant(images, choice)  # what is offered can be said


@pytest.mark.parametrize("name", ["wbe", "far", "web@", "@far", "web@elsewhere", ""])
def test_what_no_image_is_called_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="was built here") as raised:
        meant(TWO, name)
    assert raised.value.hint == "images: web"


def test_the_shortest_name_of_an_image_means_its_build_alone() -> None:
    assert [short_name(ONE, each) for each in ONE] == ["web", "web"]
    assert [short_name(ONE, TWO[-1]), short_name(TWO, ONE[0])] == ["web@far", "web@laptop"]
    assert short_name((), Artifact(driver="folder", id="/disk.qcow2", name="disk")) == "disk"


@pytest.mark.parametrize(
    ("name", "is_named"),
    [("web", True), ("web@laptop", True), ("web[a=1]@laptop", True), ("web-1@laptop", True), ("laptop", False)],
)
def test_a_build_is_named_as_its_image_is(name: str, is_named: bool) -> None:
    assert names_build("web[a=1]@laptop", name, ("web-1",)) is is_named
