"""One run over several builds, on a provider in memory: the look before the start, what stops what, the account."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.errors import (
    BakeryError,
    CleanupError,
    DriverError,
    ImagefileError,
    Interrupted,
    PostError,
    PreflightError,
    TaskError,
    UsageError,
)
from bakery.events import BuildEnded, Failed, Notice, RunEnded, Waiting
from bakery.model import Problem

from .memory import HEAD, Project, left_in, project

__all__ = ["project"]

LINE = 1 + HEAD.splitlines().index("@bakery.source")
"""Where the source `here` stands, by its decorator."""
IMAGES = """
@bakery.task
def works(m): ...

@bakery.task
def fails(m):
    m.run("true")

@bakery.image(sources=[here], tasks=[works, fails], tests=[], builtin_tests=False, hygiene=False)
def base(): ...

@bakery.source
def on_base() -> Memory:
    return Memory(base=base)

@bakery.image(sources=[on_base], tasks=[works], tests=[], builtin_tests=False, hygiene=False)
def stands_on_it(): ...

@bakery.image(sources=[here], tasks=[works], tests=[], builtin_tests=False, hygiene=False)
def alone(): ...
"""


@pytest.fixture
def images(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    project.write(IMAGES)
    return project


def ended(project: Project) -> dict[str, str]:
    return {event.build: event.outcome for event in project.of(BuildEnded)}


def test_what_others_stand_on_is_made_first_and_handed_to_them(images: Project) -> None:
    outcome = images.build()
    assert outcome.exit_code == 0
    assert ended(images) == {"base@here": "ok", "stands_on_it@on_base": "ok", "alone@here": "ok"}
    base = outcome.artifacts["base@here"]
    assert f"launch build from {base.id}" in images.driver.verbs("launch")
    assert list(outcome.artifacts) == ["base@here", "stands_on_it@on_base", "alone@here"]


def test_a_failed_build_stops_only_what_stands_on_it(images: Project) -> None:
    images.box.answer("true", 1)
    outcome = images.build()
    assert outcome.exit_code == TaskError.exit_code
    assert ended(images) == {"base@here": "failed", "stands_on_it@on_base": "skipped", "alone@here": "ok"}
    assert outcome.errors["stands_on_it@on_base"].what == "not built, because base@here failed"
    assert list(outcome.artifacts) == ["alone@here"]


def test_a_second_run_makes_nothing(images: Project) -> None:
    images.build()
    images.driver.asked.clear()
    images.events.clear()
    images.driver.problems = [Problem(what="no credentials")]  # nobody needs any
    assert images.build().exit_code == 0
    assert set(ended(images).values()) == {"cached"}
    assert images.driver.asked == []


def test_all_problems_are_told_before_anything_is_made(images: Project) -> None:
    images.driver.problems = [Problem(what="no credentials", hint="log in"), Problem(what="odd", fatal=False)]
    outcome = images.build()
    error = outcome.errors[""]
    assert outcome.exit_code == PreflightError.exit_code
    assert error.what == "2 problems before the start"
    assert [line.split(" (")[0] for line in error.why.splitlines()] == ["base@here", "alone@here"]
    for line in error.why.splitlines():  # with the line of the source, which says whose credentials
        assert line.endswith(f"imagefile.py:{LINE}): no credentials; log in")
    assert images.notices == ["odd"]
    assert images.driver.verbs("launch") == []
    assert images.state.images() == []


def test_one_problem_is_told_as_it_is(images: Project) -> None:
    images.driver.problems = [Problem(what="no credentials", why="no file", hint="log in")]
    error = images.build("alone").errors[""]
    assert (error.what, error.why, error.hint) == ("no credentials", "no file", "log in")
    assert str(error.where).endswith(f"imagefile.py:{LINE}")


@pytest.mark.parametrize("kind", [DriverError, PreflightError])
def test_what_a_driver_refuses_of_a_source_has_the_sources_line(images: Project, kind: type[BakeryError]) -> None:
    images.driver.raises["launch"] = [kind("there is no flavor m1.tiny")]
    error = images.build("alone").errors["alone@here"]
    assert str(error.where).endswith(f"imagefile.py:{LINE}")


def test_a_cancelled_build_has_no_line_of_the_source(images: Project) -> None:
    images.driver.raises["launch"] = [Interrupted("interrupted")]
    assert images.build("alone").errors["alone@here"].where is None


def test_a_build_that_takes_more_than_there_is_would_wait_for_ever(images: Project) -> None:
    images.write(IMAGES.replace("@bakery.source\ndef on", '@bakery.source(labels=["gpu:2"])\ndef on'))
    error = images.build(limits={"gpu": 1}).errors[""]
    assert error.what == "it takes 2 of gpu, and the limit is 1"


def test_builds_that_need_the_same_thing_wait_for_each_other_and_say_so(images: Project) -> None:
    images.write(IMAGES, head=HEAD.replace("@bakery.source", '@bakery.source(labels=["licence"])'))
    assert images.build("alone", "base", limits={"licence": 1}, jobs=None).exit_code == 0
    waits = [event for event in images.of(Waiting) if not event.what.startswith("destroying")]
    assert [event.build for event in waits] == ["alone@here"]


def test_every_missing_secret_is_named_at_once(images: Project) -> None:
    secrets = "".join(f'    {name}: bakery.Secret = bakery.secret(env="{name.upper()}")\n' for name in ("one", "two"))
    images.write(f"@bakery.variables\nclass Vars:\n{secrets}{IMAGES}")
    outcome = images.build("alone")
    assert outcome.exit_code == ImagefileError.exit_code
    assert outcome.errors[""].what == "the secret one is missing"
    assert outcome.errors[""].why == "the secret two is missing"
    assert images.build("alone", environ={"ONE": "first secret", "TWO": "second secret"}).exit_code == 0


def test_a_value_that_its_factory_makes_anew_is_the_same_wherever_a_run_shows_it(images: Project) -> None:
    images.write("""
