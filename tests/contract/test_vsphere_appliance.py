"""`base=Appliance(...)` on vcsim over TLS: govmomi reads the OVF, a lease takes the disk, it is built on."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import OvfOptions
from bakery.errors import DriverError, PreflightError
from tests.appliances import ODD, PRODUCT, package, write_ova, write_ovf
from tests.contract.crashes import STEPS
from tests.contract.test_vsphere_life import names, once, vim_fault
from tests.contract.vcsim import Reply, VCenterStandIn
from tests.contract.vspherelife import Life, borrow, crash_everywhere, lives

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front") as front:
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    make = lives(front, tmp_path, network="VM Network")
    return lambda path, *ledger, **changes: make(*ledger, **{"base": Appliance(str(path)), **changes})


@pytest.mark.parametrize("write", [write_ovf, lambda folder, files: write_ova(folder / "web.ova", files)])
def test_an_appliance_is_imported_built_on_and_kept(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    before = front.exists()
    path = write(tmp_path, package(b"a disk" * 100, sections=PRODUCT, networks=("nat", "DC0_DVPG0")))
    options = OvfOptions(properties={"web.role.1": "front"})
    one = life(path, cpus=4, disk="1G", ovf=options, notes="Imported.")
    assert [problem for problem in one.driver.check(one.source) if problem.fatal] == []
    kept = one.whole()
    assert names(front, before) == {"template /DC0/vm/web"}
    assert front.uploads == [b"a disk" * 100]
    config = (front.center.properties(front.machine("web"), "config") or {})["config"]
    assert (config.hardware.numCPU, config.hardware.memoryMB, config.guestId) == (4, 512, "debian10_64Guest")
    assert config.annotation == "Imported."
    assert [one.capacityInKB for one in config.hardware.device if hasattr(one, "capacityInKB")] == [1 << 20]
    cards = [device for device in config.hardware.device if type(device).__name__.endswith("VirtualVmxnet3")]
    # vcsim puts a card that was changed behind the others, and gives keys by chance.
    assert [hasattr(card.backing, "port") for card in sorted(cards, key=lambda card: card.unitNumber)] == [False, True]
    # vcsim keeps an OVF's properties among a machine's settings; vCenter has a place of their own for them.
    assert ("web.role.1", "front") in {(option.key, option.value) for option in config.extraConfig}
    assert front.listed("CreateImportSpec")[-1].value("diskProvisioning") == "thin"
    one.driver.delete(kept)


def test_hardware_that_vsphere_does_not_know_is_said_before_anything_is_made(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path
) -> None:
    path = write_ova(tmp_path / "web.ova", package(items=ODD.format(kind=99)))
    one = life(path)
    (problem,) = one.driver.check(one.source)
    assert problem.what == "vSphere did not take the OVF"
    assert "unsupported resource type: 99" in problem.why
    with pytest.raises(DriverError, match="did not take the OVF"):
        one.driver.launch(one.source, one.claim("build"))
    assert front.listed("ImportVApp") == []
    one.ledger.undo(VSphereDriver())


@pytest.mark.parametrize("missing", ["disk1.vmdk", "content"])
def test_a_package_that_is_not_whole_is_said_before_anything_is_made(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, missing: str
) -> None:
    files = {name: data for name, data in package().items() if name != missing}
    if missing == "content":
        files["disk1.vmdk"] = b"a risk"
    one = life(write_ova(tmp_path / "web.ova", files))
    with pytest.raises(PreflightError, match=r"is not whole|is damaged"):
        one.driver.launch(one.source, one.claim("build"))
    assert {call.method for call in front.calls}.isdisjoint({"CreateImportSpec", "ImportVApp", "CreateFolder"})
    assert one.ledger.resources == {}


@STEPS
def test_a_crash_at_any_line_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, step: int
) -> None:
    path = write_ova(tmp_path / "web.ova", package())
    crash_everywhere(front, lambda ledger: life(path, ledger, folder="imported"), more_than=8, step=step)


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("ImportVApp", Reply(lost=True)),
        ("HttpNfcLeaseComplete", Reply(lost=True)),
        ("ImportVApp", Reply(fault=vim_fault("NoPermission"))),
        ("ReconfigVM_Task", Reply(fault=vim_fault("InvalidDatastore"))),
    ],
)
def test_a_refusal_or_a_lost_answer_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, method: str, reply: Reply
) -> None:
    front.fault = once(method, reply)
    one = life(write_ova(tmp_path / "web.ova", package()))
    with pytest.raises(DriverError, match="vSphere did not"):
        one.driver.launch(one.source, one.claim("build"))
    one.ledger.undo(VSphereDriver())


class Archive(BaseHTTPRequestHandler):
    """A web server that has one OVA."""

    ova = b""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.ova)))
        self.end_headers()
        self.wfile.write(self.ova)


def test_an_address_is_downloaded_and_compared_with_its_checksum(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path
) -> None:
    data = write_ova(tmp_path / "web.ova", package()).read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Archive,), {"ova": data})) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/web.ova"
        one = life(tmp_path / "web.ova", base=Appliance(address, hashlib.sha256(data).hexdigest()))
        assert list(one.driver.check(one.source)) == []
        kept = one.whole()
        assert front.uploads == [b"a disk"]
        one.driver.delete(kept)
        other = life(tmp_path / "web.ova", base=Appliance(address, "0" * 64))
        with pytest.raises(PreflightError, match="is not what its checksum says"):
            other.driver.launch(other.source, other.claim("build"))
        server.shutdown()
    assert other.ledger.resources == {}
