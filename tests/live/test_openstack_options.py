"""Each option of `OpenStack(...)` on a real one: asked for, and seen to be so from outside, or in the machine."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.machine import network
from bakery.drivers.openstack.options import GlanceImage, Old, Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, PreflightError, RetryableError
from bakery.machine.transport.base import Transport
from bakery.machine.transport.link import Link
from bakery.model import Artifact, Checkpoint, Handle
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import start_sshd
from tests.contract.openstacklife import Life
from tests.live import openstackrig as rig

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1800)]

PLAIN = OpenStack(
    base=rig.BASE, flavor=rig.FLAVOR, network=rig.NETWORK, host_key="console", user_data=rig.SHOW_HOST_KEY
)


@pytest.fixture(scope="module")
def cloud() -> OpenStackCloud:
    return rig.cloud()


@pytest.fixture(scope="module")
def admin() -> OpenStackCloud:
    """Return the same cloud for somebody who may do everything: the rig has an entry for that."""
    rig.cloud()
    if os.environ["OS_CLOUD"] != "rig":
        pytest.skip("needs an administrator")
    return OpenStackClouds().get(OpenStackAccount(cloud="rig-admin"))


@pytest.fixture(autouse=True)
def nothing_is_left(cloud: OpenStackCloud) -> Iterator[None]:
    before = rig.left(cloud)
    yield
    assert rig.left(cloud) == before


@dataclass
class Bench:
    """Makes lives, and takes back what they made."""

    folder: Path
    cloud: OpenStackCloud
    count: int = 0

    def life(self, **changes: Any) -> Life:
        self.count += 1
        return Life(source=replace(PLAIN, **changes), folder=self.folder, number=self.count)

    @contextmanager
    def up(self, life: Life, boot: Any = None, role: str = "build") -> Generator[tuple[Handle, Transport]]:
        claim = life.claim(role)
        try:
            handle = life.driver.launch(boot or life.source, claim)
            link = Link(
                lambda: life.driver.endpoint(handle), claim.keys, claim, console=lambda: life.driver.console(handle)
            )
            try:
                yield handle, link.open()
            finally:
                link.close()
        finally:
            life.ledger.undo(OpenStackDriver())

    def server(self, handle: Handle) -> Any:
        found = resources.get(self.cloud, "server", handle.id)
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path, cloud: OpenStackCloud) -> Bench:
    return Bench(tmp_path, cloud)


def fatal(life: Life) -> list[str]:
    return [problem.what for problem in life.driver.check(life.source) if problem.fatal]


@contextmanager
def made(cloud: OpenStackCloud, service: str, path: str, one: str, body: dict[str, Any]) -> Generator[dict[str, Any]]:
    """Make something of the user's, and take it away again."""
    proxy = cloud.proxy(service)
    thing = proxy.post(path, json={one: body}, raise_exc=True).json()[one]
    try:
        yield thing
    finally:
        proxy.delete(f"{path}/{thing['id']}")


# ---- where it hangs in the network ----------------------------------------------------------------------------------


def test_a_fixed_address_in_a_network_found_by_its_subnet(bench: Bench) -> None:
    life = bench.life(
        network=None,
        network_cidr="10.97.0.0/16",
        fixed_address="10.97.0.180",
        floating_network=rig.NETWORK,
        config_drive=True,
    )
    assert fatal(life) == []
    with bench.up(life) as (handle, transport):
        assert "10.97.0.180" in transport.run("ip -4 -o addr").stdout
        assert bench.server(handle).config_drive == "True"
    assert not life.driver.overlaps(life.source)


def test_a_port_of_the_users_is_used_and_stays(bench: Bench, cloud: OpenStackCloud) -> None:
    net = network.network_named(cloud, rig.NETWORK)
    with made(cloud, "network", "/security-groups", "security_group", {"name": "mine"}) as group:
        network.open_ssh(cloud, group["id"], (f"{rig.HERE}/32",))
        with made(cloud, "network", "/ports", "port", {"network_id": net.id, "security_groups": [group["id"]]}) as port:
            life = bench.life(network=None, ports=(port["id"],))
            assert fatal(life) == []
            with bench.up(life) as (handle, transport):
                assert transport.run("true").ok
                assert handle.data["address"] == port["fixed_ips"][0]["ip_address"]
                with pytest.raises(PreflightError, match="in use"):
                    life.driver.launch(life.source, life.claim("second"))
            left = resources.get(cloud, "port", port["id"])
            assert left is not None
            assert not left.device_id


