"""The child's side of smoke tests: pytest with our plugin, in this process, on a machine in memory."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from bakery.errors import BakeryError, ConnectError
from bakery.imagefile import loader
from bakery.machine.transport.base import Transport
from bakery.model import Endpoint
from bakery.smoke import SmokeJob, TestRef, plugin, wire
from bakery.smoke import child as child_process
from bakery.smoke.identity import SCRIPT, Identity
from bakery.smoke.job import BeforeReboot, CloneAccess
from bakery.smoke.process import PytestStart
from bakery.state.ssh_keys import make_keys
from tests.unit.smoke.pipes import Answer, FakePipes

HEAD = """
import os
import pytest
from pathlib import Path
import bakery
from bakery.model import Source

@bakery.source
def laptop():
    return Source(base=None)

"""
KEYS = make_keys("bakery-test")


@dataclass
class Child:
    """One run of the child."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    error: Exception | None = None
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    closed: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    def ping(self) -> float:
        return 0.0

    def answer(self, command: str) -> Answer | None:
        self.asked.append(command)
        if command == SCRIPT:
            return self.answers.get("identity", (b"machine-id 0123\n", b"", 0))
        return next((answer for part, answer in self.answers.items() if part in command), (b"", b"", 0))

    def connect(self, *_: object) -> Transport:
        if self.error:
            raise self.error
        return cast("Transport", self)

    def open_shell(self, *, as_root: bool = True) -> FakePipes:
        assert as_root
        return FakePipes(self.answer, 1000)

    def close(self) -> None:
        self.closed.append("connection")

    def job(self, text: str, builtin: tuple[str, ...] = ()) -> SmokeJob:
        file = self.folder / "imagefile.py"
        file.write_text(HEAD + textwrap.dedent(text))
        recipe = loader.load(file)
        image = recipe.images[0]
        values: dict[str, Any] = {
            "imagefile": file,
            "tests": tuple(TestRef.of(recipe, image.name, index) for index in range(len(image.tests))),
            "builtin": frozenset(builtin),
            "endpoint": Endpoint(host="box"),
            "keys": KEYS,
            "variables": recipe.variables() if recipe.variables else None,
            "junit": self.folder / "junit.xml",
        }
        return SmokeJob(**{**values, **self.changes})

    def run(self, text: str, *builtin: str) -> list[dict[str, Any]]:
        """Run the tests of an imagefile, and return the events that the parent gets."""
        job = self.job(text, builtin)
        inbox, job_in = os.pipe()
        events = self.folder / "events"  # no pipe: nobody reads it while the child runs
        outlet = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(job_in, wire.dump(job))
        words = PytestStart.of(job).words(inbox, outlet)
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr("sys.path", [*__import__("sys").path])
        pytest.main(words[words.index("pytest") + 1 :])
        for fd in (outlet, job_in, inbox):
            os.close(fd)
        return [json.loads(line) for line in events.read_text().splitlines()]


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    child = Child(tmp_path, monkeypatch)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(plugin, "connect", child.connect)
    monkeypatch.setattr(plugin, "watch_parent", lambda _: None)
    return child


def ends(events: list[dict[str, Any]]) -> dict[str, str]:
    return {event["test"]: event["outcome"] for event in events if event["type"] == "test"}


def test_each_result_is_told_as_it_comes_between_what_will_run_and_the_orderly_end(child: Child) -> None:
    child.answers["echo two"] = (b"two\n", b"", 0)
    events = child.run("""
        @bakery.test
        def holds(host):
            assert host.check_output("echo two") == "two"

        @bakery.test
        def fails(machine):
            got = machine.check_output("echo two")
            assert got == "three"

        @pytest.mark.skipif(True, reason="not here")
        @bakery.test
        def left_out(host):
            pass
    """)
    assert [event["type"] for event in events] == ["collected", "test", "test", "test", "machine", "read", "done"]
    assert events[0]["functions"] == {"holds": 1, "fails": 1, "left_out": 1}
    assert ends(events) == {"holds": "passed", "fails": "failed", "left_out": "skipped"}
    failure, skip = events[2], events[3]
    assert "'two' == 'three'" in failure["text"]
    assert (failure["file"], failure["line"]) == (str(child.folder / "imagefile.py"), 20)
    assert skip["text"] == "not here"
    assert events[4]["identity"] == {"machine_id": "0123", "host_keys": []}
    assert events[4]["round_trips"] >= 2
    assert events[6]["status"] == 1
    assert child.closed == ["connection"]


def test_what_tests_took_in_is_told(child: Child) -> None:
    child.answers["echo two"] = (b"two\n", b"", 0)
    (child.folder / "expected.txt").write_text("two")
    events = child.run("""
        @bakery.test
        def holds(host):
            assert host.check_output("echo two") == Path(__file__).with_name("expected.txt").read_text()
    """)
    [inputs] = [event["inputs"] for event in events if event["type"] == "read"]
    assert ("file", "expected.txt") in [(kind, Path(name).name) for kind, name, _ in inputs]


