"""Commands that make something, with the folder cloud: real commands in real namespaces, no machines."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bakery.redaction.redactor import Redactor

from .conftest import PASSWORD, Place


def ids(place: Place) -> list[str]:
    return [image["id"] for image in json.loads(place.bake("images", "--json").out)["images"]]


def test_bake_alone_builds_all_images_and_prints_their_ids(place: Place, secret: str) -> None:
    done = place.bake()
    assert done.code == 0, done.err
    names = {image["id"]: image["name"] for image in json.loads(place.bake("images", "--json").out)["images"]}
    assert [names[line] for line in done.out.splitlines()] == ["web-bookworm", "web-trixie"]
    assert "posted web-bookworm" in done.err
    assert "[web[release=trixie]@box] smoke, 1 of 1 tests passed: ok" in done.err


def test_a_name_alone_is_built(place: Place, secret: str) -> None:
    done = place.bake("web-trixie", "--no-test")
    assert done.code == 0
    assert "makes" not in done.out
    assert "smoke" not in done.err
    assert [i["name"] for i in json.loads(place.bake("images", "--json").out)["images"]] == ["web-trixie"]


def test_no_sink_ever_holds_the_secret(place: Place, secret: str) -> None:
    done = place.bake("web-trixie", "--verbose", "--junit", "out/junit.xml")
    assert done.code == 0, done.err
    assert "[secret password]" in done.err  # what the machine printed, and what the imagefile did
    assert "printed [secret password]" in done.err
    for text in (done.out, done.err, *_texts(place.folder)):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text


NASTY = {
    "quotes": 'it\'s "a" `$secret`',
    "several lines": "-----BEGIN KEY-----\nAb+/cdef0123456789==\nxy\nAb+/cdef0123456780==\n-----END KEY-----",
    "symbols": "100%&<b>/+?=é{}",
}
SHOWN = r"""
@bakery.task
def shows(m, v) -> None:
    text = v.password.reveal()
    m.run("cat; echo", input=v.password)
    m.run("base64", input="user:" + text)
    m.run("od -An -tx1 | tr -d ' \\n'; echo", input=v.password)
    m.run('set -x; : "$SECRET"; export -p | grep SECRET', env={"SECRET": v.password})
    m.run('while read -r line; do echo "$line"; sleep 0.2; done; echo $line', input=v.password)
    print(repr(text), text.encode(), json.dumps({"a": text}), html.escape(text), quote(text))
    logging.getLogger("some.library").warning("sent %s", text)
    raise ValueError(text)
