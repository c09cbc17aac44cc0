"""testinfra's modules, with the right answer where testinfra 10.2 gives a wrong one.

Each class says what is wrong. `@bakery.image(strict_host=False)` gives testinfra's own answers back.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from testinfra.host import Host
from testinfra.modules.package import DebianPackage, Package
from testinfra.modules.service import Service, SystemdService, SysvService
from testinfra.modules.socket import LinuxSocketSS, Socket

from bakery.smoke.fact_groups import INSTANCES

ANY: Final = ("0.0.0.0", "::")  # noqa: S104  names of addresses, nothing listens here
_LOCAL_IPV4: Final = re.compile(r"\|-- ([0-9.]+)\n\s*/32 host LOCAL")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class StrictHost(Host):  # type: ignore[misc]  # testinfra ships no types
    """testinfra's Host, whose `socket`, `package` and `service` are ours."""

    def __getattr__(self, name: str) -> Any:
        """Return a module; ours where there is one."""
        value: Any = super().__getattr__(name)
        if (choose := CHOICES.get(name)) is not None:
            value = choose(self, value)
            setattr(self, name, value)
        return value


def socket_class(host: Host, own: type[Socket]) -> type[Socket]:
    """Return our class where sockets are read from ss(8), which alone tells IPv6 from both."""
    del host
    return type("StrictSocket", (StrictSocket, own), {}) if issubclass(own, LinuxSocketSS) else own


def package_class(host: Host, own: type[Package]) -> type[Package]:
    """Return our class where packages are dpkg's."""
    del host
    return type("StrictPackage", (StrictPackage, own), {}) if issubclass(own, DebianPackage) else own


def service_class(host: Host, own: type[Service]) -> type[Service]:
    """Return our class where systemd is installed, running or not."""
    del host
    return type("StrictService", (StrictService, own), {}) if issubclass(own, SystemdService) else own


CHOICES: Final[Mapping[str, Callable[[Host, Any], Any]]] = {
    "socket": socket_class,
    "package": package_class,
    "service": service_class,
}


class StrictSocket(LinuxSocketSS):  # type: ignore[misc]
    """Says who listens on an address.

    testinfra: as soon as `::` listens, every address does, IPv4 and those that the machine does not have; a server on
    0.0.0.0 does not listen on 127.0.0.1; `127.0.0.53%lo` is not 127.0.0.53; the clients of a server at an address are
    those that come from that address.
    """

    @property
    def is_listening(self) -> bool:
        """Say whether a connection to this address and port of the machine would reach a server.

        `tcp://0.0.0.0:80` and `tcp://:::80` mean all addresses of one family, `tcp://80` those of both.
        """
        if self.protocol == "unix":
            return ("unix", self.host) in set(self._iter_sockets(True))
        listening: Any = self._iter_sockets(True)
        hosts = {_plain(host) for _, host, port in listening if port == self.port}
        if self.host is None:
            return set(ANY) <= hosts
        wanted = _plain(self.host)
        if wanted in ANY or wanted in hosts:
            return wanted in hosts
        everywhere = "::" if ":" in wanted else "0.0.0.0"  # noqa: S104
        return everywhere in hosts and self._is_ours(ipaddress.ip_address(wanted))

    @property
    def clients(self) -> list[tuple[str, int] | None]:
        """The clients that are connected to this address and port; None for each client of a Unix socket."""
        if self.protocol == "unix":
            return list(super().clients)
        clients: list[tuple[str, int] | None] = []
        connected: Any = self._iter_sockets(False)
        for _, host, port, client, client_port in connected:
            local = _plain(host)
            family = "::" if ":" in local else "0.0.0.0"  # noqa: S104
            if port == self.port and (self.host is None or _plain(self.host) in (local, family)):
                clients.append((_plain(client.strip("[]")), client_port))
        return clients

    def _is_ours(self, address: Address) -> bool:
        """Say whether the machine itself has the address, from the kernel's own tables."""
        if isinstance(address, ipaddress.IPv4Address):
            own = _LOCAL_IPV4.findall(str(self.run("cat /proc/net/fib_trie").stdout))
            return address.is_loopback or str(address) in own
        lines = str(self.run("cat /proc/net/if_inet6").stdout).splitlines()
        return int(address) in {int(line.split()[0], 16) for line in lines if line}


def _plain(host: str) -> str:
    """Return an address as others write it: without the interface, IPv4 out of IPv6's `::ffff:`, in the short form."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class StrictPackage(DebianPackage):  # type: ignore[misc]
    """Knows packages that are there for several architectures.

    testinfra: one that is installed for two is not installed, and its version is `1.0install`.
    """

    @property
    def is_installed(self) -> bool:
        """Say whether the package is installed, for any architecture."""
        return bool(self._installed)

    @property
    def version(self) -> str:
        """Its version; the machine's own architecture's, where they differ."""
        if not self._installed:
            raise AssertionError(f"The package {self.name} is not installed")
        native = [version for architecture, version in self._installed if architecture in ("all", self._native)]
        return (native or [version for _, version in self._installed])[0]

    @functools.cached_property
    def _installed(self) -> list[tuple[str, str]]:
        """Architecture and version of each instance that is installed."""
        lines = self.run_test("dpkg-query -f %s -W %s", INSTANCES, self.name).stdout.splitlines()
        packages: list[tuple[str, str]] = []
        for architecture, status, version in (line.split("\t") for line in lines):
            wanted, *state = status.split()
            if wanted in ("install", "hold") and state[:2] == ["ok", "installed"]:
                packages.append((architecture, version))
        return packages

    @functools.cached_property
    def _native(self) -> str:
        return str(self.check_output("dpkg --print-architecture")) if len(self._installed) > 1 else ""


class StrictService(SystemdService):  # type: ignore[misc]
    """Knows systemd that is installed and does not run, and units by their whole name.

    testinfra: in a chroot, systemctl answers every question about running units with "ignoring command" and 0, so that
    every service runs; and `ngin` exists where nginx does.
    """

    @property
    def is_running(self) -> bool:
        """Say whether the service runs. Without systemd only a script in /etc/init.d can say so; else it does not."""
        if self._systemd_runs:
            return bool(super().is_running)
        script: Any = self._host.file
        if not script(f"/etc/init.d/{self.name}").exists:
            return False
        by_script: Any = SysvService.is_running
        return bool(by_script.fget(self))

    @property
    def exists(self) -> bool:
        """Say whether there is a unit of that name, or a template of which it is an instance."""
        name = self.name if self._has_systemd_suffix() else f"{self.name}.service"
        listed = self.run("systemctl list-unit-files --no-legend --no-pager --full").stdout.splitlines()
        known = {words[0] for words in map(str.split, listed) if words}
        return not known.isdisjoint(_names(name)) or self._is_loaded(name)

    def _is_loaded(self, name: str) -> bool:
        if not self._systemd_runs:
            return False
        state = self.run("systemctl show --property=LoadState %s", name).stdout.strip()
        return state.removeprefix("LoadState=") in ("loaded", "masked")

    @functools.cached_property
    def _systemd_runs(self) -> bool:
        file: Any = self._host.file
        return bool(file("/run/systemd/system/").is_directory)


def _names(unit: str) -> Iterable[str]:
    """Return a unit's name, and that of the template of an instance: `getty@tty1.service`, `getty@.service`."""
    stem, at, rest = unit.partition("@")
    return (unit, f"{stem}@.{rest.rpartition('.')[2]}") if at else (unit,)
