"""The QEMU driver holds to the contract that every driver passes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.drivers.qemu import process
from bakery.drivers.qemu.driver import SPENT, QemuDriver
from bakery.drivers.qemu.source import Qemu
from bakery.model import Artifact, Source
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.contract import DriverContract, Exists

pytestmark = pytest.mark.live

PRINT_HOST_KEY = """\
#!/bin/sh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/tmp/made
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    grep '^ssh-ed25519' /tmp/made
    echo "-----END SSH HOST KEY KEYS-----"
} >/dev/console
"""


class TestQemuDriver(DriverContract):
    """The whole contract, with a guest that is up in seconds."""

    driver_class = QemuDriver

    @pytest.fixture
    def source(self) -> Source:
        cache = Path(os.environ.get("BAKERY_CACHE_DIR", Path.home() / ".cache" / "bakery"))
        disk = Artifact(driver="qemu", id=str(tiny_guest(cache / "tiny").absolute()), name="tiny", format="qcow2")
        return Qemu(base=disk, memory="256M", user_data=PRINT_HOST_KEY, host_key="console")

    @pytest.fixture
    def exists(self, tmp_path: Path) -> Exists:
        def look() -> set[str]:
            machines = {name for name, running in process.owned() if Path(running.cwd()).is_relative_to(tmp_path)}
            left = {str(path) for pattern in SPENT for path in tmp_path.glob(f"machines/*/{pattern}")}
            return machines | left | {str(path) for path in tmp_path.glob("images/*")}

        return look
