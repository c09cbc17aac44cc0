"""What GitHub Actions reads: annotations, folds and a summary, none of which a machine can forge.

Workflow commands: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting.github import GitHub, markdown
from bakery.reporting.run_state import RunState

COMMAND = re.compile(r"^::(\S+?)(?: (.*?))?::(.*)$")


def written(*told: e.Event, root: Path | None = None, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    reader = GitHub(stream, "verbose" if verbose else "normal", root=root)
    for event in told:
        reader.read(event)
    return stream.getvalue().split("\n")


def annotation(*told: e.Event, root: Path | None = None) -> tuple[str, dict[str, str], str]:
    """The one annotation of these events, read as GitHub's runner reads it."""
    (line,) = [line for line in written(*told, root=root) if line.startswith(("::error", "::warning"))]
    match = COMMAND.match(line)
    assert match is not None
    properties = dict(part.split("=", 1) for part in (match[2] or "").split(","))
    return match[1], {name: unescape(value) for name, value in properties.items()}, unescape(match[3])


def unescape(text: str) -> str:
    """The runner's ActionCommand.cs, `UnescapeData` and `UnescapeProperty`: the percent sign last."""
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


# ---- annotations ----------------------------------------------------------------------------------------------------


def test_an_error_is_marked_at_its_line() -> None:
    told = e.Failed(error="TaskError", what="task base: no", hint="mend it", location="images/imagefile.py:21")
    level, properties, text = annotation(told)
    assert level == "error"
    assert properties == {"file": "images/imagefile.py", "line": "21", "title": "TaskError"}
    assert text.splitlines()[0] == "error: task base: no"


def test_a_failed_test_is_marked_at_its_line() -> None:
    told = e.TestEnded(build="b", test="t[a,b]", outcome="failed", seconds=1, location="i.py:4", text="assert 1 == 2")
    assert annotation(told) == ("error", {"file": "i.py", "line": "4", "title": "b: t[a,b]"}, "assert 1 == 2")


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_a_test_that_did_not_fail_is_not_marked(outcome: str) -> None:
    told = e.TestEnded(build="b", test="t", outcome=outcome, seconds=1, location="i.py:4")  # type: ignore[arg-type]
    assert not [line for line in written(told) if line.startswith("::")]


@pytest.mark.parametrize(
    ("notice", "title", "text"),
    [
        (e.Notice(level="warning", message="no KVM"), "bake", "no KVM"),
        (e.Notice(level="warning", message="no KVM", hint="usermod", build="web"), "web", "no KVM\nusermod"),
    ],
)
def test_a_warning_is_marked_without_a_place(notice: e.Notice, title: str, text: str) -> None:
    assert annotation(notice) == ("warning", {"title": title}, text)


def test_what_is_no_warning_is_not_marked() -> None:
    assert not [line for line in written(e.Notice(message="fine")) if line.startswith("::")]


@pytest.mark.parametrize("location", ["", "imagefile.py", "imagefile.py:", ":", "imagefile.py:x"])
def test_an_error_without_a_line_is_marked_without_a_place(location: str) -> None:
    _, properties, _ = annotation(e.Failed(error="TaskError", what="no", location=location))
    assert properties == {"title": "TaskError"}


@pytest.mark.parametrize(
    ("root", "location", "file"),
    [
        ("", "imagefile.py:3", "images/imagefile.py"),
        ("", "../other.py:3", "images/../other.py"),
        ("images", "imagefile.py:3", "imagefile.py"),
        ("elsewhere", "imagefile.py:3", "imagefile.py"),
        (None, "imagefile.py:3", "imagefile.py"),
    ],
)
def test_a_place_is_named_from_the_workspace(
    root: str | None, location: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path / "images")
    told = e.Failed(error="TaskError", what="no", location=location)
    _, properties, _ = annotation(told, root=None if root is None else tmp_path / root)
    assert properties["file"] == file


words = st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"], include_characters="\n"), min_size=1, max_size=40
).filter(lambda text: text == text.strip())


@given(words, words)
def test_an_annotation_is_read_as_it_was_meant(title: str, text: str) -> None:
    _, properties, data = annotation(e.Notice(level="warning", build=title, message=text))
    assert (properties["title"], data) == (title, text)


# ---- folds, and what cannot be forged -------------------------------------------------------------------------------


def test_a_steps_output_is_folded_when_it_ends() -> None:
    lines = written(
        e.BuildStarted(build="b", steps=("base",)),
        e.StepStarted(build="b", step="base", index=0),
        e.Output(build="b", text="one\n::error::forged"),
        e.StepEnded(build="b", step="base", index=0, seconds=1),
    )
    at = lines.index("::group::[b] output of base")
    token = lines[at + 1].removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", token)
    assert lines[at + 2 : at + 6] == ["one", "::error::forged", f"::{token}::", "::endgroup::"]


def test_no_two_folds_end_with_the_same_word() -> None:
    steps: list[e.Event] = []
    for name in ("base", "nginx"):
        steps += [
            e.StepStarted(build="b", step=name, index=0),
            e.Output(build="b", text="x"),
            e.StepEnded(build="b", step=name, index=0, seconds=1),
        ]
    tokens = [line for line in written(*steps) if line.startswith("::stop-commands::")]
    assert len(set(tokens)) == 2


