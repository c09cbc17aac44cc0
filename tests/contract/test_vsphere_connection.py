"""The way to a vCenter: certificates, credentials, servers that are none; and what pre-flight says of names."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.vsphere.api import center as centers
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import VSphereMachine
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel
from tests.certificates import certificate
from tests.contract.vcsim import ADDRESS, PASSWORD, USER, HostStandIn, VCenterStandIn

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", flags=("-cluster", "2", "-pod", "1")) as front:
        yield front


@pytest.fixture
def look(front: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Problem]]:
    """What pre-flight says of a source."""
    monkeypatch.setattr(Cancel, "sleep", lambda self, _: self.check())
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD", "GOVC_URL", "GOVC_TLS_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)

    def check(**options: Any) -> list[Problem]:
        return list(VSphereDriver().check(VSphere(**{**front.options, **options})))

    return check


def test_all_is_well(look: Callable[..., list[Problem]]) -> None:
    assert look() == []


def test_a_certificate_that_nobody_vouches_for_is_refused(look: Callable[..., list[Problem]]) -> None:
    (problem,) = look(ca=None)
    assert "certificate cannot be trusted" in problem.what
    assert "insecure=True" in problem.hint


def test_a_certificate_for_another_address_is_refused(
    look: Callable[..., list[Problem]], front: VCenterStandIn
) -> None:
    port = front.server.rpartition(":")[2]
    (problem,) = look(server=f"localhost:{port}")
    assert problem.fatal


def test_without_verification_it_works_and_every_run_says_so(look: Callable[..., list[Problem]]) -> None:
    (problem,) = look(ca=None, insecure=True)
    assert not problem.fatal
    assert "is not verified" in problem.what


def test_a_file_that_is_no_authority_is_an_error(look: Callable[..., list[Problem]], tmp_path: Path) -> None:
    (problem,) = look(ca=str(tmp_path / "none.pem"))
    assert "cannot be read" in problem.what


def test_a_wrong_password_is_said_as_that_and_tried_once(
    look: Callable[..., list[Problem]], front: VCenterStandIn
) -> None:
    front.calls.clear()
    (problem,) = look(password="another one")
    assert problem.what == "vSphere did not let baker@vsphere.local in"
    assert "InvalidLogin" in problem.why
    assert "administrator@vsphere.local" in problem.hint
    assert len(front.listed("Login")) == 1, "a password that is tried again locks the account"


@pytest.mark.parametrize(
    ("server", "said"),
    [(f"{ADDRESS}:1", "refused"), ("vcenter.invalid", "the name is not known")],
)
def test_a_server_that_cannot_be_reached_is_said_with_the_reason(
    look: Callable[..., list[Problem]], server: str, said: str
) -> None:
    (problem,) = look(server=server)
    assert said in problem.why


def test_a_server_that_never_answers_is_given_up(
    look: Callable[..., list[Problem]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(centers, "TIMEOUT", 0.3)
    with socket.create_server((ADDRESS, 0)) as silent:
        (problem,) = look(server=f"{ADDRESS}:{silent.getsockname()[1]}")
    assert "it took too long" in problem.why


def test_a_server_that_greets_and_says_no_more_is_given_up(
    look: Callable[..., list[Problem]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyVim's SmartConnect waits for ever here, whatever its httpConnectionTimeout is."""
    monkeypatch.setattr(centers, "TIMEOUT", 0.5)
    cert, key = certificate(tmp_path, ADDRESS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    done = threading.Event()
    with socket.create_server((ADDRESS, 0)) as plain:

        def greet() -> None:
            with plain.accept()[0] as met, context.wrap_socket(met, server_side=True):
                done.wait(30)

        threading.Thread(target=greet, daemon=True).start()
        (problem,) = look(server=f"{ADDRESS}:{plain.getsockname()[1]}", ca=str(cert))
        done.set()
    assert "it took too long" in problem.why


def test_a_server_that_is_starting_is_said_to_be(look: Callable[..., list[Problem]], front: VCenterStandIn) -> None:
    front.status = 503
    try:
        (problem,) = look()
    finally:
        front.status = 0
    assert problem.why == "it is still starting"


def test_another_kind_of_server_is_said_to_be_one(look: Callable[..., list[Problem]], tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # or pyVim leaves the socket open

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            """Know no page."""
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    cert, key = certificate(tmp_path, ADDRESS)
    server = ThreadingHTTPServer((ADDRESS, 0), Quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        (problem,) = look(server=f"{ADDRESS}:{server.server_port}", ca=str(cert))
    finally:
        server.shutdown()
        server.server_close()
    assert "is no vSphere" in problem.what


def test_the_environment_says_where_it_is(
    look: Callable[..., list[Problem]], front: VCenterStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"server": None, "username": None, "password": None, "ca": None}
    (problem,) = look(**nothing)
    assert "no vSphere is named" in problem.what
    for name, value in front.environment.items():
        monkeypatch.setenv(name, value)
    assert look(**nothing) == []
    said = [problem.what for problem in VSphereDriver().doctor(WorkContext(cache=Path()))]
    assert len(said) == 1
    assert "lets baker@vsphere.local in" in said[0]


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        ({"base": "tinny"}, "there is no machine 'tinny'", "did you mean 'tiny'?"),
        ({"base": "/DC0/vm/tinny"}, "there is no machine '/DC0/vm/tinny'", "did you mean '/DC0/vm/tiny'?"),
        ({"cluster": None}, "there are 3 clusters in /DC0, and none is named", "VSphere(cluster='DC0_C0')"),
        ({"cluster": "DC0_C9"}, "there is no cluster 'DC0_C9' in /DC0", "did you mean 'DC0_C"),
        ({"host": "DC0_C1_H0"}, "the host DC0_C1_H0 is not in the cluster DC0_C0", ""),
        ({"datastore": "LocalDS_9"}, "there is no datastore 'LocalDS_9' in /DC0", "did you mean 'LocalDS_0'?"),
        ({"datastore_cluster": "x"}, "there is no datastore cluster 'x' in /DC0", "datastore_cluster=NAME"),
        ({"network": "VM Netwrk"}, "there is no network 'VM Netwrk' in /DC0", "did you mean 'VM Network'?"),
        ({"datacenter": "DC1"}, "there is no datacenter 'DC1'", "did you mean 'DC0'?"),
        ({"resource_pool": "Resources9"}, "there is no resource pool 'Resources9'", "did you mean 'Resources'?"),
        ({"clone": "linked"}, "a linked clone of tiny needs a snapshot to stand on", "clone='full'"),
        ({"base": VSphereMachine("tiny", snapshot="clean")}, "the machine tiny has no snapshot 'clean'", ""),
        ({"base": 7}, "vSphere cannot clone 7", "base="),
        ({"tpm": True}, "vSphere 6.5 has no virtual TPM", "without tpm=True"),
    ],
)
def test_a_name_that_is_not_there_is_said_with_what_is(
    look: Callable[..., list[Problem]], options: dict[str, Any], what: str, hint: str
) -> None:
    (problem,) = look(**options)
    assert problem.what.startswith(what)
    assert hint in problem.hint


def test_all_that_is_wrong_is_said_at_once(look: Callable[..., list[Problem]]) -> None:
    problems = look(base="tinny", datastore="x", cluster="y", network=("VM Network", "z"), host="w")
    names = ("tinny", "x", "y", "z", "w")
    assert sorted(next(name for name in names if repr(name) in problem.what) for problem in problems) == sorted(names)


def test_names_may_be_paths(look: Callable[..., list[Problem]]) -> None:
    assert (
        look(
            base="/DC0/vm/tiny",
            cluster="/DC0/host/DC0_C1",
            resource_pool="DC0_C1/Resources",
            datastore="/DC0/datastore/LocalDS_0",
            network=("/DC0/network/VM Network", "DC0_DVPG0"),
            host="DC0_C1_H0",
        )
        == []
    )


def test_a_host_in_maintenance_is_said(look: Callable[..., list[Problem]], front: VCenterStandIn) -> None:
    from bakery.drivers.vsphere.api import inventory

    host = inventory.read(front.center).find("host", "DC0_C0_H1").ref
    front.wait(host.EnterMaintenanceMode_Task(timeout=0))
    try:
        (problem,) = look(host="DC0_C0_H1")
    finally:
        front.wait(host.ExitMaintenanceMode_Task(timeout=0))
    assert "is in maintenance mode" in problem.what


def test_a_single_host_is_said_to_keep_no_templates(tmp_path: Path, look: Callable[..., list[Problem]]) -> None:
    with HostStandIn(tmp_path / "esx") as esx:
        here = {"server": esx.server, "ca": esx.ca, "cluster": None}
        (problem,) = look(**here)
        assert look(**here, image="machine") == []
    assert "a single ESXi host keeps no templates and libraries" in problem.what
    assert 'image="machine"' in problem.hint


LEAVES = """
import sys
from bakery.drivers.vsphere.api import center
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.redaction.secret import Secret
server, username, ca, password = sys.argv[1:]
session = center.connect(VSphereAccount(server=server, username=username, ca=ca), Secret(password, "password"))
session.rest.call("list the libraries", "GET", "/com/vmware/content/library")
"""


def test_a_process_that_ends_logs_out(front: VCenterStandIn) -> None:
    """The server keeps a limited number of sessions, each for half an hour."""
    front.calls.clear()
    subprocess.run([sys.executable, "-c", LEAVES, front.server, USER, front.ca, PASSWORD], check=True, timeout=60)
    assert len(front.listed("Logout")) == 1
    assert len(front.listed("DELETE /com/vmware/cis/session")) == 1
