"""govmomi's vCenter simulator, built from Debian's packages, with a front that speaks TLS and does what it does wrong.

`VCenterStandIn` is the front: every request goes through it, so that tests can refuse, delay and lose answers. What
vcsim 0.24 lacks is done here, as its method says; all else is vcsim's own.
"""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote

import pytest
from filelock import FileLock

from tests.certificates import certificate
from tests.contract.vcsim_export import ExportStandIn
from tests.contract.vcsim_guest import GuestOperationsStandIn
from tests.contract.vcsim_items import LibraryStandIn
from tests.contract.vcsim_tasks import TaskStandIn

RIG = Path(__file__).parents[1] / "rigs" / "vcsim"
CACHE = Path.home() / ".cache" / "bakery-tests"
PACKAGES = ("golang-go", "golang-github-vmware-govmomi-dev")
ADDRESS = "127.0.0.2"
"""pyvmomi 9.1 does not verify certificates of localhost and 127.0.0.1 by itself: nothing tested there proves much."""
USER, PASSWORD = "baker@vsphere.local", "a password of the tests"
GUESTS = ipaddress.IPv4Address("127.44.0.0")
NAMES = re.compile(rb"<(?:\w+:)?Body><(\w+) [^>]*><_this [^>]*>([^<]*)</_this>")
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
)
END = "</soapenv:Body></soapenv:Envelope>"
ANSWER = ENVELOPE + '<{method}Response xmlns="urn:vim25"><returnval>{value}</returnval></{method}Response>' + END
REST = "/rest"
LOGOUT = (
    ENVELOPE + '<Logout xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this></Logout>' + END
).encode()


def program() -> Path:
    """Return the simulator, built once for each version of its launcher."""
    source = RIG / "main.go"
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    binary = CACHE / f"vcsim-{version}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{binary}.lock"):
        if not binary.exists():
            if shutil.which("go") is None:
                pytest.fail(f"vcsim cannot be built: apt install {' '.join(PACKAGES)}")
            environ = {
                **os.environ,
                "GOPATH": "/usr/share/gocode",
                "GO111MODULE": "off",
                "GOFLAGS": "-p=2",
                "GOCACHE": f"{binary}.cache",
            }
            part = binary.with_suffix(".part")
            subprocess.run(["go", "build", "-o", str(part), str(source)], check=True, env=environ)
            shutil.rmtree(f"{binary}.cache", ignore_errors=True)
            part.rename(binary)
    return binary


