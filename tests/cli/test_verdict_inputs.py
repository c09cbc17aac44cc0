"""A kept image is tested again when its tests would look at something else, and never for anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Place

IMAGEFILE = """
import os
from pathlib import Path

import pytest

import bakery
from bakery.testing.folder.driver import Folder
from library import borrowed

pytest_plugins = ["plugin"]


@bakery.variables
class Vars:
    limit: int = 3
    other: int = 4


@bakery.source
def here() -> Folder:
    return Folder(cloud="cloud")


@pytest.fixture
def local(deeper):
    return deeper


@pytest.fixture(params=["one"], name="deeper")
def fixture_of_another_name(request):
    return 10


@pytest.fixture
def unused():
    return 11


@pytest.fixture(autouse=True)
def always():
    yield 12


def test_nothing():  # none of the image's
    return 13


@bakery.test
@pytest.mark.parametrize("number", [1])
def looks(host, v, shared, local, number, borrowed, plugged, tmp_path):
    (tmp_path / "own").write_text("own")
    assert (tmp_path / "own").read_text() == "own"
    assert Path("data/expected.txt").read_text()
    assert os.environ.get("EXPECTED", "x")
    assert v.limit and v.__class__.__name__ == "Vars"


@bakery.image(builtin_tests=False)
def web(): ...
"""
FILES = {
    "library.py": "import pytest\n\n\n@pytest.fixture\ndef borrowed():\n    return 20\n",
    "plugin.py": "import pytest\n\n\n@pytest.fixture\ndef plugged():\n    return 30\n",
    "conftest.py": "import pytest\nfrom helper import VALUE\n\n\n@pytest.fixture\ndef shared():\n    return VALUE\n",
    "helper.py": "from pathlib import Path\n\nVALUE = Path('value.txt').read_text()\n",
    "value.txt": "1",
    "data/expected.txt": "1",
}


@pytest.fixture
def shop(empty: Place) -> Place:
    (empty.folder / "data").mkdir()
    empty.write(IMAGEFILE)
    for name, text in FILES.items():
        empty.write(text, name)
    assert empty.bake("build").code == 0
    assert build(empty) == "cached"
    return empty


def build(place: Place, *words: str) -> str:
    """Bake, and return what became of it: `ok` where tests ran, `cached` where the verdict stood."""
    done = place.bake("build", "--format", "json", *words)
    assert done.code == 0, done.err
    told: list[dict[str, Any]] = [json.loads(line) for line in done.out.splitlines()]
    (ended,) = [event["outcome"] for event in told if event["type"] == "build-ended"]
    assert any(event["type"] == "test-ended" for event in told) == (ended == "ok")
    assert not any(event.get("phase") == "capture" for event in told)
    return str(ended)


def replaced(place: Place, name: str, old: str, new: str) -> None:
    text = (place.folder / name).read_text()
    assert text.count(old) == 1
    place.write(text.replace(old, new), name)


CHANGES = [
    ("imagefile.py", '"number", [1]', '"number", [1, 2]'),
    ("imagefile.py", "return 10", "return 100"),
    ("imagefile.py", 'params=["one"]', 'params=["one", "two"]'),
    ("imagefile.py", "yield 12", "yield 120"),
    ("imagefile.py", "@bakery.image", 'pytestmark = pytest.mark.filterwarnings("error")\n\n\n@bakery.image'),
    ("imagefile.py", "builtin_tests=False", 'builtin_tests=["boot_is_finished"]'),
    ("imagefile.py", "builtin_tests=", "strict_host=False, builtin_tests="),
    ("imagefile.py", "builtin_tests=", "hygiene=False, builtin_tests="),
    ("library.py", "return 20", "return 200"),
    ("plugin.py", "return 30", "return 300"),
    ("conftest.py", "return VALUE", "return VALUE * 2"),
    ("helper.py", "VALUE =", "VALUE = 'x' +"),
    ("value.txt", "1", "2"),
    ("data/expected.txt", "1", "2"),
]


def test_what_decides_a_verdict_tests_a_kept_image_again(shop: Place) -> None:
    for name, old, new in CHANGES:
        replaced(shop, name, old, new)
        assert build(shop) == "ok", (name, new)
    assert build(shop) == "cached"


def test_a_variable_or_an_environment_variable_that_a_test_reads_tests_again(
    shop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(shop, "-v", "other=5") == "cached"
    assert build(shop, "-v", "limit=5") == "ok"
    assert build(shop, "-v", "limit=5") == "cached"
    monkeypatch.setenv("EXPECTED", "y")
    assert build(shop, "-v", "limit=5") == "ok"
    assert build(shop, "-v", "limit=5") == "cached"


def test_what_decides_nothing_tests_nothing_again(shop: Place) -> None:
    replaced(shop, "imagefile.py", "return 11", "return 110")
    replaced(shop, "imagefile.py", "return 13", "return 130")
    replaced(shop, "imagefile.py", "import os\n", "# a remark\nimport os\n")
    (shop.folder / "data/another.txt").write_text("x")
    assert build(shop) == "cached"


def test_make_learns_what_the_tests_read(shop: Place) -> None:
    done = shop.bake("build", "--depfile", "web.d")
    assert done.code == 0
    listed = {line.removesuffix(":") for line in Path("web.d").read_text().split("\n\n", 1)[1].split("\n") if line}
    assert {"plugin.py", "conftest.py", "helper.py", "value.txt", "data/expected.txt"} <= listed


def test_a_verdict_on_a_file_that_changed_under_the_test_does_not_stand(shop: Place) -> None:
    replaced(
        shop, "imagefile.py", "    assert v.limit", "    Path('data/expected.txt').write_text('3')\n    assert v.limit"
    )
    assert build(shop) == "ok"
    assert build(shop) == "ok"


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("imagefile.py", lambda text: text.replace('["plugin"]', '["nothing"]'), "No module named 'nothing'"),
        ("plugin.py", lambda text: "import sys\nsys.exit(0)\n" + text, "plugin.py:2: a plugin of pytest_plugins"),
    ],
)
def test_a_plugin_that_does_not_import_is_told(shop: Place, name: str, spoil: Callable[[str], str], words: str) -> None:
    shop.write(spoil((shop.folder / name).read_text()), name)
    done = shop.bake("build")
    assert done.code == 8
    assert words in done.err
    assert "defect" not in done.err


def test_why_says_that_only_tests_will_run(shop: Place) -> None:
    def why() -> str:
        (told,) = json.loads(shop.bake("why", "--json").out)["builds"]
        return str(told["tests"])

    assert why() == ""
    assert "web@here  nothing has changed" in shop.bake("why").out
    replaced(shop, "imagefile.py", "v.limit and", "v.limit == 3 and")
    assert why() == "a test or what it uses has changed"
    assert build(shop) == "ok"
    assert why() == ""
    shop.write("2", "data/expected.txt")
    assert "web@here  is tested: what its tests have read has changed" in shop.bake("why").out
    assert shop.bake("build", "--no-test", "--refresh").code == 0
    assert why() == "it was never tested"
