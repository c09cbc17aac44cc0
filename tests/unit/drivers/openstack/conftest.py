"""An OpenStack in memory under the real openstacksdk: no socket, but each request as it would have been sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.state.claim import Claim
from bakery.state.ssh_keys import Keys, make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel
from tests.contract.openstack_stand_in import Answer, InMemory, Request, StandIn

KEYS = make_keys("test")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The cloud's end: `seen` are the requests; `fault` answers in place of the truth."""
    api = StandIn()
    for name in ("OS_CLOUD", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in api.environment.items():
        monkeypatch.setenv(name, value)
    # The pauses between two attempts are tested by `retry` itself.
    monkeypatch.setattr(Cancel, "sleep", lambda self, _: self.check())
    return api


@pytest.fixture
def clouds(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> OpenStackClouds:
    opened = OpenStackClouds()
    get = OpenStackClouds.get

    def in_memory(self: OpenStackClouds, account: OpenStackAccount) -> OpenStackCloud:
        cloud = get(self, account)
        cloud.connection.session.session.mount("http://", InMemory(api))
        return cloud

    monkeypatch.setattr(OpenStackClouds, "get", in_memory)
    return opened


@pytest.fixture
def cloud(clouds: OpenStackClouds) -> OpenStackCloud:
    return clouds.get(OpenStackAccount())


@pytest.fixture
def keys() -> Keys:
    return KEYS


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    folder = tmp_path / "claim"
    folder.mkdir()
    return Claim(
        cache=tmp_path,
        run="20261122-160627-1d7e",
        build="web@cloud",
        role="build",
        name="bakery-20261122-160627-1d7e-1",
        folder=folder,
        images=tmp_path,
        keys=KEYS,
        tags={
            "bakery:run": "20261122-160627-1d7e",
            "bakery:build": "web@cloud",
            "bakery:expires": "2100-01-01T00:00:00Z",
        },
        ledger=RecordingLedger(),
        driver="openstack",
    )


@pytest.fixture
def sent(api: StandIn) -> Callable[..., list[Request]]:
    """The requests that begin with these words, as in `POST compute /servers`."""
    return lambda words="": [request for request in api.seen if str(request).startswith(words)]


@pytest.fixture
def script(api: StandIn) -> Callable[..., None]:
    """Answer the next requests that begin with these words in another way, one answer after the other."""
    scripts: list[tuple[str, Iterator[Answer | None]]] = []

    def fault(request: Request) -> Answer | None:
        for words, answers in scripts:
            if str(request).startswith(words):
                return next(answers, None)
        return None

    def add(words: str, *answers: Any) -> None:
        scripts.append((words, iter(answers)))
        api.fault = fault

    return add