@dataclass(frozen=True)
class SoapRequest:
    """One call.

    Args:
        number: from 1.
        method: `CloneVM_Task`.
        moid: of whom it is asked.
        body: the whole envelope.
    """

    number: int
    method: str
    moid: str
    body: str

    def value(self, name: str) -> str:
        """The text of the first element of a name."""
        match = re.search(rf"<{name}(?: [^>]*)?>([^<]*)</{name}>", self.body)
        return match[1] if match else ""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered in place of the truth.

    Args:
        fault: a fault, as pyvmomi has it.
        status: of HTTP, without a body.
        lost: it is done, but its answer never arrives.
        dropped: it is not even done.
        after: seconds of waiting, before it is done as ever.
        expired: the session is ended first.
        value: an integer as the method's result.
        result: pyvmomi's objects as the method's result; an empty tuple for none.
        task: it is not done, and a task is answered that ends in this fault a moment later, or is `ENDLESS`.
    """

    fault: Any = None
    status: int = 0
    lost: bool = False
    dropped: bool = False
    after: float = 0.0
    expired: bool = False
    value: int | None = None
    result: Any = None
    task: Any = None


Fault = Callable[[SoapRequest], Reply | None]


@dataclass
class VCenterStandIn:
    """vcsim behind TLS; a context manager.

    Args:
        folder: for its certificate, its log and its guests.
        fault: asked before each call; what it returns is answered in place of the truth, or besides.
        guests: the disk that machines boot from; None for machines that only say that they run.
        flags: more flags for vcsim.
        password: of root in guests; with one, guests tell no address, and are entered by guest operations alone.
    """

    folder: Path
    fault: Fault = lambda _: None
    guests: Path | None = None
    flags: tuple[str, ...] = ()
    password: str = ""
    calls: list[SoapRequest] = field(default_factory=list[SoapRequest])
    lock: Any = field(default_factory=threading.Lock)
    status: int = 0
    imports: dict[str, Any] = field(default_factory=dict[str, Any])
    uploads: list[bytes] = field(default_factory=list[bytes])
    numbers: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        """Stand in for what vcsim has nothing of."""
        self.exports = ExportStandIn(self)
        self.items = LibraryStandIn(self)
        self.inside = GuestOperationsStandIn(self)
        self.tasks = TaskStandIn(self)
        self.login = (USER, PASSWORD)

    def __enter__(self) -> Self:
        """Start it, and make the template `tiny` that tests clone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rig = self.folder / "guests"
        self.rig.mkdir()
        self._start()
        self._listen()
        self._session()
        self._prepare()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with all guests."""
        self._server.shutdown()
        self._server.server_close()
        self.inside.close()
        self.center.session.stub.DropConnections()
        self.process.communicate(timeout=20)  # it ends with its standard input
        for guest in self.rig.glob("*.pid"):
            subprocess.run([*self._docker, "rm", guest.stem], check=False, env=self._environ)

    @property
    def server(self) -> str:
        """What a source takes as `server=`."""
        return f"{ADDRESS}:{self._server.server_port}"

    @property
    def ca(self) -> str:
        """What a source takes as `ca=`."""
        return str(self.folder / "ca.pem")

    @property
    def environment(self) -> dict[str, str]:
        """What tells a process where it is."""
        return {
            "VSPHERE_SERVER": self.server,
            "VSPHERE_USER": USER,
            "VSPHERE_PASSWORD": PASSWORD,
            "GOVC_TLS_CA_CERTS": self.ca,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of a source with which a machine of it comes up."""
        return {
            "server": self.server,
            "username": USER,
            "password": PASSWORD,
            "ca": self.ca,
            "base": "tiny",
            "cluster": "DC0_C0",
        }

    def listed(self, method: str) -> list[SoapRequest]:
        """The calls of a method so far."""
        return [call for call in self.calls if call.method == method]

    def exists(self) -> set[str]:
        """Everything that exists: machines, templates, folders, snapshots, items, files of datastores, disks."""
        from bakery.drivers.vsphere.api import inventory
        from bakery.drivers.vsphere.machine.base_images import snapshots

        found: set[str] = set()
        known = inventory.read(self.center, machines=True)
        for entity in known.of("machine"):
            values = self.center.properties(entity.ref, "snapshot", "config.template") or {}
            kind = "template" if values.get("config.template") else "machine"
            found.add(f"{kind} {entity.path} {entity.moid}")
            found |= {f"snapshot {one.name} of {entity.path}" for one in snapshots(values)}
        found |= {f"folder {entity.path}" for entity in known.of("folder")}
        found |= {f"file {path.relative_to(store)}" for store in self._stores() for path in store.rglob("*")}
        found |= self.items.listed()
        return found | {f"guest {path.name}" for path in self.rig.glob("*.qcow2")}

    def _stores(self) -> list[Path]:
        """The folders that vcsim's datastores are."""
        from pyVmomi import vim

        summaries = self.center.all({vim.Datastore: ("summary",)})
        return [Path(values["summary"].url) for _, values in summaries]

    # ---- starting -----------------------------------------------------------------------------------------------

    @property
    def _docker(self) -> list[str]:
        return [str(RIG / "docker")]

    @property
    def _environ(self) -> dict[str, str]:
        here = str(Path(__file__).parents[2])
        return {
            **os.environ,
            "PATH": f"{RIG}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": here,
            "VM_RIG": str(self.rig),
            "VM_RIG_PYTHON": sys.executable,
            "VM_RIG_PASSWORD": self.password,
            "TMPDIR": str(self.folder),
        }

    def _start(self) -> None:
        words = [str(program()), "-listen", "127.0.0.1:0", "-plain", "-user", USER, "-password", PASSWORD]
        words += ["-autostart=false", "-vm", "1", "-stdin-exit", *self.flags]
        with (self.folder / "vcsim.log").open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._environ
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "vcsim.log").read_text()
        self.backend = re.sub(r"^http://|/sdk$", "", json.loads(line)["url"])

    def _listen(self) -> None:
        cert, key = certificate(self.folder, ADDRESS)
        self._server = FrontServer((ADDRESS, 0), type("Front", (FrontHandler,), {"front": self}))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _session(self) -> None:
        """Log in to vcsim itself, past the front."""
        from pyVmomi.SoapAdapter import SoapStubAdapter

        from bakery.drivers.vsphere.api.account import VSphereAccount
        from bakery.drivers.vsphere.api.center import VCenter, VSphereSession
        from bakery.redaction.secret import Secret

        host, _, port = self.backend.partition(":")
        make: Any = SoapStubAdapter
        stub = make(host=host, port=-int(port), version="vim.version.version11")  # 6.5; a port below 0 is plain HTTP
        account = VSphereAccount(server=self.backend, username=USER)
        session = VSphereSession(account, Secret(PASSWORD), stub)
        session.login()
        self.center = VCenter(account, session)

    def _prepare(self) -> None:
        """Turn one of vcsim's machines into the template `tiny`."""
        from pyVmomi import vim

        machine = self._named("DC0_C0_RP0_VM0")
        self.configure(machine, self._first_settings())
        spec: Any = vim.vm.ConfigSpec
        self.wait(machine.ReconfigVM_Task(spec(name="tiny")))
        machine.MarkAsTemplate()

    def _first_settings(self) -> dict[str, str]:
        """What lets the first machine run."""
        settings = {"SET.guest.toolsRunningStatus": "guestToolsRunning"}
        if self.guests is not None:
            settings["RUN.container"] = json.dumps(["none", "127.0.0.1", str(self.guests)])
        else:
            settings["SET.guest.ipAddress"] = "127.0.0.9"
        return settings

    # ---- the test's own hand ------------------------------------------------------------------------------------

    def _named(self, name: str) -> Any:
        from bakery.drivers.vsphere.machine.machines import called

        return called(self.center, name)[0]

    def machine(self, name: str) -> Any:
        """A machine or template by its name, past the front."""
        return self._named(name)

    def wait(self, task: Any) -> Any:
        """A task's result."""
        while True:
            values = self.center.properties(task, "info.state", "info.result", "info.error") or {}
            if str(values.get("info.state")) == "success":
                return values.get("info.result")
            if str(values.get("info.state")) == "error":
                raise values["info.error"]
            time.sleep(0.01)

    def configure(self, machine: Any, settings: dict[str, str]) -> None:
        """Set settings of a machine, past the front."""
        from pyVmomi import vim

        option: Any = vim.option.OptionValue
        spec: Any = vim.vm.ConfigSpec
        values = [option(key=key, value=value) for key, value in settings.items()]
        self.wait(machine.ReconfigVM_Task(spec(extraConfig=values)))

    # ---- what vcsim lacks ---------------------------------------------------------------------------------------

    def before(self, call: SoapRequest) -> Reply | None:
        """Answer what vcsim gets wrong: two machines of one name in a folder, linked clones of nothing, a power key."""
        from pyVmomi import vim, vmodl

        fault: Any = vmodl.MethodFault
        try:
            result = self.exports.answer(call)
            result = self.inside.answer(call) if result is None else result
            result = self.tasks.answer(call) if result is None else result
        except fault as error:
            return Reply(fault=error)
        if result is not None:
            return Reply(result=result)
        match call.method:
            case "CloneVM_Task" | "Rename_Task":
                return self._taken(call)
            case "PowerOffVM_Task":
                (self.rig / f"{call.moid}.plug").touch()
            case "PowerOnVM_Task":
                (self.rig / f"{call.moid}.plug").unlink(missing_ok=True)
            case "PutUsbScanCodes":
                machine: Any = vim.VirtualMachine
                key = machine(call.moid, self.center.session.stub)
                threading.Thread(target=key.ShutdownGuest, daemon=True).start()
                return Reply(value=1)
            case _:
                pass
        return None

    def _taken(self, call: SoapRequest) -> Reply | None:
        from pyVmomi import vim

        name = call.value("name") or call.value("newName")
        if call.method == "CloneVM_Task":
            where = call.value("folder")
        elif call.moid.startswith("vm-"):
            machine: Any = vim.VirtualMachine
            values = self.center.properties(machine(call.moid, self.center.session.stub), "parent") or {}
            where = values["parent"]._GetMoId() if "parent" in values else ""
        else:
            return None
        folder: Any = vim.Folder
        children = self.center.properties(folder(where, self.center.session.stub), "childEntity") or {}
        for child in children.get("childEntity") or ():
            if (self.center.properties(child, "name") or {}).get("name") == name and child._GetMoId() != call.moid:
                duplicate: Any = vim.fault.DuplicateName
                return Reply(fault=duplicate(name=name, object=child, msg=f"The name '{name}' already exists."))
        return None

    def after(self, call: SoapRequest, answer: bytes) -> None:
        """Do what vcsim leaves out of a call that it answered."""
        found = re.search(rb"<returnval[^>]*>([^<]*)</returnval>", answer)
        if call.method.endswith("action=deploy"):
            self._deployed(json.loads(answer)["value"])
        self.items.after(call, answer)
        match call.method:
            case "CloneVM_Task" if found:
                self._cloned(call, found[1].decode())
            case "ImportVApp" if found:
                self.imports[found[1].decode()] = self._named(call.value("name"))
            case "HttpNfcLeaseAbort" if call.moid in self.imports:  # vSphere takes back what was half imported
                self._taken_back(self.imports.pop(call.moid))
            case "Destroy_Task":  # what was imported and never ran is no guest yet, and only a file
                for path in self.rig.glob(f"{call.moid}.*"):
                    path.unlink()
            case _:
                pass

    def _taken_back(self, machine: Any) -> None:
        """Destroy a machine whose import was given up, which vcsim leaves there."""
        from pyVmomi import vmodl

        gone: Any = vmodl.fault.ManagedObjectNotFound
        with contextlib.suppress(gone):  # the test has destroyed it
            self.wait(machine.Destroy_Task())
        for path in self.rig.glob(f"{machine._GetMoId()}.*"):
            path.unlink()

    def _deployed(self, answer: Any) -> None:
        """Let a library's item run as any clone does; vcsim makes a template of what is deployed from a template."""
        if isinstance(answer, str):
            machine = self.center.machine(answer)
            machine.MarkAsVirtualMachine(self.pool)
        elif answer.get("succeeded"):
            machine = self.center.machine(answer["resource_id"]["id"])
        else:
            return
        if self.guests is None:
            tools = {"SET.guest.toolsRunningStatus": "guestToolsRunning", "SET.guest.ipAddress": "127.0.0.9"}
            self.configure(machine, tools)

    @property
    def pool(self) -> Any:
        """The pool of the cluster that tests build in."""
        from bakery.drivers.vsphere.api import inventory

        cluster = inventory.read(self.center).find("cluster", "DC0_C0")
        return (self.center.properties(cluster.ref, "resourcePool") or {})["resourcePool"]

    def upload(self, path: str, body: bytes) -> None:
        """Keep a disk that is imported, which vcsim throws away: clones of its machine start from it."""
        machine = self.imports[unquote(path.split("/")[2])]
        own = machine._GetMoId()
        tools = {"SET.guest.toolsRunningStatus": "guestToolsRunning"}
        if self.guests is None:
            self.uploads.append(body)
            self.configure(machine, {"SET.guest.ipAddress": "127.0.0.9", **tools})
            return
        disk, sent = self.rig / f"{own}.qcow2", self.rig / f"{own}.vmdk"
        sent.write_bytes(body)
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", str(sent), str(disk)], check=True)
        sent.unlink()
        address = self._address(own)
        self.configure(machine, {"RUN.container": json.dumps([own, address, str(disk)]), **tools})

    def _cloned(self, call: SoapRequest, name: str) -> None:
        """Hand a base's settings on to its clone, as vCenter does; a guest starts from the disk of its base's guest."""
        from pyVmomi import vim

        stub = self.center.session.stub
        task: Any = vim.Task
        machine: Any = vim.VirtualMachine
        clone = self.wait(task(name, stub))
        self.inherit(machine(call.moid, stub), clone)

    def inherit(self, base: Any, clone: Any) -> None:
        """Let a machine run as another one does; a guest starts from the disk of the other's guest."""
        values = self.center.properties(base, "config.extraConfig", "guest.ipAddress") or {}
        known = {one.key: one.value for one in values.get("config.extraConfig") or ()}
        if "RUN.container" in known:
            disk = self.rig / f"{base._GetMoId()}.qcow2"
            self.give_guest(clone, str(disk) if disk.exists() else json.loads(known["RUN.container"])[2])
            return
        settings = {"SET.guest.toolsRunningStatus": "guestToolsRunning"}
        if values.get("guest.ipAddress"):
            settings["SET.guest.ipAddress"] = str(values["guest.ipAddress"])
        self.configure(clone, settings)

    def give_guest(self, machine: Any, disk: str) -> None:
        """Let a machine be a guest that starts from a disk."""
        own = machine._GetMoId()
        settings = {"SET.guest.toolsRunningStatus": "guestToolsRunning"}
        settings["RUN.container"] = json.dumps([own, self._address(own), disk])
        self.configure(machine, settings)

    def _address(self, own: str) -> str:
        """The address of a machine's guest."""
        with self.lock:
            return str(GUESTS + self.numbers.setdefault(own, len(self.numbers) + 1))

    def take(self, method: str, moid: str, body: str) -> SoapRequest:
        """Note a call."""
        with self.lock:
            call = SoapRequest(len(self.calls) + 1, method, moid, body)
            self.calls.append(call)
        return call


