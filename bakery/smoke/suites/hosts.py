"""Which machine a test of a suite gets as `host`: testinfra decides, over a backend of ours.

`bakery://NAME` is the machine under test, in testinfra's own words for hosts: so `--hosts`, `testinfra_hosts`,
`--sudo` and `testinfra.get_host()` mean what they mean in a plain run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

from testinfra import backend as backends
from testinfra.backend.base import BaseBackend, CommandResult

from bakery.imagefile.suites import OtherHosts
from bakery.smoke.ansible_modules import AnsibleModules
from bakery.smoke.elsewhere import change
from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.questions import is_question
from bakery.smoke.strict import StrictHost
from bakery.smoke.suites.machine import SuiteMachine

SCHEME: Final = "bakery"
_MACHINES: Final[dict[str, SuiteMachine]] = {}
"""The machines of this process, by their hosts' names; testinfra makes backends from a class alone."""


def offer(machine: SuiteMachine, clones: Mapping[str, SuiteMachine]) -> None:
    """Let testinfra know the machine under test, as `bakery://NAME`.

    Args:
        machine: what any name means, but for those of
        clones: other machines of the image.
    """
    _MACHINES.clear()
    _MACHINES.update({SCHEME: machine, **clones})
    backends.BACKENDS[SCHEME] = f"{__name__}.{SuiteBackend.__name__}"


class SuiteBackend(BaseBackend):  # type: ignore[misc]  # testinfra ships no types
    """Runs a suite's questions as testinfra's own backends do: in the login shell, with sudo where it is asked for."""

    NAME = SCHEME
    HAS_RUN_ANSIBLE = True

    def __init__(self, hostname: str, *args: Any, ansible_inventory: str | None = None, **kwargs: Any) -> None:
        super().__init__(hostname, *args, **kwargs)
        self._inventory = ansible_inventory or ""

    def run_ansible(self, module_name: str, module_args: str | None = None, **options: Any) -> dict[str, Any]:
        """Run a module of Ansible's; see `AnsibleModules.run`."""
        try:
            return self._ansible.run(module_name, module_args, **options)
        finally:
            change(self.machine.facts)

    def get_variables(self) -> dict[str, Any]:
        """Return Ansible's variables of the machine."""
        return self._ansible.variables()

    @property
    def _ansible(self) -> AnsibleModules:
        return self.machine.ansible(self.hostname, self._inventory)

    @property
    def machine(self) -> SuiteMachine:
        """The machine under test."""
        return _MACHINES.get(self.hostname, _MACHINES[SCHEME])

    @property
    def facts(self) -> PrefetchedFacts:
        """What is known of it."""
        return self.machine.facts

    def set_host(self, host: Any) -> None:
        """Take the host that asks through this backend; testinfra made it, of its own class."""
        if self.machine.strict:
            host.__class__ = StrictHost
        super().set_host(host)

    def get_hostname(self) -> str:
        """Return the machine's address."""
        return self.machine.address

    def get_pytest_id(self) -> str:
        """Return what stands in the names of tests: the image's name, which the next machine of it has as well."""
        return f"{SCHEME}://{self.hostname}"

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a command.

        Args:
            command: a line for the login shell; `%s` in it stands for the next argument, quoted.
            *args: the arguments.
            **kwargs: `timeout`: seconds, no limit when not given. Others are testinfra's and change nothing.

        Raises:
            CommandTimeoutError: it took longer; it and its children were ended.
        """
        line, question, timeout = self.get_command(command, *args), self.quote(command, *args), kwargs.get("timeout")
        machine = self.machine
        if is_question(question):
            sudo = (self.sudo_user or "") if self.sudo else None
            reply = machine.facts.ask(question, line, sudo, timeout)
        else:
            change(machine.facts)
            [reply] = machine.shell.ask(line, timeout=timeout, interpreter=machine.interpreter)
        return self.result(reply.exited, self.encode(line), reply.stdout, reply.stderr)

    def get_encoding(self) -> str:
        """UTF-8. testinfra would run Python on the machine to find out, and most images have none."""
        return "utf-8"


@dataclass(frozen=True)
class OtherHostError(Exception):
    """Tests name a host that is not the machine under test."""

    hosts: tuple[str, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Say what to do."""
        named = ", ".join(self.hosts)
        return (
            f"testinfra_hosts names {named}: not known to be the machine under test ({', '.join(self.names)}).\n"
            f"Where it is: @bakery.image(suites=bakery.Suites(hosts=[{self.hosts[0]!r}])), or "
            f"`bake test --testinfra-host {self.hosts[0]!r}`; a glob may stand for several.\n"
            'Where it is another machine: Suites(other_hosts="run") or "skip"; --other-hosts on the command line.'
        )


@dataclass(frozen=True)
class HostNames:
    """Tells hosts apart, by what `testinfra_hosts` or `--hosts` calls them.

    Args:
        names: the image's own names; the first is shown.
        globs: further names and hostspecs that mean the machine under test.
        others: what becomes of the others.
        nodes: names of machines that run beside it,
        absent: or would, and do not this time.
    """

    names: tuple[str, ...]
    globs: tuple[str, ...]
    others: OtherHosts
    nodes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def translate(self, hosts: Iterable[str | None]) -> list[str]:
        """Return testinfra's words for hosts, `bakery://NAME` for the machine under test.

        Raises:
            OtherHostError: another host is among them, and that is refused.
        """
        given = list(hosts)
        others = tuple(str(host) for host in given if not self.is_tested(host) and self._node(host) is None)
        if others and self.others == "refuse":
            raise OtherHostError(others, (*self.names, *self.nodes))
        there = [host for host in given if self._node(host) not in self.absent]
        kept = (str(host) if str(host) in others else self._ours(host) for host in there)
        return list(dict.fromkeys(each for each in kept if self.others == "run" or each.startswith(f"{SCHEME}://")))

    def is_tested(self, host: str | None) -> bool:
        """Say whether a host is the machine under test; None is what is meant where nothing is said."""
        if host is None or host.startswith(f"{SCHEME}://"):
            return True
        known = (*self.names, *self.globs)
        return any(fnmatchcase(form, name) for form in _forms(host) for name in known)

    def _node(self, host: str | None) -> str | None:
        """Return the name of the machine beside the one under test that a host means."""
        return next((form for form in _forms(host or "") if form in self.nodes), None)

    def _ours(self, host: str | None) -> str:
        """Keep what is said on sudo."""
        name = self._node(host) or self.names[0]
        query = urlsplit(host or "").query if "://" in (host or "") else ""
        kept = "&".join(part for part in query.split("&") if part.partition("=")[0] in ("sudo", "sudo_user"))
        return f"{SCHEME}://{name}" + (f"?{kept}" if kept else "")


def _forms(host: str) -> Iterator[str]:
    """Yield a host as it is written, without its query, and its bare name: `ssh://me@app:22?sudo=true`, ..., `app`."""
    yield host
    bare = host.partition("?")[0]
    yield bare
    name = bare.rpartition("://")[2].rpartition("@")[2]
    yield name if name.count(":") > 1 else name.partition(":")[0]  # IPv6 has several


def asked_hosts(option: str | None, module: object) -> list[str | None]:
    """Return the hosts of a test as testinfra reads them: the command line's, else the module's, else none is named.

    Args:
        option: of `--hosts`.
        module: the test's.
    """
    if option is not None:
        return [*option.split(",")]
    hosts: Iterable[str] | Mapping[str, Any] | None = getattr(module, "testinfra_hosts", None)
    return [None] if hosts is None else [*hosts]
