"""Other people's programs: what they are given and may not inherit, their last words, their limits and their end."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import DriverError, Interrupted
from bakery.util import process, tools
from bakery.util.context import WorkContext
from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.tools import LINE, reading, run
from bakery.util.waiting import Cancel
from tests.unit.programs import Programs, Started, says


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    return WorkContext(cache=tmp_path, redact=lambda text: text.replace("hunter22", "***"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for what never comes."""
    for name in ("PATIENCE", "GRACE"):
        monkeypatch.setattr(process, name, 0.05)
    monkeypatch.setattr(process, "POLL", 0.01)
    monkeypatch.setattr(tools, "GRACE", 0.05)


def test_what_a_tool_writes_is_returned_and_each_line_that_it_says_is_heard(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    Programs.install(monkeypatch, mkfs=says(b"made\n", b"one\ntwo\nno end"))
    assert run(["mkfs", "x"], work, what="a test", on_line=heard.append) == b"made\n"
    assert heard == ["one", "two", "no end"]


@pytest.mark.parametrize("as_file", [True, False])
def test_its_input_is_bytes_or_a_file(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_file: bool
) -> None:
    def cat(program: Started) -> int:
        program.out(program.read())
        return 0

    (tmp_path / "given").write_bytes(b"words" * 50_000)
    Programs.install(monkeypatch, cat=cat)
    given = tmp_path / "given" if as_file else b"words" * 50_000
    assert run(["cat"], work, what="a test", stdin=given) == b"words" * 50_000


def test_a_failure_has_its_command_line_how_it_ended_its_last_words_and_no_secret(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "".join(f"line {number}\n" for number in range(40)) + "\n  \nhunter22 is wrong\n"
    Programs.install(monkeypatch, mkfs=says(b"out", said.encode(), 3))
    with pytest.raises(DriverError) as raised:
        run(["mkfs", "a b"], work, what="making it", hint="buy some")
    assert (raised.value.what, raised.value.hint) == ("making it failed", "buy some")
    first, *last = raised.value.why.splitlines()
    assert first == "mkfs 'a b' ended with exit code 3"
    assert last[-1] == "*** is wrong"
    assert last[0] == "line 28"
    assert "" not in last


@pytest.mark.parametrize(
    ("code", "how"), [(-9, "was ended by SIGKILL"), (-40, "was ended by signal 40"), (1, "ended with exit code 1")]
)
def test_what_it_wrote_stands_for_what_it_did_not_say(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch, code: int, how: str
) -> None:
    Programs.install(monkeypatch, mkfs=says(b"no flour\n", b"", code))
    with pytest.raises(DriverError) as raised:
        run(["mkfs"], work, what="making it")
    assert raised.value.why == f"mkfs {how}\nno flour"


def test_other_exit_codes_can_be_right(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    Programs.install(monkeypatch, e2fsck=says(b"mended", b"", 1))
    assert run(["e2fsck"], work, what="a test", accept=(0, 1)) == b"mended"


def test_a_tool_that_is_not_there_is_named(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    Programs.install(monkeypatch)
    with pytest.raises(DriverError, match="making it: mkfs is not installed") as raised:
        run(["mkfs", "x"], work, what="making it", hint="apt install it")
    assert (raised.value.why, raised.value.hint) == ("mkfs x", "apt install it")
    assert [(p.what, p.hint) for p in tools.missing({"mkfs": "e2fsprogs"})] == [
        ("mkfs is not installed", "apt install e2fsprogs")
    ]


def test_one_that_takes_too_long_is_ended_with_its_children(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(program: Started) -> int:
        program.err(b"at 12 %")
        return program.hang()

    programs = Programs.install(monkeypatch, dd=slow)
    with pytest.raises(DriverError, match="copying: timed out") as raised:
        run(["dd"], work, what="copying", timeout=0.1)
    assert raised.value.why == "dd was ended after 0.1 s\nat 12 %"
    assert programs.signals[0] == "SIGTERM"


def test_one_that_does_not_hear_is_killed(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(program: Started) -> int:
        program.deaf = True
        return program.hang()

    programs = Programs.install(monkeypatch, dd=deaf)
    with pytest.raises(DriverError, match="timed out"):
        run(["dd"], work, what="copying", timeout=0.1)
    assert programs.signals == ["SIGTERM", "SIGKILL"]


def test_a_cancelled_build_ends_it(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = Cancel()

    def cancelled(program: Started) -> int:
        cancel.set("Ctrl-C")
        return program.hang()

    programs = Programs.install(monkeypatch, dd=cancelled)
    with pytest.raises(Interrupted):
        run(["dd"], WorkContext(cache=work.cache, cancel=cancel), what="copying")
    assert "SIGTERM" in programs.signals


def test_one_that_writes_without_end_is_ended(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def yes(program: Started) -> int:
        while not program.ended.is_set():
            program.out(b"y\n" * 1000)
        return -15

    Programs.install(monkeypatch, yes=yes)
    with pytest.raises(DriverError, match=r"yes wrote more than 1.0 MiB, and was ended"):
        run(["yes"], work, what="agreeing", most=1 << 20)


def test_a_progress_bar_without_line_breaks_is_not_kept_whole(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    Programs.install(monkeypatch, dd=says(b"", b"x" * (3 * LINE) + b"end"))
    run(["dd"], work, what="copying", on_line=heard.append)
    (line,) = heard
    assert line.endswith("xend")
    assert len(line) <= LINE


def test_what_it_left_running_with_its_pipes_is_ended_too(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves(program: Started) -> int:
        program.out(b"done")
        program.left = True
        return 0

    programs = Programs.install(monkeypatch, daemon=leaves)
    assert run(["daemon"], work, what="starting") == b"done"
    assert programs.signals[0] == "SIGTERM"


def test_this_host_s_settings_do_not_rule_what_ends_up_in_an_image(
    work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TAR_OPTIONS", "SOURCE_DATE_EPOCH", "LC_TIME", "APT_CONFIG"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("PATH", "/opt/bin")
    programs = Programs.install(monkeypatch, tar=says())
    run(["tar"], work, what="packing", env={"GZIP": "-1"})
    env = programs.started[0].options["env"]
    assert not {"TAR_OPTIONS", "SOURCE_DATE_EPOCH", "LC_TIME", "APT_CONFIG"} & set(env)
    assert (env["LC_ALL"], env["HTTPS_PROXY"], env["GZIP"]) == ("C.UTF-8", "http://proxy", "-1")
    assert env["PATH"] == "/opt/bin:/usr/local/sbin:/usr/sbin:/sbin"


def test_a_tool_dies_with_us_where_the_host_can_see_to_that(work: WorkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs.install(monkeypatch, tar=says(), setpriv=says())
    given: list[list[str]] = []

    def start(argv: list[str], **options: Any) -> Started:
        given.append(argv)
        return programs.start(argv, **options)

    monkeypatch.setattr("subprocess.Popen", start)
    run(["tar", "x"], work, what="packing")
    assert given == [["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", "tar", "x"]]


@pytest.mark.parametrize(
    ("user", "setpriv", "first", "spaces"),
    [(0, True, (), "setpriv"), (0, False, (), None), (1000, True, ("unshare", "--map-root-user"), None)],
)
def test_root_mounts_in_namespaces_of_its_own_and_everybody_else_is_in_one_anyhow(
    monkeypatch: pytest.MonkeyPatch, user: int, setpriv: bool, first: tuple[str, ...], spaces: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/setpriv" if setpriv else None)
    assert tools.root()[:2] == first
    assert (tools.alone() or (None,))[0] == spaces
    assert ("--kill-child" in tools.alone()) == bool(spaces)


# ---- output that is read as it comes ---------------------------------------------------------------------------------


def test_output_is_read_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Programs.install(monkeypatch, zstd=says(b"a disk"))
    with reading(["zstd", "-d"], what="unpacking") as output:
        assert output.read() == b"a disk"


def test_a_failure_is_told_at_its_end_with_the_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    Programs.install(monkeypatch, zstd=says(b"a di", b"zstd: premature end\n", 1))
    with pytest.raises(DriverError, match="unpacking failed") as raised, reading(["zstd"], what="unpacking") as output:
        output.read()
    assert raised.value.why == "zstd ended with exit code 1\nzstd: premature end"


def test_whoever_reads_no_further_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs.install(monkeypatch, zstd=lambda program: program.hang())
    with pytest.raises(RuntimeError, match="mine"), reading(["zstd"], what="unpacking"):
        raise RuntimeError("mine")
    assert programs.signals[0] == "SIGTERM"


def test_one_that_closes_its_output_and_goes_on_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def closes(program: Started) -> int:
        program._stdout.close()  # type: ignore[attr-defined]  # its own
        return program.hang()

    programs = Programs.install(monkeypatch, zstd=closes)
    with (
        pytest.raises(DriverError, match="closed its output and went on"),
        reading(["zstd"], what="unpacking") as output,
    ):
        output.read()
    assert "SIGTERM" in programs.signals


# ---- commands whose result is looked at ------------------------------------------------------------------------------


def test_a_command_s_result_is_its_code_and_its_words_whatever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, bytes]] = []
    Programs.install(monkeypatch, grep=says(b"out", b"err", 2), killed=says(code=-9))
    result = run_process(["grep"], cancel=Cancel(), on_output=lambda stream, data: heard.append((stream, data)))
    assert (result.command, result.exited, result.stdout, result.stderr) == ("grep", 2, "out", "err")
    assert sorted(heard) == [("stderr", b"err"), ("stdout", b"out")]
    assert run_process(["killed"], cancel=Cancel(), collect=False).exited == 137


def test_a_command_that_ran_out_of_time_has_what_it_said_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(program: Started) -> int:
        program.out(b"so far")
        return program.hang()

    Programs.install(monkeypatch, slow=slow)
    with pytest.raises(TimedOut) as raised:
        run_process(["slow"], cancel=Cancel(), timeout=0.1)
    assert (raised.value.result.exited, raised.value.result.stdout) == (-1, "so far")


def test_input_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    Programs.install(monkeypatch, true=says(b"ok"))
    assert run_process(["true"], cancel=Cancel(), input=b"x" * 1_000_000).stdout == "ok"
    assert threading.active_count() < 20