@dataclass
class HostStandIn(VCenterStandIn):
    """vcsim's single ESXi host behind TLS, with a machine `tiny` that is off. Another vCenter is no part of it."""

    flags: tuple[str, ...] = ("-esx",)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a source with which a machine of it comes up."""
        given = {name: value for name, value in super().options.items() if name != "cluster"}
        return {**given, "image": "machine"}

    def _prepare(self) -> None:
        """Give one of vcsim's machines the name `tiny`."""
        from pyVmomi import vim

        machine = self._named("ha-host_VM0")
        spec: Any = vim.vm.ConfigSpec
        self.wait(machine.ReconfigVM_Task(spec(name="tiny")))
        self.configure(machine, self._first_settings())

    def after(self, call: SoapRequest, answer: bytes) -> None:
        """Let a machine that was made of copies run as the one whose disks were copied."""
        super().after(call, answer)
        found = re.search(rb"<returnval[^>]*>([^<]*)</returnval>", answer)
        if call.method == "CreateVM_Task" and found:
            from pyVmomi import vim

            task: Any = vim.Task
            made = self.wait(task(found[1].decode(), self.center.session.stub))
            copied = self.listed("CopyVirtualDisk_Task")[-1].value("sourceName").rpartition("/")[0]
            for base, values in self.center.all({vim.VirtualMachine: ("config.files",)}):
                if values["config.files"].vmPathName.startswith(f"{copied}/"):
                    self.inherit(base, made)


