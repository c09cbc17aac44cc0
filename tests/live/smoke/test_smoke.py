"""Smoke tests run for real: a child pytest, an SSH connection, assertions of testinfra."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bakery import smoke
from bakery.errors import ConnectError, Interrupted, SmokeError
from bakery.events import Event, TestEnded
from bakery.imagefile import loader
from bakery.model import Endpoint
from bakery.redaction.secret import Secret
from bakery.smoke.runner import run
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

pytestmark = pytest.mark.live

HEAD = """
import pytest
from pathlib import Path
from bakery.imagefile.decorators import secret, source, test, variables
from bakery.redaction.secret import Secret
from bakery.model import Source

@source
def laptop():
    return Source(base=None)
"""


class Bench:
    """Writes an imagefile and runs its tests against the machine."""

    def __init__(self, folder: Path, machine: Any) -> None:
        self.folder = folder
        self.endpoint: Endpoint = machine.endpoint
        self.keys = machine.keys
        self.events: list[Event] = []
        self.cancel = Cancel()

    def run(
        self, text: str, *, builtin: Sequence[str] = (), timeout: float = 120.0, values: dict[str, Any] | None = None
    ) -> smoke.SmokeReport:
        file = self.folder / "imagefile.py"
        file.write_text(HEAD + textwrap.dedent(text))
        recipe = loader.load(file)
        image = recipe.images[0]
        job = smoke.SmokeJob(
            imagefile=file,
            tests=tuple(smoke.TestRef.of(recipe, image.name, index) for index in range(len(image.tests))),
            builtin=frozenset(builtin),
            endpoint=self.endpoint,
            keys=self.keys,
            variables=recipe.variables(**values or {}) if recipe.variables else None,
            junit=self.folder / "run" / "junit.xml",
            timeout=timeout,
            build="web@laptop",
        )
        return run(job, WorkContext(cache=self.folder, cancel=self.cancel, emit=self.events.append))

    @property
    def junit(self) -> str:
        return (self.folder / "run" / "junit.xml").read_text()


@pytest.fixture
def bench(tmp_path: Path, machine: Any) -> Bench:
    return Bench(tmp_path, machine)


def outcomes(report: smoke.SmokeReport) -> dict[str, str]:
    return {result.test: result.outcome for result in report.results}


def test_a_test_that_holds_passes_and_is_an_event(bench: Bench) -> None:
    report = bench.run("""
        @test
        def root_exists(host):
            assert host.user("root").uid == 0
    """)
    assert report.ok
    assert outcomes(report) == {"root_exists": "passed"}
    [event] = bench.events
    assert isinstance(event, TestEnded)
    assert (event.test, event.outcome, event.build) == ("root_exists", "passed", "web@laptop")
    assert event.location.endswith("imagefile.py:12")
    assert report.identity.machine_id


def test_a_failure_shows_the_values_and_the_failing_line(bench: Bench) -> None:
    report = bench.run("""
        @test
        def two_is_three(host):
            got = host.check_output("echo two")
            assert got == "three"
    """)
    assert not report.ok
    [failure] = report.failures
    assert "'two' == 'three'" in failure.text
    assert failure.location.endswith("imagefile.py:15")
    assert "two_is_three" in bench.junit


def test_arguments_are_given_by_number_and_fixtures_by_name(bench: Bench) -> None:
    report = bench.run(
        """
        @variables
        class Vars:
            release: str
            folder: Path = Path("/etc")

        @pytest.fixture
        def release(v):
            return v.release

        @test
        def plain(h): assert h.file("/").is_directory
        @test
        def both(machine, variables): assert machine.file(str(variables.folder)).is_directory
        @test
        def fixtures(host, tmp_path, release): assert host.file(str(tmp_path)).is_directory and release == "x"
        @test
        @pytest.mark.parametrize("name", ["root", "daemon"])
        def cases(host, name, w): assert host.user(name).exists and w.release == "x"
        """,
        values={"release": "x"},
    )
    assert outcomes(report) == {
        "plain": "passed",
        "both": "passed",
        "fixtures": "passed",
        "cases[root]": "passed",
        "cases[daemon]": "passed",
    }


def test_tests_of_helper_modules_and_factories_run_and_are_rewritten(bench: Bench) -> None:
    (bench.folder / "helper.py").write_text(
        "from bakery.imagefile.decorators import test\n@test\ndef helped(host):\n    one = 1\n    assert one == 2\n"
    )
    report = bench.run("""
        from helper import helped

        def over(number):
            @test
            def is_over(host): assert number > 1
            return is_over

        first, second = over(1), over(2)
    """)
    assert outcomes(report) == {"helped": "failed", "first": "failed", "second": "passed"}
    helped = next(result for result in report.results if result.test == "helped")
    assert "assert 1 == 2" in helped.text
    assert helped.location.endswith("helper.py:5")


def test_skips_expected_failures_and_broken_fixtures_are_told_apart(bench: Bench) -> None:
    report = bench.run("""
        @pytest.fixture
        def broken(): raise RuntimeError("no luck")

        @test
        @pytest.mark.skip(reason="not today")
        def skipped(host): ...
        @test
        @pytest.mark.xfail(reason="known")
        def known(host): assert False
        @test
        def unlucky(host, broken): ...
    """)
    assert outcomes(report) == {"skipped": "skipped", "known": "skipped", "unlucky": "error"}
    assert [result.text for result in report.results][:2] == ["not today", "known"]
    assert [result.test for result in report.failures] == ["unlucky"]


def test_the_projects_own_pytest_set_up_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    (bench.folder / "conftest.py").write_text("raise RuntimeError('conftest was read')\n")
    (bench.folder / "__init__.py").write_text("raise RuntimeError('the folder was imported as a package')\n")
    (bench.folder / "pytest.py").write_text("raise RuntimeError('a file of the project shadows pytest')\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nonsense")
    (bench.folder / "pytest.py").unlink()  # the imagefile itself may import pytest
    assert bench.run("@test\ndef fine(host): assert host.file('/').exists\n").ok
    assert not (bench.folder / "__pycache__").is_dir() or not list((bench.folder / "__pycache__").glob("*pytest*"))


def test_secrets_reach_the_tests_and_no_report(bench: Bench) -> None:
    text = "correct-horse-battery"
    report = bench.run(
        """
        @variables
        class Vars:
            password: Secret = secret(env="NONE")

        @test
        def leaks(host, v):
            print("password:", v.password.reveal())
            assert v.password.reveal() == "something else", v.password.reveal()
        """,
        values={"password": Secret(text, "password")},
    )
    shown = bench.junit + "".join(result.text for result in report.results)
    assert outcomes(report) == {"leaks": "failed"}
    assert text not in shown
    assert "[secret password]" in shown
    assert all(text not in str(event.to_json()) for event in bench.events)


def test_junit_is_well_formed_and_counts(bench: Bench) -> None:
    bench.run("@test\ndef good(host): ...\n@test\ndef bad(host): assert 0, 'text with <xml> & more'\n")
    suite = ET.fromstring(bench.junit)[0]  # noqa: S314  written by ourselves a moment ago
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("web@laptop", "2", "1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@test\ndef t(v, host): ...\n", "wrong order"),
        ("import os\n@test\ndef t(host): os._exit(3)\n", "exit code 3"),
        ("import os, signal\n@test\ndef t(host): os.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
        ("pytestmark = 7\n@test\ndef t(host): ...\n", "cannot be collected"),
        ("@test\n@pytest.mark.parametrize('x', [])\ndef t(host, x): ...\n", "Empty parameter set in 't'"),
        ("@test\n@pytest.mark.skip\ndef t(host): ...\n", "each is skipped"),
        ("@test\n@pytest.mark.xfail\ndef t(host): assert 0\n", "failed as expected"),
    ],
)
def test_what_gives_no_verdict_is_an_error_and_never_a_pass(bench: Bench, text: str, words: str) -> None:
    with pytest.raises(SmokeError) as caught:
        bench.run(text)
    assert words in str(caught.value)


def test_an_argument_that_nobody_knows_is_an_error_of_that_test(bench: Bench) -> None:
    report = bench.run("@variables\nclass Vars: ...\n@test\ndef t(host, v, unheard_of): ...\n")
    assert outcomes(report) == {"t": "error"}
    assert "unheard_of" in report.failures[0].text


def test_an_imagefile_that_raises_only_in_the_child_is_a_clear_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARENT", str(os.getpid()))
    with pytest.raises(SmokeError) as caught:
        bench.run(
            "import os\nif os.environ['PARENT'] != str(os.getpid()): raise OSError('child')\n@test\ndef t(h): ...\n"
        )
    assert "cannot be collected" in caught.value.what
    assert "child" in caught.value.why


def test_nothing_to_run_is_an_error(bench: Bench) -> None:
    with pytest.raises(SmokeError, match="no smoke test"):
        bench.run("")


def test_a_test_that_hangs_is_ended_with_the_run(bench: Bench) -> None:
    with pytest.raises(SmokeError, match="did not end within 6 s"):
        bench.run("import threading\n@test\ndef hangs(host): threading.Event().wait()\n", timeout=6)


def test_cancelling_ends_the_child(bench: Bench) -> None:
    threading.Timer(3, bench.cancel.set, ["Ctrl-C"]).start()
    with pytest.raises(Interrupted, match="Ctrl-C"):
        bench.run("import threading\n@test\ndef hangs(host): threading.Event().wait()\n")


def test_a_command_that_hangs_is_ended_on_the_machine_too(bench: Bench) -> None:
    report = bench.run("""
        @test
        def slow(host):
            with pytest.raises(Exception, match="still running after 1 s"):
                host.run("sleep 4242 & sleep 4242", timeout=1)
            assert host.run("pgrep -x -f 'sleep 424[2]'").rc == 1
    """)
    assert report.ok, report.results


def test_a_wrong_host_key_is_a_connection_error(bench: Bench) -> None:
    wrong = bench.keys.user_public
    bench.endpoint = Endpoint(host=bench.endpoint.host, port=bench.endpoint.port, host_key=wrong)
    with pytest.raises(ConnectError, match="host key"):
        bench.run("@test\ndef t(host): ...\n")


def test_the_built_in_tests_judge_this_host(bench: Bench) -> None:
    report = bench.run("", builtin=["boot_is_finished", "no_build_key", "machine_id_is_new", "clock_is_right"])
    found = outcomes(report)
    assert list(found) == ["boot_is_finished", "no_build_key", "machine_id_is_new", "clock_is_right"]
    assert found["clock_is_right"] == "passed"


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path, machine: Any) -> None:
    """An orphan must not go on testing a machine that `bake gc` is about to destroy."""
    (tmp_path / "imagefile.py").write_text(
        HEAD + "import os, threading\n@test\ndef t(host):\n    Path('pid').write_text(str(os.getpid()))\n"
        "    threading.Event().wait()\n"
    )
    code = f"""