def test_variables_have_their_types_and_secrets_are_taken_out_of_every_text(child: Child) -> None:
    child.monkeypatch.setenv("PW", "hunter22hunter22")
    child.changes = {"secrets": {"other": "another-secret"}}
    events = child.run("""
        @bakery.variables
        class Vars:
            workers: int = 4
            folder: Path = Path("/srv")

        @bakery.test
        def typed(host, v):
            assert (v.workers, v.folder) == (4, Path("/srv"))

        @bakery.test
        def leaks(host, v):
            print("printed another-secret")
            assert "another-secret" == "x"
    """)
    assert ends(events) == {"typed": "passed", "leaks": "failed"}
    assert "another-secret" not in json.dumps(events)
    assert "printed" in events[2]["text"]
    assert "another-secret" not in (child.folder / "junit.xml").read_text()


def test_fixtures_marks_and_parameters_work_and_a_broken_fixture_is_an_error(child: Child) -> None:
    events = child.run("""
        @pytest.fixture
        def port():
            return 80

        @pytest.fixture
        def broken():
            raise RuntimeError("no")

        @pytest.mark.parametrize("name", ["a", "b"])
        @bakery.test
        def each(host, name, port):
            assert (name in "ab", port) == (True, 80)

        @bakery.test
        def cannot_begin(host, broken):
            pass

        @pytest.mark.xfail(reason="known")
        @bakery.test
        def expected(host):
            assert False
    """)
    assert ends(events) == {
        "each[a]": "passed",
        "each[b]": "passed",
        "cannot_begin": "error",
        "expected": "skipped",
    }
    assert events[0]["tests"] == 4
    assert next(event for event in events if event.get("test") == "expected")["text"] == "known"


def test_fixtures_beside_the_imagefile_are_there_for_those_who_ask_and_only_then(child: Child) -> None:
    (child.folder / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(autouse=True)\ndef always():\n    raise RuntimeError('autouse')\n"
        "@pytest.fixture(name='client')\ndef make_client():\n    return 'a client'\n"
    )
    events = child.run("""
        @bakery.test
        def asks(host, client):
            assert client == "a client"
    """)
    assert ends(events) == {"asks": "passed"}
    (child.folder / "conftest.py").write_text("raise RuntimeError('imported')\n@pytest.fixture\ndef x(): ...\n")
    events = child.run("""
        @bakery.test
        def asks_for_nothing(host):
            pass
    """)
    assert ends(events) == {"asks_for_nothing": "passed"}


def test_plugins_of_the_conftest_give_their_fixtures_to_those_who_ask(child: Child) -> None:
    (child.folder / "conftest.py").write_text("pytest_plugins = ['plugin_of_conftest']\n")
    (child.folder / "plugin_of_conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef client():\n    return 'of the plugin'\n"
    )
    events = child.run("""
        @bakery.test
        def asks(host, client):
            assert client == "of the plugin"
    """)
    assert ends(events) == {"asks": "passed"}


@pytest.mark.parametrize("way_out", ["raise KeyboardInterrupt", "pytest.exit('enough')", "raise SystemExit(0)"])
def test_what_would_end_the_whole_run_fails_one_test(child: Child, way_out: str) -> None:
    events = child.run(f"""
        @bakery.test
        def leaves(host):
            {way_out}

        @bakery.test
        def stays(host):
            pass
    """)
    assert ends(events) == {"leaves": "failed", "stays": "passed"}


def test_a_machine_out_of_reach_is_one_error_and_no_test(child: Child) -> None:
    child.error = ConnectError("cannot log in to box", why="refused s3cret-s3cret", hint="look at it")
    child.changes = {"secrets": {"pw": "s3cret-s3cret"}}
    events = child.run("""
        @bakery.test
        def never(host):
            pass
    """)
    assert [event["type"] for event in events] == ["collected", "error", "machine", "read", "done"]
    error = events[1]
    assert (error["error"], error["what"], error["hint"]) == ("ConnectError", "cannot log in to box", "look at it")
    assert "s3cret-s3cret" not in error["why"]


@pytest.mark.parametrize(("user", "says"), [("root", ""), ("admin", "may admin use it without a password")])
def test_a_shell_that_does_not_come_says_what_the_tests_need(child: Child, user: str, says: str) -> None:
    child.changes = {"endpoint": Endpoint(host="box", user=user)}
    child.monkeypatch.setattr(child, "answer", lambda _: None)
    child.monkeypatch.setattr(FakePipes, "receive", _ended)
    events = child.run("""
        @bakery.test
        def never(host):
            pass
    """)
    error = next(event for event in events if event["type"] == "error")
    assert (error["error"], "no root shell on the machine" in error["what"]) == ("BakeryError", True)
    assert says in error["hint"]
    assert bool(error["hint"]) is bool(says)


def _ended(*_: object) -> None:
    from bakery.util.results import Lost

    raise Lost("ended")


