"""Images that come to a real OpenStack from elsewhere: uploaded, fetched by Glance; shared, accepted, downloaded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.options import GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError
from bakery.machine.transport.link import Link
from bakery.model import Artifact
from bakery.publish import OpenStack as Publish
from bakery.testing.aws.tiny import tiny_guest
from tests.contract.openstacklife import Life
from tests.live import openstackrig as rig

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(3600)]


@pytest.fixture
def cloud() -> OpenStackCloud:
    return rig.cloud()


@pytest.fixture
def disk() -> Path:
    return tiny_guest(Path.home() / ".cache" / "bakery-tests")


def test_a_local_image_is_uploaded_booted_kept_shared_and_downloaded(
    tmp_path: Path, cloud: OpenStackCloud, disk: Path
) -> None:
    before = rig.left(cloud)
    member = OpenStackClouds().get(OpenStackAccount(cloud="rig-admin")).project
    publisher = Publish(
        flavor=rig.FLAVOR,
        network=rig.NETWORK,
        members=(member,),
        accept={member: "rig-admin"},
        download=True,
        min_ram=96,
        host_key="console",
        user_data=rig.SHOW_HOST_KEY,
    )
    assert [problem for problem in publisher.check() if problem.fatal] == []
    life = Life(source=publisher, folder=tmp_path, number=1)
    local = Artifact(driver="qemu", id=str(disk), name="tiny", format="qcow2")
    artifact = publisher.publish(local, "published", life.claim("publish"))
    life.up(life.driver.launch(artifact, life.claim("smoke")))
    kept = life.driver.keep(artifact, "published", life.claim("keep"))
    life.ledger.undo(OpenStackDriver())
    assert {thing.rpartition(" ")[0] for thing in rig.left(cloud) - before} == {"image published"}
    assert Path(kept.data["file"]).read_bytes() == disk.read_bytes()
    image = resources.get(cloud, "image", kept.id)
    assert image is not None
    assert (image.visibility, image.min_ram) == ("shared", 96)
    members = cloud.call("image", "look", lambda proxy: list(proxy.members(kept.id)))
    assert [(one.member_id, one.status) for one in members] == [(member, "accepted")]
    life.driver.delete(kept)
    assert rig.left(cloud) == before


CLOUDY = Path(__file__).parents[1] / "rigs" / "cloud-init" / ".bakery" / "images" / "here" / "cloudy.qcow2"


@pytest.mark.skipif(not CLOUDY.exists(), reason="bake -C tests/rigs/cloud-init build --no-test")
@pytest.mark.parametrize("user", ["root", "builder"])
def test_a_debian_is_given_its_keys_by_cloud_init(tmp_path: Path, cloud: OpenStackCloud, user: str) -> None:
    """The login key and the host key come in the user data; the host key is pinned before the machine exists."""
    before = rig.left(cloud)
    base = Artifact(driver="nspawn", id=str(CLOUDY), name="cloudy", format="qcow2")
    source = OpenStack(
        base=base, flavor="small", network=rig.NETWORK, user=user, user_data="#cloud-config\nhostname: told\n"
    )
    life = Life(source=source, folder=tmp_path, number=4)
    claim = life.claim("build")
    handle = life.driver.launch(source, claim)
    link = Link(
        lambda: life.driver.endpoint(handle),
        claim.keys,
        claim,
        console=lambda: life.driver.console(handle),
        timeout=1200,
    )
    transport = link.open()
    assert life.driver.endpoint(handle).host_key == claim.keys.host_public
    assert transport.run("sudo -n id -u").stdout == "0\n"
    assert transport.run("hostname").stdout == "told\n"
    link.close()
    life.ledger.undo(OpenStackDriver())
    assert rig.left(cloud) == before


@pytest.fixture
def url(disk: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(disk.parent))
    server = ThreadingHTTPServer((rig.HERE, 80), handler)  # Glance fetches from ports 80 and 443 alone
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{rig.HERE}/{disk.name}"
    server.shutdown()
    server.server_close()


def test_glance_fetches_an_image_for_one_build(tmp_path: Path, cloud: OpenStackCloud, disk: Path, url: str) -> None:
    before = rig.left(cloud)
    digest = hashlib.sha512(disk.read_bytes()).hexdigest()
    source = OpenStack(
        base=GlanceUrl(url=url, sha512=digest),
        flavor=rig.FLAVOR,
        network=rig.NETWORK,
        host_key="console",
        user_data=rig.SHOW_HOST_KEY,
    )
    life = Life(source=source, folder=tmp_path, number=2)
    assert [problem for problem in life.driver.check(source) if problem.fatal] == []
    life.up(life.driver.launch(source, life.claim("build")))
    life.ledger.undo(OpenStackDriver())
    assert rig.left(cloud) == before


@pytest.mark.parametrize(("wrong", "said"), [("digest", "holds other bytes"), ("address", "fail|gone|timed out")])
def test_a_fetch_that_went_wrong_leaves_no_image(
    tmp_path: Path, cloud: OpenStackCloud, url: str, wrong: str, said: str
) -> None:
    before = rig.left(cloud)
    base = GlanceUrl(url=url, sha512="0" * 128) if wrong == "digest" else GlanceUrl(url=f"{url}.none", timeout=60)
    life = Life(source=OpenStack(base=base, flavor=rig.FLAVOR, network=rig.NETWORK), folder=tmp_path, number=3)
    with pytest.raises(DriverError, match=said):
        life.driver.launch(life.source, life.claim("build"))
    life.ledger.undo(OpenStackDriver())
    assert rig.left(cloud) == before
