"""Nobody listens, or what is written has no room: the image's fate and the exit code stay what they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path
from typing import NoReturn

import pytest

from bakery.state.project import State

from .conftest import Done, Place

BAKE = '"$PYTHON" -m bakery'
LOST = "the results cannot be written to standard output"


def shell(place: Place, command: str) -> Done:
    """Run a command line in a shell that tells the exit code of the first of a pipe."""
    done = subprocess.run(
        ["bash", "-c", f"{command}\nexit ${{PIPESTATUS[0]}}"],
        cwd=place.folder,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert "defect" not in done.stderr + done.stdout
    return Done(done.returncode, done.stdout, done.stderr)


LOOKS = {
    f"{BAKE} list | true": 0,
    f"{BAKE} list >&-": 0,
    f"{BAKE} list >/dev/full": 9,
    f"{BAKE} list --json >/dev/full": 9,
    f"{BAKE} plan --format json >/dev/full": 9,
    f"{BAKE} --version >/dev/full": 9,
    f"{BAKE} nothing": 2,
    f"{BAKE} nothing 2>/dev/full": 2,
    f"{BAKE} nothing 2>&-": 2,
    f"{BAKE} nothing --format json >/dev/full": 2,
    f"{BAKE} list >&- 2>&- <&-": 0,
    f"{BAKE} report": 2,
}


@pytest.mark.parametrize("command", LOOKS)
def test_a_look_ends_as_it_should_wherever_its_output_goes(place: Place, secret: str, command: str) -> None:
    done = shell(place, command)
    assert done.code == LOOKS[command], done.err
    assert (LOST in done.err) == (">/dev/full" in command and "2>" not in command)


BUILDS = {
    ">&- 2>&- <&-": 0,
    "2>/dev/full": 0,
    ">/dev/full": 9,
    "--format json | head -n 1 >/dev/null": 0,
    "--format json >/dev/full": 9,
}


@pytest.mark.parametrize("streams", BUILDS)
def test_an_image_is_kept_whoever_listens(place: Place, secret: str, streams: str) -> None:
    done = shell(place, f"{BAKE} web-trixie --no-test {streams}")
    assert done.code == BUILDS[streams], done.err
    assert [image["name"] for image in json.loads(place.bake("images", "--json").out)["images"]] == ["web-trixie"]
    if "/dev/full" in streams and "2>" not in streams:
        assert LOST in done.err
        assert "`bake images` shows it" in done.err


@pytest.mark.parametrize("streams", [">/dev/full", "2>&-"])
def test_a_failure_keeps_its_exit_code(place: Place, secret: str, streams: str) -> None:
    text = (place.folder / "imagefile.py").read_text()
    place.write(text.replace('print("posted", artifact.name)', "raise OSError(28, 'no space')"))
    assert shell(place, f"{BAKE} web-trixie --no-test {streams}").code == 9
    assert shell(place, f"{BAKE} web-trixie --no-test --no-cache -v greeting=other {streams}").code == 7


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(place: Place, secret: str) -> None:
    text = (place.folder / "imagefile.py").read_text()
    place.write(
        text.replace('print("posted", artifact.name)', 'import os; os.write(1, b"astray"); os.write(2, b"astray")')
    )
    assert shell(place, f"{BAKE} web-trixie --no-test >&- 2>&-").code == 0
    for path in place.folder.rglob("*"):
        assert path.suffix == ".py" or not path.is_file() or b"astray" not in path.read_bytes(), path


def test_a_report_that_was_asked_for_and_has_no_room_is_no_success(place: Place, secret: str) -> None:
    mount = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    script = 'mkdir out && mount -t tmpfs -o size=4k none out && echo x >out/full && shift && exec "$@"'
    words = [sys.executable, "-m", "bakery", "web-trixie", "--no-test", "--junit", "out/junit.xml"]
    done = subprocess.run(
        [*mount, "sh", "-c", script, "sh", "sh", *words], cwd=place.folder, capture_output=True, text=True, check=False
    )
    if "mount: " in done.stderr or "unshare: " in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 9, done.stderr
    assert "junit.xml is not written any more: [Errno 28] No space left on device" in done.stderr
    assert done.stdout.startswith("i-")


def full(*_args: object) -> NoReturn:
    raise OSError(ENOSPC, os.strerror(ENOSPC))


def test_an_image_that_is_kept_is_not_called_failed_where_the_catalogue_has_no_room(
    place: Place, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(State, "add_image", full)
    done = place.bake("web-trixie", "--no-test")
    assert done.code == 9, done.err
    assert "the image is kept, but cannot be written into the catalogue: i-" in done.err
    image = done.out.strip()
    assert (place.folder.parent / "cloud/images" / image).is_dir()


def test_a_note_that_has_no_room_fails_no_image(place: Place, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(path: Path, to: Path) -> Path:
        return full() if to.name.startswith("artifact-") else real(path, to)

    real = Path.replace
    monkeypatch.setattr(Path, "replace", replace)
    done = place.bake("web-trixie", "--no-test")
    assert done.code == 0, done.err
    assert ".json is not written: [Errno 28]" in done.err
    assert "posted web-trixie" in done.err
