"""Records what a real OpenStack answers to the driver: `python -m tests.contract.openstack_recordings.record`.

Runs a build's life (without logging in) and its refusals against the cloud that OS_CLOUD names, and writes one example
of each kind of answer to `answers.json`. The stand-in of `tests/contract/openstack_stand_in.py` answers with these.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from keystoneauth1.session import Session

from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError
from tests.contract.openstacklife import Life

FILE = Path(__file__).with_name("answers.json")
ID = re.compile(
    r"(?<![0-9a-zA-Z])([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|bakery-[0-9a-zA-Z._-]+)(?![0-9a-zA-Z])"
)
PORTS = {5000: "identity", 8774: "compute", 9292: "image", 9696: "network", 8776: "block_storage", 8778: "placement"}
HEADERS = ("Content-Type", "Location", "OpenStack-API-Version", "Retry-After")


class Recorder:
    """Takes down each kind of question once for each kind of answer."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def install(self) -> None:
        """Listen to every request of every session."""
        real = Session.request

        def request(session: Session, url: str, method: str, *args: Any, **options: Any) -> Any:
            response = real(session, url, method, *args, **options)
            self.take(response)
            return response

        Session.request = request  # type: ignore[method-assign,assignment]  # only here

    def take(self, response: Any) -> None:
        """Note an answer."""
        asked = response.request
        address, _, query = asked.url.partition("?")
        port, _, path = address.removeprefix("http://127.0.0.1:").partition("/")
        service = PORTS.get(int(port), port)
        body = _json(response)
        state = _state(body)
        pattern = ID.sub("ID", path)
        action = next(iter(_sent(asked)), "") if path.endswith("/action") else ""
        names = ",".join(sorted({word.partition("=")[0] for word in query.split("&") if word}))
        key = f"{asked.method} {service} /{pattern} {action} {names} {response.status_code} {state}"
        self.found.setdefault(
            " ".join(key.split()),
            {
                "method": asked.method,
                "service": service,
                "path": f"/{path}",
                "query": query,
                "status": response.status_code,
                "headers": {name: response.headers[name] for name in HEADERS if name in response.headers},
                "body": body,
            },
        )


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _sent(asked: Any) -> Any:
    try:
        return json.loads(asked.body)
    except (ValueError, TypeError):
        return {}


def _state(body: Any) -> str:
    one = next((value for value in body.values() if isinstance(value, dict)), body) if isinstance(body, dict) else {}
    return str(one.get("status", "")) if isinstance(one, dict) else ""


def main() -> None:
    """Record."""
    recorder = Recorder()
    recorder.install()
    plain = OpenStack(base="tiny", flavor="tiny", network="private", floating_network="provider", poll=0.3)
    with tempfile.TemporaryDirectory() as folder:
        for number, source in enumerate((plain, plain.on("tiny"))):
            life = Life(source=source if number == 0 else _volume(), folder=Path(folder), number=number)
            print(*life.driver.check(life.source))  # noqa: T201  a script
            kept, said = life.tried()
            print(said)  # noqa: T201  a script
            if kept:
                life.driver.delete(kept)
        for wrong in ({"flavor": "none"}, {"base": "none"}, {"network": "none"}, {"zone": "none"}):
            refused = OpenStack(**{"base": "tiny", "flavor": "tiny", "network": "private", **wrong})  # type: ignore[arg-type]  # one of them wrong
            life = Life(source=refused, folder=Path(folder), number=9)
            print(life.tried())  # noqa: T201  a script
    FILE.write_text(json.dumps(recorder.found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _volume() -> OpenStack:
    return OpenStack(base="tiny", flavor="tiny", network="provider", volume=1, poll=0.3)


if __name__ == "__main__":
    try:
        main()
    except BakeryError as error:
        raise SystemExit(str(error)) from error
