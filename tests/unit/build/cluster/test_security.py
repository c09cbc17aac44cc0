"""Addresses and certificates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bakery.build.cluster.cluster_run import lease_of
from bakery.build.cluster.security import Certificates, check_address, is_encrypted, is_loopback, security
from bakery.errors import PreflightError, UsageError


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tls://scheduler.example:8786", "tcp://[::1]:8786"])
def test_an_address_is_taken(address: str) -> None:
    assert check_address(address, "--on") == address


@pytest.mark.parametrize(
    "address", ["scheduler", "scheduler:8786", "http://x:1", "tcp://x", "tcp://:8786", "tcp://x:no"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--on"):
        check_address(address, "--on")


def test_what_never_leaves_the_host_is_known() -> None:
    assert is_loopback("tcp://127.0.0.1:1")
    assert is_loopback("tls://localhost:1")
    assert not is_loopback("tcp://10.0.0.1:1")
    assert is_encrypted("tls://x:1")
    assert not is_encrypted("tcp://x:1")


def test_tls_without_certificates_is_refused_with_what_names_them(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as raised:
        security("tls://x:1", Certificates())
    assert "--tls-ca-file" in raised.value.hint
    with pytest.raises(PreflightError, match="no certificate at"):
        security("tls://x:1", Certificates(ca=tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "soon", "0", "2"])
def test_a_lease_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="BAKERY_CLUSTER_LEASE"):
        lease_of({"BAKERY_CLUSTER_LEASE": text})
    assert lease_of({}) == 60.0


def test_without_dask_it_is_said_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PreflightError) as raised:
        security("tcp://x:1", Certificates())
    assert "[cluster]" in raised.value.hint
