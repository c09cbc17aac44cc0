"""Guest customization, by the name of vCenter's or in the user's words, is asked for before the machine starts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine import customization
from bakery.drivers.vsphere.options import LinuxPrep
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError, PreflightError
from bakery.state.claim import Claim
from tests.unit.drivers.vsphere.in_memory import InMemory

VIM: Any = vim
KINDS: Any = VIM.vm.customization
WEB = LinuxPrep(
    hostname="web",
    domain="example.com",
    address="192.0.2.7/24",
    gateway="192.0.2.1",
    dns="192.0.2.2",
    search=("a", "b"),
)


@pytest.fixture
def asked(api: InMemory, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What guests are to be given; vCenter knows one customization, `linux`."""
    given: list[Any] = []
    spec = customization.specification(LinuxPrep(hostname="of-vcenter", domain="test"), 0)
    info = VIM.CustomizationSpecInfo(name="linux", description="", type="Linux")
    api.objects["specs"] = (VIM.CustomizationSpecManager, {"info": [info]})

    def customize(_: Any, wanted: Any) -> None:
        given.append(wanted)

    monkeypatch.setattr(api, "_CustomizeVM_Task", customize, raising=False)
    item = VIM.CustomizationSpecItem(info=info, spec=spec)
    monkeypatch.setattr(api, "_GetCustomizationSpec", lambda _, __: item, raising=False)
    return given


def source(wanted: str | LinuxPrep) -> VSphere:
    return VSphere(base="debian", cluster="C0", customization=wanted)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hostname": ""}, "LinuxPrep(hostname=...) is empty"),
        ({"domain": ""}, "LinuxPrep(domain=...) is empty"),
        ({"address": "192.0.2.7"}, "no prefix"),
        ({"address": "web/24"}, "LinuxPrep(address='web/24')"),
        ({"gateway": "192.0.2.1"}, "DHCP says which"),
    ],
)
def test_a_wrong_customization_is_an_error_of_the_imagefile(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError) as error:
        LinuxPrep(**{"hostname": "web", "domain": "test", **options})
    assert said in str(error.value)


def test_it_comes_back_from_what_an_image_remembers() -> None:
    settings = json.loads(json.dumps(source(WEB).settings()))
    assert VSphere.from_settings(settings, base="debian") == source(WEB)


def test_each_card_is_spoken_of_and_the_first_has_the_address() -> None:
    spec = customization.specification(WEB, 2)
    first, second = (one.adapter for one in spec.nicSettingMap)
    assert (first.ip.ipAddress, first.subnetMask, list(first.gateway)) == ("192.0.2.7", "255.255.255.0", ["192.0.2.1"])
    assert isinstance(second.ip, KINDS.DhcpIpGenerator)
    assert (spec.identity.hostName.name, spec.identity.domain, spec.identity.timeZone) == ("web", "example.com", None)
    assert list(spec.globalIPSettings.dnsServerList) == ["192.0.2.2"]
    assert list(spec.globalIPSettings.dnsSuffixList) == ["a", "b"]
    assert list(customization.specification(WEB, 0).nicSettingMap) == []


@pytest.mark.parametrize(("wanted", "name"), [("linux", "of-vcenter"), (WEB, "web")])
def test_a_guest_is_customized_before_it_starts(
    api: InMemory, asked: list[Any], driver: VSphereDriver, claim: Claim, wanted: str | LinuxPrep, name: str
) -> None:
    assert list(driver.check(source(wanted))) == []
    driver.launch(source(wanted), claim)
    (spec,) = asked
    assert spec.identity.hostName.name == name
    methods = [method for method, _ in api.calls]
    assert methods.index("CustomizeVM_Task") < methods.index("PowerOnVM_Task")


def test_a_name_that_is_not_there_is_said_with_what_is(asked: list[Any], driver: VSphereDriver) -> None:
    (problem,) = driver.check(source("linx"))
    assert (problem.what, problem.why) == ("there is no guest customization 'linx'", "there are: linux")
    assert problem.hint == "did you mean 'linux'?"
    center = driver.centers.of_source(source("linux"))
    center.content.customizationSpecManager = None
    with pytest.raises(PreflightError, match="a single ESXi host knows no guest customization"):
        customization.named(center, "linux")
    assert asked == []
