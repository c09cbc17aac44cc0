"""What we make of QEMU's own protocol library: its answers, its refusals, its silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import qemu.qmp
from qemu.qmp import ConnectError, ExecuteError, Message, QMPError
from qemu.qmp.models import ErrorResponse

from bakery.drivers.qemu.monitor import Monitor, QmpError
from bakery.errors import NotYet


class Client:
    """QEMU's client in memory."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.connect_error: Exception | None = None
        self.disconnect_error: Exception | None = None
        self.answer: Any = None
        self.logger: Any = None
        self.files: list[int] = []
        self.file_error: Exception | None = None

    async def connect(self, path: str) -> None:
        if self.connect_error:
            raise self.connect_error
        self.connected.append(path)

    async def disconnect(self) -> None:
        if self.disconnect_error:
            raise self.disconnect_error

    def send_fd_scm(self, descriptor: int) -> None:
        if self.file_error:
            raise self.file_error
        self.files.append(descriptor)

    async def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((command, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "silence":
            await asyncio.sleep(60)
        return self.answer


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(qemu.qmp, "QMPClient", lambda: client)
    return client


def refusal() -> ExecuteError:
    reply = Message({"error": {"class": "GenericError", "desc": "Device 'x' not found"}})
    return ExecuteError(ErrorResponse(reply), Message(), reply)


def test_a_question_is_asked_in_qmps_own_spelling(client: Client, tmp_path: Path) -> None:
    client.answer = {"status": "running"}
    with Monitor(tmp_path) as connected:
        assert connected.ask("migrate-set-parameters", max_bandwidth=1) == {"status": "running"}
    assert client.asked == [("migrate-set-parameters", {"max-bandwidth": 1})]
    assert client.connected == [str(tmp_path / "qmp.sock")]
    assert not client.logger.isEnabledFor(50)


@pytest.mark.parametrize("error", [ConnectError("no", OSError()), FileNotFoundError("no"), TimeoutError()])
def test_a_monitor_that_is_not_there_yet_is_asked_again(client: Client, tmp_path: Path, error: Exception) -> None:
    client.connect_error = error
    with pytest.raises(NotYet, match="does not answer yet"), Monitor(tmp_path):
        pytest.fail("nobody is there")


@pytest.mark.parametrize("error", [QMPError("x"), EOFError(), ConnectionResetError(), BrokenPipeError()])
def test_a_qemu_that_hung_up_has_not_answered(client: Client, tmp_path: Path, error: Exception) -> None:
    client.answer = client.disconnect_error = error
    with pytest.raises(NotYet, match="QEMU did not answer quit"), Monitor(tmp_path) as connected:
        connected.ask("quit")


def test_a_silent_qemu_is_not_waited_for_longer_than_told(client: Client, tmp_path: Path) -> None:
    client.answer = "silence"
    with pytest.raises(NotYet, match="did not answer stop"), Monitor(tmp_path, timeout=0.01) as connected:
        connected.ask("stop")


def test_a_refusal_is_an_error_with_qemus_own_words(client: Client, tmp_path: Path) -> None:
    client.answer = refusal()
    with pytest.raises(QmpError, match="QEMU refused blockdev-add") as raised, Monitor(tmp_path) as connected:
        connected.ask("blockdev-add")
    assert raised.value.why == "Device 'x' not found"


def test_a_file_is_handed_over_under_a_name(client: Client, tmp_path: Path) -> None:
    with Monitor(tmp_path) as opened:
        opened.give_file(7, "lan")
    assert (client.files, client.asked) == ([7], [("getfd", {"fdname": "lan"})])


def test_a_qemu_that_went_away_takes_no_file(client: Client, tmp_path: Path) -> None:
    client.file_error = OSError("broken pipe")
    with Monitor(tmp_path) as opened, pytest.raises(NotYet, match="did not take a file"):
        opened.give_file(7, "lan")
