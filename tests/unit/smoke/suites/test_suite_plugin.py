"""A suite in its own process: collected by pytest itself, on the machine under test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.errors import ConnectError
from bakery.imagefile.suites import Suites
from bakery.smoke.suites import plugin
from tests.unit.smoke.suites.child import SuiteChild, ends, make_child, of_type

SUITE = """
import pytest
import testinfra


@pytest.mark.slow
def test_slow(host):
    assert host.run("true").rc == 0


class TestNginx:
    @pytest.mark.parametrize("port", [80, 443])
    def test_port(self, host, port, word):
        assert host.check_output("echo %s", str(port)) == "two"
        assert (host.backend.get_hostname(), word) == ("192.0.2.7", "from conftest")


def test_fails(host):
    got = host.check_output("echo two")
    assert got == "three"
"""
CONFTEST = """
import pytest


@pytest.fixture(scope="session")
def word():
    return "from conftest"


@pytest.fixture(scope="module", autouse=True)
def always(host):
    yield host.backend.get_pytest_id()
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuiteChild:
    made = make_child(tmp_path, monkeypatch)
    made.answers["echo"] = (b"two\n", b"", 0)
    return made


def test_a_suite_is_collected_by_pytest_itself_with_classes_conftest_settings_and_parameters(child: SuiteChild) -> None:
    child.write(test_web=SUITE, conftest=CONFTEST, ini="[pytest]\nmarkers = slow\naddopts = --strict-markers\n")
    events = child.run()
    assert ends(events) == {
        "tests/test_web.py::test_slow[bakery://web-1]": "passed",
        "tests/test_web.py::TestNginx::test_port[bakery://web-1-80]": "passed",
        "tests/test_web.py::TestNginx::test_port[bakery://web-1-443]": "passed",
        "tests/test_web.py::test_fails[bakery://web-1]": "failed",
    }
    failure = next(event for event in events if event.get("outcome") == "failed")
    assert "'two' == 'three'" in failure["text"]
    assert (failure["file"], failure["line"]) == (str(child.folder / "tests/test_web.py"), 20)
    assert of_type(events, "done")["status"] == 1
    assert child.logins == [True], "one shell for all, as root"


def test_node_ids_and_pytests_own_arguments_choose(child: SuiteChild) -> None:
    child.write(test_web=SUITE, conftest=CONFTEST, ini="[pytest]\nmarkers = slow\n")
    assert len(ends(child.run("tests/test_web.py::TestNginx"))) == 2
    events = child.run("-m", "not slow", "-k", "not port")
    assert [*ends(events).values()] == ["failed"]
    assert of_type(events, "suite")["deselected"] == 3
    assert [*ends(child.run("--lf"))] == ["tests/test_web.py::test_fails[bakery://web-1]"], "pytest's cache is kept"
    assert not (child.folder / ".pytest_cache").exists()


def test_a_module_that_cannot_be_collected_is_an_error_and_one_that_skips_itself_is_none(child: SuiteChild) -> None:
    child.write(
        test_broken="import not_there\n",
        test_left="import pytest\npytest.skip('elsewhere', allow_module_level=True)\n",
    )
    events = child.run()
    assert ends(events) == {"tests/test_broken.py": "error", "tests/test_left.py": "skipped"}
    (broken,) = [event for event in events if event.get("outcome") == "error"]
    assert "No module named 'not_there'" in broken["text"]
    assert of_type(events, "done")["status"] == 2
    assert child.logins == [], "nobody connects for nothing"


def test_every_way_to_end_is_told_as_pytest_tells_it(child: SuiteChild) -> None:
    child.write(
        test_ends="""
        import pytest

        @pytest.fixture
        def broken():
            raise RuntimeError("no")

        @pytest.fixture
        def breaks_later():
            yield
            raise RuntimeError("later")

        def test_error(broken): pass
        def test_late(breaks_later): pass
        @pytest.mark.skip(reason="not here")
        def test_skip(): pass
        @pytest.mark.xfail(reason="known")
        def test_xfail(): assert 0
        @pytest.mark.xfail(strict=True)
        def test_xpass(): pass
        """
    )
    events = child.run()
    assert {name.rpartition("::")[2]: outcome for name, outcome in ends(events).items()} == {
        "test_error": "error",
        "test_late": "error",
        "test_skip": "skipped",
        "test_xfail": "skipped",
        "test_xpass": "failed",
    }
    texts = {event["test"].rpartition("::")[2]: event["text"] for event in events if event["type"] == "test"}
    assert (texts["test_skip"], texts["test_xfail"]) == ("not here", "known")


