"""Step keys are what caches on disk are found by: these values never change, or every cache of every user is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery.build import step_keys
from bakery.build.context import BuildOptions
from bakery.build.job import Jobs
from bakery.cache.inputs.code import Code, Follower
from bakery.cache.inputs.tracer import Tracer
from bakery.imagefile import loader
from bakery.imagefile.marks import name_of
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings
from bakery.state.project import State

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    release: str = "bookworm"
    packages: list[str] = bakery.var(default=["nginx"])

@bakery.source
def box() -> Folder:
    return Folder(cloud="/clouds/one")

@bakery.task
def plain(m): ...

@bakery.task(retries=2, timeout=60, max_age="7d", checkpoint=True, only=[box])
def steered(m, v): ...

@bakery.task(user="app", cache=True)
def as_app(m, v): ...

@bakery.task(user="root")
def as_root(m): ...

@bakery.task(cache=False)
def always(m): ...

@bakery.test
def answers(host): ...

@bakery.image(matrix={"release": ["bookworm", "trixie"]})
def web(v):
    return f"web-{v.release}"

@bakery.image(seal=bakery.Seal(logs=False), tasks=[plain], tests=[])
def bare(): ...
"""


@pytest.fixture(autouse=True)
def code_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function's code be its name: what code is digested to depends on Python's version."""

    def follow(_self: Follower, function: Callable[..., Any], _variables: object = None) -> Code:
        return Code(items={name_of(function): "code"}, shown={})

    monkeypatch.setattr(Follower, "follow", follow)


def keys(folder: Path, name: str) -> list[str | None]:
    """The keys of a build: the base's, one after each task that can have one, the image's."""
    (folder / "imagefile.py").write_text(IMAGEFILE, encoding="utf-8")
    recipe = loader.load(folder / "imagefile.py")
    job, state = Jobs(plan(recipe, Settings()), recipe, Settings())[name], State(folder / ".bakery", folder / "cache")
    found = step_keys.look_up_steps(job, "debian", options=BuildOptions(), state=state)
    known = [key := found.parent]
    for task in job.tasks:
        if task.step.name == "always":
            continue
        tracer = Tracer(folder, before=found.steps.code(task.function, job.variables))
        tracer.read = {("variable", "release"): None, ("variable", "packages"): None}
        assert key is not None
        known.append(key := found.steps.record(key, task.function, task.options, tracer, job.variables).key)
    again = step_keys.look_up_steps(job, "debian", options=BuildOptions(), state=state)
    assert again.keys == known  # what was written is found under them
    return [*known, step_keys.image_key(job, known[-1] or "")]


def test_the_keys_of_a_build_are_what_they_have_always_been(tmp_path: Path) -> None:
    assert keys(tmp_path, "web[release=bookworm]@box") == [
        "base-f3117c001e8fd87b137de383642673b34096f744",
        "s1-9ce9a9cc2f1bf3b1724dcf76461aacf6657e0f97",
        "s1-06ff1e1961d6f8a980334c87082a5fbd1b4d81c0",
        "s1-145d1f1555c5a84aba8e44087a539dbfd4a0e5fe",
        "s1-edfd4528fa4d555c129b7f05eadb9a8a8f61ed3e",
        "i1-844adfc1a4d1370a92cb61269f2cd7acfb24bb81",
    ]


def test_the_keys_of_an_image_that_is_sealed_otherwise(tmp_path: Path) -> None:
    assert keys(tmp_path, "bare@box") == [
        "base-f3117c001e8fd87b137de383642673b34096f744",
        "s1-9ce9a9cc2f1bf3b1724dcf76461aacf6657e0f97",
        "i1-02394cbe0fadcb606d16dda6c1e09a090d169726",
    ]
