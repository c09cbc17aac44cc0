"""One session with a vCenter or an ESXi host, for all threads: logged in anew once where it has expired."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar
from xml.etree import ElementTree as ET

from bakery.drivers.shared.clouds import CloudPool
from bakery.drivers.vsphere.api import account as accounts
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.errors import (
    GONE,
    LOGGED_OUT,
    VSphereError,
    VSphereRetryableError,
    fault_of,
    translate_errors,
)
from bakery.drivers.vsphere.api.rest import RestSession
from bakery.model import to_json
from bakery.redaction.secret import Secret
from bakery.util.farewell import Farewell
from bakery.util.retry import retry
from bakery.util.waiting import Cancel

T = TypeVar("T")
ATTEMPTS = 6
TIMEOUT = 60.0
"""Seconds to wait for an answer."""
IDLE = 20
"""Seconds for which an unused connection is used again; one that the server has closed meanwhile loses a request."""
ALIVE: Final = 300.0
"""Seconds between two signs of life; vCenter ends a session that was idle for half an hour, ESXi as well."""
PAGE = 500
VERSIONS = "/sdk/vimServiceVersions.xml"

Properties = Mapping[str, Any]


def moid(thing: Any) -> str:
    """Return the id of a managed object, as in `vm-42`."""
    return str(thing._GetMoId())  # noqa: SLF001  pyvmomi's public names begin so


class VSphereSession:
    """A session: who logged in, and how to do so again.

    Args:
        account: with all that the environment says.
        password: its password.
        stub: pyvmomi's, connected.
    """

    def __init__(self, account: VSphereAccount, password: Secret, stub: Any) -> None:
        vim = types.vim()
        self.stub = stub
        self._account, self._password = account, password
        self._lock = threading.Lock()
        self._logins = 0
        self._rest: RestSession | None = None
        self._farewell: Farewell | None = None
        self.content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()

    @property
    def logins(self) -> int:
        """How often somebody has logged in; tells one session from the next."""
        return self._logins

    @property
    def rest(self) -> RestSession:
        """The session of the server's other API, which is opened when it is first needed."""
        with self._lock:
            if self._rest is None:
                self._rest = RestSession(self._account, self._password)
            return self._rest

    @property
    def password(self) -> Secret:
        """What was logged in with, for a process of ours that needs a session of its own."""
        return self._password

    def login(self, before: int = 0) -> None:
        """Log in, unless another thread has done so since.

        Args:
            before: `logins` as it was when the session was seen to have ended.
        """
        with self._lock:
            if self._logins == before:
                self.content.sessionManager.Login(self._account.username, self._password.reveal())
                self._logins += 1

    def keep_alive(self) -> None:
        """Give a sign of life now and then; log out when nobody holds this session any more, or the process ends."""
        stop = threading.Event()
        self._farewell = Farewell(self, partial(_end, self.content.sessionManager, self.stub, stop))
        threading.Thread(target=_breathe, args=(weakref.ref(self), stop), name="vsphere-alive", daemon=True).start()

    def close(self) -> None:
        """Log out now, where others go on; safe to call twice."""
        if self._farewell is not None:
            self._farewell.now()


def _breathe(held: weakref.ref[VSphereSession], stop: threading.Event) -> None:
    while not stop.wait(ALIVE):
        session = held()
        if session is None:
            return
        with contextlib.suppress(Exception):  # whoever makes the next call is told
            types.vim().ServiceInstance("ServiceInstance", session.stub).CurrentTime()
        del session


def _end(manager: Any, stub: Any, stop: threading.Event) -> None:
    """Log out: the server keeps a limited number of sessions."""
    stop.set()
    try:
        manager.Logout()
    finally:
        stub.DropConnections()


def connect(account: VSphereAccount, password: Secret) -> VSphereSession:
    """Open a session.

    Raises:
        VSphereError: the server is none, its certificate cannot be trusted, or it does not let us in.
        VSphereRetryableError: it cannot be reached.
    """
    context = account.trust()
    host, port = account.address
    with translate_errors(f"answer at {account.server}"):
        version = _version(account, context)
        stub = types.soap().SoapStubAdapter(
            host=host,
            port=port,
            version=version,
            sslContext=context,
            httpConnectionTimeout=TIMEOUT,
            connectionPoolTimeout=IDLE,
        )
        session = VSphereSession(account, password, stub)
    try:
        with translate_errors(f"let {account.username} in"):
            session.login()
    except VSphereError:
        stub.DropConnections()
        raise
    session.keep_alive()
    return session


