"""testinfra's `host`, over our shell: `host.service("nginx").is_running` is one round trip, or none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from bakery.smoke.ansible_modules import AnsibleModules
from bakery.smoke.elsewhere import change
from bakery.smoke.foresight import Foresight
from bakery.smoke.job import CloneAccess
from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.questions import is_question
from bakery.smoke.shell import Shell
from bakery.smoke.strict import StrictHost

COMMAND_TIMEOUT: Final = 300.0


class MachineBackend(BaseBackend):  # type: ignore[misc]  # testinfra ships no types
    """Runs testinfra's questions on the machine under test, as root.

    Args:
        name: the machine's name in messages.
        shell: the shell that is open there.
        access: the way to it, for Ansible; None where there is no other than the shell.
        foresight: what the machines that are tested together share.
        away: returns the seconds of a round trip.
    """

    NAME = "bakery"
    HAS_RUN_ANSIBLE = True

    def __init__(
        self,
        name: str,
        shell: Shell,
        access: CloneAccess | None = None,
        foresight: Foresight | None = None,
        away: Callable[[], float] = float,
    ) -> None:
        super().__init__(name)
        self._shell = shell
        self._access = access
        self.facts = PrefetchedFacts(shell, foresight=foresight, machine=name, away=away)

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a command.

        Args:
            command: a line for `/bin/sh`; `%s` in it stands for the next argument, quoted.
            *args: the arguments.
            **kwargs: `timeout`: seconds, 300 when not given. Others are testinfra's and change nothing.

        Raises:
            CommandTimeoutError: it took longer; it and its children were ended.
        """
        line, question = self.get_command(command, *args), self.quote(command, *args)
        timeout = kwargs.get("timeout", COMMAND_TIMEOUT)
        if is_question(question):
            sudo = self.sudo_user or "" if line != question else None
            reply = self.facts.ask(question, line, sudo, timeout)
        else:
            change(self.facts)
            [reply] = self._shell.ask(line, timeout=timeout)
        return self.result(reply.exited, self.encode(line), reply.stdout, reply.stderr)

    def run_ansible(self, module_name: str, module_args: str | None = None, **options: Any) -> dict[str, Any]:
        """Run a module of Ansible's; see `AnsibleModules.run`."""
        try:
            return self._ansible.run(module_name, module_args, **options)
        finally:
            change(self.facts)

    def get_variables(self) -> dict[str, Any]:
        """Return Ansible's variables of the machine."""
        return self._ansible.variables()

    @cached_property
    def _ansible(self) -> AnsibleModules:
        if self._access is None:
            raise RuntimeError("host.ansible does not know how this machine is reached")
        return AnsibleModules("machine", self._access, as_root=True)

    def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
        """Become another user with `su`: the shell is root's already, and images without sudo are common."""
        if sudo_user in (None, "root"):
            return command
        return str(self.quote("su -s /bin/sh -c %s %s", command, sudo_user))

    def get_encoding(self) -> str:
        """UTF-8. testinfra would run Python on the machine to find out, and most images have none."""
        return "utf-8"

    def decode(self, data: bytes) -> str:
        """Decode what a command wrote; bytes that are not UTF-8 are replaced, and stay in `stdout_bytes`."""
        return data.decode(errors="replace")

    def encode(self, data: str) -> bytes:
        """Encode a command, also one with a file name that is not UTF-8."""
        return data.encode(errors="surrogateescape")


def host(
    name: str,
    shell: Shell,
    *,
    strict: bool = True,
    access: CloneAccess | None = None,
    foresight: Foresight | None = None,
    away: Callable[[], float] = float,
) -> Host:
    """Make testinfra's Host over a shell.

    Args:
        name: the machine's name in messages.
        shell: the shell that is open there.
        strict: whether testinfra's known wrong answers are put right.
        access: the way to the machine, for Ansible.
        foresight: what the machines that are tested together share.
        away: returns the seconds of a round trip.
    """
    backend = MachineBackend(name, shell, access, foresight, away)
    connected = StrictHost(backend) if strict else Host(backend)
    backend.set_host(connected)
    return connected