import itertools
numbers = itertools.count()
seen = []

@bakery.variables
class Vars:
    serial: int = bakery.var(default_factory=lambda: next(numbers))
    release: int = 0

@bakery.task
def looks(m, v):
    seen.append((v.release, v.serial))

@bakery.post
def tells(a, v):
    seen.append((v.release, v.serial))

@bakery.image(matrix={"release": [0, 1, 2]}, builtin_tests=False, hygiene=False)
def web(v):
    return f"web-{v.release}-{v.serial}"
""")
    outcome = images.build()
    assert [image.name for image in outcome.artifacts.values()] == ["web-0-1", "web-1-2", "web-2-3"]


def test_a_defect_is_reported_as_ours_with_its_traceback_on_disk(images: Project) -> None:
    images.driver.raises["launch"] = [ZeroDivisionError("ours")]
    outcome = images.build("alone")
    assert outcome.exit_code == 1
    (failed,) = images.of(Failed)
    assert failed.what == "bakery has a defect: ZeroDivisionError: ours"
    assert "ZeroDivisionError" in (outcome.run.path / "crash.txt").read_text()


def test_what_is_left_behind_is_worth_more_than_any_other_exit_code(images: Project) -> None:
    images.driver.raises["destroy"] = [DriverError("busy")] * 9
    images.box.answer("true", 1)
    outcome = images.build("base")
    assert outcome.exit_code == CleanupError.exit_code
    assert left_in(outcome.run) == ["machine"]
    assert images.of(RunEnded)[0].exit_code == outcome.exit_code


def test_a_run_that_is_over_its_deadline_begins_nothing_more(images: Project) -> None:
    outcome = images.build(deadline=1e-9)
    assert (outcome.exit_code, outcome.artifacts) == (Interrupted.exit_code, {})
    assert images.driver.verbs("launch") == []


def test_a_run_that_does_not_exist_is_not_continued(images: Project) -> None:
    outcome = images.build(resume="nothing")
    assert outcome.exit_code == UsageError.exit_code
    assert images.driver.verbs("launch") == []


def test_how_a_run_ended_is_written_beside_its_journal(images: Project) -> None:
    outcome = images.build("alone")
    about = outcome.run.about()
    assert (about["builds"], about["exit_code"]) == (["alone@here"], 0)
    assert about["imagefile"] == str(images.folder / "imagefile.py")


def test_what_is_odd_about_the_host_is_said_once_for_all_builds(images: Project) -> None:
    images.driver.problems = [Problem(what="emulated", why="no /dev/kvm", hint="mend it", fatal=False)]
    assert images.build().exit_code == 0
    warnings = [(n.build, n.hint) for n in images.of(Notice) if n.message == "emulated: no /dev/kvm"]
    assert warnings == [("", "mend it")]


def test_what_is_odd_about_one_build_is_said_of_it(images: Project) -> None:
    images.driver.problems = [Problem(what="emulated", fatal=False)]
    assert images.build("alone").exit_code == 0
    warnings = [(n.build, n.message) for n in images.of(Notice) if n.level == "warning"]
    assert warnings == [("alone@here", "emulated")]


def test_an_image_whose_post_step_failed_is_made_and_the_run_is_no_success(images: Project) -> None:
    step = "@bakery.post\ndef tell(a):\n    raise OSError('no')\n\n"
    image = "@bakery.image(sources=[here], tasks=[works], tests=[]"
    images.write(IMAGES.replace(image, f"{step}{image}, post=[tell]"))
    outcome = images.build("alone")
    assert outcome.exit_code == PostError.exit_code
    assert [image.id for image in outcome.artifacts.values()] == list(images.driver.there)
    assert ended(images) == {"alone@here": "failed"}


def test_a_full_disk_is_told_as_that_and_as_no_defect(images: Project) -> None:
    images.driver.raises["launch"] = [OSError(28, "No space left on device")]
    error = images.build("alone").errors["alone@here"]
    assert not error.what.startswith("bakery has a defect")
    assert "full" in f"{error.what} {error.hint}"


def test_where_the_disk_is_full_each_error_says_so(images: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.build.run.no_space", lambda _: True)
    images.driver.raises["launch"] = [DriverError("it does not start", hint="look")]
    outcome = images.build("alone")
    assert outcome.errors["alone@here"].hint == f"the disk under {outcome.run.path} is full. look"


def test_an_image_that_its_base_s_change_leaves_as_it_is_is_not_made_again(images: Project) -> None:
    """Only when its base is there is it known that nothing has changed."""
    images.build()
    images.driver.asked.clear()
    images.events.clear()
    (gone,) = [image for image in images.state.images() if image.build == "base@here"]
    del images.driver.there[gone.id]
    assert images.build().exit_code == 0
    assert ended(images)["base@here"] == "ok"
    assert ended(images)["alone@here"] == "cached"


def test_an_output_that_cannot_be_written_is_an_error_of_the_run(images: Project, tmp_path: Path) -> None:
    outcome = images.build("alone", output=tmp_path / "alone.img")
    assert outcome.exit_code == PostError.exit_code
    assert "is not a file, so -o cannot write it" in outcome.errors[""].what
    assert list(outcome.artifacts) == ["alone@here"]


def test_what_a_continued_run_left_is_destroyed_and_counted(images: Project) -> None:
    images.driver.raises["destroy"] = [DriverError("busy")] * 9
    images.box.answer("true", 1)
    failed = images.build("base")
    images.driver.raises.clear()
    images.box.answer("true", "")
    images.events.clear()
    outcome = images.build("base", resume=failed.run.id)
    assert outcome.exit_code == 0
    assert f"continuing {failed.run.id}, after destroying 1 thing that it left" in images.notices
    assert left_in(failed.run) == []


def test_where_that_fails_nothing_is_begun(images: Project) -> None:
    images.driver.raises["destroy"] = [DriverError("busy")] * 30
    images.box.answer("true", 1)
    failed = images.build("base")
    images.driver.asked.clear()
    outcome = images.build("base", resume=failed.run.id)
    assert outcome.exit_code == CleanupError.exit_code
    assert images.driver.verbs("launch") == []
