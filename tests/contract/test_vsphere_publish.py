"""`bakery.publish.VSphere` against vcsim over TLS: the OVF is read by govmomi, the disk is looked at as it was sent."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.image import import_disk, lease
from bakery.errors import DriverError, ImagefileError
from bakery.model import Artifact
from bakery.publish import VSphere
from tests.certificates import certificate
from tests.contract.test_vsphere_life import names, once, vim_fault
from tests.contract.vcsim import ADDRESS, Reply, VCenterStandIn
from tests.contract.vspherelife import Life, borrow

pytestmark = pytest.mark.timeout(300)
SIZE = 8 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front") as front:
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "web.raw"
    path.write_bytes(b"bakery" * 1000)
    with path.open("r+b") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    def make(**changes: Any) -> Life:
        options = {**front.options, "base": None, "settle": 0.0, "poll": 0.1, "network": "VM Network"}
        return Life(source=VSphere(**{**options, **changes}), folder=tmp_path, number=1)

    return make


def local(disk: Path, **settings: Any) -> Artifact:
    return Artifact(driver="qemu", id=str(disk), name="web", format="raw", key="the key", settings=settings)


def publisher(life: Life) -> VSphere:
    assert isinstance(life.source, VSphere)
    return life.source


def test_a_local_image_is_imported_started_and_kept(
    front: VCenterStandIn, life: Callable[..., Life], disk: Path, tmp_path: Path
) -> None:
    before = front.exists()
    one = life(
        cpus=4,
        memory="512M",
        guest_id="debian10_64Guest",
        folder="published",
        notes="Sent.",
        cpu_reservation=100,
        disk="1G",
    )
    assert [problem for problem in publisher(one).check() if problem.fatal] == []
    image = publisher(one).publish(local(disk), "web", one.claim("publish"))
    assert image.key == "the key"
    one.up(one.driver.launch(image, one.claim("smoke")))
    kept = one.driver.keep(image, "web", one.claim("keep"))
    one.ledger.undo(one.driver)
    assert names(front, before) == {"template /DC0/vm/published/web", "folder /DC0/vm/published"}
    (sent,) = front.uploads
    (tmp_path / "sent.vmdk").write_bytes(sent)
    words = ["qemu-img", "compare", "-f", "vmdk", "-F", "raw", str(tmp_path / "sent.vmdk"), str(disk)]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    (asked,) = front.listed("CreateImportSpec")
    assert f"ovf:capacity=&quot;{SIZE}&quot;" in asked.body.replace('"', "&quot;")
    config = (front.center.properties(front.machine("web"), "config") or {})["config"]
    assert (config.hardware.numCPU, config.hardware.memoryMB, config.guestId) == (4, 512, "debian10_64Guest")
    assert config.annotation == "Sent."
    (capacity,) = [one.capacityInKB for one in config.hardware.device if hasattr(one, "capacityInKB")]
    assert capacity == 1 << 20
    assert config.cpuAllocation.reservation == 100
    one.driver.delete(kept)
    from bakery.drivers.vsphere.api import inventory

    front.wait(inventory.read(front.center).find("folder", "published").ref.Destroy_Task())


def test_an_image_that_boots_with_uefi_asks_for_that(
    front: VCenterStandIn, life: Callable[..., Life], disk: Path
) -> None:
    one = life()
    publisher(one).publish(local(disk, firmware="uefi"), "web", one.claim("publish"))
    (asked,) = front.listed("CreateImportSpec")
    assert "vmw:key=&quot;firmware&quot; vmw:value=&quot;efi&quot;" in asked.body.replace('"', "&quot;")
    one.ledger.undo(one.driver)


def test_a_lease_is_kept_alive_while_the_disk_is_sent(
    front: VCenterStandIn, life: Callable[..., Life], disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ALIVE", 0.01)
    pieces = import_disk._pieces

    def slowly(*words: Any) -> Iterator[bytes]:
        time.sleep(0.2)
        yield from pieces(*words)

    monkeypatch.setattr(import_disk, "_pieces", slowly)
    one = life()
    publisher(one).publish(local(disk), "web", one.claim("publish"))
    assert front.listed("HttpNfcLeaseProgress")
    assert len(front.listed("HttpNfcLeaseComplete")) == 1
    one.ledger.undo(one.driver)


@pytest.mark.parametrize("method", ["CreateImportSpec", "ImportVApp", "HttpNfcLeaseComplete", "MarkAsTemplate"])
def test_a_refusal_leaves_nothing(front: VCenterStandIn, life: Callable[..., Life], disk: Path, method: str) -> None:
    front.fault = once(method, Reply(fault=vim_fault("InvalidDatastore")))
    one = life()
    with pytest.raises(DriverError, match="vSphere did not"):
        publisher(one).publish(local(disk), "web", one.claim("publish"))
    if method == "HttpNfcLeaseComplete":
        assert len(front.listed("HttpNfcLeaseAbort")) == 1
    one.ledger.undo(VSphereDriver())


def test_a_lost_answer_of_the_import_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], disk: Path
) -> None:
    front.fault = once("ImportVApp", Reply(lost=True))
    one = life()
    with pytest.raises(DriverError, match="no answer"):
        publisher(one).publish(local(disk), "web", one.claim("publish"))
    one.ledger.undo(VSphereDriver())


@pytest.mark.parametrize("options", [{"datastore_cluster": "POD0"}, {"disks": ({"size": "1G"},)}, {"image": "ova"}])
def test_what_an_import_cannot_do_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ImagefileError):
        VSphere(**options)


def test_several_networks_must_be_named_which_pre_flight_says(life: Callable[..., Life]) -> None:
    (problem,) = [problem for problem in publisher(life(network=None)).check() if problem.fatal]
    assert "networks in /DC0, and none is named" in problem.what


def test_a_name_that_is_not_there_is_said_before_anything_else(life: Callable[..., Life]) -> None:
    (problem,) = [problem for problem in publisher(life(cluster="DC0_C7")).check() if problem.fatal]
    assert problem.what == "there is no cluster 'DC0_C7' in /DC0"


def test_a_host_that_takes_the_disk_is_known_by_the_thumbprint_that_the_server_told(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    one = life()
    center = one.driver.centers.of_source(one.source)
    host, port = "localhost", center.account.address[1]
    with ThreadingHTTPServer((host, 0), BaseHTTPRequestHandler) as server:
        cert, key = certificate(one.folder, ADDRESS)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        port = server.server_port
        data = ssl.PEM_cert_to_DER_cert(cert.read_text())
        seen = hashlib.sha1(data, usedforsecurity=False).hexdigest().upper()
        shown = ":".join(seen[at : at + 2] for at in range(0, 40, 2))
        lease.connect(center, host, port, shown).close()
        with pytest.raises(DriverError, match="is not the one that the server means"):
            lease.connect(center, host, port, "00:" * 19 + "00")
        with pytest.raises(ssl.SSLCertVerificationError):
            lease.connect(center, host, port, "")
        server.shutdown()
