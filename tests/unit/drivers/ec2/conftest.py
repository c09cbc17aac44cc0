"""An account's API as botocore's Stubber plays it, and the right to make things in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Ec2Cloud:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return Ec2Cloud(Ec2Account(region="eu-west-1", poll=0.01))


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return Claim(
        cache=tmp_path,
        run="r",
        build="web@aws",
        role="image",
        name="bakery-r-1",
        folder=tmp_path,
        images=tmp_path,
        keys=make_keys("test"),
        tags={},
        ledger=RecordingLedger(),
        driver="ec2",
    )
