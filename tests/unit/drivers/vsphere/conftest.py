"""A vCenter in memory: what each object's properties are, and what each call answers. No socket."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.vsphere.api import center as centers
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.rest import RestSession
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine import endpoint
from bakery.redaction.secret import Secret
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel
from tests.unit.drivers.vsphere.in_memory import VIM, InMemory
from tests.unit.drivers.vsphere.rest_in_memory import RestInMemory

KEYS = make_keys("test")
ACCOUNT = VSphereAccount(server="vc.test", username="baker@vsphere.local")


class FakeSession:
    """A session that never ends by itself."""

    def __init__(self, stub: Any, content: Any) -> None:
        self.stub, self.content = stub, content
        self.logins = 1

    def login(self, before: int) -> None:
        """Log in anew."""
        self.logins = before + 1


class FakeStub:
    """What pyvmomi's managed objects call: each method answers what the test says, and is noted."""

    version = "vim.version.version11"

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, str, list[Any]]] = []

    def InvokeMethod(self, mo: Any, info: Any, args: list[Any]) -> Any:  # noqa: N802  pyvmomi's name
        """Answer one call, after pyvmomi has checked its arguments' types."""
        self.calls.append((info.wsdlName, mo._GetMoId(), args))
        if info.wsdlName not in self.answers:
            pytest.fail(f"an unforeseen call: {info.wsdlName} of {mo._GetMoId()}")
        answer = self.answers[info.wsdlName]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer) and not isinstance(answer, type):
            answer = answer(mo, *args)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def called(self, name: str) -> list[list[Any]]:
        """The arguments of all calls of a method."""
        return [args for method, _, args in self.calls if method == name]


class FakeCenter(VCenter):
    """A vCenter whose properties are a dictionary of the test's."""

    def __init__(self) -> None:
        stub = FakeStub()
        super().__init__(ACCOUNT, FakeSession(stub, None))  # type: ignore[arg-type]  # it is what a session is here
        object.__setattr__(self, "stub", stub)
        object.__setattr__(self, "known", {})

    def within(self, cancel: Cancel) -> VCenter:
        """The same: nothing waits here."""
        del cancel
        return self

    def properties(self, thing: Any, *paths: str) -> Any:
        """What the test wrote down; a list is one answer after the other."""
        values = self.known.get(moid(thing))  # type: ignore[attr-defined]  # set above, as the class is frozen
        if isinstance(values, list):
            values = values.pop(0) if len(values) > 1 else values[0]
        return None if values is None else {path: values[path] for path in paths if path in values}


@pytest.fixture
def center() -> Any:
    """A vCenter in memory: `known` are properties by id, `stub.answers` what methods answer."""
    return FakeCenter()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two attempts are tested by `retry` and `until` themselves."""
    monkeypatch.setattr(Cancel, "sleep", lambda self, _: self.check())
    for name in ("SERVER", "USER", "PASSWORD", "GUEST_PASSWORD"):
        monkeypatch.delenv(f"VSPHERE_{name}", raising=False)
    for name in ("URL", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"GOVC_{name}", raising=False)


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    folder = tmp_path / "claim"
    folder.mkdir()
    return Claim(
        cache=tmp_path,
        run="20261129-160627-1d7e",
        build="web@vsphere",
        role="build",
        name="bakery-20261129-160627-1d7e-1",
        folder=folder,
        images=tmp_path,
        keys=KEYS,
        tags={
            "bakery:run": "20261129-160627-1d7e",
            "bakery:build": "web@vsphere",
            "bakery:expires": "2100-01-01T00:00:00Z",
        },
        ledger=RecordingLedger(),
        driver="vsphere",
    )


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """The vCenter: its objects, what was asked, and the next faults."""
    api = InMemory()
    made = VIM.ServiceInstance

    def connect(account: VSphereAccount, password: Secret) -> centers.VSphereSession:
        monkeypatch.setattr(made, "RetrieveContent", lambda _: api.content)
        session = centers.VSphereSession(account, password, api)
        session.login()
        return session

    monkeypatch.setattr(centers, "connect", connect)
    monkeypatch.setattr(endpoint, "_answers", lambda _: True)
    for name, value in (("SERVER", "vc.test"), ("USER", "baker"), ("PASSWORD", "a password")):
        monkeypatch.setenv(f"VSPHERE_{name}", value)
    return api


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> RestInMemory:
    """The other API of the vCenter in memory."""
    server = RestInMemory()
    server.answers["GET /com/vmware/content/local-library"] = []
    monkeypatch.setattr(centers, "RestSession", partial(RestSession, transport=server.transport))
    return server


@pytest.fixture
def driver(api: InMemory) -> VSphereDriver:
    del api
    return VSphereDriver()
