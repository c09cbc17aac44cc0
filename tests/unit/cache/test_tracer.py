"""What a step reads, and what it makes itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bakery.cache.inputs.tracer import Tracer


def test_a_file_without_a_name_makes_no_product_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("x")
    with Tracer(tmp_path) as tracer:
        with tempfile.TemporaryFile(dir=tmp_path):
            pass
        (tmp_path / "input").read_text()
    assert ("file", str(tmp_path / "input")) in tracer.read


def test_a_folder_that_was_there_is_no_product(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "input").write_text("x")
    with Tracer(tmp_path) as tracer:
        for name in ("old", "new"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "new" / "made").write_text("y")
        (tmp_path / "new" / "made").read_text()
        (tmp_path / "old" / "input").read_text()
    files = {name for _, name in tracer.read if Path(name).is_file()}
    assert files == {str(tmp_path / "old" / "input")}
