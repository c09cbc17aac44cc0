"""What a worker says of tries that it does not know."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bakery.build.cluster.host import BuildHost
from bakery.errors import UsageError


def test_a_try_whose_lease_was_over_is_not_taken(tmp_path: Path) -> None:
    """What it made is destroyed: a client that came too late must make the image again."""
    host = BuildHost(tmp_path / "worker", tmp_path / "cache", 1, print)
    assert asyncio.run(host.settle("c0ffee", "")) is False
    with pytest.raises(UsageError, match="no build c0ffee is known here"):
        asyncio.run(host.get("c0ffee", "images/web.raw", 0))