def test_the_users_security_group_is_all_there_is(bench: Bench, cloud: OpenStackCloud) -> None:
    with made(cloud, "network", "/security-groups", "security_group", {"name": "mine"}) as group:
        network.open_ssh(cloud, group["id"], (f"{rig.HERE}/32",))
        life = bench.life(security_groups=("mine",))
        with bench.up(life) as (handle, transport):
            assert transport.run("true").ok
            assert bench.server(handle).security_groups == [{"name": "mine"}]
            assert not [kind for kind, _ in life.ledger.resources if kind == "security-group"]


def test_whom_ssh_from_leaves_out_does_not_get_in(bench: Bench) -> None:
    life = bench.life(ssh_from="192.0.2.0/24")
    claim = life.claim("build")
    try:
        handle = life.driver.launch(life.source, claim)
        link = Link(lambda: life.driver.endpoint(handle), claim.keys, claim)
        with pytest.raises(Exception, match="cannot reach the machine"):
            link.open(timeout=40)
        assert "rig-guest-ready" in life.driver.console(handle)
    finally:
        life.ledger.undo(OpenStackDriver())


def test_two_networks_and_a_floating_address_that_was_there(bench: Bench, cloud: OpenStackCloud) -> None:
    outside = network.network_named(cloud, rig.NETWORK)
    with made(cloud, "network", "/floatingips", "floatingip", {"floating_network_id": outside.id}) as floating:
        address = floating["floating_ip_address"]
        life = bench.life(network=(rig.INSIDE, rig.NETWORK), floating_address=address)
        assert fatal(life) == []
        with bench.up(life) as (handle, transport):
            assert handle.data["address"] == address
            assert len(transport.run("ls /sys/class/net").stdout.split()) == 3
            with pytest.raises(DriverError, match="in use"):
                life.driver.launch(life.source, life.claim("second"))
        left = resources.get(cloud, "floating-address", floating["id"])
        assert left is not None
        assert left.port_id is None


