"""How a machine is reached, and what it says on its console."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.machine import ssm
from bakery.drivers.ec2.source import Ec2
from bakery.drivers.shared import host_keys
from bakery.drivers.shared.console import host_key_from
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet
from bakery.model import Endpoint, Handle

Hook = Mapping[str, str] | Callable[[str], str] | None
LAST_LINES = 15


def endpoint(cloud: Ec2Cloud, handle: Handle, hook: Hook) -> Endpoint:
    """Return where the machine listens, and the key that it must show.

    Raises:
        NotYet: it has no address yet, or AWS asks for patience.
        DriverError: it is dead.
    """
    source = Ec2.from_settings(handle.settings["source"])
    found = machine(cloud, handle)
    if source.connect == "ssm":
        host, port = "127.0.0.1", ssm.port(cloud, handle)
    else:
        host, port = _mapped(_address(found, source), hook)
    key = host_keys.known(handle) if source.host_key == "given" else _console_key(cloud, handle)
    data = host_keys.endpoint_data(handle, key)
    return Endpoint(host=host, port=port, user=source.user, host_key=key, gateway=source.bastion, data=data)


def machine(cloud: Ec2Cloud, handle: Handle) -> dict[str, Any]:
    """Return the running machine as AWS describes it.

    Raises:
        NotYet: not running yet.
        DriverError: it never will be.
    """
    found = described(cloud, handle.id)
    if found is None:
        raise NotYet("the instance is not visible yet")
    state = found["State"]["Name"]
    if state == "pending":
        raise NotYet("the instance is pending")
    if state != "running":
        raise DriverError(
            f"the instance {handle.id} is {state}", why=_last_words(cloud, handle, found), hint="see the console text"
        )
    return found


def described(cloud: Ec2Cloud, instance: str) -> dict[str, Any] | None:
    """Return what AWS says of an instance; to be asked again when AWS has no time.

    Raises:
        NotYet: AWS throttles or fails; the instance is none the worse for that.
    """
    with patience("AWS"):
        return cloud.instances.get(instance)


def _address(found: Mapping[str, Any], source: Ec2) -> str:
    field = {"public": "PublicIpAddress", "private": "PrivateIpAddress", "ipv6": "Ipv6Address"}.get(source.connect, "")
    address = found.get(field)
    if not address:
        raise NotYet(f"the instance has no {source.connect} address yet")
    return str(address)


def _mapped(address: str, hook: Hook) -> tuple[str, int]:
    """Return what this host can reach, where the user knows better than EC2."""
    if hook is None:
        return address, 22
    shown = hook(address) if callable(hook) else hook.get(address, address)
    host, colon, port = shown.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() and ":" not in host else (shown, 22)


def console(cloud: Ec2Cloud, instance: str) -> str:
    """Return what the machine wrote on its console, the newest where the type can do that."""
    try:
        answer = cloud.call("get_console_output", "read the console", InstanceId=instance, Latest=True)
    except DriverError:
        # Types that are not Nitro refuse `Latest` and keep only what they wrote at boot.
        answer = cloud.call("get_console_output", "read the console", InstanceId=instance)
    text = str(answer.get("Output") or "")
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except ValueError:
        return text  # botocore has decoded it already


def _console_key(cloud: Ec2Cloud, handle: Handle) -> str:
    """Return the host key that the machine wrote on its console, which comes over the authenticated API.

    Raises:
        NotYet: not written yet; EC2 shows the console with a delay of minutes.
    """
    with patience("AWS"):
        return host_key_from(console(cloud, handle.id))


def _last_words(cloud: Ec2Cloud, handle: Handle, found: Mapping[str, Any]) -> str:
    """Why EC2 says that it ended, and the end of its console."""
    reason = found.get("StateReason", {}).get("Message", "") or found.get("StateTransitionReason", "")
    try:
        lines = console(cloud, handle.id).splitlines()[-LAST_LINES:]
    except DriverError as error:
        lines = [f"(no console text: {error.what})"]
    return "\n".join(["", reason, *lines]).strip()
