"""An OpenStack in memory, over HTTP or, for unit tests, without a socket.

What it says is recorded from a real one (`openstack_recordings/answers.json`); only its state is of its own making, and
it can be told to refuse, to lose answers, to fail and to forget tokens.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

ANSWERS = Path(__file__).parent / "openstack_recordings" / "answers.json"
SERVICES = {"identity": 5000, "compute": 8774, "image": 9292, "network": 9696, "block_storage": 8776}
KINDS = {
    "os-keypairs": "keypair",
    "security-groups": "security_group",
    "ports": "port",
    "floatingips": "floatingip",
    "volumes": "volume",
    "snapshots": "snapshot",
    "images": "",
    "servers": "server",
}
TASK = "OS-EXT-STS:task_state"
Thing = dict[str, Any]


@dataclass
class Request:
    """One question.

    Args:
        number: from 1, discovery and tokens not counted.
        method, service, path: `POST compute /servers`.
        query: its parameters.
        body: JSON, or None.
        headers: as they were sent.
        data: the bytes of the body.
    """

    number: int
    method: str
    service: str
    path: str
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    data: bytes = b""

    def __str__(self) -> str:
        """`POST compute /servers`."""
        return f"{self.method} {self.service} {self.path}"


@dataclass
class Answer:
    """What is answered; `lost` is done, but its answer never arrives."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    lost: bool = False


Fault = Callable[[Request], Answer | None]


