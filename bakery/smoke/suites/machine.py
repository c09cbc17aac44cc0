"""The machine under test, as a suite's process sees it: connected to when the first question is asked."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Final

from bakery.errors import BakeryError
from bakery.machine.transport.base import Transport
from bakery.model import Endpoint
from bakery.smoke.ansible_modules import AnsibleModules
from bakery.smoke.connect import connect
from bakery.smoke.elsewhere import watch
from bakery.smoke.foresight import Foresight
from bakery.smoke.job import CloneAccess, SuiteRun
from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.shell import AS_LOGGED_IN, CommandTimeoutError, Shell
from bakery.state.ssh_keys import Keys
from bakery.util.results import Lost

LOGIN_SHELL: Final = r"""
u=$(id -un)
[ "$(id -u "$LOGNAME" 2>/dev/null)" = "$(id -u)" ] && u=$LOGNAME
s=$(getent passwd "$u" 2>/dev/null) || s=$(grep "^$u:" /etc/passwd)
s=${s##*:}
[ -x "$s" ] || s=/bin/sh
n=${s##*/}
w=$(command -v "$n")
{ [ "$w" = "$n" ] || [ "$w" -ef "$s" ]; } && s=$n
printf %s "$s"
"""
"""Prints the login shell of whoever logged in, of several names for one user too; in short where that is enough."""


class SuiteMachine:
    """The machine that a suite tests. Not for several threads.

    Args:
        endpoint: where it is.
        keys: to it.
        suite: how the suite runs.
        name: what it is called among the machines of the suite.
        foresight: what its tests asked earlier; one for all machines of the suite.
    """

    def __init__(
        self, endpoint: Endpoint, keys: Keys, suite: SuiteRun, name: str = "", foresight: Foresight | None = None
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._options = suite.options
        self._name = name
        self._foresight = foresight
        self._transport: Transport | None = None

    @property
    def address(self) -> str:
        """Its address."""
        return self._endpoint.host

    @property
    def strict(self) -> bool:
        """True to put testinfra's known wrong answers right."""
        return self._options.strict_host

    def ansible(self, name: str, inventory: str) -> AnsibleModules:
        """Return what runs modules of Ansible's on it.

        Args:
            name: what Ansible calls it.
            inventory: the suite's own; empty without.
        """
        access = CloneAccess(endpoint=self._endpoint, keys=self._keys)
        return AnsibleModules(name, access, as_root=self._options.user == "root", inventory=inventory)

    @cached_property
    def shell(self) -> Shell:
        """Its shell: root's, or that of whoever logs in.

        Raises:
            ConnectError: it does not let us in.
        """
        self._transport = connect(self._endpoint, self._keys)
        spawn = partial(self._transport.open_shell, as_root=self._options.user == "root")
        return Shell(spawn, prepare=AS_LOGGED_IN)

    @cached_property
    def facts(self) -> PrefetchedFacts:
        """What is known of it."""
        facts = PrefetchedFacts(
            self.shell,
            foresight=self._foresight,
            machine=self._name,
            interpreter=lambda: self.interpreter,
            away=lambda: self._transport.ping() if self._transport else 0.0,
        )
        watch(self.shell, facts)
        return facts

    @cached_property
    def interpreter(self) -> str:
        """The program on it that runs commands: `/bin/sh` where nobody logs in, as in a container.

        Raises:
            ConnectError, BakeryError: no shell answers.
        """
        if not self._options.login_shell or self._endpoint.transport != "ssh":
            return "/bin/sh"
        try:
            [reply] = self.shell.ask(LOGIN_SHELL, timeout=60)
        except (Lost, CommandTimeoutError) as error:
            raise BakeryError(f"no shell on the machine under test: {error}") from error
        return reply.stdout.decode(errors="replace") or "/bin/sh"

    @property
    def round_trips(self) -> int:
        """How often it was asked something."""
        return self.shell.round_trips if "shell" in vars(self) else 0

    def close(self) -> None:
        """End the connection, if there is one."""
        if "shell" in vars(self):
            self.shell.close()
        if self._transport is not None:
            self._transport.close()