def test_hosts_of_a_module_are_the_machine_or_refused(child: SuiteChild) -> None:
    test = "testinfra_hosts = ['ssh://me@{}:22?sudo=true']\n\ndef test_it(host):\n    assert host.backend.sudo\n"
    child.write(test_own=test.format("web"), test_other=test.format("db"))
    events = child.run()
    assert ends(events)["tests/test_other.py"] == "error"
    (refused,) = [event for event in events if event.get("outcome") == "error"]
    assert "ssh://me@db:22?sudo=true: not known to be the machine" in refused["text"]
    assert "other_hosts" in refused["text"]
    child.options = Suites(hosts=("d*",))
    assert sorted(ends(child.run()).values()) == ["passed", "passed"]
    child.options = Suites(other_hosts="skip")
    assert sorted(ends(child.run()).values()) == ["passed", "skipped"]


def test_a_test_of_another_host_runs_there_by_choice(child: SuiteChild) -> None:
    child.options = Suites(other_hosts="run")
    child.write(
        test_here="testinfra_hosts = ['local://']\n\ndef test_it(host):\n    assert host.backend.NAME == 'local'\n"
    )
    assert ends(child.run()) == {"tests/test_here.py::test_it[local]": "passed"}
    assert ends(child.run("--hosts=web")) == {"tests/test_here.py::test_it[bakery://web-1]": "failed"}


def test_commands_run_in_the_login_shell_of_whoever_is_asked_for(child: SuiteChild) -> None:
    child.write(test_one="def test_it(host):\n    host.run('[[ 1 = 1 ]]')\n    host.run('setopt')\n")
    child.options = Suites(user="login")
    child.run()
    assert child.logins == [False]
    assert child.asked == [child.asked[0], "[[ 1 = 1 ]]", "setopt"]
    assert "getent passwd" in child.asked[0]
    child.options = Suites(login_shell=False)
    child.asked.clear()
    child.run()
    assert child.asked == ["[[ 1 = 1 ]]", "setopt"]


def test_text_that_is_no_utf8_is_an_error_as_with_testinfra(child: SuiteChild) -> None:
    child.answers["cat"] = (b"\xff", b"", 0)
    child.write(test_one="def test_it(host):\n    assert host.run('cat x; true').stdout\n")
    (event,) = [event for event in child.run() if event["type"] == "test"]
    assert event["outcome"] == "failed"
    assert "UnicodeDecodeError" in event["text"]


def test_secrets_are_taken_out_of_every_text(child: SuiteChild) -> None:
    child.secrets = {"pw": "hunter22hunter22"}
    child.write(
        test_one="def test_leaks(record_property):\n    print('it is hunter22hunter22')\n"
        "    record_property('key', 'hunter22hunter22')\n    assert 'hunter22hunter22' == 'x'\n",
        test_two="raise RuntimeError('hunter22hunter22')\n",
    )
    events = child.run("--continue-on-collection-errors")
    assert ends(events) == {"tests/test_two.py": "error", "tests/test_one.py::test_leaks": "failed"}
    assert "hunter22hunter22" not in json.dumps(events)
    assert "it is" in json.dumps(events)


def test_what_a_suite_depends_on_is_told(child: SuiteChild) -> None:
    (child.folder / "words.txt").write_text("two")
    child.write(
        helper="VALUE = 1\n",
        conftest="""
        import os
        from pathlib import Path
        import pytest

        WORDS = Path("words.txt").read_text()
        LEVEL = os.environ.get("LEVEL")

        @pytest.fixture
        def data():
            return Path("tests/data.txt").read_text()
        """,
        test_one="import helper\n\ndef test_it(host, data):\n    assert data\n",
        ini="[pytest]\n",
    )
    (child.folder / "tests/data.txt").write_text("x")
    read = {(kind, name) for kind, name, _ in of_type(child.run(), "read")["inputs"]}
    files = {
        str(Path(name).relative_to(child.folder))
        for kind, name in read
        if kind == "file" and Path(name).is_relative_to(child.folder) and Path(name).exists()
    }
    wanted = {"words.txt", "tests/helper.py", "tests/conftest.py", "tests/test_one.py", "tests/data.txt", "pytest.ini"}
    assert wanted - files == set()
    assert ("env", "LEVEL") in read
    assert ("file", str(child.folder / "conftest.py")) in read, "one that is made later counts"