def soap_result(method: str, result: Any) -> bytes:
    """A result as vCenter writes it."""
    from pyVmomi import SoapAdapter, VmomiSupport

    make: Any = VmomiSupport.Object
    let_faults_be_copied()
    info = make(name="returnval", type=object, version="vim.version.version11", flags=0)
    write: Any = SoapAdapter.SerializeToStr
    items = result if isinstance(result, list | tuple) else (result,)
    text = "".join(write(item, info=info, version="vim.version.version11") for item in items)
    return f'{ENVELOPE}<{method}Response xmlns="urn:vim25">{text}</{method}Response>{END}'.encode()


def let_faults_be_copied() -> None:
    """Undo what tblib, which distributed loads, does to all exceptions of a process: pyvmomi copies what it writes."""
    for kind in [kind for kind in copyreg.dispatch_table if kind.__module__.startswith("pyVmomi")]:
        del copyreg.dispatch_table[kind]


def soap_fault(fault: Any) -> bytes:
    """A fault as vCenter writes it."""
    from pyVmomi import SoapAdapter

    let_faults_be_copied()
    kind = type(fault).__name__.rpartition(".")[2]
    write: Any = SoapAdapter.SerializeToStr
    text = write(fault, version="vim.version.version11")
    inner = re.search(r"<fault [^>]*>(.*)</fault>", text)
    detail = f'<{kind}Fault xmlns="urn:vim25" xsi:type="{kind}">{inner[1] if inner else ""}</{kind}Fault>'
    head = f"<faultcode>ServerFaultCode</faultcode><faultstring>{fault.msg or kind}</faultstring>"
    return f"{ENVELOPE}<soapenv:Fault>{head}<detail>{detail}</detail></soapenv:Fault>{END}".encode()


