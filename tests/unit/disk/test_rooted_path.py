"""Paths in a machine's tree: its links never lead to files of this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.disk import bootfiles
from bakery.disk.rooted_path import inside


@pytest.mark.parametrize(
    ("link", "path", "found"),
    [
        ("/etc/real", "etc/link", "etc/real"),
        ("real", "/etc/link", "etc/real"),
        ("../../../../etc/real", "etc/link", "etc/real"),
        ("/etc", "etc/link/real", "etc/real"),
        ("/nowhere", "etc/link/x", "nowhere/x"),
    ],
)
def test_a_link_leads_where_it_would_with_the_tree_as_root(tmp_path: Path, link: str, path: str, found: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/real").write_text("x")
    (tmp_path / "etc/link").symlink_to(link)
    assert inside(tmp_path, path) == tmp_path / found


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        inside(tmp_path, "a")


def test_a_machines_settings_are_never_read_from_this_host(tmp_path: Path) -> None:
    tree, host = tmp_path / "tree", tmp_path / "host"
    (tree / "etc/default").mkdir(parents=True)
    host.mkdir()
    (host / "grub").write_text("GRUB_CMDLINE_LINUX='of the host'\n")
    (tree / "etc/default/grub").symlink_to(host / "grub")
    assert "of the host" not in bootfiles.kernel_line(tree)