def test_a_machine_out_of_reach_is_one_error_and_no_test(child: SuiteChild) -> None:
    child.error = ConnectError("cannot log in to box", why="refused", hint="look at it")
    child.write(test_web=SUITE, conftest=CONFTEST, ini="[pytest]\nmarkers = slow\n")
    events = child.run()
    assert ends(events) == {}
    assert of_type(events, "error")["what"] == "cannot log in to box"


def test_a_suite_that_asks_nothing_of_the_machine_does_not_connect(child: SuiteChild) -> None:
    child.write(test_one="def test_it():\n    pass\n")
    assert [*ends(child.run()).values()] == ["passed"]
    assert child.logins == []


def test_before_there_is_a_machine_tests_are_collected_and_none_runs(child: SuiteChild) -> None:
    child.write(test_web=SUITE, conftest=CONFTEST, ini="[pytest]\nmarkers = slow\n")
    events = child.run(collect_only=True)
    assert (ends(events), child.logins) == ({}, [])
    assert of_type(events, "done")["status"] == 0


def test_strict_answers_are_to_be_had(child: SuiteChild) -> None:
    child.write(test_one="def test_it(host):\n    assert type(host).__name__ == 'StrictHost'\n")
    assert [*ends(child.run()).values()] == ["failed"]
    child.options = Suites(strict_host=True)
    assert [*ends(child.run()).values()] == ["passed"]


def test_several_machines_of_the_image_are_there_for_tests_that_ask(child: SuiteChild) -> None:
    child.write(
        test_one="""
        def test_it(clones, host):
            assert [each.backend.get_hostname() for each in clones] == ["192.0.2.7", "192.0.2.8", "192.0.2.8"]
            assert [each.run("true").rc for each in clones] == [0, 0, 0]
            assert clones[0].backend.machine is host.backend.machine
            assert clones[1].backend.machine is not clones[2].backend.machine
        """
    )
    (alone,) = [event for event in child.run() if event["type"] == "test"]
    assert (alone["outcome"], "--clones 2" in alone["text"]) == ("skipped", True)
    child.clones = 2
    assert [*ends(child.run()).values()] == ["passed"]
    assert len(child.logins) == 4


def test_clones_may_be_named_as_hosts(child: SuiteChild) -> None:
    child.write(test_one="def test_it(host):\n    assert host.backend.get_hostname().startswith('192.0.2.')\n")
    child.clones = 2
    assert ends(child.run("--hosts=web,web-1.2,bakery://web-1.3")) == {
        "tests/test_one.py::test_it[bakery://web-1]": "passed",
        "tests/test_one.py::test_it[bakery://web-1.2]": "passed",
        "tests/test_one.py::test_it[bakery://web-1.3]": "passed",
    }


def test_machines_of_other_images_are_there_by_their_names(child: SuiteChild) -> None:
    child.write(
        test_one="""
        import pytest

        testinfra_hosts = ["db", "web", "cache"]

        def test_where(host, hosts):
            name = host.backend.get_pytest_id().rpartition("/")[2]
            assert host.backend.get_hostname() == {"db": "db", "web-1": "192.0.2.7"}[name]
            assert [*hosts] == ["web", "db"]
            assert hosts["db"].run("true").rc == 0

        def test_absent(hosts):
            hosts["cache"]

        def test_unknown(hosts):
            hosts["dbx"]
        """
    )
    child.nodes, child.absent = ("db",), ("cache",)
    assert {name.partition("::")[2]: outcome for name, outcome in ends(child.run()).items()} == {
        "test_where[bakery://db]": "passed",
        "test_where[bakery://web-1]": "passed",
        "test_absent": "skipped",
        "test_unknown": "failed",
    }


def test_the_plugin_is_nothing_by_itself(child: SuiteChild) -> None:
    child.write(test_one="def test_it():\n    pass\n")
    assert pytest.main(["-p", plugin.__name__, "-c", "/dev/null", str(child.folder / "tests")]) == 4