class StandIn:
    """The cloud. A context manager; `environment` tells openstacksdk where it is.

    Args:
        fault: asked before each question; what it returns is answered in place of the truth (`lost`: besides).
    """

    def __init__(self, fault: Fault = lambda _: None) -> None:
        self.fault = fault
        self.lies: dict[str, list[str]] = {}
        self.requests: list[str] = []
        self.seen: list[Request] = []
        self.tokens: set[str] = set()
        self.things: dict[str, dict[str, Thing]] = {kind: {} for kind in KINDS}
        self.looks: dict[str, list[Thing]] = {}
        self.lock = threading.RLock()
        self._settle("http://cloud.test")

    def _settle(self, root: str) -> None:
        """Give all addresses this root."""
        self.root = root
        text = ANSWERS.read_text(encoding="utf-8")
        for service, port in SERVICES.items():
            text = text.replace(f"http://127.0.0.1:{port}", f"{self.root}/{service}")
        self.recorded: dict[str, Thing] = json.loads(text)
        base = self._example("GET image /v2/images name,status", "images")
        self.things["images"] = {base["id"]: base}

    def __enter__(self) -> Self:
        """Listen on a port of this host."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._settle(f"http://127.0.0.1:{self._server.server_port}")
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """OS_* variables, as an `openrc` has them."""
        return {
            "OS_AUTH_URL": f"{self.root}/identity/v3",
            "OS_USERNAME": "demo",
            "OS_PASSWORD": "rig",
            "OS_PROJECT_NAME": "demo",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
        }

    def left(self) -> set[str]:
        """All that exists."""
        return {f"{kind} {name}" for kind, found in self.things.items() for name in found}

    # ---- answers ------------------------------------------------------------------------------------------------

    def _example(self, start: str, result: str) -> Thing:
        """One thing as the real services show it."""
        for key, found in self.recorded.items():
            if key.startswith(start) and found["status"] < 300 and found["body"] and found["body"].get(result):
                one = found["body"][result]
                return copy.deepcopy(one[0] if isinstance(one, list) else one)
        raise LookupError(f"nothing was recorded for {start}: {result}")

    def _static(self, request: Request, whole: str) -> Answer:
        for found in self.recorded.values():
            same = (found["method"], found["service"], found["path"]) == (request.method, request.service, whole)
            if same and found["status"] < 400:
                body = copy.deepcopy(found["body"])
                return Answer(found["status"], _filtered(body, request.query), dict(found["headers"]))
        return Answer(404, {"itemNotFound": {"message": f"not recorded: {request}", "code": 404}})

    def answer(self, request: Request, whole: str, token: str) -> Answer:
        """Answer one question."""
        if request.path.endswith("/auth/tokens"):
            made = uuid.uuid4().hex
            self.tokens.add(made)
            body = self._example("POST identity /v3/auth/tokens", "token")
            body["expires_at"] = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S.%fZ}"
            return Answer(201, {"token": body}, {"X-Subject-Token": made})
        if request.number and token not in self.tokens:
            return Answer(401, {"error": {"message": "The request you have made requires authentication."}})
        words = [word for word in request.path.split("/") if word]
        if not words or words[0] not in KINDS:
            return self._static(request, whole)
        rest = [word for word in words[1:] if word != "detail"]
        return self._thing(request, words[0], rest)

    def _thing(self, request: Request, kind: str, rest: list[str]) -> Answer:
        found = self.things[kind]
        if request.method == "POST" and not rest:
            return Answer(201, self._wrapped(kind, self._make(kind, request.body)))
        if not rest:
            return self._list(request, kind)
        one = found.get(rest[0])
        if one is None:
            return Answer(404, {"NotFound": {"message": f"{kind} {rest[0]} could not be found.", "code": 404}})
        if request.method == "GET" and len(rest) == 1:
            self._look(kind, one)
            if rest[0] not in found:
                return Answer(404, {"NotFound": {"message": "gone", "code": 404}})
            return Answer(200, self._wrapped(kind, one))
        if request.method == "DELETE":
            return self._delete(kind, one)
        if request.method == "PATCH":
            for step in request.body:
                name = step["path"][1:].replace("~1", "/").replace("~0", "~")
                one.pop(name, None) if step["op"] == "remove" else one.update({name: step["value"]})
            return Answer(200, one)
        if request.method == "PUT":
            return self._put(kind, one, request)
        return self._act(kind, one, request)

    def _put(self, kind: str, one: Thing, request: Request) -> Answer:
        if request.path.endswith("/file"):
            digest = hashlib.sha512(request.data).hexdigest()
            one.update(status="active", size=len(request.data), os_hash_algo="sha512", os_hash_value=digest)
            self.looks.pop(one["id"], None)
            return Answer(204)
        one.update(request.body.get(KINDS[kind], {}))
        return Answer(200, self._wrapped(kind, one))

    def _wrapped(self, kind: str, one: Thing) -> Thing:
        return {KINDS[kind]: one} if KINDS[kind] else one

    def _list(self, request: Request, kind: str) -> Answer:
        known = list(self.things[kind].values())
        for one in known:
            self._look(kind, one)
        query = request.query
        if kind == "images":
            query = {"os_hidden": "false", **query}
        items = [one for one in known if one["id" if kind != "os-keypairs" else "name"] in self.things[kind]]
        items = [one for one in items if all(_fits(kind, one, name, value) for name, value in query.items())]
        result = "keypairs" if kind == "os-keypairs" else kind.replace("-", "_")
        return Answer(200, {result: [{"keypair": one} if kind == "os-keypairs" else one for one in items]})

    # ---- state --------------------------------------------------------------------------------------------------

    def _make(self, kind: str, body: Thing) -> Thing:
        request = body[KINDS[kind]] if KINDS[kind] else body
        starts = {
            "os-keypairs": "GET compute /v2.1/os-keypairs/ID 200",
            "security-groups": "POST network /v2.0/security-groups",
            "ports": "POST network /v2.0/ports",
            "floatingips": "POST network /v2.0/floatingips",
            "servers": "GET compute /v2.1/servers/ID 200 ACTIVE",
            "volumes": "GET block_storage /v3/ID/volumes/ID",
        }
        if kind == "images":
            one = copy.deepcopy(next(iter(self.things["images"].values())))
            one = {name: value for name, value in one.items() if not name.startswith("bakery:")}
            one.update(owner=self._example("POST identity /v3/auth/tokens", "token")["project"]["id"], tags=[])
        else:
            one = self._example(starts[kind], KINDS[kind])
        one.update({name: value for name, value in request.items() if name not in {"networks", "imageRef"}})
        one["id"] = str(uuid.uuid4())
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        one.update({name: now for name in ("created", "created_at") if name in one})
        self._begin(kind, one)
        self.things[kind][one["name"] if kind == "os-keypairs" else one["id"]] = one
        return one

    def _begin(self, kind: str, one: Thing) -> None:
        """What each look at a new thing shows, one after the other; a lie replaces that."""
        steps: dict[str, list[Thing]] = {
            "servers": [
                {"status": "BUILD", TASK: "scheduling"},
                {"status": "BUILD", TASK: "spawning"},
                {"status": "ACTIVE", TASK: None},
            ],
            "volumes": [{"status": "creating"}, {"status": "available"}],
            "images": [{"status": "queued"}, {"status": "saving"}, {"status": "active"}],
        }
        lies = self.lies.get(kind)
        if lies:
            fault = {"fault": {"message": "No valid host was found. ", "code": 500}} if kind == "servers" else {}
            self.looks[one["id"]] = [{"status": status, TASK: None, **fault} for status in lies]
        else:
            self.looks[one["id"]] = steps.get(kind, [])
        if self.looks[one["id"]]:
            one.update(self.looks[one["id"]][0])

    def _look(self, kind: str, one: Thing) -> None:
        coming = self.looks.get(one.get("id", ""), [])
        if not coming:
            return
        step = coming.pop(0) if len(coming) > 1 else coming[0]
        one.update(step)
        if step.get("gone"):
            self.things[kind].pop(one["id"], None)

    def _delete(self, kind: str, one: Thing) -> Answer:
        if kind == "ports" and any(server["name"] == one.get("device") for server in self.things["servers"].values()):
            return Answer(409, {"NeutronError": {"message": "in use", "type": "PortInUse"}})
        if kind == "security-groups" and any(
            one["id"] in port["security_groups"] for port in self.things["ports"].values()
        ):
            body = {"type": "SecurityGroupInUse", "message": f"Security Group {one['id']} in use.", "detail": ""}
            return Answer(409, {"NeutronError": body})
        if kind == "servers":
            self.looks[one["id"]] = [{TASK: "deleting"}, {TASK: "deleting", "gone": True}]
            one[TASK] = "deleting"
        else:
            self.things[kind].pop(one["name"] if kind == "os-keypairs" else one["id"])
        return Answer(204)

    def _act(self, kind: str, one: Thing, request: Request) -> Answer:
        match request.body:
            case {"os-stop": _}:
                if one["status"] != "ACTIVE":
                    return Answer(409, {"conflictingRequest": {"message": "Cannot 'stop' instance", "code": 409}})
                self.looks[one["id"]] = [{TASK: "powering-off"}, {"status": "SHUTOFF", TASK: None}]
                return Answer(202)
            case {"createImage": {"name": name, "metadata": marks}}:
                made = self._make("images", {"name": name, "visibility": "private", **marks})
                return Answer(202, {"image_id": made["id"]})
            case {"os-getConsoleOutput": _}:
                return Answer(200, {"output": "Linux version 6.1\nlogin: "})
            case {"os-volume_upload_image": {"image_name": name}}:
                made = self._make("images", {"name": name, "visibility": "private"})
                return Answer(202, {"os-volume_upload_image": {"image_id": made["id"]}})
        return Answer(400, {"badRequest": {"message": f"{kind}: not known: {request.body}", "code": 400}})

    # ---- HTTP ---------------------------------------------------------------------------------------------------

    def take(self, method: str, target: str, headers: Mapping[str, str], data: bytes) -> Answer:
        """Answer one request, or let the fault answer it."""
        token = headers.get("X-Auth-Token", "")
        parts = urlsplit(target)
        _, service, *words = parts.path.split("/")
        whole = "/" + "/".join(words)
        path = re.sub(r"^/(v2\.1|v2\.0|v3/[0-9a-f]{32}|v2)(?=/|$)", "", whole)
        try:
            body = json.loads(data) if data else None
        except ValueError:
            body = None
        with self.lock:
            counted = service != "identity" and path not in {"", "/"}
            request = Request(
                len(self.requests) + 1 if counted else 0,
                method,
                service,
                path,
                dict(parse_qsl(parts.query)),
                body,
                headers,
                data,
            )
            if not counted:
                return self.answer(request, whole, token)
            self.requests.append(str(request))
            self.seen.append(request)
            said = self.fault(request)
            if said is not None and not said.lost:
                return said
            truth = self.answer(request, whole, token)
            return Answer(truth.status, truth.body, truth.headers, lost=said is not None)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                said = cloud.take(self.command, self.path, dict(self.headers), data)
                self.close_connection = True
                if said.lost:
                    return
                body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                text = body if said.body is not None else b""
                self.send_response(said.status)
                headers = {"Content-Type": "application/json", **said.headers, "Content-Length": str(len(text))}
                for name, value in {**headers, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  the library's names

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


class InMemory(BaseAdapter):
    """Hands the requests of a session to a stand-in, with no socket between."""

    def __init__(self, cloud: StandIn) -> None:
        super().__init__()
        self.cloud = cloud

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]  # all are keywords
        """Answer a request."""
        body: Any = request.body or b""
        data = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b"".join(body)
        headers = {name: str(value) for name, value in request.headers.items()}
        said = self.cloud.take(str(request.method), str(request.url), headers, data)
        if said.lost:
            raise requests.ConnectionError("the answer was lost")
        response = requests.Response()
        response.status_code, response.url, response.request = said.status, str(request.url), request
        response.headers.update({"Content-Type": "application/json", **said.headers})
        text = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        response.raw = io.BytesIO(b"" if said.body is None else text)
        return response

    def close(self) -> None:
        """Nothing is open."""


def _fits(kind: str, one: Thing, name: str, value: str) -> bool:
    if name in {"limit", "marker", "tag", "sort"}:
        return True
    if kind == "servers" and name == "name":
        return bool(re.search(value, one["name"]))
    if kind == "servers" and name == "image":
        return bool((one.get("image") or {}).get("id") == value)
    return str(one.get(name, "false" if name == "os_hidden" else "")).lower() == value.lower()


def _filtered(body: Any, query: dict[str, str]) -> Any:
    """Recorded lists, as far as they fit the question."""
    for name, items in body.items() if isinstance(body, dict) else ():
        if isinstance(items, list) and name in {"networks", "subnets", "security_groups"}:
            body[name] = [
                one for one in items if all(str(one.get(key, value)) == value for key, value in query.items())
            ]
    return body
