"""What each reporter makes of one and the same run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from bakery import events as e
from bakery.reporting.bus import Reporter
from bakery.reporting.github import GitHub
from bakery.reporting.html import Html, page
from bakery.reporting.jsonl import JsonFile, JsonLines
from bakery.reporting.junit import JUnit, xml
from bakery.reporting.lines import Verbosity
from bakery.reporting.plain import Log
from bakery.reporting.replay import events
from bakery.reporting.terminal import Terminal

from .story import BAD, GOOD, story

PHASES = ("launch", "3.0", "s,", "provision", "6.0", "s,", "smoke", "2.0", "s")


def log(verbosity: Verbosity = "normal", text: str = "words") -> str:
    stream = io.StringIO()
    tell(Log(stream, verbosity), text=text)
    return stream.getvalue()


def tell(reader: Reporter, folder: str = "", text: str = "words") -> None:
    for event in story(folder, text):
        reader.read(event)
    reader.close()


def terminal(verbosity: Verbosity = "normal", width: int = 120) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    tell(Terminal(console, verbosity, clock=lambda: 1_763_821_264.5))
    return stream.getvalue()


# ---- the plain log --------------------------------------------------------------------------------------------------


def test_the_log_tells_what_begins_and_ends_with_time_and_build() -> None:
    lines = [line[9:] for line in log().splitlines()]  # without the clock, which depends on the time zone
    assert f"[{GOOD}] launch: ok (3.0 s)" in lines
    assert f"[{GOOD}] task 1/2 base, words: cached" in lines
    assert f"[{GOOD}] task 2/2 nginx ..." in lines
    assert f"[{GOOD}] task 2/2 nginx: ok (6.0 s)" in lines
    assert f"[{BAD}] FAILED: task 1/1 base, words (2.0 s)" in lines


def test_the_log_says_why_a_step_that_had_been_cached_ran_again() -> None:
    stream = io.StringIO()
    reader = Log(stream)
    for reason in ("files/site.conf changed", "never ran", ""):
        reader.read(e.StepEnded(build="b", step="nginx", index=0, seconds=2, reason=reason))
    shown = [line[9:] for line in stream.getvalue().splitlines()]
    assert shown == [
        "[b] post step nginx: ok (2.0 s), because files/site.conf changed",
        "[b] post step nginx: ok (2.0 s)",
        "[b] post step nginx: ok (2.0 s)",
    ]


def test_the_log_explains_a_failure_with_place_cause_output_and_hint() -> None:
    text = log()
    for part in (
        "where:  imagefile.py:21",
        "why:    first line\n          words",
        "output: E: words",
        "hint:   see words",
    ):
        assert part in text


def test_the_log_has_no_colours_and_draws_nothing_twice() -> None:
    assert "\x1b" not in log()
    assert "\r" not in log()


def test_output_of_commands_is_shown_on_request_only() -> None:
    assert "| Unpacking" not in log()
    assert "| Unpacking" in log("verbose")


def test_quiet_tells_of_failures_and_warnings_only() -> None:
    text = log("quiet")
    assert "launch" not in text
    assert "FAILED: task 1/1 base" in text
    assert "warning: words" in text
    assert "left behind" in text


def test_long_waits_are_mentioned() -> None:
    assert "waiting: SSH banner words, 7.0 s so far" in log()


def test_the_log_ends_with_a_table_of_builds_phases_and_images() -> None:
    table = log().splitlines()[-3:]
    assert table[0].split() == [GOOD, "ok", "20", "s", *PHASES]
    assert table[1].split() == ["/images/words.qcow2", "392.9", "MiB", "sha256:abababababab"]
    assert table[2].split()[:2] == [BAD, "failed"]


def test_a_machine_cannot_steer_the_terminal() -> None:
    text = log("verbose", "\x1b]0;title\x07\x1b[31mred\x1b[0m\x08\rover")
    assert not set("\x1b\x07\x08\r") & set(text)
    assert "over" in text


def test_an_image_that_was_up_to_date_is_shown_in_the_table_as_well() -> None:
    stream = io.StringIO()
    reader = Log(stream)
    reader.read(e.BuildEnded(build="b", outcome="cached", seconds=0, artifact={"id": "/web.qcow2", "size": 5000}))
    reader.read(e.RunEnded(seconds=0, exit_code=0))
    assert stream.getvalue().splitlines()[-1].split() == ["/web.qcow2", "4.9", "KiB"]


def test_skipped_tests_do_not_count_as_failed() -> None:
    stream = io.StringIO()
    reader = Log(stream)
    for outcome in ("passed", "passed", "skipped"):
        reader.read(e.TestEnded(build="b", test="t", outcome=outcome, seconds=0))
    reader.read(e.PhaseEnded(build="b", phase="smoke", seconds=1))
    assert "smoke, 2 of 2 tests passed, 1 skipped: ok" in stream.getvalue()


# ---- the terminal ---------------------------------------------------------------------------------------------------


def test_the_terminal_shows_finished_work_failures_and_the_closing_table() -> None:
    text = terminal()
    for part in (
        f"{GOOD} ✓ launch 3.0 s",
        "task 1/2 base, words cached",
        f"{BAD} failed",
        "imagefile.py:21",
        "✗ failed",
    ):
        assert part in text


def test_the_terminal_has_a_live_line_for_a_running_build() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    reader = Terminal(console, clock=lambda: 1_763_821_244.5)
    for event in list(story(text="words"))[:6]:
        reader.read(event)
    console.print(reader._render())
    row = next(line for line in reversed(stream.getvalue().splitlines()) if GOOD in line)
    reader.close()
    assert "launch" in row
    assert "waiting 12 s: SSH banner words" in row
    assert "9.0 s" in row


def test_an_images_path_can_be_copied_from_a_narrow_terminal() -> None:
    assert f"{GOOD}  /images/words.qcow2  392.9 MiB  sha256:abababababab\n" in terminal(width=30)


def test_the_terminal_is_given_away_and_taken_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    reader = Terminal(console)
    reader.read(e.RunStarted())
    with reader.paused() as given:
        assert given is console
        assert reader._live is None
    assert reader._live is not None
    reader.close()
    assert reader._live is None


# ---- JSON lines -----------------------------------------------------------------------------------------------------


def test_json_lines_are_one_object_an_event() -> None:
    stream = io.StringIO()
    tell(JsonLines(stream))
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [o["type"] for o in objects] == [event.type for event in story()]
    assert all(o["v"] == 1 and o["run"] for o in objects)


def test_a_runs_folder_gets_all_events_also_the_early_ones(tmp_path: Path) -> None:
    reader = JsonFile()
    reader.read(e.Notice(message="early"))
    tell(reader, str(tmp_path))
    assert list(events(tmp_path / "events.jsonl"))[1:] == list(story(str(tmp_path), "words"))


def test_events_are_read_back_without_a_torn_line_or_a_later_versions_kinds(tmp_path: Path) -> None:
    tell(JsonFile(), str(tmp_path))
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "from-the-future"}\n' + path.read_text() + '{"type": "step-st')
    assert list(events(path)) == list(story(str(tmp_path), "words"))


# ---- JUnit ----------------------------------------------------------------------------------------------------------


def test_junit_has_a_suite_for_each_build_and_a_case_for_each_test(tmp_path: Path) -> None:
    tell(JUnit(), str(tmp_path))
    good, bad, run = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  our own file
    assert dict(good.items()) == {
        "name": GOOD,
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
        "time": "20.000",
    }
    assert [case.get("name") for case in good] == ["nginx_runs", "answers[words]"]
    assert (good[1].get("file"), good[1].get("line")) == ("imagefile.py", "40")
    assert bad.get("errors") == "1"
    assert bad[0].get("name") == "base"
    assert "why:    first line" in (bad[0][0].text or "")
    assert run[0].get("name") == "CleanupError"


def test_junit_is_well_formed_whatever_a_test_prints() -> None:
    reader = JUnit()
    tell(reader, text="\x00\x1b[1m<&]]>\x0b\ud800\ufffe")
    assert b"&lt;&amp;]]&gt;" in xml(reader.board)
    ET.fromstring(xml(reader.board))  # noqa: S314  our own text


# ---- GitHub ---------------------------------------------------------------------------------------------------------


def github(tmp_path: Path, text: str = "words") -> str:
    stream = io.StringIO()
    tell(GitHub(stream, summary=tmp_path / "summary.md", root=Path.cwd()), text=text)
    return stream.getvalue()


def test_github_marks_the_users_lines(tmp_path: Path) -> None:
    lines = github(tmp_path, "a, b: 100%").splitlines()
    errors = [line for line in lines if line.startswith("::error ")]
    assert errors[0].startswith("::error file=imagefile.py,line=21,title=CommandFailed::error: ")
    assert "100%25%0A" in errors[0]
    assert errors[1] == (f"::error file=imagefile.py,line=40,title={GOOD}%3A answers[a%2C b%3A 100%25]::a, b: 100%25")


def test_output_is_folded_and_cannot_give_github_commands(tmp_path: Path) -> None:
    lines = github(tmp_path, "::set-output name=x::y").splitlines()
    start = lines.index(f"::group::[{GOOD}] output of nginx")
    token = lines[start + 1].removeprefix("::stop-commands::")
    assert lines[start + 2 : start + 6] == ["Unpacking", "::set-output name=x::y", f"::{token}::", "::endgroup::"]
    rest = lines[:start] + lines[start + 6 :]
    assert not any(line.strip().startswith("::set-output") for line in rest)
    assert any(": :set-output" in line for line in rest)


def test_the_jobs_summary_gets_the_table(tmp_path: Path) -> None:
    github(tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "| web@laptop | ok | 20 s |" in text
    assert r"| db\[release=bookworm\]@aws | failed |" in text


# ---- HTML -----------------------------------------------------------------------------------------------------------


def test_the_page_is_written_into_the_runs_folder_and_loads_nothing(tmp_path: Path) -> None:
    tell(Html(), str(tmp_path))
    text = (tmp_path / "report.html").read_text()
    assert not any(word in text for word in ("http:", "https:", "<script ", "<link", "<img", "@import", "url("))
    for part in (GOOD, BAD, "1 of 2 builds failed", "first line", "1 of 2 tests passed", "Unpacking"):
        assert part in text


def test_nothing_that_a_machine_writes_becomes_markup() -> None:
    reader = Html(Path("/dev/null"))
    tell(reader, text="<script>alert(1)</script>")
    assert "<script>alert" not in page(reader.board)
    assert "&lt;script&gt;" in page(reader.board)


@pytest.mark.parametrize("count", range(0, 25, 3))
def test_every_report_can_be_made_of_a_run_that_was_cut_off(count: int, tmp_path: Path) -> None:
    for reader in (
        Html(tmp_path / "r.html"),
        JUnit(tmp_path / "j.xml"),
        Log(io.StringIO()),
        Terminal(Console(file=io.StringIO())),
    ):
        for event in list(story())[:count]:
            reader.read(event)
        reader.close()
    ET.parse(tmp_path / "j.xml")  # noqa: S314  our own file
