"""What a guest's state means."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.drivers.qemu.power import _refuse, forwarded_port, must_run, panicked
from bakery.errors import DriverError, NotYet
from bakery.model import Handle, Resource

TABLE = (
    "Hub -1 (net):\r\n"
    "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
    "  TCP[ESTABLISHED]   15       127.0.0.1 38667       10.0.2.15    22     0     0\r\n"
    "  TCP[HOST_FORWARD]  14       127.0.0.1 46217       10.0.2.15    22     0     0\r\n"
)


class Answers:
    """A monitor that gives one answer."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def ask(self, command: str, **arguments: object) -> object:  # noqa: ARG002  the same for every question
        return self.answer


@pytest.fixture
def handle(tmp_path: Path) -> Handle:
    (tmp_path / "serial.log").write_text("Kernel panic - not syncing\n")
    return Handle(driver="qemu", id="m", resource=Resource(driver="qemu", kind="machine", key="m"), folder=tmp_path)


@pytest.mark.parametrize("status", ["running", "paused", "prelaunch", "inmigrate", "postmigrate"])
def test_a_guest_that_may_yet_run_is_waited_for(handle: Handle, status: str) -> None:
    _refuse(status, handle)


@pytest.mark.parametrize(
    ("status", "what"), [("shutdown", "powered itself off"), ("internal-error", "stopped: internal-error")]
)
def test_a_guest_that_will_never_run_ends_the_wait_with_its_console(handle: Handle, status: str, what: str) -> None:
    with pytest.raises(DriverError, match=what) as caught:
        _refuse(status, handle)
    assert "Kernel panic" in caught.value.why


def test_the_port_is_that_of_the_forward_and_not_of_a_connection() -> None:
    assert forwarded_port(Answers(TABLE)) == 46217  # type: ignore[arg-type]  # it only answers


def test_without_a_forward_there_is_no_port_yet() -> None:
    with pytest.raises(NotYet, match="no port"):
        forwarded_port(Answers(TABLE.splitlines()[1]))  # type: ignore[arg-type]  # the same


PANIC = "[ 0.04] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---"


def test_a_kernel_that_panicked_ends_the_wait_at_once_with_a_diagnosis(handle: Handle) -> None:
    assert handle.folder is not None
    (handle.folder / "serial.log").write_text(f"Linux version 6.1\n{PANIC.replace('---[ end ', '')}\n{PANIC}\n")
    with pytest.raises(DriverError, match="did not find its root disk") as caught:
        must_run(Answers({"status": "running"}), handle)  # type: ignore[arg-type]  # it only answers
    assert "disk_bus" in caught.value.hint


@pytest.mark.parametrize(
    ("after", "ended"), [((), True), (("Rebooting in 5 seconds..",), False), (("Linux version 6.1",), False)]
)
def test_a_kernel_that_restarts_after_a_panic_is_waited_for(after: tuple[str, ...], ended: bool) -> None:
    assert panicked(["Booting", PANIC, *after]) is ended
