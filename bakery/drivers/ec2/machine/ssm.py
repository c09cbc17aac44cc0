"""Session Manager: a tunnel to the machine's port 22 with no inbound port open at all.

The tunnel is AWS's own `session-manager-plugin`. It is given the session's token in its environment, never in its argv.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import psutil

from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.errors import DriverError, NotYet, PreflightError
from bakery.model import Handle
from bakery.util.files import write_whole

PLUGIN = "session-manager-plugin"
DOCUMENT = "AWS-StartPortForwardingSession"
RESPONSE = "AWS_SSM_START_SESSION_RESPONSE"
"""The plugin reads the answer of StartSession from the variable that its first argument names, since 1.2.497
(github.com/aws/session-manager-plugin, RELEASENOTES.md)."""
INSTALL = "docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"


def plugin() -> str:
    """Return the plugin's path.

    Raises:
        PreflightError: it is not installed.
    """
    found = shutil.which(PLUGIN)
    if not found:
        raise PreflightError(f"{PLUGIN} is not installed", hint=f"see {INSTALL}")
    return found


def port(cloud: Ec2Cloud, handle: Handle) -> int:
    """Return the port on 127.0.0.1 behind which the machine's sshd is; opens the tunnel when there is none.

    Raises:
        NotYet: the machine's agent has not reported yet.
        DriverError: the tunnel cannot be opened.
    """
    record = Path(handle.folder) / "tunnel.json"
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        if _alive(known):
            return int(known["port"])
    _online(cloud, handle.id)
    return _open(cloud, handle.id, record)


def _online(cloud: Ec2Cloud, instance: str) -> None:
    """Whether the agent has reported; a tunnel to one that has not comes up and then hangs."""
    found = cloud.call(
        "describe_instance_information",
        "ask for the machine's agent",
        service="ssm",
        Filters=[{"Key": "InstanceIds", "Values": [instance]}],
    )["InstanceInformationList"]
    if not found or found[0].get("PingStatus") != "Online":
        raise NotYet("the machine's Session Manager agent has not reported yet")


def _open(cloud: Ec2Cloud, instance: str, record: Path) -> int:
    local = _free_port()
    asked: dict[str, Any] = {
        "Target": instance,
        "DocumentName": DOCUMENT,
        "Parameters": {"portNumber": ["22"], "localPortNumber": [str(local)]},
    }
    answer: dict[str, Any] = cloud.call("start_session", "open a session", service="ssm", **asked)
    answer.pop("ResponseMetadata", None)
    endpoint = str(cloud.client("ssm").meta.endpoint_url)
    command = [
        plugin(),
        RESPONSE,
        cloud.region,
        "StartSession",
        cloud.account.profile or "",
        json.dumps(asked),
        endpoint,
    ]
    pid = _spawn(command, {**os.environ, RESPONSE: json.dumps(answer)}, record.with_suffix(".log"))
    known = {"pid": pid, "started": psutil.Process(pid).create_time(), "port": local}
    write_whole(record, json.dumps(known))
    return local


def _spawn(command: list[str], environment: dict[str, str], log: Path) -> int:
    """Start a process that outlives whoever started it; a `Popen` would warn of one that nobody waits for."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, environment, file_actions=files, setpgroup=0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _alive(known: dict[str, Any]) -> bool:
    """Whether the very process still runs: pids are used again."""
    try:
        process = psutil.Process(int(known["pid"]))
        same = abs(process.create_time() - float(known["started"])) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def close(folder: Path) -> None:
    """End the tunnel of a machine's folder; there may be none.

    Raises:
        DriverError: it does not end.
    """
    record = folder / "tunnel.json"
    if not record.exists():
        return
    known = json.loads(record.read_text(encoding="utf-8"))
    if _alive(known):
        process = psutil.Process(int(known["pid"]))
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except psutil.TimeoutExpired as error:
            process.kill()
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                raise DriverError(f"the tunnel {process.pid} does not end") from error
    record.unlink()
