"""Machines of several images on one private network, for tests that span them."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from bakery.build.node_images import node_images
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.errors import SmokeError, TaskError

SUBNET: Final = "192.168.213"
"""Of the private network: machines have .1, .2, ... Nothing else is on it."""
LEAVE: Final = r"""
umask 022
if command -v networkctl >/dev/null 2>&1; then
  mkdir -p /etc/systemd/network
  printf '[Match]\nMACAddress=%%s\n\n[Link]\nUnmanaged=yes\n' %(mac)s >/etc/systemd/network/00-bakery-nodes.network
  networkctl reload >/dev/null 2>&1
fi
if [ -d /etc/NetworkManager ]; then
  mkdir -p /etc/NetworkManager/conf.d
  printf '[keyfile]\nunmanaged-devices+=mac:%%s\n' %(mac)s >/etc/NetworkManager/conf.d/bakery-nodes.conf
  nmcli general reload >/dev/null 2>&1
fi
true
"""
"""Tells what manages the machine's network to leave a card alone: it would wait for an address from outside."""
JOIN: Final = r"""
card() {
  for c in /sys/class/net/*; do
    [ "$(cat "$c/address" 2>/dev/null)" = %(mac)s ] && echo "${c##*/}" && return
  done
  return 1
}
join() {
  udevadm settle >/dev/null 2>&1
  c=$(card) || { echo "no card %(mac)s"; return 1; }
  if command -v ip >/dev/null 2>&1; then
    ip addr replace %(address)s/24 broadcast + dev "$c" || ip addr add %(address)s/24 dev "$c"
    ip link set "$c" up
  else
    ifconfig "$c" %(address)s netmask 255.255.255.0 up
  fi
}
i=0
until why=$(join 2>&1); do
  [ $i -lt 60 ] || { echo "$why" >&2; exit 1; }
  i=$((i + 1)); sleep 1
done
"""
NAMES: Final = r"""
for line in %(lines)s; do grep -Fqx -- "$line" /etc/hosts || printf '%%s\n' "$line" >>/etc/hosts; done
"""
JOIN_TIME: Final = 180.0
"""Seconds: an emulated machine may take long to find a card."""


@dataclass(frozen=True, kw_only=True)
class NodeNetwork:
    """The machines that are tested together.

    Args:
        machines: by name, the one under test first; none where it is alone.
        cards: the addresses of their cards, by name.
    """

    machines: Mapping[str, RunningMachine] = field(default_factory=dict[str, RunningMachine])
    cards: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def others(self) -> dict[str, RunningMachine]:
        """The machines beside the one under test."""
        return dict([*self.machines.items()][1:])

    def join(self, name: str) -> None:
        """Give a machine its address; after a reboot it has none.

        Raises:
            SmokeError: it finds no such card, or does not take the address.
        """
        address = f"{SUBNET}.{[*self.machines].index(name) + 1}"
        self._run(name, JOIN % {"mac": self.cards[name], "address": address}, "take its address")

    def rejoin(self) -> None:
        """Give the machine under test its address again, after it was rebooted."""
        if self.machines:
            self.join(next(iter(self.machines)))

    def prepare(self, name: str) -> None:
        """Let a machine leave its card to us, and know all machines by name."""
        self._run(name, LEAVE % {"mac": self.cards[name]}, "leave its card alone")
        lines = (f"{SUBNET}.{number}\t{other}" for number, other in enumerate(self.machines, 1))
        self._run(name, NAMES % {"lines": " ".join(map(shlex.quote, lines))}, "know the others' names")

    def _run(self, name: str, script: str, what: str) -> None:
        try:
            self.machines[name].machine.run(script, user="root", hide=True, timeout=JOIN_TIME)
        except TaskError as error:
            raise SmokeError(
                f"the machine {name} does not {what} on the tests' private network", why=error.why or error.what
            ) from error


@contextmanager
def beside(scope: Scope, running: RunningMachine) -> Generator[NodeNetwork]:
    """Start the machines that an image is tested beside, and put all of them onto one network.

    Args:
        scope: the build's.
        running: the machine under test.

    Raises:
        PreflightError: there is no image of one.
        SmokeError: a machine does not join.
    """
    images = node_images(scope.build, scope.run.state, scope.run.artifacts)
    if not images:
        yield NodeNetwork()
        return
    with running.driver.private_network() as network, ExitStack() as stack:
        machines = {scope.build.spec: running}
        for name, image in images.items():
            of = scope.run.jobs[scope.build.nodes[name]]
            machines[name] = stack.enter_context(scope.machine(image, role="node", of=of))
        nodes = NodeNetwork(machines=machines, cards={name: _card() for name in machines})
        for name, machine in machines.items():
            nodes.prepare(name)
            network.attach(machine.handle, nodes.cards[name])
            nodes.join(name)
        yield nodes


def _card() -> str:
    return "52:54:00:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))