def test_an_imagefile_that_changed_during_the_build_is_not_collected(child: Child) -> None:
    text = """
        @bakery.test
        def first(host):
            pass
    """
    job = child.job(text)
    moved = TestRef(image=job.tests[0].image, index=3, name="first", file=job.imagefile, line=1)
    child.changes = {"tests": (moved,)}
    events = child.run(text)
    (trouble,) = [event for event in events if event["type"] == "not-collected"]
    assert "the test first is no longer where it was" in trouble["text"]
    assert not any(event["type"] == "error" for event in events), "nobody connects for nothing"


def test_a_built_in_test_runs_before_the_users_and_shows_no_line_of_ours(child: Child) -> None:
    child.answers["date +%s"] = (b"0\n", b"", 0)
    events = child.run(
        """
        @bakery.test
        def own(host):
            pass
        """,
        "clock_is_right",
    )
    assert list(ends(events).items()) == [("clock_is_right", "failed"), ("own", "passed")]
    failure = events[1]
    assert failure["text"].startswith("the clock is -")
    assert failure["file"].endswith("builtin.py")


def test_a_file_of_tests_beside_the_imagefile_is_asked_for_its_own(child: Child) -> None:
    (child.folder / "helper.py").write_text("import bakery\n@bakery.test\ndef elsewhere(host):\n    assert 0\n")
    events = child.run("""
        from helper import elsewhere

        @bakery.test
        def here(host):
            pass
    """)
    assert ends(events) == {"here": "passed", "elsewhere": "failed"}
    failure = next(event for event in events if event.get("test") == "elsewhere")
    assert (Path(failure["file"]).name, failure["line"]) == ("helper.py", 4)


def test_several_machines_of_the_image_are_there_for_tests_that_ask(child: Child) -> None:
    text = """
        @bakery.test
        def they_differ(clones):
            assert [each.run("true").rc for each in clones] == [0, 0]
            assert clones[0].backend is not clones[1].backend
    """
    (alone,) = [event for event in child.run(text) if event["type"] == "test"]
    assert (alone["outcome"], "--clones 2" in alone["text"]) == ("skipped", True)
    child.changes = {"clones": (CloneAccess(endpoint=Endpoint(host="other"), keys=KEYS),)}
    child.closed.clear()
    assert ends(child.run(text)) == {"they_differ": "passed"}
    assert child.closed == ["connection", "connection"]


# ---- the pipes --------------------------------------------------------------------------------------------------


def test_a_job_that_is_cut_short_is_none() -> None:
    inbox, outlet = os.pipe()
    os.write(outlet, b'{"half')
    os.close(outlet)
    with pytest.raises(pytest.UsageError, match="cut short"):
        child_process.job_line(inbox)
    os.close(inbox)


def test_the_plugin_is_nothing_by_itself(child: Child) -> None:
    assert pytest.main(["-p", "bakery.smoke.plugin", "--noconftest", "-c", os.devnull, str(child.folder)]) == 4


def test_the_end_of_the_parent_is_the_end_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(child_process, "end_at_once", codes.append)
    inbox, outlet = os.pipe()
    os.close(outlet)
    child_process._end_with_parent(inbox)
    os.close(inbox)
    assert codes == [child_process.ORPHANED]


def test_nothing_is_fed_to_a_machine_that_nobody_opened(tmp_path: Path) -> None:
    job = SmokeJob(imagefile=tmp_path / "i.py", tests=(), endpoint=Endpoint(), keys=KEYS, junit=tmp_path / "j.xml")
    with (tmp_path / "events").open("wb") as events:
        session = plugin.Session(job, events.fileno(), cast("pytest.Config", None))
        with pytest.raises(BakeryError, match="no connection to the machine"):
            session.feed("true")


def test_a_test_is_told_whether_the_machine_was_rebooted(child: Child) -> None:
    text = """
        @bakery.test(reboot=True)
        def keeps(host, rebooted):
            assert rebooted is False
    """
    assert ends(child.run(text)) == {"keeps": "passed"}
    child.changes = {"before": BeforeReboot(identity=Identity(), token="t", sentinels=())}
    assert ends(child.run(text)) == {"keeps": "failed"}


def test_machines_of_other_images_are_there_by_their_names(child: Child) -> None:
    text = """
        @bakery.test
        def talks(hosts, host):
            assert [*hosts] == ["web", "db"]
            assert hosts["web"] is host
            assert hosts["db"].backend.hostname == "db"
            assert hosts["db"].run("true").rc == 0

        @bakery.test
        def elsewhere(hosts):
            hosts["cache"]

        @bakery.test
        def misspelt(hosts):
            hosts["dbs"]
    """
    access = CloneAccess(endpoint=Endpoint(host="192.0.2.9"), keys=KEYS)
    child.changes = {"name": "web", "nodes": {"db": access}, "absent": ("cache",)}
    events = child.run(text)
    assert ends(events) == {"talks": "passed", "elsewhere": "skipped", "misspelt": "failed"}
    told = {event["test"]: event["text"] for event in events if event["type"] == "test"}
    assert told["elsewhere"] == "no machine of cache runs beside this one"
    assert "no machine is called 'dbs': did you mean db" in told["misspelt"]
    assert child.closed == ["connection", "connection"]
