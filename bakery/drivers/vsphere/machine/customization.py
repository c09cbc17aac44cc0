"""Guest customization: what VMware Tools set in a guest at its first start, from vCenter's own or the user's words."""

from __future__ import annotations

from typing import Any

from bakery.drivers.shared.settings import words
from bakery.drivers.vsphere.api import tasks, types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.options import LinuxPrep
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from bakery.util.suggestions import nearest


def customize(center: VCenter, machine: Any, wanted: str | LinuxPrep, work: WorkContext) -> None:
    """Let a machine that is off be customized at its next start.

    Args:
        center: where.
        machine: pyvmomi's reference to it.
        wanted: the name of a customization of vCenter's, or the user's own.
        work: can cancel the wait.

    Raises:
        PreflightError: vCenter has none of the name.
        VSphereError: refused; `NicSettingMismatch` where it is for another number of network cards.
    """
    spec = named(center, wanted) if isinstance(wanted, str) else specification(wanted, _cards(center, machine))
    tasks.run(center, "customize the guest", lambda: machine.CustomizeVM_Task(spec), work, timeout=tasks.CHANGING)


def named(center: VCenter, name: str) -> Any:
    """Return vCenter's customization of a name.

    Raises:
        PreflightError: there is none, with those that there are; or this is a single ESXi host, which has none.
    """
    manager = center.content.customizationSpecManager
    if manager is None:
        raise PreflightError("a single ESXi host knows no guest customization", hint="customization=LinuxPrep(...)")
    info = (center.properties(manager, "info") or {}).get("info") or ()
    names = sorted(str(one.name) for one in info)
    if name not in names:
        near = nearest(name, names)
        raise PreflightError(
            f"there is no guest customization {name!r}",
            why=f"there are: {', '.join(names) or 'none'}",
            hint=f"did you mean {near!r}?" if near else "customization=LinuxPrep(...)",
        )
    return center.call(f"read the customization {name}", lambda: manager.GetCustomizationSpec(name)).spec


def specification(wanted: LinuxPrep, cards: int) -> Any:
    """Return a customization as vSphere takes it.

    Args:
        wanted: what is to be set.
        cards: how many network cards the machine has; each must be spoken of.
    """
    kinds = types.vim().vm.customization
    name = kinds.FixedName(name=wanted.hostname)
    identity = kinds.LinuxPrep(hostName=name, domain=wanted.domain, timeZone=wanted.time_zone or None)
    general = kinds.GlobalIPSettings(dnsSuffixList=list(words(wanted.search)), dnsServerList=list(words(wanted.dns)))
    settings = [_first_card(wanted), *(kinds.IPSettings(ip=kinds.DhcpIpGenerator()) for _ in range(1, cards))]
    mappings = [kinds.AdapterMapping(adapter=one) for one in settings[:cards]]
    return kinds.Specification(
        identity=identity, globalIPSettings=general, nicSettingMap=mappings, options=kinds.LinuxOptions()
    )


def _first_card(wanted: LinuxPrep) -> Any:
    kinds = types.vim().vm.customization
    if wanted.address == "dhcp":
        return kinds.IPSettings(ip=kinds.DhcpIpGenerator())
    interface = wanted.interface
    return kinds.IPSettings(
        ip=kinds.FixedIp(ipAddress=str(interface.ip)),
        subnetMask=str(interface.netmask),
        gateway=[wanted.gateway] if wanted.gateway else [],
    )


def _cards(center: VCenter, machine: Any) -> int:
    vim = types.vim()
    values = center.properties(machine, "config.hardware") or {}
    return sum(isinstance(one, vim.vm.device.VirtualEthernetCard) for one in values["config.hardware"].device)
