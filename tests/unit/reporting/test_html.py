"""The page of a run: what is on it, where, and how often."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting import charts, evidence
from bakery.reporting.html import page
from bakery.reporting.run_index import RunLine, index
from bakery.reporting.run_state import RunState

from . import gallery
from .gallery import BAD, GOOD, OLD


class Outline(HTMLParser):
    """A page's elements and its text, with tags that do not match noticed."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Outline:
    """The page of a run that has everything."""
    return Outline(page(gallery.run(tmp_path_factory.mktemp("run"))))


# ---- what is on it --------------------------------------------------------------------------------------------------


def test_what_failed_comes_first_and_once(shown: Outline) -> None:
    assert shown.text.split("\n", 1)[0] == ""
    heads = [shown.text.rindex(f"\n{name}") for name in (BAD, OLD, GOOD)]
    assert heads == sorted(heads)
    assert shown.text.count('assert host.socket("tcp://0.0.0.0:80").is_listening') == 1
    bad = shown.text[heads[0] : heads[1]]
    assert bad.index("nginx_answers") < bad.index("1 of 3 smoke tests failed") < bad.index("Time")


def test_the_screen_and_the_console_are_in_the_page(shown: Outline) -> None:
    (picture,) = shown.of("img")
    assert str(picture["src"]).startswith("data:image/png;base64,")
    assert picture["alt"]
    assert "Reached target Multi-User System" in shown.text


@pytest.mark.parametrize(
    "part",
    [
        "✗ 1 of 3 builds failed",
        "bake web db -v workers=... --jobs 2",
        "Linux 6.1.0-13-amd64 x86_64, 2 processors",
        "1f2e3d4c5b6a79880716253443526170f1e2d3c4+",
        "because files/site.conf changed; variable workers: 4 -> 8",
        "2 of 3 tests passed, 1 skipped",
        "no certificate here",
        "3 of 3 tests passed, 1 skipped; the image's file was inspected",
        "tcg",
        "Debian(suite='trixie')",
        "312 packages, compared with web-trixie",
        "openssl 3.0.11-1~deb12u2 -> 3.0.13-1~deb12u1",
        "workers = 8 (-v)",
        "admin_password = (secret) (environment)",
        "networking.service",
        "machines are emulated",
        "ab12" * 16,
        "392.9 MiB",
    ],
)
def test_the_page_has_what_one_asks_weeks_later(shown: Outline, part: str) -> None:
    assert part in shown.text


def test_a_digest_is_whole_and_can_be_copied(shown: Outline) -> None:
    assert {button.get("data-copy") for button in shown.of("button")} == {"ab12" * 16, "cd" * 32}


def test_a_run_in_which_nothing_had_changed_says_so() -> None:
    board = RunState()
    for event in (
        e.RunStarted(),
        e.BuildEnded(build="b", outcome="cached", seconds=0),
        e.RunEnded(seconds=0, exit_code=0),
    ):
        board.read(event)
    assert "✓ nothing had changed" in Outline(page(board)).text


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ([], "unfinished"),
        ([e.RunEnded(seconds=1, exit_code=130)], "! cancelled"),
        ([e.Failed(error="PreflightError", what="no"), e.RunEnded(seconds=1, exit_code=4)], "✗ failed"),
        ([e.BuildEnded(build="b", outcome="ok", seconds=1), e.RunEnded(seconds=1, exit_code=0)], "✓ 1 image made"),
    ],
)
def test_how_a_run_ended_is_its_headline(told: list[e.Event], verdict: str) -> None:
    board = RunState()
    for event in (e.RunStarted(), *told):
        board.read(event)
    assert verdict in Outline(page(board)).text


def test_a_file_that_is_there_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagefile.py").touch()
    folder = tmp_path / ".bakery/runs/r"
    links = [attributes["href"] for attributes in Outline(page(gallery.run(folder))).of("a")]
    assert "../../../imagefile.py#L52" in links
    (tmp_path / "imagefile.py").unlink()
    shown = Outline(page(gallery.run(tmp_path / "other")))
    assert not [attributes for attributes in shown.of("a") if "imagefile" in str(attributes["href"])]
    assert "imagefile.py:52" in shown.text


# ---- what it may do -------------------------------------------------------------------------------------------------


