"""What a worker says of its files leads nowhere else than below the project's state."""

from __future__ import annotations

import pytest

from bakery.build.cluster.connection import KnownWorker
from bakery.build.cluster.fetching import _files
from bakery.build.cluster.tries import Try


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("images/here/web.raw", ["images/here/web.raw"]),
        ("images//etc/passwd", ["images/etc/passwd"]),
        ("images/./web.raw", ["images/web.raw"]),
        ("images/../../web.raw", []),
    ],
)
def test_a_path_stays_below_the_projects_state(path: str, taken: list[str]) -> None:
    worker = KnownWorker(address="tcp://127.0.0.1:1", name="w", host="h", offer={})
    one = Try(number="1", worker=worker, skew=0.0, done={"files": [{"path": path, "size": 1}]})
    assert [file["path"] for file in _files(one)] == taken