"""


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("form", ["text", "json"])
def test_whatever_is_done_with_a_secret_no_sink_shows_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    secret = NASTY[name]
    monkeypatch.setenv("TEST_PASSWORD", secret)
    text = (place.folder / "imagefile.py").read_text().replace('print("printed", v.password.reveal())', "pass")
    imports = "import html\nimport json\nimport logging\nfrom urllib.parse import quote\n\nimport bakery\n"
    place.write(text.replace("import bakery\n", imports, 1).replace("@bakery.test", f"{SHOWN}\n\n@bakery.test", 1))
    done = place.shell("web-trixie", "--verbose", "--format", form)
    assert done.code == 7, done.err
    assert "task shows raises ValueError" in done.err
    assert "[secret password]" in done.err
    sinks = [done.out, done.err, *_texts(place.folder), place.bake("report", "--verbose").out]
    for known, _ in _forms(secret):
        for sink in sinks:
            assert known not in sink
    assert base64.b64encode(secret.encode()).decode()[8:-8] not in "".join("".join(sinks).split())


def _forms(secret: str) -> list[tuple[str, bytes]]:
    redact = Redactor()
    redact.add(secret, "x")
    return [(form.decode(), form) for _, form in redact.patterns() if len(form) >= 8]


def _texts(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


def test_events_go_to_standard_output_on_request(place: Place, secret: str) -> None:
    done = place.bake("--format", "json", "web-trixie")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[0]["type"] == "run-started"
    assert events[-1] == {**events[-1], "type": "run-ended", "exit_code": 0}
    kept = next(event for event in events if event["type"] == "artifact-kept")
    assert kept["id"] in ids(place)
    folder = Path(events[0]["folder"])
    assert (folder / "events.jsonl").read_text() == done.out
    assert (folder / "report.html").exists()
    ET.parse(folder / "junit.xml")  # noqa: S314  our own file


def test_a_failed_task_exits_7_and_shows_line_and_output(place: Place, secret: str) -> None:
    done = place.bake("web-trixie", "-v", "greeting=other")
    assert (done.code, done.out) == (7, "")
    assert "where:  imagefile.py:" in done.err
    assert "output: " in done.err
    assert "wrong" in done.err
    assert ids(place) == []


def test_a_failed_smoke_test_exits_8_and_keeps_nothing(place: Place, secret: str) -> None:
    text = (place.folder / "imagefile.py").read_text()
    place.write(text.replace("== v.greeting.replace", "!= v.greeting.replace"))
    done = place.bake("web-trixie")
    assert done.code == 8
    assert "FAILED: test motd at imagefile.py:" in done.err
    assert "assert 'hello' != 'hello'" in done.err
    assert ids(place) == []


def test_a_failed_post_step_exits_9_and_keeps_the_image(place: Place, secret: str) -> None:
    text = (place.folder / "imagefile.py").read_text()
    place.write(text.replace('print("posted", artifact.name)', "raise OSError(28, 'no space')"))
    done = place.bake("web-trixie")
    assert done.code == 9
    assert "no space" in done.err
    assert len(ids(place)) == 1


def test_a_kept_machine_can_be_visited_and_is_then_collected(
    place: Place, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.bake("web-trixie", "-v", "greeting=other", "--on-failure=keep").code == 7
    run = max(path.name for path in (place.folder / ".bakery/runs").iterdir())
    kept = subprocess.run(
        [sys.executable, "-m", "bakery", "ssh", run],
        cwd=place.folder,
        input="cat /etc/motd",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (kept.returncode, kept.stdout) == (0, "other")
    said = place.shell("ssh", run, "--", "sh", "-c", "echo 'a  b' >&2; exit 3")
    assert (said.code, said.err) == (3, "a  b\n")
    assert "was kept on purpose" in place.bake("gc").err
    swept = json.loads(place.bake("gc", run, "--json").out)
    assert [resource["kind"] for resource in swept["destroyed"]] == ["machine", "keypair"]
    assert place.bake("gc").err == "nothing was left behind\n"


def test_an_image_is_tested_again_and_visited(place: Place, secret: str) -> None:
    assert place.bake("web-trixie").code == 0
    done = place.bake("test", "web-trixie")
    assert done.code == 0, done.err
    assert "smoke, 1 of 1 tests passed" in done.err
    assert place.bake("test", "web-trixie", "-v", "greeting=other").code == 8
    shell = subprocess.run(
        [sys.executable, "-m", "bakery", "ssh", "web-trixie"],
        cwd=place.folder,
        input="cat /etc/motd",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shell.returncode, shell.stdout) == (0, "hello")
    line = place.shell("ssh", "web-trixie", "cat /etc/motd | tr l L; exit 4")
    assert (line.code, line.out) == (4, "heLLo")
    assert place.shell("ssh", "web-trixie", "--", "cat", "/etc/motd").code == 0


def test_images_are_shown_pruned_and_removed(place: Place, secret: str) -> None:
    for _ in range(2):
        assert place.bake("web-trixie", "--no-test", "--no-cache").code == 0
    old, new = ids(place)
    assert place.bake("prune", "--dry-run").out == f"would delete web-trixie  {old}\n"
    assert place.bake("prune", "--yes").out == f"deleted web-trixie  {old}\n"
    assert "ok" in place.bake("images", "--check").out
    assert place.bake("rm", "--yes", "web-trixie").out == f"deleted web-trixie  {new}\n"
    assert ids(place) == []


def test_a_file_that_a_task_fetches_is_fetched_by_every_build(place: Place, secret: str) -> None:
    text = (place.folder / "imagefile.py").read_text()
    place.write(text.replace('print("printed", v.password.reveal())', 'm.get("/etc/motd", "fetched.txt")'))
    fetched = place.folder / "fetched.txt"
    for _ in range(2):
        done = place.bake("web-trixie", "--no-test")
        assert done.code == 0, done.err
        assert fetched.read_text() == "hello"
        fetched.unlink()
    assert "it leaves fetched.txt on this host" in place.bake("why", "web-trixie").out


def test_a_run_is_reported_afterwards(place: Place, secret: str) -> None:
    place.bake("web-trixie", "-v", "greeting=other")
    done = place.bake("report")
    assert done.code == 0
    for part in ("FAILED: task 2/2 noisy", "verdict on", "report.html", "exit code 1"):
        assert part in done.out
    assert "exit code 7" in place.bake("report", "--list").out
    assert place.bake("report", "--as", "html").out.startswith("<!doctype html>")
    assert place.bake("report", "--as", "junit").out.startswith("<?xml")


def test_github_gets_annotations(place: Place, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(place.folder.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place.folder / "summary.md"))
    done = place.bake("web-trixie", "-v", "greeting=other")
    assert "::error file=project/imagefile.py,line=" in done.err
    assert "| failed |" in (place.folder / "summary.md").read_text()


def test_a_terminal_gets_live_lines_and_no_ids_twice(place: Place, secret: str) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bakery", "web-trixie"],
        cwd=place.folder,
        stdin=writer,
        stdout=writer,
        stderr=writer,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(writer)
    text = b"".join(iter(lambda: _read(reader), b"")).decode()
    assert process.wait() == 0, text
    assert "✓" in text
    assert "\x1b[2K" in text
    assert text.count(ids(place)[0]) == 2  # told when it is kept, and at the end
    assert PASSWORD not in text


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except OSError:  # Linux: the other end is closed
        return b""
