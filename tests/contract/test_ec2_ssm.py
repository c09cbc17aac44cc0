"""The Session Manager tunnel's life, with a stand-in for AWS's plugin: moto has no sessions."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.ec2.machine import ssm
from bakery.errors import NotYet, PreflightError
from bakery.model import Handle, Resource
from bakery.util.waiting import Cancel, until

PLUGIN = f"""#!{sys.executable}
import json, os, socket, sys
name, region, operation, profile, asked, endpoint = sys.argv[1:]
assert "secret-token" not in " ".join(sys.argv), "a token in argv can be read by everybody"
assert json.loads(os.environ[name])["TokenValue"] == "secret-token"
port = int(json.loads(asked)["Parameters"]["localPortNumber"][0])
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        server.accept()[0].close()
"""


class Cloud:
    """What `ssm` asks of a cloud, answered as SSM does."""

    region = "us-east-1"
    online = True

    class account:  # noqa: N801  stands for an instance
        profile = None

    def call(self, operation: str, *_: Any, **__: Any) -> dict[str, Any]:
        if operation == "describe_instance_information":
            return {"InstanceInformationList": [{"PingStatus": "Online"}] if self.online else []}
        return {"SessionId": "s-1", "TokenValue": "secret-token", "StreamUrl": "wss://x", "ResponseMetadata": {}}

    def client(self, _: str) -> Any:
        class Client:
            class meta:  # noqa: N801  the same
                endpoint_url = "https://ssm.us-east-1.amazonaws.com"

        return Client()


@pytest.fixture
def handle(tmp_path: Path) -> Handle:
    resource = Resource(driver="ec2", kind="instance", key="k")
    return Handle(driver="ec2", id="i-1", resource=resource, folder=tmp_path)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / ssm.PLUGIN).write_text(PLUGIN)
    (folder / ssm.PLUGIN).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("plugin")
def test_a_tunnel_is_opened_once_used_again_and_closed_from_its_folder_alone(handle: Handle) -> None:
    cloud: Any = Cloud()
    port = ssm.port(cloud, handle)

    def connect() -> None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            raise NotYet(str(error)) from error

    until(connect, what="the tunnel listens", timeout=60, cancel=Cancel())
    assert ssm.port(cloud, handle) == port
    pid = json.loads((handle.folder / "tunnel.json").read_text())["pid"]
    ssm.close(handle.folder)
    assert not ssm._alive({"pid": pid, "started": 0})
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)
    ssm.close(handle.folder)


def test_an_agent_that_has_not_reported_is_waited_for(handle: Handle) -> None:
    cloud: Any = Cloud()
    cloud.online = False
    with pytest.raises(NotYet, match="agent"):
        ssm.port(cloud, handle)


def test_a_missing_plugin_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="not installed"):
        ssm.plugin()
