"""How an image says as whom its tests log in, and where that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import bakery
from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings

FILE = """
import bakery
from bakery.drivers import Debian, Ec2, Nspawn, Qemu

@bakery.source
def here():
    return {source}

@bakery.image(login={login})
def web():
    return None
"""
LOGIN = 'bakery.Login(user="deploy", port=2222)'


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, str], object]:
    def write_and_plan(source: str, login: str) -> object:
        file = tmp_path / "imagefile.py"
        file.write_text(FILE.format(source=source, login=login))
        return plan(loader.load(file), Settings())

    return write_and_plan


@pytest.mark.parametrize("source", ['Qemu(base=Debian("bookworm"))', 'Nspawn(base=Debian("bookworm"))'])
def test_an_image_that_is_tested_under_qemu_says_who_logs_in(make: Callable[[str, str], object], source: str) -> None:
    make(source, LOGIN)


def test_elsewhere_the_source_says_so_which_is_told_when_the_file_is_read(make: Callable[[str, str], object]) -> None:
    with pytest.raises(ImagefileError, match="is not for Ec2") as raised:
        make('Ec2(base="ami-1")', LOGIN)
    assert "Ec2(user=...)" in raised.value.hint
    assert raised.value.where is not None


@pytest.mark.parametrize(
    "login",
    ['"deploy"', 'bakery.Login(user="a b")', "bakery.Login(port=0)", 'bakery.Login(user="a", home="/x y")'],
)
def test_what_is_no_login_is_refused(make: Callable[[str, str], object], login: str) -> None:
    with pytest.raises(ImagefileError, match="is not what login= takes"):
        make('Qemu(base=Debian("bookworm"))', login)


def test_a_login_is_the_sources_user_on_port_22_where_nothing_else_is_said() -> None:
    assert (bakery.Login().user, bakery.Login().port, bakery.Login().key) == ("", 22, "")
