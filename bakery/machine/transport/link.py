"""The way to one machine: opened in stages, each with its own explanation when it takes too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bakery.errors import ConnectError, NotYet
from bakery.machine.transport.base import Transport
from bakery.machine.transport.diagnose import diagnose
from bakery.util.waiting import interruptible, until

if TYPE_CHECKING:
    from bakery.machine.transport.stages import Stage
    from bakery.model import Endpoint
    from bakery.state.ssh_keys import Keys
    from bakery.util.context import WorkContext

PAUSES: Final = (0.05, 0.2)
"""Seconds between two attempts, first and at most."""
LATER: Final = 0.3
"""Seconds more after an attempt that was refused: servers count these, and newer ones hold them against us."""
SETTLE: Final = 90.0
"""Seconds that a machine may refuse our key or show another host key: some systems take keys after sshd's start."""
AGREED: Final = 5.0
"""Seconds that a machine may have no algorithm in common with us: only a new configuration of its sshd changes that."""
ASK_AGAIN: Final = 2.0
"""Seconds between two questions to the driver whether the machine still lives; for some they are calls to a cloud."""
SAY_AGAIN: Final = 10.0
"""Seconds after which a silence is told of once more: another phase beside it may have ended and taken its place."""


class Link:
    """Opens the connection to a machine, and opens it again.

    Args:
        endpoint: says how to reach the machine. Raises `NotYet` while it has no address, `DriverError` with its last
            words when it is dead.
        keys: what we log in with.
        work: how to be cancelled, and how to say what is being waited for.
        console: returns what the machine wrote on its console so far.
        timeout: seconds until a machine that cannot be reached is given up.
    """

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        keys: Keys,
        work: WorkContext,
        *,
        console: Callable[[], str] = str,
        timeout: float = 300.0,
    ) -> None:
        self.endpoint = endpoint
        self.keys = keys
        self._work = work
        self._console = console
        self._timeout = timeout
        self._transport: Transport | None = None
        self._lock = threading.RLock()

    @property
    def is_open(self) -> bool:
        """True while there is a connection that is not known to be gone."""
        return self._transport is not None and self._transport.alive

    def open(self, timeout: float | None = None) -> Transport:
        """Return the open connection, or open one.

        Args:
            timeout: seconds; the link's own when None.

        Raises:
            ConnectError: the time is over; says which stage was not reached and what the console shows.
            DriverError: the machine is dead.
            Interrupted: the run is cancelled.
        """
        with self._lock:
            if self._transport is not None and self._transport.alive:
                return self._transport
            self.close()
            self._transport = _Attempts(self, self._work, self._timeout if timeout is None else timeout).open()
            return self._transport

    def reopen(self, timeout: float | None = None) -> Transport:
        """Close what is open and open a new connection; as `open`."""
        self.close()
        return self.open(timeout)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def console(self) -> str:
        """Return what the machine wrote on its console; a driver that cannot say does not hide the reason to ask."""
        try:
            return self._console()
        except Exception as error:
            return f"(the console cannot be read: {error})"


class _Attempts:
    """One wait for a machine: remembers how far it got."""

    def __init__(self, link: Link, work: WorkContext, timeout: float) -> None:
        self._link = link
        self._work = work
        self._timeout = timeout
        self._stage: Stage = "process"
        self._reason = "nothing tried yet"
        self._hint = ""
        self._endpoint: Endpoint | None = None
        self._asked = 0.0
        self._started = time.monotonic()
        self._refused_since: float | None = None
        self._silence = -SAY_AGAIN  # when it was told of

    def open(self) -> Transport:
        """Try until it works or the time is over."""
        try:
            return until(
                self._attempt,
                what="the machine lets us in",
                timeout=self._timeout,
                cancel=self._work.cancel,
                notify=self._work.waiting,
                every=PAUSES,
                error=_Expired,
            )
        except _Expired as error:
            raise self._explained(f"waited {self._timeout:g} s") from error

    def _attempt(self) -> Transport:
        endpoint = self._where()
        if endpoint.transport == "namespace":
            from bakery.machine.transport.namespace import NamespaceTransport

            return NamespaceTransport(endpoint, self._work.cancel)
        return self._staged(endpoint)

    def _where(self) -> Endpoint:
        """Ask the driver; it raises when the machine is dead."""
        if self._endpoint is None or time.monotonic() - self._asked > ASK_AGAIN:
            self._stage = "address"
            try:
                self._endpoint = self._link.endpoint()
            except NotYet as not_yet:
                self._reason = not_yet.reason
                raise
            self._asked = time.monotonic()
        return self._endpoint

    def _staged(self, endpoint: Endpoint) -> Transport:
        """Open a way that says how far it got."""
        from bakery.machine.transport.stages import NotReached

        try:
            return interruptible(lambda: self._open(endpoint), self._work.cancel, discard=lambda way: way.close())
        except NotReached as error:
            self._stage, self._reason, self._hint = error.stage, error.reason, error.hint
            self._give_up_if_refused()
            raise NotYet(f"{error.stage}: {error.reason}") from error

    def _open(self, endpoint: Endpoint) -> Transport:
        if endpoint.transport != "ssh":
            from bakery.machine.transport.drivers_own import open_drivers_own

            return open_drivers_own(endpoint, self._work.cancel)
        from bakery.machine.transport.ssh import SshTransport

        return SshTransport(endpoint, self._link.keys.user_private, self._work.cancel, self._patience(), self._watch)

    def _watch(self) -> None:
        """End an attempt that is met with silence when the time is over, or the driver knows more.

        Raises:
            NotReached: the time is over, or the machine is elsewhere.
            NotYet, DriverError: as the driver says.
        """
        self._work.cancel.check()
        before = self._endpoint
        waited = time.monotonic() - self._started
        if waited > self._timeout or self._where() != before:
            from bakery.machine.transport.stages import NotReached

            raise NotReached("banner", "no SSH server answers")
        if waited - self._silence >= SAY_AGAIN:  # or what was waited for before, or nothing, would stand there
            self._silence = waited
            self._work.waiting("banner: the machine boots, its SSH server does not answer yet", waited)

    def _patience(self) -> float:
        """Return the seconds for one attempt: few at first, so that a packet lost while the network comes up is sent
        again soon; more later, for a machine that is slow.
        """
        return min(2.0 + (time.monotonic() - self._started) / 8, 30.0, self._timeout)

    def _give_up_if_refused(self) -> None:
        if self._stage not in ("algorithms", "host key", "authentication"):
            self._refused_since = None
            return
        settle = AGREED if self._stage == "algorithms" else SETTLE
        self._refused_since = self._refused_since or time.monotonic()
        if time.monotonic() - self._refused_since > settle:
            raise self._explained(f"refused for {settle:g} s")
        self._work.cancel.sleep(LATER)

    def _explained(self, how_long: str) -> ConnectError:
        if self._hint:
            verdict, hint = self._reason, self._hint
        else:
            verdict, hint = diagnose(self._link.console(), self._stage, self._reason)
        return ConnectError(f"cannot reach the machine: {verdict}", why=f"{how_long}; stage: {self._stage}", hint=hint)


class _Expired(ConnectError):  # noqa: N818  never leaves this file
    """The deadline of `until`, before it is explained."""