class FrontServer(ThreadingHTTPServer):
    """A server whose clients may hang up, as those do that distrust its certificate."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # ssl.SSLError is one
            super().handle_error(request, client_address)


class FrontHandler(BaseHTTPRequestHandler):
    """Takes what pyvmomi sends: refuses it, loses its answer, or hands it on to vcsim."""

    front: ClassVar[VCenterStandIn]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's delayed acknowledgement
    timeout = 60

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Hand it on, unless the test has it that the server is starting."""
        if self.front.status:
            self._send(self.front.status, b"", {})
        elif (exported := self.front.exports.download(self.path)) is not None:
            content, sent = exported
            self._send(200, content, {}, cut=sent)
        elif (moved := self.front.inside.transfer("GET", self.path, b"")) is not None:
            self._send(*moved, {})
        else:
            self._hand_on(b"")

    def do_PUT(self) -> None:
        """Hand it on."""
        body = self._body()
        if (moved := self.front.inside.transfer("PUT", self.path, body)) is not None:
            self._send(*moved, {})
        else:
            self._hand_on(body)

    def do_DELETE(self) -> None:
        """Hand it on."""
        self._hand_on(b"")

    def do_PATCH(self) -> None:
        """Hand it on."""
        self._hand_on(self._body())

    def _hand_on(self, body: bytes) -> None:
        """Ask the test first where it is a request of the REST API."""
        if not self.path.startswith(REST):
            self._forward(body)
            return
        call = self.front.take(f"{self.command} {self.path.removeprefix(REST)}", "", body.decode(errors="replace"))
        reply = self.front.fault(call)
        if reply is not None:
            self._reply(reply, body, call)
        elif (value := self.front.items.before(call)) is not None:
            self._send(200, json.dumps({"value": value}).encode(), {"Content-Type": "application/json"})
        else:
            self._forward(body, call)

    def do_POST(self) -> None:
        """Ask the test first, then what vcsim lacks, then vcsim."""
        body = self._body()
        found = NAMES.search(body[:4096])
        if self.path.startswith("/nfc/"):
            self.front.upload(self.path, body)
        if found is None:
            self._hand_on(body)
            return
        call = self.front.take(found[1].decode(), found[2].decode(), body.decode())
        reply = self.front.fault(call) or self.front.before(call)
        if reply is not None and not (reply.after or reply.expired):
            self._reply(reply, body, call)
            return
        if reply is not None:
            time.sleep(reply.after)
            if reply.expired:
                self._ask(LOGOUT, None)
        self._forward(body, call)

    def _reply(self, reply: Reply, body: bytes, call: SoapRequest) -> None:
        if reply.value is not None:
            self._send(200, ANSWER.format(method=call.method, value=reply.value).encode(), {})
        elif reply.result is not None:
            self._send(200, soap_result(call.method, reply.result), {"Content-Type": "text/xml"})
        elif reply.task is not None:
            task = self.front.tasks.begin(reply.task)
            self._send(200, soap_result(call.method, task), {"Content-Type": "text/xml"})
        elif reply.fault is not None:
            self._send(500, soap_fault(reply.fault), {"Content-Type": "text/xml"})
        elif reply.status:
            self._send(reply.status, b"", {})
        else:
            if reply.lost:
                self._ask(body, call)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _ask(self, body: bytes, call: SoapRequest | None) -> tuple[int, bytes, dict[str, str]]:
        backend = http.client.HTTPConnection(self.front.backend, timeout=300)
        skipped = {"host", "connection", "accept-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        backend.request(self.command, self.path, body or None, headers)
        answer = backend.getresponse()
        data = answer.read()
        if call is not None and answer.status == http.HTTPStatus.OK:
            self.front.after(call, data)
        kept = {"content-type", "set-cookie", "location"}
        found = {name: value for name, value in answer.getheaders() if name.lower() in kept}
        backend.close()
        return answer.status, data, found

    def _forward(self, body: bytes, call: SoapRequest | None = None) -> None:
        try:
            self._send(*self._ask(body, call))
        except OSError:  # vcsim has ended before its last client logged out
            self.close_connection = True

    def _send(self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:cut])
        if cut is not None and cut < len(data):
            self.close_connection = True