def test_a_step_that_wrote_nothing_has_no_fold() -> None:
    told = [e.StepStarted(build="b", step="s", index=0), e.StepEnded(build="b", step="s", index=0, seconds=1)]
    assert not [line for line in written(*told) if "group" in line]


@pytest.mark.parametrize(
    "text", ["::error::x", "  ::set-output name=a::b", "##[error]x", "a\n::stop-commands::y", "\t::x::"]
)
def test_no_word_of_a_machine_is_a_command(text: str) -> None:
    told = [
        e.Output(build="b", text=text),
        e.Notice(message=text),
        e.StepEnded(build="b", step="s", index=0, seconds=1, outcome="failed", reason=text),
        e.Waiting(build="b", what=text, seconds=60),
    ]
    for line in written(*told, verbose=True):
        assert "##[" not in line
        assert not re.match(r"\s*::", line)


# ---- the job's summary ----------------------------------------------------------------------------------------------


def board(*told: e.Event) -> RunState:
    state = RunState()
    for event in told:
        state.read(event)
    return state


def test_the_summary_is_a_table_with_a_row_a_build_and_each_failure_below() -> None:
    state = board(
        e.BuildEnded(build="web", outcome="ok", seconds=65, artifact={"id": "ami-1", "size": 2048}),
        e.Failed(build="db", error="TaskError", what="task base: ``` no"),
        e.BuildEnded(build="db", outcome="failed", seconds=2),
    )
    assert markdown(state).splitlines() == [
        "### bake",
        "",
        "| build | | time | phases | tests | image |",
        "|---|---|--:|---|---|---|",
        "| web | ok | 1:05 |  |  | ami-1  2.0 KiB |",
        "| db | failed | 2.0 s |  |  |  |",
        "",
        "```text",
        "error: db: task base: ''' no",
        "```",
        "",
    ]


@pytest.mark.parametrize("char", list("\\`*_[]<>|"))
def test_no_character_of_a_name_is_markup(char: str) -> None:
    text = markdown(board(e.BuildEnded(build=f"a{char}b", outcome="ok", seconds=1)))
    assert f"| a\\{char}b | ok |" in text


def test_the_summary_is_appended_to_what_other_steps_wrote(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    reader = GitHub(io.StringIO(), summary=path)
    reader.read(e.BuildEnded(build="web", outcome="ok", seconds=1))
    reader.close()
    assert path.read_text().startswith("before\n### bake\n")


def test_without_a_build_there_is_no_summary(tmp_path: Path) -> None:
    reader = GitHub(io.StringIO(), summary=tmp_path / "summary.md")
    reader.read(e.Failed(error="UsageError", what="no image"))
    reader.close()
    assert list(tmp_path.iterdir()) == []


# ---- what later steps may ask for -----------------------------------------------------------------------------------


def read_outputs(path: Path) -> dict[str, str]:
    """A step's outputs as GitHub's runner reads them: FileCommandManager.cs, with its heredocs."""
    lines = path.read_text().split("\n")
    found: dict[str, str] = {}
    while lines and lines[0]:
        name, end = lines.pop(0).split("<<")
        value: list[str] = []
        while (line := lines.pop(0)) != end:
            value.append(line)
        found[name] = "\n".join(value)
    return found


def made(build: str, name: str = "web") -> list[e.Event]:
    kept = e.ArtifactKept(build=build, name=name, id=f"/i/{name}.qcow2", sha256="ab" * 32, verdict="passed")
    return [kept, e.BuildEnded(build=build, outcome="ok", seconds=1)]


def gave(path: Path, *told: e.Event) -> dict[str, str]:
    reader = GitHub(io.StringIO(), output=path)
    for event in (e.RunStarted(run="r-1", folder="/runs/r-1"), *told):
        reader.read(event)
    reader.close()
    return read_outputs(path)


def test_a_single_image_is_an_output_by_itself(tmp_path: Path) -> None:
    found = gave(tmp_path / "out", *made("web@laptop"))
    images = json.loads(found.pop("images"))
    assert images == [
        {"build": "web@laptop", "name": "web", "id": "/i/web.qcow2", "sha256": "ab" * 32, "tests": "passed"}
    ]
    assert found == {
        "run": "r-1",
        "report": "/runs/r-1/report.html",
        "id": "/i/web.qcow2",
        "name": "web",
        "sha256": "ab" * 32,
    }


def test_of_several_images_there_is_a_list(tmp_path: Path) -> None:
    found = gave(tmp_path / "out", *made("web@laptop"), *made("db@laptop", "db"))
    assert [image["name"] for image in json.loads(found["images"])] == ["web", "db"]
    assert "id" not in found


def test_what_others_wrote_into_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine<<x\n1\nx\n")
    assert gave(tmp_path / "out", *made("web"))["mine"] == "1"


@given(name=words)
def test_no_name_can_give_another_output(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("o") / "out"
    assert set(gave(path, *made("web", name))) == {"images", "run", "report", "id", "name", "sha256"}


def test_a_cancelled_build_is_a_warning_and_no_error() -> None:
    told = e.Failed(error="Interrupted", what="interrupted by SIGTERM", build="web", exit_code=130)
    level, _, text = annotation(told)
    assert (level, text) == ("warning", "cancelled: web: interrupted by SIGTERM")
