"""`bake build` and `bake test`: what the words become, what is refused before a run begins, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bakery.build.context import BuildOptions
from bakery.build.one_off import OneOffRun
from bakery.build.remote_host import RemoteHost
from bakery.build.run import Outcome
from bakery.build.smoke_tests import SuiteChoice
from bakery.cache.inputs.external import LocalInput
from bakery.errors import UsageError
from bakery.imagefile.builds import Build, Plan
from bakery.model import Artifact, Resource
from bakery.reporting.junit import JUnit
from bakery.state.journal import Journal
from bakery.state.project import State

from .conftest import Project

IMAGE = Artifact(driver="folder", id="/images/db.tar", name="db", build="db@box", format="tar")


@dataclass
class Runs:
    """Runs that were asked for, and how they end."""

    code: int = 0
    asked: list[tuple[Plan, BuildOptions, list[Any]]] = field(
        default_factory=list[tuple[Plan, BuildOptions, list[Any]]]
    )

    def build(
        self, plan: Plan, _recipe: object, _settings: object, options: BuildOptions, state: State, **given: Any
    ) -> Outcome:
        """Stand in for `bakery.build.run.build`."""
        assert given["ask"] is None  # nobody sits at a terminal
        self.asked.append((plan, options, given["readers"]))
        return Outcome(exit_code=self.code, run=state.new_run(), artifacts={} if self.code else {"db@box": IMAGE})

    @property
    def options(self) -> BuildOptions:
        """Of the last one."""
        return self.asked[-1][1]

    @property
    def builds(self) -> list[str]:
        """Of the last one."""
        return [build.name for build in self.asked[-1][0].builds]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr("bakery.build.run.build", made.build)
    return made


def test_what_was_kept_is_a_line_on_standard_output(project: Project, runs: Runs) -> None:
    done = project.bake("build", "db", "--only", "box")
    assert (done.code, done.out) == (0, "/images/db.tar\n")
    assert runs.builds == ["db@box"]
    assert project.bake("db", "--format", "json").out == ""  # the events are


def test_a_run_s_code_is_the_command_s(project: Project, runs: Runs) -> None:
    runs.code = 7
    assert project.bake("db").code == 7


def test_options_say_how_to_run(project: Project, runs: Runs) -> None:
    words = "db -j 3 --no-cache --no-test --on-failure keep --deadline 90s --connect-timeout 2m --expire 1h --offline"
    project.bake("build", *words.split(), "--clones", "2", "--limit", "cpus:2", "--phase-timeout", "capture=10m")
    options = runs.options
    assert (options.jobs, options.cache, options.test, options.on_failure) == (3, False, False, "keep")
    assert (options.deadline, options.connect_timeout, options.expire, options.offline) == (90.0, 120.0, 3600.0, True)
    assert (options.clones, options.limits, options.phase_timeouts) == (2, {"cpus": 2}, {"capture": 600.0})
    project.bake("db")
    assert runs.options.test
    assert (runs.options.jobs, runs.options.deadline, runs.options.output) == (None, None, None)


def test_tasks_to_run_again_are_all_or_those_that_are_named(project: Project, runs: Runs) -> None:
    project.bake("db", "--refresh")
    assert runs.options.refresh == {"*"}
    project.bake("db", "--refresh-task", "hello")
    assert runs.options.refresh == {"hello"}
    done = project.bake("db", "--refresh-task", "helo")
    assert done.code == UsageError.exit_code
    assert "no task is called 'helo'" in done.err
    assert "hello" in done.err
    assert len(runs.asked) == 2


def test_a_limit_on_what_no_build_takes_is_a_mistake(project: Project, runs: Runs) -> None:
    done = project.bake("db", "--limit", "kvm:1")
    assert done.code == UsageError.exit_code
    assert "kvm" in done.err
    assert project.bake("db", "--limit", "folder:1").code == 0


def test_what_the_imagefile_reads_is_for_the_depfile(project: Project, runs: Runs) -> None:
    (project.folder / "packages.txt").write_text("nginx")
    text = (project.folder / "imagefile.py").read_text()
    project.write("from pathlib import Path\nPath(__file__).with_name('packages.txt').read_text()\n" + text)
    project.bake("db", "--depfile", "web.d")
    assert LocalInput("file", project.folder / "packages.txt") in runs.options.inputs
    assert runs.options.depfile == project.folder / "web.d"


def test_an_output_is_as_the_user_wrote_it_and_where_it_is(project: Project, runs: Runs) -> None:
    done = project.bake("db", "-o", "out.qcow2")
    assert done.code == UsageError.exit_code  # what this driver makes is a tar
    assert runs.asked == []
    assert "its format is tar" in done.err


def test_a_place_that_holds_something_else_is_refused_before_the_imagefile_is_read(
    project: Project, runs: Runs
) -> None:
    project.write("raise RuntimeError")
    project.write("a letter", "letter.xml")
    done = project.bake("build", "--junit", "letter.xml")
    assert "--junit letter.xml: it exists and is not a JUnit report" in done.err


@pytest.mark.usefixtures("runs")
def test_a_report_that_was_asked_for_and_is_not_there_is_no_success(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JUnit, "owed", property(lambda _: True))
    assert project.bake("db", "--junit", "report.xml").code == 9


# ---- going on with a run ---------------------------------------------------------------------------------------------


def left(project: Project) -> str:
    """Write down a run that was killed, and left a machine."""
    run = project.run()
    with Journal(project.state.run(run).path) as journal:
        resource = Resource(driver="folder", kind="machine", key="m1", run=run, build="db@box")
        journal.made(resource)
    return run


def test_the_last_run_that_left_something_is_gone_on_with(project: Project, runs: Runs) -> None:
    run = left(project)
    project.run()  # a look at an image
    project.bake("db", "--resume")
    assert runs.options.resume == run


def test_where_none_left_anything_it_is_the_last_one(project: Project, runs: Runs) -> None:
    project.run()
    last = project.run()
    project.bake("db", "--resume")
    assert runs.options.resume == last


def test_a_run_may_be_named_by_a_part_of_its_id(project: Project, runs: Runs) -> None:
    run = left(project)
    project.run()
    project.bake("build", "--resume", run[-4:], "db")
    assert (runs.options.resume, runs.builds) == (run, ["db@box"])


def test_the_word_behind_it_may_be_an_image(project: Project, runs: Runs) -> None:
    run = left(project)
    project.bake("build", "--resume", "db")
    assert (runs.options.resume, runs.builds) == (run, ["db@box"])
    done = project.bake("build", "--resume", "nothing")
    assert "no run matches 'nothing'" in done.err


def test_without_any_run_there_is_nothing_to_go_on_with(project: Project, runs: Runs) -> None:
    done = project.bake("build", "--resume")
    assert (done.code, runs.asked) == (UsageError.exit_code, [])
    assert "there is no run to resume" in done.err


# ---- `bake test` -----------------------------------------------------------------------------------------------------


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Visits: build, artifact, deadline, whether secrets are needed; they all end with code 8."""
    made: list[Any] = []

    def go(run: OneOffRun, build: Build, driver: str, action: partial[None], *, needs_secrets: bool) -> int:
        artifact = action.keywords["artifact"]
        assert (driver, action.keywords["job"].name) == (artifact.driver, build.name)
        made.append((build.name, artifact, run.deadline, needs_secrets))
        return 8

    monkeypatch.setattr(OneOffRun, "go", go)
    return made


