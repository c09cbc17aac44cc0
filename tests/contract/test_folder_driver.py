"""The folder cloud's driver holds to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.model import Source, Where
from bakery.testing.contract import DriverContract, Exists
from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.folder.driver import Folder, FolderDriver


class TestFolderDriver(DriverContract):
    """The whole contract, on a cloud in a folder."""

    driver_class = FolderDriver

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return Folder(base=None, cloud=str(tmp_path / "cloud"))

    @pytest.fixture
    def exists(self, tmp_path: Path) -> Exists:
        cloud = FolderCloud(tmp_path / "cloud")
        return lambda: {
            f"{kind} {record['name']}" for kind in ("keypairs", "machines", "images") for record in cloud.list(kind)
        }

    @pytest.fixture
    def where(self, tmp_path: Path) -> Where:
        return Where(settings={"cloud": str(tmp_path / "cloud")})
