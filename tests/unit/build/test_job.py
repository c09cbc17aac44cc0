"""A build is bound once: its variables are resolved once, and its functions found once, however many ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.build.context import BuildOptions
from bakery.build.explain import explain
from bakery.build.job import Job, Jobs
from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.builds import Plan
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.task_options import TaskOptions
from bakery.imagefile.variables import Settings
from bakery.redaction.secret import Secret
from bakery.state.project import State

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

made = []

def number() -> int:
    made.append(1)
    return len(made)

@bakery.variables
class Vars:
    release: int = 0
    serial: int = bakery.var(default_factory=number)
    packages: list[str] = bakery.var(default=["nginx"])
    password: bakery.Secret = bakery.secret(env="WEB_PASSWORD")

@bakery.source
def box(v) -> Folder:
    v.packages.append("changed by a source")
    return Folder(cloud="/clouds/one")

@bakery.source
def other() -> Folder:
    return Folder(cloud="/clouds/two")

@bakery.task
def base(m): ...

@bakery.task(user="app", retries=2)
def nginx(m, v): ...

@bakery.task(only=[other])
def last(m): ...

@bakery.test
def answers(host): ...

@bakery.post
def tell(artifact): ...

@bakery.image(matrix={"release": [*range(20)]}, strict_host=False)
def web(v):
    return f"web-{v.release}-{v.serial}"
"""

Bind = Callable[..., Jobs]


@pytest.fixture
def bind(tmp_path: Path) -> Bind:
    def write_and_bind(text: str = IMAGEFILE, select: Selection | None = None, **environ: str) -> Jobs:
        (tmp_path / "imagefile.py").write_text(text, encoding="utf-8")
        recipe = loader.load(tmp_path / "imagefile.py")
        settings = Settings(environ=environ)
        return Jobs(plan(recipe, settings, select), recipe, settings)

    return write_and_bind


def first(jobs: Jobs) -> Job:
    return jobs[jobs.plan.builds[0].name]


def test_variables_are_resolved_once_for_each_build_however_many_ask(bind: Bind, tmp_path: Path) -> None:
    """40 builds took 1 600 resolutions for each question about all of them, 9 600 for a run."""
    jobs = bind()
    assert len(jobs.plan.builds) == 40
    for _ in range(2):
        assert all(jobs[build.name] is jobs[build.name] for build in jobs.plan.builds)
        assert len(list(explain(jobs, BuildOptions(), State(tmp_path / ".bakery", tmp_path / "cache")))) == 40
    assert len(jobs.recipe.module.made) == 1 + 20  # when the imagefile was checked; a cell that two sources share


def test_a_run_has_the_values_that_its_plan_shows(bind: Bind) -> None:
    jobs = bind()
    for build in jobs.plan.builds:
        shown = {value.name: value.value for value in build.variables}
        assert jobs[build.name].variables.serial == shown["serial"]
        assert build.image == f"web-{shown['release']}-{shown['serial']}"


def test_whoever_changes_a_list_among_the_values_changes_it_for_nobody_else(bind: Bind) -> None:
    jobs = bind()
    job = first(jobs)
    own = job.own_variables()
    own.packages.append("changed by a task")
    assert own.serial == job.variables.serial
    assert {tuple(jobs[build.name].variables.packages) for build in jobs.plan.builds} == {("nginx",)}


def test_a_plan_that_was_made_by_hand_is_bound_as_well_and_its_cells_are_resolved_once(bind: Bind) -> None:
    jobs = bind()
    by_hand = Jobs(Plan(builds=jobs.plan.builds), jobs.recipe, jobs.settings)
    for build in jobs.plan.builds:
        assert by_hand[build.name].variables.release == build.axes["release"]
    assert len(jobs.recipe.module.made) == 1 + 20 + 20  # once when the imagefile was checked


def test_variables_are_no_part_of_the_plan_s_data(bind: Bind) -> None:
    planned = bind().plan
    assert "variables" not in planned.to_json()  # type: ignore[operator]  # an object
    assert planned == replace(planned, variables={})
    assert "Vars(" not in repr(planned)


def test_functions_and_options_are_bound_with_their_types(bind: Bind) -> None:
    jobs = bind()
    module = jobs.recipe.module
    job = jobs["web[release=3]@other"]
    assert [task.function for task in job.tasks] == [module.base, module.nginx, module.last]
    assert [task.step.name for task in first(jobs).tasks] == ["base", "nginx"]
    assert job.tasks[1].options == TaskOptions(user="app", retries=2)
    assert job.task(job.build.steps[2]).function is module.last
    assert [test.function for test in job.tests] == [module.answers]
    assert [step.function for step in job.post] == [module.tell]
    assert (job.options.strict_host, job.options.builtin_tests, job.options.seal) == (False, True, None)


def test_secrets_are_those_that_were_given_and_those_that_are_missing(bind: Bind) -> None:
    job = first(bind())
    assert job.secrets == {}
    assert "WEB_PASSWORD" in job.missing_secrets["password"].hint
    job = first(bind(WEB_PASSWORD="hunter22"))
    assert isinstance(job.secrets["password"], Secret)
    assert job.missing_secrets == {}


# ---- an imagefile that is mended while a run goes on -----------------------------------------------------------------


def mended(jobs: Jobs, old: str, new: str) -> None:
    text = jobs.recipe.file.read_text(encoding="utf-8")
    assert old in text
    jobs.recipe.file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_mended_task_is_bound_anew_and_what_has_run_stays(bind: Bind) -> None:
    jobs = bind()
    before = jobs["web[release=3]@other"]
    mended(jobs, "@bakery.task(user", "@bakery.task\ndef more(m): ...\n\n@bakery.task(user")
    mended(jobs, "def base(m)", "def renamed(m)")  # it has run: nobody looks for it any more
    after = jobs.reload(before, before.build.steps[1])
    assert after.tasks[0] is before.tasks[0]
    assert after.task(after.build.steps[1]).function is jobs.recipe.module.nginx
    assert after.task(after.build.steps[1]).function is not before.tasks[1].function
    assert after.variables.release == 3


def test_other_builds_get_what_was_mended_before_their_next_task(bind: Bind) -> None:
    jobs = bind()
    one, two = jobs["web[release=3]@other"], jobs["web[release=4]@other"]
    assert jobs.latest(two, two.build.steps[1]) is two
    jobs.reload(one, one.build.steps[1])
    after = jobs.latest(two, two.build.steps[1])
    assert after.tasks[0] is two.tasks[0]
    assert after.tasks[1].function is jobs.recipe.module.nginx
    assert jobs["web[release=5]@other"].recipe is jobs.recipe


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def nginx", "def apache", "no task nginx any more"),
        ("def web", "def site", "no longer has the build"),
        ("range(20)", "range(3)", "no longer has the build"),
        ("def nginx(m, v)", "def nginx(m, v", "imagefile"),
    ],
)
def test_a_slip_in_a_mended_imagefile_leaves_everything_as_it_was(bind: Bind, old: str, new: str, words: str) -> None:
    jobs = bind()
    job, recipe = jobs["web[release=3]@other"], jobs.recipe
    mended(jobs, old, new)
    with pytest.raises(ImagefileError, match=words):
        jobs.reload(job, job.build.steps[1])
    assert jobs.recipe is recipe
    assert jobs["web[release=3]@other"] is job