def test_the_newest_image_of_a_name_is_tested(project: Project, visits: list[Any]) -> None:
    project.image("web-trixie", 1)
    newest = project.image("web-trixie", 2)
    assert project.bake("test", "web-trixie", "--deadline", "5m").code == 8
    assert visits == [("web[release=trixie]@box", newest, 300.0, True)]


def test_a_disk_of_somebody_else_gets_the_tests_that_are_named(project: Project, visits: list[Any]) -> None:
    project.write("a disk", "their.img")
    project.bake("test", "./their.img", "--image", "db")
    ((build, artifact, *_),) = visits
    assert (build, artifact.name, artifact.format, artifact.driver) == ("db@box", "their", "raw", "qemu")
    assert artifact.id == str(project.folder / "their.img")
    assert "name one with --image" in project.bake("test", "their.img").err


def test_a_file_that_is_a_kept_image_is_that_image(project: Project, visits: list[Any]) -> None:
    path = project.write("a disk", "kept.qcow2")
    kept = Artifact(driver="qemu", id=str(path), name="db", build="db@box", format="qcow2")
    project.state.add_image(kept)
    project.bake("test", "kept.qcow2")
    assert visits[0][1] == kept


@pytest.mark.parametrize("words", [(), ("db", "--host", "ssh://web1")])
def test_an_image_or_a_host_is_named_and_not_both(project: Project, visits: list[Any], words: tuple[str, ...]) -> None:
    done = project.bake("test", *words)
    assert (done.code, visits) == (UsageError.exit_code, [])
    assert "name an image, or a machine with --host" in done.err


def test_a_machine_that_runs_already_is_tested_with_the_user_s_key(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Target:
        def test(self, _visit: OneOffRun, image: str | None, choice: SuiteChoice) -> int:
            asked.extend((image, choice))
            return 0

    def of(url: str, *, identity: Path | None, known_hosts: Path) -> Target:
        asked.append((url, identity, known_hosts))
        return Target()

    monkeypatch.setattr(RemoteHost, "of", of)
    project.write("a key", "id")
    assert project.bake("test", "--host", "ssh://web1", "--image", "db", "--identity", "id").code == 0
    assert asked == [("ssh://web1", Path("id"), Path.home() / ".ssh/known_hosts"), "db", SuiteChoice()]
    (project.folder / "tests").mkdir()
    words = (
        "--host",
        "ssh://web1",
        "--image",
        "db",
        "--identity",
        "id",
        "--testinfra-host",
        "d*",
        "--suite-user",
        "login",
    )
    assert project.bake("test", *words, "--other-hosts", "run", "tests", "--", "-k", "nginx", "-x").code == 0
    assert asked[-1] == SuiteChoice(
        paths=("tests",), arguments=("-k", "nginx", "-x"), hosts=("d*",), other_hosts="run", user="login"
    )
    assert not asked[-1].is_whole
    assert "name the image" in project.bake("test", "--host", "ssh://web1", "--identity", "id", "--clones", "2").err
