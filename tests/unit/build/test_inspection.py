"""The look into a finished image: which ones, what is told, and what may not be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bakery.build import inspection
from bakery.build.inspection import inspect_image
from bakery.build.scope import Scope
from bakery.disk.inspect import Finding, Hygiene
from bakery.errors import SmokeError
from bakery.events import TestEnded
from bakery.model import Artifact

from .memory import Project, project

__all__ = ["project"]

KEY = Finding("authorized-keys", "/root/.ssh/authorized_keys", "a key of the build")
LEFT = Finding("swap", "/swapfile", "a swap file")
Open = Callable[..., Scope]


@dataclass
class Looks:
    """What an image holds, and how it was looked into."""

    holds: list[Finding] = field(default_factory=list[Finding])
    asked: list[tuple[str, str, Hygiene]] = field(default_factory=list[tuple[str, str, Hygiene]])

    def inspect(
        self, disks: list[tuple[Path, str]], patterns: object, hygiene: Hygiene, work: object
    ) -> tuple[Finding, ...]:
        """Stand in for the inspection."""
        del patterns, work
        ((disk, form),) = disks
        self.asked.append((disk.name, form, hygiene))
        return tuple(self.holds)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(inspection, "inspect_disks", made.inspect)
    return made


@pytest.fixture
def scope(project: Project) -> Iterator[Open]:
    """Opens the scope of a build with these options."""
    with ExitStack() as stack:

        def enter(options: str = "") -> Scope:
            project.write(f"@bakery.image(builtin_tests=False{options})\ndef web(): ...\n")
            run = project.run()
            return stack.enter_context(Scope(run, run.jobs["web@here"]))

        yield enter


def image(form: str = "qcow2") -> Artifact:
    return Artifact(driver="memory", id="/images/web.img", name="web", build="web@here", format=form)


def test_a_clean_image_is_told_as_a_test_that_passed(project: Project, scope: Open, looks: Looks) -> None:
    inspect_image(scope(), image())
    assert [(event.test, event.outcome) for event in project.of(TestEnded)] == [("hygiene", "passed")]
    assert project.phases == [("inspect", "ok")]


def test_each_thing_that_must_not_be_there_is_a_failure_of_its_own(project: Project, scope: Open, looks: Looks) -> None:
    looks.holds += [KEY, LEFT, Finding("secret", "/etc/app.conf", "the secret password")]
    with pytest.raises(SmokeError, match="in 2 places") as raised:
        inspect_image(scope(), image())
    assert raised.value.why.splitlines() == [
        "/root/.ssh/authorized_keys: a key of the build",
        "/etc/app.conf: the secret password",
    ]
    assert "Hygiene(allow=(PATH,))" in raised.value.hint
    assert [(event.test, event.outcome) for event in project.of(TestEnded)] == [
        ("hygiene[authorized-keys /root/.ssh/authorized_keys]", "failed"),
        ("hygiene[secret /etc/app.conf]", "failed"),
    ]
    assert project.phases == [("inspect", "failed")]


def test_what_is_only_odd_is_said_and_lets_the_image_pass(project: Project, scope: Open, looks: Looks) -> None:
    looks.holds.append(LEFT)
    inspect_image(scope(), image())
    assert project.notices == ["swap: /swapfile: a swap file"]
    assert [event.outcome for event in project.of(TestEnded)] == ["passed"]


@pytest.mark.parametrize(("options", "form"), [(", hygiene=False", "qcow2"), ("", "ami"), ("", "memory")])
def test_nothing_is_looked_into_where_nobody_wants_it_or_no_file_is_here(
    project: Project, scope: Open, looks: Looks, options: str, form: str
) -> None:
    inspect_image(scope(options), image(form))
    assert (looks.asked, project.phases) == ([], [])


def test_what_is_published_was_looked_into_when_it_was_made(project: Project, scope: Open, looks: Looks) -> None:
    opened = scope()
    opened.build = replace(opened.build, publishes=True)
    inspect_image(opened, image())
    assert looks.asked == []


def test_it_is_unpacked_where_the_run_keeps_its_files_unless_the_user_says_where(
    scope: Open, looks: Looks, tmp_path: Path
) -> None:
    opened = scope()
    inspect_image(opened, image("raw"))
    inspect_image(scope(f", hygiene=bakery.Hygiene(off=frozenset({{'swap'}}), folder={str(tmp_path)!r})"), image("raw"))
    (_, form, default), (_, _, chosen) = looks.asked
    assert (form, default.folder, default.off) == ("raw", opened.run.folder.path, frozenset())
    assert (str(chosen.folder), chosen.off) == (str(tmp_path), frozenset({"swap"}))