def _version(account: VSphereAccount, context: ssl.SSLContext) -> str:
    """Return the newest version of the API that the server and pyvmomi both know.

    pyVim's SmartStubAdapter would do as much, but waits without a deadline, and says of all that can go wrong that the
    server is down.

    Raises:
        VSphereError: it is no vSphere, or older than pyvmomi knows.
    """
    connection = http.client.HTTPSConnection(*account.address, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", VERSIONS)
        answer = connection.getresponse()
        text = answer.read(1 << 20)
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        raise VSphereRetryableError(f"vSphere did not answer at {account.server}", why="it is still starting")
    offered = _offered(text) if answer.status == http.HTTPStatus.OK else set[str]()
    if not offered:
        raise VSphereError(
            f"{account.server} is no vSphere",
            why=f"{answer.status} {answer.reason} for {VERSIONS}",
            hint="server= is a vCenter or an ESXi host",
        )
    support = types.support()
    for version in support.GetServiceVersions("vim25"):  # the newest first
        if support.versionIdMap[version] in offered:
            return str(version)
    raise VSphereError(
        f"{account.server} is too old or too new for pyvmomi", why=f"it offers {', '.join(sorted(offered))}"
    )


def _offered(text: bytes) -> set[str]:
    """Return the versions of the API that a server says it has."""
    try:
        root = ET.fromstring(text)  # noqa: S314  expat ends at bombs, and the server is verified
    except ET.ParseError:
        return set()
    spaces = [space for space in root.iter("namespace") if space.findtext("name") == "urn:vim25"]
    return {version.text or "" for space in spaces for version in space.iter("version")}


@dataclass(frozen=True, eq=False)
class VCenter:
    """A vCenter, or a single ESXi host, as one user sees it.

    Args:
        account: with all that the environment says.
        session: open.
        cancel: ends the pauses between two attempts.
    """

    account: VSphereAccount
    session: VSphereSession
    cancel: Cancel = field(default_factory=Cancel)

    @property
    def record(self) -> dict[str, Any]:
        """What a record must hold so that `VCenters.of` finds back here."""
        return {"account": to_json(self.account)}

    @property
    def content(self) -> Any:
        """Where the server's managers are: `ServiceContent`."""
        return self.session.content

    @property
    def is_vcenter(self) -> bool:
        """False for a single ESXi host, which clones nothing and knows no custom attributes."""
        return str(self.content.about.apiType) == "VirtualCenter"

    def within(self, cancel: Cancel) -> VCenter:
        """Return the same, whose pauses end when `cancel` is set."""
        return replace(self, cancel=cancel)

    def machine(self, name: str) -> Any:
        """Return the machine or template of an id; whether there is one is not asked."""
        vim = types.vim()
        return vim.VirtualMachine(name, self.session.stub)

    def folder(self, name: str) -> Any:
        """Return the folder of an id; whether there is one is not asked."""
        vim = types.vim()
        return vim.Folder(name, self.session.stub)

    def call(self, what: str, request: Callable[[], T], *, repeat: bool = True) -> T:
        """Make a request, and turn pyvmomi's errors into ours.

        Args:
            what: what is wanted, for the message of an error: "clone the machine".
            request: makes it.
            repeat: make it again after a refusal for now or a lost answer. False where that would do something twice.

        Raises:
            VSphereError: refused.
            VSphereRetryableError: refused for now, or not answered, each time.
        """

        def ask() -> T:
            with translate_errors(what):
                return request()

        def attempt() -> T:
            logins = self.session.logins
            try:
                return ask()
            except VSphereError as error:
                if error.fault != LOGGED_OUT:
                    raise
            # Nothing was done: the session had ended.
            with translate_errors(f"let {self.account.username} in again"):
                self.session.login(logins)
            return ask()

        attempts = ATTEMPTS if repeat else 1
        return retry(attempt, self.cancel, on=VSphereRetryableError, attempts=attempts, first=0.3)

    def rest(self, what: str, method: str, path: str, body: Any = None, *, repeat: bool = True, **more: Any) -> Any:
        """Make a request of the REST API, as `RestSession.call` has it, and return its value.

        Args:
            what: as `call`.
            method: of HTTP.
            path: below /rest.
            body: becomes JSON.
            repeat: as `call`.
            more: `params` and `timeout`.

        Raises:
            VSphereError: as `call`; or this is a single ESXi host, which has no such API.
        """
        if not self.is_vcenter:
            raise VSphereError(f"vSphere did not {what}", why="a single ESXi host has neither libraries nor tags")
        attempts = ATTEMPTS if repeat else 1
        return retry(
            lambda: self.session.rest.call(what, method, path, body, **more),
            self.cancel,
            on=VSphereRetryableError,
            attempts=attempts,
            first=0.3,
        )

    def find(self, what: str, request: Callable[[], T]) -> T | None:
        """Make a request as `call` does; return None where what it is about is not there any more.

        Raises:
            VSphereError: as `call`, for all other reasons.
        """
        try:
            return self.call(what, request)
        except VSphereError as error:
            if fault_of(error) != GONE:
                raise
            return None

    def properties(self, thing: Any, *paths: str) -> Properties | None:
        """Read properties of one object: what is not set is left out; None where there is no such object.

        pyvmomi's attributes ask for one property each, and cannot tell an unset one from a failure everywhere.
        """
        found = self.find(f"describe {moid(thing)}", lambda: self._read([thing], type(thing), paths))
        return found[0][1] if found else None

    def all(self, kinds: Mapping[type, Sequence[str]]) -> list[tuple[Any, Properties]]:
        """Read properties of everything of some kinds in the inventory, each with the names of its properties."""
        return self.call("list the inventory", lambda: self._list(kinds))

    def _list(self, kinds: Mapping[type, Sequence[str]]) -> list[tuple[Any, Properties]]:
        vmodl = types.vmodl()
        collector = vmodl.query.PropertyCollector
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, list(kinds), recursive=True)
        try:
            through = collector.TraversalSpec(name="view", type=type(view), path="view", skip=False)
            start = collector.ObjectSpec(obj=view, skip=True, selectSet=[through])
            wanted = [collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in kinds.items()]
            return self._retrieve(collector.FilterSpec(objectSet=[start], propSet=wanted))
        finally:
            with contextlib.suppress(Exception):  # it goes with the session
                view.DestroyView()

    def _read(self, things: Iterable[Any], kind: type, paths: Sequence[str]) -> list[tuple[Any, Properties]]:
        vmodl = types.vmodl()
        collector = vmodl.query.PropertyCollector
        objects = [collector.ObjectSpec(obj=thing, skip=False) for thing in things]
        wanted = collector.PropertySpec(type=kind, pathSet=list(paths))
        return self._retrieve(collector.FilterSpec(objectSet=objects, propSet=[wanted]))

    def _retrieve(self, wanted: Any) -> list[tuple[Any, Properties]]:
        vmodl = types.vmodl()
        collector = self.content.propertyCollector
        options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE)
        answer = collector.RetrievePropertiesEx([wanted], options)
        found: list[Any] = []
        while answer is not None:
            found += answer.objects
            answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None
        return [(one.obj, {each.name: each.val for each in one.propSet or ()}) for one in found]


class VCenters(CloudPool[VSphereAccount, VCenter]):
    """The servers that a process speaks to; each is logged in to once, for all threads.

    Passwords that sources give are remembered here for as long as the process lives: no record holds them.
    """

    def __init__(self) -> None:
        super().__init__(self._connect, VSphereAccount.from_json)
        self._passwords: dict[tuple[str | None, str | None], Secret] = {}

    def of_source(self, source: Any) -> VCenter:
        """Return the server that a source names, and remember its password for what is destroyed later."""
        account = VSphereAccount(server=source.server, username=source.username, ca=source.ca, insecure=source.insecure)
        if source.password is not None:
            known = account.resolved()
            self._passwords[known.server, known.username] = source.password
        return self.get(account)

    def _connect(self, account: VSphereAccount) -> VCenter:
        known = account.resolved()
        given = self._passwords.get((known.server, known.username))
        return VCenter(known, connect(known, accounts.password(given, str(known.server))))