@pytest.fixture
def six(admin: OpenStackCloud) -> Iterator[None]:
    """Give the network IPv6 addresses that machines make themselves, with a router's advertisements from this end."""
    net = network.network_named(admin, rig.NETWORK)
    leg = subprocess.run(["ip", "-o", "addr", "show", "to", rig.HERE], capture_output=True, text=True, check=True)
    link = leg.stdout.split()[1]
    subnet = {
        "network_id": net.id,
        "ip_version": 6,
        "cidr": "fd00:98::/64",
        "ipv6_address_mode": "slaac",
        "gateway_ip": "fd00:98::1",
        "name": "six",
    }
    with made(admin, "network", "/subnets", "subnet", subnet):
        subprocess.run(["ip", "addr", "add", "fd00:98::1/64", "dev", link, "nodad"], check=True)
        advertiser = subprocess.Popen(
            [
                "dnsmasq",
                "--conf-file=/dev/null",
                "--keep-in-foreground",
                "--port=0",
                f"--interface={link}",
                "--bind-interfaces",
                "--enable-ra",
                "--ra-param=*,4",
                "--dhcp-range=fd00:98::,ra-only",
                "--pid-file",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            advertiser.terminate()
            advertiser.wait()
            subprocess.run(["ip", "-6", "addr", "flush", "dev", link, "to", "fd00:98::/64"], check=True)


@pytest.mark.usefixtures("six")
def test_a_machine_is_reached_over_ipv6(bench: Bench) -> None:
    life = bench.life(connect="ipv6")
    assert fatal(life) == []
    with bench.up(life) as (handle, transport):
        assert handle.data["address"].startswith("fd00:98:")
        assert transport.run("echo $SSH_CONNECTION").stdout.startswith("fd00:98:")


def test_a_machine_is_reached_through_a_bastion(bench: Bench, tmp_path: Path) -> None:
    mine = make_keys("me")
    server = start_sshd(tmp_path / "jump", mine)
    key = tmp_path / "id"
    key.touch(mode=0o600)
    key.write_text(mine.user_private)
    try:
        bastion = replace(server.endpoint, key=str(key))
        life = bench.life(bastion=bastion, ssh_from=f"{rig.HERE}/32")
        with bench.up(life) as (handle, transport):
            assert transport.run("true").ok
            assert server.sessions()
            assert life.driver.endpoint(handle).gateway == bastion
    finally:
        server.stop()


# ---- what is asked of Nova ------------------------------------------------------------------------------------------


def test_what_is_said_of_a_server_is_in_it(bench: Bench) -> None:
    life = bench.life(
        zone="nova",
        metadata={"team": "web"},
        server_options={"description": "of a test"},
        config_drive=True,
        region="RegionOne",
        interface="public",
    )
    assert fatal(life) == []
    with bench.up(life) as (handle, transport):
        server = bench.server(handle)
        assert server.metadata["team"] == "web"
        assert server.description == "of a test"
        assert server.availability_zone == "nova"
        assert '"team": "web"' in transport.run("cat /run/seed/openstack/latest/meta_data.json").stdout


def test_a_zone_that_is_not_there_is_seen_before_the_start(bench: Bench) -> None:
    assert "there is no availability zone 'moon'" in fatal(bench.life(zone=("nova", "moon")))


def test_where_there_is_no_room_the_next_flavor_is_tried(bench: Bench, admin: OpenStackCloud) -> None:
    body = {"name": "enormous", "ram": 128, "vcpus": 1, "disk": 1_000_000}
    with made(admin, "compute", "/flavors", "flavor", body):
        life = bench.life(flavor=("enormous", rig.FLAVOR))
        with bench.up(life) as (handle, _):
            assert bench.server(handle).flavor.name == rig.FLAVOR
        assert any("no room for enormous in any zone" in notice for notice in life.notices)
        alone = bench.life(flavor="enormous")
        with pytest.raises(RetryableError, match="no room") as raised:
            alone.driver.launch(alone.source, alone.claim("build"))
        assert "No valid host was found" in raised.value.why
        alone.ledger.undo(OpenStackDriver())


def test_a_server_group_is_kept_to(bench: Bench, cloud: OpenStackCloud) -> None:
    body = {"name": "apart", "policy": "anti-affinity"}
    with made(cloud, "compute", "/os-server-groups", "server_group", body) as group:
        life, second = bench.life(server_group=group["id"]), bench.life(hints={"group": group["id"]})
        with bench.up(life) as (handle, _):
            current = cloud.call("compute", "look", lambda compute: compute.get_server_group(group["id"]))
            assert current.member_ids == [handle.id]
            with pytest.raises(RetryableError, match="no room"):  # there is one host
                second.driver.launch(second.source, second.claim("build"))
            second.ledger.undo(OpenStackDriver())


@pytest.mark.parametrize(
    "base",
    [
        GlanceImage(name="ti*", visibility="public", properties={"os_distro": "tiny"}),
        GlanceImage(name="tiny", properties={"os_version": "1"}, newest=False),
    ],
)
def test_a_base_is_found_by_what_glance_knows_of_it(bench: Bench, cloud: OpenStackCloud, base: GlanceImage) -> None:
    life = bench.life(base=base)
    assert fatal(life) == []
    found = resources.list_all(cloud, "image", name=rig.BASE)[0].id
    assert life.driver.prepare(life.source, life.claim("prepare")) == found
    assert fatal(bench.life(base=replace(base, tags=("none-has-this",))))


# ---- the image ------------------------------------------------------------------------------------------------------


def image_of(life: Life) -> Artifact:
    kept: Artifact = life.driver.keep(life.image(), "optional", life.claim("keep"))
    life.ledger.undo(OpenStackDriver())
    return kept


def test_what_is_said_of_an_image_is_in_it(bench: Bench, cloud: OpenStackCloud) -> None:
    life = bench.life(
        properties={"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi", "colour": "blue"},
        tags=("a", "b"),
        visibility="community",
        min_disk=2,
        min_ram=64,
        protect=True,
    )
    kept = image_of(life)
    image = resources.get(cloud, "image", kept.id)
    assert image is not None
    said = {name: image[name] for name in ("hw_disk_bus", "visibility", "min_disk", "min_ram", "is_protected")}
    said["colour"] = image.properties["colour"]
    assert said == {
        "hw_disk_bus": "scsi",
        "colour": "blue",
        "visibility": "community",
        "min_disk": 2,
        "min_ram": 64,
        "is_protected": True,
    }
    assert sorted(image["tags"]) == ["a", "b"]
    with pytest.raises(DriverError, match="protected"):
        life.driver.delete(kept)
    cloud.call("image", "unprotect", lambda proxy: proxy.update_image(kept.id, is_protected=False))
    life.driver.delete(kept)


def test_of_the_older_images_as_many_stay_as_was_said_and_those_in_use_in_any_case(
    bench: Bench, cloud: OpenStackCloud
) -> None:
    first = image_of(bench.life())
    user = bench.life()
    user.driver.launch(first, user.claim("user"))
    second = image_of(bench.life(old=Old(hide=True)))
    life = bench.life(old=Old(newest=0))
    third = image_of(life)
    hidden = {image.id for image in resources.list_all(cloud, "image", name="optional", is_hidden=True)}
    shown = {image.id for image in resources.list_all(cloud, "image", name="optional")}
    assert (hidden, shown) == ({first.id}, {third.id}), second.id
    assert any("in use by server" in notice for notice in life.notices)
    user.ledger.undo(OpenStackDriver())
    for artifact in (first, third):
        life.driver.delete(artifact)


def test_a_volume_of_a_type_and_zone(bench: Bench, cloud: OpenStackCloud) -> None:
    life = bench.life(volume=Volume(size=2, volume_type="__DEFAULT__", zone="nova", disk_format="raw"))
    assert fatal(life) == []
    with bench.up(life) as (handle, transport):
        volume = resources.get(cloud, "volume", handle.data["volume"])
        assert volume is not None
        assert (volume["size"], volume["volume_type"]) == (2, "__DEFAULT__")
        assert transport.run("cat /sys/class/block/vda/size").stdout.strip() == str(2 << 21)
        artifact = life.driver.capture(handle, "optional", life.claim("image"))
        image = resources.get(cloud, "image", artifact.id)
        assert image is not None
        assert (image["disk_format"], image["status"]) == ("raw", "active")


def test_a_checkpoint_is_found_again_from_another_host_and_only_the_newest_stay(
    bench: Bench, cloud: OpenStackCloud
) -> None:
    life = bench.life(checkpoints=True, keep_checkpoints=1)
    claim = replace(life.claim("build"), note="a note")
    handle = life.driver.launch(life.source, claim)
    link = Link(lambda: life.driver.endpoint(handle), claim.keys, claim)
    for step in ("one", "two"):
        assert link.open().run(f"echo {step} > /root/step; sync").ok
        saved = life.driver.checkpoint(handle, f"key-of-{step}", bench.folder, claim)
        assert isinstance(saved, Checkpoint)
    link.close()
    life.ledger.undo(OpenStackDriver())  # the machine goes, the checkpoint stays
    elsewhere = OpenStackDriver()
    [(found, note)] = elsewhere.list_checkpoints(life.source, claim.tags["bakery:build"])
    assert (found.key, note) == ("key-of-two", "a note")
    again = bench.life()
    with bench.up(again, found) as (_, transport):
        assert transport.run("cat /root/step").stdout == "two\n"
    resources.delete(cloud, "image", found.settings["image"])


# ---- credentials ----------------------------------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a function that writes a clouds.yaml with one more entry, and says its name."""
    known = Path(os.environ["OS_CLIENT_CONFIG_FILE"]).read_text(encoding="utf-8")

    def write(text: str) -> str:
        file = tmp_path / "clouds.yaml"
        file.write_text(f"{known}  mine:\n{text}\n", encoding="utf-8")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        return "mine"

    return write


def test_an_application_credential_is_enough(bench: Bench, cloud: OpenStackCloud, entry: Callable[[str], str]) -> None:
    user = cloud.connection.current_user_id
    url = cloud.connection.auth["auth_url"]
    with made(
        cloud, "identity", f"/users/{user}/application_credentials", "application_credential", {"name": "bakery"}
    ) as credential:
        auth = f"auth_url: {url}, application_credential_id: {credential['id']}"
        name = entry(
            f"    auth_type: v3applicationcredential\n    auth: {{{auth}, "
            f"application_credential_secret: {credential['secret']}}}\n    region_name: RegionOne"
        )
        life = bench.life(cloud=name)
        assert fatal(life) == []
        with bench.up(life) as (_, transport):
            assert transport.run("true").ok
        secret = credential["secret"]
        entry(f"    auth_type: v3applicationcredential\n    auth: {{{auth}, application_credential_secret: wrong}}")
        wrong = bench.life(cloud=name)
        [said] = list(wrong.driver.check(wrong.source))
        assert "401" in said.why
        assert secret not in f"{said}"


@contextmanager
def encrypted(folder: Path, port: int) -> Generator[tuple[str, Path]]:
    """Offer a service of this host over TLS too, and return where, and the certificate of who vouches for it."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rig -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                context.wrap_socket(self.request, server_side=True) as here,
                socket.create_connection(("127.0.0.1", port)) as there,
            ):
                there.sendall(here.recv(1 << 20))  # a request is a few hundred bytes, and its body follows at once
                there.settimeout(0.2)
                here.settimeout(0.2)
                while True:
                    for one, other in ((here, there), (there, here)):
                        try:
                            data = one.recv(1 << 16)
                        except TimeoutError:
                            continue
                        if not data:
                            return
                        other.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: a client that does not trust the certificate hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}", certificate
        server.shutdown()


def test_a_certificate_is_checked_against_the_ca_that_clouds_yaml_names(
    bench: Bench, entry: Callable[[str], str], tmp_path: Path
) -> None:
    login = "username: demo, password: rig, project_name: demo, user_domain_name: Default, project_domain_name: Default"
    with encrypted(tmp_path, 5000) as (url, certificate):
        auth = f"    auth: {{auth_url: {url}/v3, {login}}}\n    region_name: RegionOne"
        life = bench.life(cloud=entry(auth))
        [said] = list(life.driver.check(life.source))
        assert "certificate" in said.why.lower(), said
        life = bench.life(cloud=entry(f"{auth}\n    cacert: {certificate}"))
        assert fatal(life) == []
