"""`Local` becomes the source that this host builds fastest with, and says why."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.bases.debian import Debian
from bakery.drivers import local
from bakery.drivers.local import Local
from bakery.drivers.nspawn import disk_to_tree, host
from bakery.drivers.nspawn.source import Nspawn
from bakery.drivers.qemu import acceleration
from bakery.drivers.qemu.source import Qemu
from bakery.errors import ImagefileError, PreflightError
from bakery.model import Problem

ThisHost = Callable[..., None]
WHY_EMULATED = local._why_emulated
ABSENT = "there is no /dev/kvm"


@pytest.fixture(autouse=True)
def this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThisHost]:
    """Say what this host has: why no KVM, and why no container."""

    def has(*, trouble: str = "", absent: str = "", plain: str = "", problems: list[Problem] | None = None) -> None:
        monkeypatch.setenv("BAKERY_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(acceleration, "absent", lambda _: absent)
        monkeypatch.setattr(acceleration, "trouble", lambda *_: trouble)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(host, "problems", lambda: iter(problems or []))
        monkeypatch.setattr(host, "why_plain", lambda: plain)
        monkeypatch.setattr(disk_to_tree, "check", lambda: iter([]))
        monkeypatch.setattr(local, "_why_emulated", WHY_EMULATED)
        WHY_EMULATED.cache_clear()

    has()
    yield has
    WHY_EMULATED.cache_clear()


def base() -> Debian:
    return Debian("bookworm")


def test_where_the_processor_runs_guests_a_virtual_machine_is_built_in() -> None:
    source, because = Local(base=base(), memory="2G", disk="6G", firmware="uefi").choose()
    assert source == Qemu(base=base(), memory="2G", disk="6G", firmware="uefi")
    assert because == "this host's processor runs virtual machines"


@pytest.mark.parametrize(
    "found", [{"absent": ABSENT}, {"trouble": "the guest ran into a KVM internal error"}], ids=["absent", "broken"]
)
def test_elsewhere_a_container_is_built_in_and_its_reason_said(this_host: ThisHost, found: dict[str, str]) -> None:
    this_host(**found)
    source, because = Local(base=base(), format="raw").choose()
    assert source == Nspawn(base=base(), format="raw")
    assert because == f"a virtual machine would be emulated: {next(iter(found.values()))}"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"plain": "only root can start systemd-nspawn"}, "only root can start systemd-nspawn"),
        ({"problems": [Problem(what="slirp4netns is not installed")]}, "slirp4netns is not installed"),
    ],
)
def test_without_either_it_is_emulated_and_both_reasons_are_said(
    this_host: ThisHost, found: dict[str, Any], said: str
) -> None:
    this_host(absent=ABSENT, **found)
    source, because = Local(base=base()).choose()
    assert source == Qemu(base=base(), disk="8G")
    assert because == f"it is emulated, as {ABSENT}, and there is no container, as {said}"


def test_what_is_only_worth_a_warning_does_not_keep_a_container_away(this_host: ThisHost) -> None:
    this_host(absent=ABSENT, problems=[Problem(what="this host limits what tasks can do", fatal=False)])
    assert isinstance(Local(base=base()).choose()[0], Nspawn)


def test_a_disk_is_a_containers_base_where_it_can_be_read(this_host: ThisHost, monkeypatch: pytest.MonkeyPatch) -> None:
    this_host(absent=ABSENT)
    image = CloudImage(url="https://example.org/noble.img", checksum="sha256:" + "0" * 64)
    assert isinstance(Local(base=image).choose()[0], Nspawn)
    monkeypatch.setattr(disk_to_tree, "check", lambda: iter([Problem(what="only root can build on an image")]))
    assert "only root can build on an image" in Local(base=image).choose()[1]


def test_emulation_that_is_asked_for_is_for_the_machine_that_is_tested() -> None:
    source, because = Local(base=base(), accel="tcg").choose()
    assert source == Nspawn(base=base(), accel="tcg")
    assert 'accel="tcg"' in because


def test_other_systems_have_no_containers(this_host: ThisHost, monkeypatch: pytest.MonkeyPatch) -> None:
    this_host(absent="Darwin has none of that name")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert "as Darwin has none" in Local(base=base()).choose()[1]


def test_without_qemu_nothing_is_tried_and_an_error_of_the_trial_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "qemu-system-x86_64 is not installed" in Local(base=base()).choose()[1]
    WHY_EMULATED.cache_clear()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    def broken(*_: object) -> str:
        raise PreflightError("another bake tries this host's acceleration")

    monkeypatch.setattr(acceleration, "trouble", broken)
    assert "another bake tries this host's acceleration" in Local(base=base()).choose()[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpus": 0}, r"^Local\(cpus=0\): a machine needs a processor"),
        ({"firmware": "efi"}, r"^Local\(firmware='efi'\): no such choice"),
        ({"disk": "1M"}, r"^Local\(disk='1M'\): too small"),
        ({"memory": "x"}, "memory='x' is not a size"),
    ],
)
def test_what_neither_could_be_is_refused_as_the_user_wrote_it(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError, match=said):
        Local(base=base(), **options)
