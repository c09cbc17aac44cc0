"""Projects to be baked for real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from tests.live.baking import TINY, Project, shared


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with the tiny image, a cache of its own, and this host's bases in it."""
    made = Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"))
    made.write(TINY)
    yield made
    left = {thing for thing in made.left() if not thing.startswith("file ")}
    made.bake("gc")
    assert left == set(), "a test left something running"