import os, threading
from pathlib import Path
from bakery import smoke
from bakery.smoke.runner import run
from bakery.imagefile import loader
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
recipe = loader.load(Path({str(tmp_path / "imagefile.py")!r}))
def watch():
    from bakery.util.waiting import Cancel, until
    from bakery.errors import NotYet
    def probe():
        if not Path({str(tmp_path / "pid")!r}).exists(): raise NotYet("no pid")
    until(probe, what="the test runs", timeout=60, cancel=Cancel())
    os.kill(os.getpid(), 9)
threading.Thread(target=watch).start()
run(smoke.SmokeJob(imagefile=recipe.file, tests=(smoke.TestRef.of(recipe, recipe.images[0].name, 0),),
    endpoint=Endpoint(port={machine.endpoint.port}, host_key={machine.endpoint.host_key!r}), builtin=frozenset(),
    keys=Keys(**{machine.keys.__dict__!r}), junit=Path({str(tmp_path / "j.xml")!r})), WorkContext(cache=Path("/tmp")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -9
    child = int((tmp_path / "pid").read_text())
    from bakery.errors import NotYet
    from bakery.util.waiting import until

    def gone() -> None:
        if Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
            raise NotYet("the child still runs")

    until(gone, what="the child ends", timeout=20, cancel=Cancel())