def test_the_page_loads_nothing_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    text = page(gallery.run(tmp_path / "run"))
    assert not re.search(r"https?:|@import|url\(|<link|<script ", text)
    (script,) = re.findall(r"(?s)<script>(.*?)</script>", text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        attributes["content"]
        for attributes in Outline(text).of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_nobodys_words_become_markup(text: str) -> None:
    board = RunState()
    for event in (
        e.RunStarted(command=text, host=text),
        e.BuildStarted(build=f"b{text}", driver=text, base=text, values=(text,), steps=(text,), commit=text),
        e.MachineStarted(build=f"b{text}", role="build", details=(text,)),
        e.StepStarted(build=f"b{text}", step=text, index=0, location=text),
        e.Output(build=f"b{text}", text=text),
        e.StepEnded(build=f"b{text}", step=text, index=0, seconds=1, outcome="failed", reason=text),
        e.TestEnded(build=f"b{text}", test=text, outcome="failed", seconds=1, location=text, text=text),
        e.PackagesListed(build=f"b{text}", count=1, before=text, added=(text,)),
        e.BootTimed(build=f"b{text}", stages=((text, 1.0),), units=((text, 0.5, 0.2),)),
        e.Failed(build=f"b{text}", error=text, what=text, why=text, hint=text),
        e.Notice(level="warning", message=text, hint=text),
    ):
        board.read(event)
    allowed = {tag for tag, _ in Outline(page(gallery.run())).elements}
    assert {tag for tag, _ in Outline(page(board)).elements} <= allowed | {"img", "figure", "figcaption"}


# ---- evidence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "there"), [(gallery.PIXEL, True), (b"GIF89a", False), (gallery.PIXEL + bytes(evidence.LARGEST), False)]
)
def test_only_a_picture_of_a_fitting_size_is_shown(tmp_path: Path, data: bytes, there: bool) -> None:
    place = tmp_path / "failures" / "web-box"
    place.mkdir(parents=True)
    (place / "screen.png").write_bytes(data)
    assert bool(evidence.of_build(str(tmp_path), "web@box").screen) == there


def test_of_a_long_console_the_end_is_shown(tmp_path: Path) -> None:
    place = tmp_path / "failures" / "web-box"
    place.mkdir(parents=True)
    (place / "console.log").write_text("".join(f"\x1b[1mline {number}\r\n" for number in range(1000)))
    ((title, text),) = evidence.of_build(str(tmp_path), "web@box").texts
    assert title == "the machine's console"
    assert (len(text.splitlines()), text.splitlines()[-1]) == (evidence.LINES, "line 999")


def test_without_a_folder_there_is_no_evidence() -> None:
    assert evidence.of_build("", "web@box") == evidence.Evidence()


# ---- charts ---------------------------------------------------------------------------------------------------------


@given(st.floats(0.001, 1e6))
def test_an_axis_has_a_few_ticks_from_zero_on(total: float) -> None:
    found = charts.ticks(total)
    assert found[0] == charts.Tick(0, "0")
    assert 1 <= len(found) <= max(charts.TICKS + 1, total / charts.STEPS[-1] + 2)
    assert all(0 <= tick.left <= 100.0001 for tick in found)


@pytest.mark.parametrize(
    ("total", "texts"),
    [
        (3, ["0", "0.5 s", "1 s", "1.5 s", "2 s", "2.5 s", "3 s"]),
        (96, ["0", "15 s", "30 s", "45 s", "1:00", "1:15", "1:30"]),
        (7000, ["0", "20:00", "40:00", "1:00:00", "1:20:00", "1:40:00"]),
    ],
)
def test_ticks_are_round_figures(total: float, texts: list[str]) -> None:
    assert [tick.text for tick in charts.ticks(total)] == texts


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1, 100))
def test_a_bar_stays_in_its_chart_and_can_be_seen(began: float, seconds: float, total: float) -> None:
    made = charts.bar("b", began, seconds, total)
    assert made.width >= charts.NARROWEST
    assert made.left >= 0
    assert made.left + made.width <= 100.02


def test_units_of_a_boot_count_from_the_kernels_start() -> None:
    boot = e.BootTimed(
        build="b", stages=(("firmware", 4.0), ("kernel", 2.0), ("userspace", 4.0)), units=(("a.service", 3.0, 1.0),)
    )
    chart = charts.boot_chart(boot)
    assert chart.total == 10
    assert [(bar.name, bar.left, bar.width) for bar in chart.stages] == [
        ("firmware", 0, 40),
        ("kernel", 40, 20),
        ("userspace", 60, 40),
    ]
    assert [(bar.left, bar.width) for bar in chart.units] == [(70, 10)]


# ---- all runs -------------------------------------------------------------------------------------------------------


def test_the_page_over_all_runs_has_the_newest_first_and_leads_to_reports() -> None:
    text = index(
        "images",
        [
            RunLine(id="r-1", link="runs/r-1/report.html", state="ok", started=0.5, seconds=50, builds=["web@box"]),
            RunLine(id="r-2", link="", state="killed"),
            RunLine(id="r-3", link="runs/r-3/report.html", state="exit code 8", started=9.5, seconds=100),
        ],
    )
    shown = Outline(text)
    assert re.findall(r"r-\d", shown.text) == ["r-3", "r-2", "r-1"]
    assert [attributes["href"] for attributes in shown.of("a")] == ["runs/r-3/report.html", "runs/r-1/report.html"]
    assert "3 runs, the newest first; 1 ok, 1 failed" in shown.text
    assert [attributes.get("style") for attributes in shown.of("i")] == ["left:0;width:100.0%", "left:0;width:50.0%"]


def test_without_runs_the_page_says_so() -> None:
    assert "There is no run yet." in Outline(index("images", [])).text
