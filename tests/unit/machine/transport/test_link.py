"""The staged wait for a machine."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import bakery.machine.transport.ssh
from bakery.errors import ConnectError, DriverError, Interrupted, NotYet
from bakery.events import Event, Waiting
from bakery.machine.transport.connect import HostKeys, fingerprint
from bakery.machine.transport.link import Link
from bakery.machine.transport.stages import NotReached, Stage
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, interruptible

KEYS = Keys(user_private="", user_public="", host_private="", host_public="")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvGG21HjJVDlcCFDxIg5dN5PWAxZW7jar5jUoLyx5GH host"


class Wire:
    """Stands in for `SshTransport`: fails as told, then works."""

    def __init__(self, *failures: tuple[Stage, str]) -> None:
        self.failures = list(failures)
        self.alive = True
        self.closed = 0

    def __call__(self, *_: object) -> Wire:
        if self.failures:
            raise NotReached(*(self.failures.pop(0) if len(self.failures) > 1 else self.failures[0]))
        return self

    def close(self) -> None:
        self.alive = False
        self.closed += 1


def link(monkeypatch: pytest.MonkeyPatch, wire: Wire, events: list[Event] | None = None, console: str = "") -> Link:
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", wire)
    heard: list[Event] = [] if events is None else events
    work = WorkContext(cache=Path(), emit=heard.append)
    return Link(Endpoint, KEYS, work, console=lambda: console, timeout=0.3)


def test_a_machine_that_never_answers_is_explained_by_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectError) as raised:
        link(monkeypatch, Wire(("port", "connection refused")), console="udhcpc: no lease, failing\n").open()
    assert "no DHCP lease" in raised.value.what
    assert raised.value.why == "waited 0.3 s; stage: port"


def test_a_stage_is_named_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    with pytest.raises(ConnectError):
        link(monkeypatch, Wire(("port", "refused"), ("banner", "silent")), events).open()
    assert [event.what for event in events if isinstance(event, Waiting)] == ["port: refused", "banner: silent"]


def test_silence_is_told_while_it_lasts_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Wire):
        def __call__(self, *given: object) -> Wire:
            watch = given[-1]
            assert callable(watch)
            watch()
            watch()
            return self

    events: list[Event] = []
    link(monkeypatch, Silent(), events).open()
    said = ["banner: the machine boots, its SSH server does not answer yet"]
    assert [event.what for event in events if isinstance(event, Waiting)] == said


def test_a_dead_machine_ends_the_wait_at_once_with_its_last_words() -> None:
    def dead() -> Endpoint:
        raise DriverError("the machine is gone", why="qemu: out of memory")

    with pytest.raises(DriverError, match="out of memory"):
        Link(dead, KEYS, WorkContext(cache=Path()), timeout=60).open()


def test_a_machine_without_an_address_is_said_to_have_none() -> None:
    def none() -> Endpoint:
        raise NotYet("no address yet")

    with pytest.raises(ConnectError) as raised:
        Link(none, KEYS, WorkContext(cache=Path()), timeout=0.1).open()
    assert "no address yet" in raised.value.what
    assert "stage: address" in raised.value.why


def test_an_open_connection_is_used_again_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    way = link(monkeypatch, wire)
    assert way.open() is way.open()
    wire.alive = False
    assert not way.is_open
    way.open()
    assert wire.closed == 1


def test_a_cancelled_run_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = Cancel()
    cancel.set("Ctrl-C")
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Wire(("port", "refused")))
    with pytest.raises(Interrupted, match="Ctrl-C"):
        Link(Endpoint, KEYS, WorkContext(cache=Path(), cancel=cancel), timeout=60).open()


def test_an_unknown_transport_is_refused() -> None:
    with pytest.raises(ConnectError, match="winrm"):
        Link(lambda: Endpoint(transport="winrm"), KEYS, WorkContext(cache=Path())).open()


def test_a_console_that_cannot_be_read_does_not_hide_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise OSError("gone")

    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Wire(("port", "connection refused")))
    with pytest.raises(ConnectError, match="connection refused"):
        Link(Endpoint, KEYS, WorkContext(cache=Path()), console=broken, timeout=0.1).open()


def test_a_blocking_call_is_left_behind_and_its_late_result_discarded() -> None:
    cancel, gate, late = Cancel(), threading.Event(), threading.Event()
    threading.Timer(0.05, cancel.set, ["Ctrl-C"]).start()
    with pytest.raises(Interrupted):
        interruptible(lambda: gate.wait(10), cancel, discard=lambda _: late.set())
    gate.set()
    assert late.wait(5)


def test_clean_up_may_still_make_a_blocking_call_after_a_cancellation() -> None:
    cancel = Cancel()
    cancel.set("Ctrl-C")

    def call() -> str:
        cancel.check()
        return "done"

    with cancel:
        assert interruptible(call, cancel, discard=id) == "done"


def test_a_blocking_calls_error_is_raised_here() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        interruptible(fail, Cancel(), discard=id)


def test_an_endpoint_without_a_host_key_is_refused() -> None:
    with pytest.raises(ConnectError, match="host key"):
        HostKeys.of(Endpoint(host_key=""))


def test_only_the_type_of_the_pinned_key_is_asked_for() -> None:
    assert HostKeys.of(Endpoint(host_key=HOST_KEY)).types == ("ssh-ed25519",)
    assert HostKeys.of(Endpoint(host_key="ssh-rsa AAAA")).types == ("rsa-sha2-512", "rsa-sha2-256")


def test_a_fingerprint_reads_as_openssh_prints_it() -> None:
    assert fingerprint(HOST_KEY.split()[1]) == "SHA256:SVjXL/a3eMVPFsr3r0t0xTj8eOpO/ZXDcX5PSaCu/vo"
