"""Reading this host's apt settings, and what a machine is given of them for as long as it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.host_apt import CONF, DPKG, FAST, HASTY, AptSetup, HostApt, apply, apt_setup, host_apt, undo

ENV: dict[str, str] = {}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for folder in ("sources.list.d", "apt.conf.d"):
        (tmp_path / "etc/apt" / folder).mkdir(parents=True)
    return tmp_path


def test_a_host_that_uses_the_default_needs_nothing(host: Path) -> None:
    (host / "etc/apt/sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    assert host_apt("bookworm", root=host, env=ENV) is None
    assert apt_setup(None) == AptSetup(swaps={}, files={CONF: FAST, DPKG: HASTY})


def test_one_line_sources_are_read(host: Path) -> None:
    (host / "etc/apt/sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 trusted=yes] http://mirror.example/debian/ bookworm main\n"
        "deb http://mirror.example/debian bookworm-updates main\n"
        "deb http://mirror.example/security bookworm-security main\n"
    )
    (host / "etc/apt/sources.list.d/other.list").write_text("deb http://vendor.example/apt stable main\n")
    assert host_apt("trixie", root=host, env=ENV) == HostApt(
        archive="http://mirror.example/debian", security="http://mirror.example/security", options="trusted=yes"
    )


def test_deb822_sources_are_read_and_disabled_ones_are_not(host: Path) -> None:
    (host / "etc/apt/sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://no.example/debian\nSuites: bookworm\nEnabled: no\n\n"
        "Types: deb deb-src\n# a remark\nURIs: https://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\n\nTypes: deb\nURIs: https://mirror.example/debian-security\nSuites: bookworm-security\n"
    )
    found = host_apt("bookworm", root=host, env=ENV)
    assert found == HostApt(archive="https://mirror.example/debian", security="https://mirror.example/debian-security")


@pytest.mark.parametrize("name", ["sid", "unstable", "testing", "stable", "forky"])
def test_a_mirror_counts_under_whatever_name_the_host_calls_its_suite(host: Path, name: str) -> None:
    (host / "etc/apt/sources.list").write_text(f"deb http://mirror.example/debian {name} main\n")
    assert host_apt("bookworm", root=host, env=ENV) == HostApt(archive="http://mirror.example/debian")


def test_a_proxy_on_this_hosts_loopback_is_reached_through_the_machines_gateway(host: Path) -> None:
    (host / "etc/apt/apt.conf.d/proxy").write_text('Acquire::http::Proxy "http://127.0.0.1:3142";\n')
    setup = apt_setup(host_apt("bookworm", root=host, env=ENV), loopback="10.0.2.2")
    assert setup.files == {CONF: f'{FAST}Acquire::http::Proxy "http://10.0.2.2:3142";\n', DPKG: HASTY}


def test_a_proxy_of_the_environment_counts_when_apt_has_none(host: Path) -> None:
    found = host_apt("bookworm", root=host, env={"http_proxy": "http://proxy.example:3128"})
    assert found == HostApt(conf='Acquire::http::Proxy "http://proxy.example:3128";\n')


def test_a_certificate_bundle_travels_along(host: Path) -> None:
    bundle = host / "ca.pem"
    bundle.write_text("CERTIFICATES\n")
    (host / "etc/apt/apt.conf.d/tls").write_text(f'Acquire::https::CaInfo "{bundle}";\n')
    setup = apt_setup(host_apt("bookworm", root=host, env=ENV))
    assert setup.files["/etc/apt/bakery-build-ca.pem"] == "CERTIFICATES\n"
    assert str(bundle) not in setup.place()


class Recorder:
    """Remembers what it is asked to run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None]] = []

    def run(self, command: str, *, input: str | None = None) -> Any:  # noqa: A002  Fabric's word
        self.calls.append((command, input))


def test_no_command_line_carries_the_mirrors_name() -> None:
    setup = apt_setup(HostApt(archive="http://user:secret@mirror.example/debian"))
    machine = Recorder()
    apply(machine, setup)
    undo(machine, setup)
    assert not any("mirror.example" in command for command, _ in machine.calls)
    assert "mirror.example" in (machine.calls[1][1] or "")
