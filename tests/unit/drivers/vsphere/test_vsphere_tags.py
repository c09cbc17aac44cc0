"""Tags are found by their names, made where that is asked for, and attached to the image that is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.api import tags
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError, PreflightError
from bakery.state.claim import Claim
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.rest_in_memory import RestInMemory, refused

VIM: Any = vim


class TagsInMemory(RestInMemory):
    """Tags by category and name, and to what each is attached."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, dict[str, str]] = {}
        self.attached: list[tuple[str, str]] = []
        self.answers |= {f"POST {tags.CATEGORY}": self._category, f"POST {tags.TAG}": self._tag}
        self.renew()

    def add(self, category: str, *names: str) -> None:
        """Add a category with tags."""
        known = self.there.setdefault(category, {})
        known |= {name: f"t:{category}:{name}" for name in names}
        self.renew()

    def renew(self) -> None:
        """Answer with what there is."""
        self.answers[f"GET {tags.CATEGORY}"] = [f"c:{name}" for name in self.there]
        for category, known in self.there.items():
            self.answers[f"GET {tags.CATEGORY}/id:c:{category}"] = {"name": category}
            listing = f"POST {tags.TAG}/id:c:{category}?~action=list-tags-for-category"
            self.answers[listing] = list(known.values())
            for name, own in known.items():
                self.answers[f"GET {tags.TAG}/id:{own}"] = {"name": name}
                self.answers[f"POST {tags.ASSOCIATION}/id:{own}?~action=attach"] = self._attach(own)

    def _attach(self, own: str) -> Any:
        return lambda body: self.attached.append((own, body["object_id"]["id"]))

    def _category(self, body: Any) -> str:
        self.add(body["create_spec"]["name"])
        return f"c:{body['create_spec']['name']}"

    def _tag(self, body: Any) -> str:
        category, name = body["create_spec"]["category_id"].removeprefix("c:"), body["create_spec"]["name"]
        self.add(category, name)
        return self.there[category][name]


@pytest.fixture
def server(rest: RestInMemory) -> TagsInMemory:
    """The other API of the vCenter in memory, with tags in it."""
    server = TagsInMemory()
    server.add("environment", "production", "test")
    rest.answers = server.answers
    return server


def source(**options: Any) -> VSphere:
    return VSphere(base="debian", cluster="C0", **options)


def kept(driver: VSphereDriver, claim: Claim, **options: Any) -> Any:
    handle = driver.launch(source(**options), claim)
    artifact = driver.capture(handle, "web", replace(claim, role="image", name=f"{claim.name}-image"))
    return driver.keep(artifact, "web", replace(claim, role="keep", name=f"{claim.name}-keep"))


@pytest.mark.parametrize("text", ["production", ":production", "environment:", " : "])
def test_a_tag_has_a_category(text: str) -> None:
    with pytest.raises(ImagefileError, match="a tag has a category"):
        source(tags=text)


def test_tags_are_attached_to_the_image(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    del api
    wanted = source(tags=("environment:production",))
    assert list(driver.check(wanted)) == []
    image = kept(driver, claim, tags=("environment:production",))
    assert server.attached == [("t:environment:production", image.id)]


@pytest.mark.parametrize(
    ("tag", "why", "hint"),
    [
        ("environment:prodution", "there are the tags production, test", "did you mean 'production'?"),
        ("enviroment:production", "there are the categories environment", "did you mean 'environment'?"),
        ("team:web", "there are the categories environment", "make_tags=True"),
    ],
)
def test_a_tag_that_is_not_there_is_said_with_what_is(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver, tag: str, why: str, hint: str
) -> None:
    del api, server
    (problem,) = driver.check(source(tags=tag))
    assert (problem.what, problem.why, problem.fatal) == (f"there is no tag {tag!r}", why, True)
    assert hint in problem.hint


def test_a_vcenter_without_tags_is_said_to_have_none(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver
) -> None:
    del api
    server.there.clear()
    server.renew()
    (problem,) = driver.check(source(tags="team:web"))
    assert problem.why == "there are no categories"


def test_tags_are_made_where_that_is_asked_for(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    del api
    wanted = ("team:web", "team:db", "environment:stage:2", "environment:test")
    said = [problem.what for problem in driver.check(source(tags=wanted, make_tags=True)) if not problem.fatal]
    assert said == [f"the tag {tag} is not there and will be made" for tag in wanted[:3]]
    kept(driver, claim, tags=wanted, make_tags=True)
    assert {category: set(known) for category, known in server.there.items()} == {
        "environment": {"production", "test", "stage:2"},
        "team": {"web", "db"},
    }
    assert [own for own, _ in server.attached] == [f"t:{tag}" for tag in wanted]


def test_a_tag_that_went_meanwhile_is_an_error(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    del api, server
    with pytest.raises(PreflightError, match="there is no tag 'environment:none' any more"):
        kept(driver, claim, tags="environment:none")


@pytest.mark.parametrize("path", [tags.CATEGORY, tags.TAG])
def test_what_another_build_made_meanwhile_is_taken(
    api: InMemory, server: TagsInMemory, driver: VSphereDriver, path: str
) -> None:
    make = server.answers[f"POST {path}"]

    def taken(body: Any) -> Any:
        make(body)
        return refused("already_exists", "another was quicker")

    server.answers[f"POST {path}"] = taken
    center = driver.centers.of_source(source())
    tags.attach(center, api.machine("web"), ["team:web"], make=True)
    assert [own for own, _ in server.attached] == ["t:team:web"]


def test_a_refusal_is_the_error(api: InMemory, server: TagsInMemory, driver: VSphereDriver) -> None:
    server.answers[f"POST {tags.CATEGORY}"] = refused("unauthorized", "not yours", status=403)
    center = driver.centers.of_source(source())
    with pytest.raises(Exception, match="vSphere did not make the category team"):
        tags.attach(center, api.machine("web"), ["team:web"], make=True)
