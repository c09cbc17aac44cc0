"""What `bake doctor` says of AWS where nobody can be asked."""

from __future__ import annotations

import sys

import pytest

from bakery.drivers.ec2 import check
from bakery.drivers.ec2.api.account import Ec2Clouds


def test_a_driver_without_its_library_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    (problem,) = check.doctor(Ec2Clouds(), offline=True)
    assert problem.fatal
    assert "[aws]" in problem.hint
