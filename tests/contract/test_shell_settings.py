"""Shell assignments: read without a shell, and as a shell reads them."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.disk.shell_settings import ShellSettings

FILES = [
    'A=""\n',
    "A=plain # a comment behind it\n",
    'A="quiet"   # a comment behind it\n',
    "A=with#no-comment\n",
    "A='single $B \\ \"quoted\"'\n",
    'A="x\\"y\\$z\\\\w\\q"\n',
    "A=a\\ b\\\nc\n",
    'A="over \\\ntwo lines"\n',
    'A="over\ntwo lines"\n',
    'B=1\nA="${B:+ set} ${C:+ unset} ${C:-default} ${C-dash} ${B:-not}"\n',
    'A="${A:+$A }more"\n',
    'A=old\nA="${A:+$A }more"\n',
    'A=""\nA="first${A:+ $A} last"\n',
    ': "${A:=given}"\n',
    'A=own\n: "${A:=given}" # x\n',
    "export A=1; B=2\n",
    "A=1\nexport A B\n",
    "  A=indented\n\tB=tab\n",
    "A=1;B=2 ; # end\n",
    "A=x\"y z\"'w'$B${B}\n",
    'A="${B:-"nested quotes"}" B=$A\n',
    'A="${B:-${A:-deep}}"\n',
    'A="a $ b"\n',
    'A="last line without end"',
    "\n\n#A=1\nA=2\n",
    "A=tab\tB=2\n",
]
SAID = [
    "A=`hostname`\n",
    'A="$(hostname)"\n',
    "A=1 true\n",
    '[ -n "$A" ] || A=5\n',
    "if true; then\n  A=1\nfi\n",
    "case x in\n  x) A=1 ;;\nesac\n",
    ". /etc/other\n",
    'A="${A%%x}"\n',
    "A='never ends\n",
    "echo A=1 >&2\n",
    "A=1 && B=2\n",
]


def by_shell(text: str, folder: Path) -> dict[str, str]:
    file = folder / "settings"
    file.write_text(text)
    script = 'set -e; . "$1"; printf "%s\\0%s" "${A-}" "${B-}"'
    words = ["sh", "-c", script, "sh", str(file)]
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    return dict(zip("AB", done.stdout.decode().split("\0"), strict=True))


def by_us(text: str) -> dict[str, str]:
    found = ShellSettings.read([("file", text)])
    assert found.unread == []
    return {name: found.values.get(name, "") for name in "AB"}


@pytest.mark.parametrize("text", FILES)
def test_it_is_what_a_shell_makes_of_it(text: str, tmp_path: Path) -> None:
    assert by_us(text) == by_shell(text, tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["A=", "B=", "a", " ", '"', "'", "$A", "${B:+", "}", "${A:-x", "\\", "#", "\n", ";", "$"]),
        max_size=12,
    )
)
def test_whatever_is_understood_is_understood_as_a_shell_does(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    text = "".join(parts)
    found = ShellSettings.read([("file", text)])
    if found.unread or not found.values:
        return
    try:
        expected = by_shell(text, tmp_path_factory.mktemp("x"))
    except subprocess.CalledProcessError:
        return  # no shell reads it either
    assert {name: found.values.get(name, "") for name in "AB"} == expected


@pytest.mark.parametrize("text", SAID)
def test_what_needs_a_shell_is_passed_over_and_said(text: str) -> None:
    found = ShellSettings.read([("/etc/default/grub", "B=1\n" + text + "\nB=2\n")])
    assert found.unread
    assert found.unread[0].startswith("/etc/default/grub:2: ")
    assert "A" not in found.values


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ('GRUB_CMDLINE_LINUX=""', ""),
        ('GRUB_CMDLINE_LINUX="panic=5 # not a comment"', " panic=5 # not a comment"),
        ('GRUB_CMDLINE_LINUX="mitigations=off"  # ours', " mitigations=off"),
        ("", ""),
    ],
)
def test_our_own_settings_keep_what_the_user_wrote(own: str, expected: str, tmp_path: Path) -> None:
    """As update-grub reads it, and as the capture of a container does."""
    ours = (files("bakery.disk.bases") / "debian_files/etc/default/grub.d/50-image.cfg").read_text()
    text = f'GRUB_TIMEOUT=5\n{own}\n{ours}\nA="$GRUB_CMDLINE_LINUX"\nB="$GRUB_TIMEOUT"\n'
    seen = by_shell(text, tmp_path)
    assert seen == {"A": f"no_timer_check console=tty0 console=ttyS0,115200{expected}", "B": "0"}
    assert ShellSettings.read([("file", text)]).values["A"] == seen["A"]
    assert by_shell(text.replace("GRUB_TIMEOUT=5", "GRUB_TIMEOUT=7"), tmp_path)["B"] == "7"


def test_there_is_a_shell_to_compare_with() -> None:
    assert shutil.which("sh")
