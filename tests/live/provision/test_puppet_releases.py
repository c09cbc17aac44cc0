"""Puppet 8 of Debian 13, and 9 of the release after it: the tests of Puppet 7, in a container of Debian 13."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.events import Event
from bakery.machine.machine import Machine
from bakery.provision import puppet
from tests.live.provision.conftest import Container, booted
from tests.live.provision.test_puppet import (
    FAULTS,
    project,  # noqa: F401  what is imported is collected here, and finds the fixture below
    test_a_manifest_with_modules_hiera_and_facts,  # noqa: F401
    test_noop_tells_what_it_would_change,  # noqa: F401
)
from tests.live.provision.test_puppet import (
    test_what_is_wrong_is_said_with_the_manifests_file_and_line as what_is_wrong,
)
from tests.live.provision.test_puppet import (
    test_what_was_installed_for_the_run_is_gone_after_it as what_was_installed_is_gone,
)

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(1800)]
Write = Callable[[str, str], Path]
FORKY = """
set -eu
for file in $(grep -rl trixie /etc/apt/sources.list /etc/apt/sources.list.d); do
  sed '/security/d; s/trixie/forky/g' "$file" >"$(dirname "$file")/forky-$(basename "$file")"
done
[ ! -e /etc/apt/forky-sources.list ] || mv /etc/apt/forky-sources.list /etc/apt/sources.list.d/forky.list
printf 'Package: *\\nPin: release n=forky\\nPin-Priority: 100\\n' >/etc/apt/preferences.d/forky
apt-get update
apt-get install --yes --no-install-recommends --target-release forky puppet-agent
"""


@pytest.fixture(scope="module", params=["8", "9"])
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def release(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("release")
    with booted(folder, f"puppet{version}", "trixie") as made:
        if version == "9":
            made.machine(folder, []).script(FORKY, env={"DEBIAN_FRONTEND": "noninteractive"}, hide=True)
        yield made


@pytest.fixture
def m(release: Container, tmp_path: Path, events: list[Event]) -> Machine:
    return release.machine(tmp_path, events)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "a type of its own package"])
def test_what_is_wrong_is_said_with_its_line(m: Machine, write: Write, fault: str) -> None:
    what_is_wrong(m, write, fault)


def test_types_that_left_the_core_came_back_with_the_package(m: Machine, write: Write, version: str) -> None:
    write("site.pp", "host { 'one.example': ip => '192.0.2.1' }\n")
    assert [item.outcome for item in puppet(m, "site.pp", keep=True).items] == ["changed"]
    assert m.run("puppet --version", hide=True).stdout.startswith(f"{version}.")


def test_what_was_installed_is_gone_after_it(m: Machine, write: Write) -> None:
    what_was_installed_is_gone(m, write)
