"""An ext4 file system from a tree, inside a disk file: no mount, no loop device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bakery.disk import ext4_exact
from bakery.disk.layout import Layout
from bakery.util.context import WorkContext
from bakery.util.tools import root, run

LABEL = "root"
FEATURES = """\
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""
"""What every kernel since 4.x and every GRUB since 2.04 reads, whatever the host's mke2fs makes by default today."""


def make(
    disk: Path, layout: Layout, tree: Path, folder: Path, work: WorkContext, *, flags: Mapping[str, int] | None = None
) -> None:
    """Fill the root partition with the tree: all that its files have is as it is there, holes and dates too.

    Args:
        disk: the disk.
        layout: where its root is.
        tree: the files.
        folder: for scratch files.
        work: can cancel it.
        flags: attributes of chattr(1) by absolute path, as in `bakery.util.inode_flags`.

    Raises:
        DriverError: mke2fs fails, mostly because the tree does not fit.
    """
    config = folder / "mke2fs.conf"
    config.write_text(FEATURES)
    options = f"offset={layout.root.start},hash_seed={layout.uuid('hash')},lazy_itable_init=0,lazy_journal_init=0"
    words: tuple[str | Path, ...] = (
        *root(),
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-m",
        "1",
        "-L",
        LABEL,
        "-U",
        str(layout.uuid("root-fs")),
        "-E",
        options,
        "-d",
        tree,
        disk,
        f"{layout.root.size >> 10}k",
    )
    run(
        words,
        work,
        what="making the root file system",
        env={"MKE2FS_CONFIG": str(config)},
        hint=f"the disk is {layout.size >> 20} MiB; is it large enough for the tree?",
    )
    survey = ext4_exact.survey(tree, work)
    ext4_exact.repair(disk, layout.root.start, survey, flags=flags or {}, folder=folder, work=work)


def write(disk: Path, layout: Layout, files: dict[str, str], folder: Path, work: WorkContext) -> None:
    """Write or replace files of root, mode 0644, in the finished file system.

    Args:
        disk: the disk.
        layout: where its root is.
        files: absolute path to text; the folders exist.
        folder: for scratch files.
        work: can cancel it.

    Raises:
        DriverError: debugfs fails, or a file is not there afterwards.
    """
    script = []
    for number, (path, text) in enumerate(files.items()):
        local = folder / f"file{number}"
        local.write_text(text)
        script += [f'rm "{path}"', f'write "{local}" "{path}"', f'sif "{path}" mode 0100644']
        script += [f'sif "{path}" uid 0', f'sif "{path}" gid 0']
    commands = folder / "debugfs"
    commands.write_text("\n".join((*script, "")))
    place = f"{disk}?offset={layout.root.start}"
    run(("debugfs", "-w", "-f", commands, place), work, what="writing into the root file system")
    for path, text in files.items():  # debugfs ends with 0 whatever happened
        written = run(("debugfs", "-R", f'cat "{path}"', place), work, what=f"reading {path} back")
        if written != text.encode():
            raise AssertionError(f"{path} was not written into {disk}")
