"""From a tree to a bootable disk: what the tools are told, and what is put right after them."""

from __future__ import annotations

import json
import os
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.disk import build, ext4, ext4_exact, ext4_metadata, grub, layout, tree_survey
from bakery.disk.block_changes import BLOCK
from bakery.disk.ext4_metadata import free_blocks_now
from bakery.disk.inspect import ext4_reader
from bakery.disk.layout import MIB, SECTOR, Layout
from bakery.disk.signatures import SIGNATURES, is_disk_image
from bakery.disk.tree_survey import Survey
from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.util.context import WorkContext
from tests.unit.disk.inspect.debugfs import Debugfs
from tests.unit.fake_tools import FakeTools

LAYOUT = Layout(size=1 << 30, identity=UUID(int=7))
START = LAYOUT.root.start
BOOT = bytes(510) + b"\x55\xaa"


def core(sectors: int) -> bytes:
    """Return a core image of GRUB's whose first sector says how many follow."""
    data = bytearray(SECTOR * (sectors + 1))
    struct.pack_into("<QH", data, SECTOR - 12, 1, sectors)
    return bytes(data)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools.install(monkeypatch, build, ext4, ext4_exact, ext4_metadata, grub, layout)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Debugfs:
    """The finished file system, as debugfs shows it."""
    system = Debugfs(START)
    monkeypatch.setattr(ext4_reader, "run", lambda words, _cancel, text="": system.run(words, text))
    return system


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def work(tmp_path: Path, events: list[Event]) -> WorkContext:
    return WorkContext(cache=tmp_path, emit=events.append)


# ---- what mke2fs does not keep ----------------------------------------------------------------------------------


@pytest.fixture
def repaired(tools: FakeTools, system: Debugfs, work: WorkContext, tmp_path: Path) -> Callable[..., list[str]]:
    """Repair, and return the script that debugfs was given."""
    tools.answer("debugfs -w -f *")

    def repair(found: Survey, **flags: int) -> list[str]:
        named = {f"/{name}": value for name, value in flags.items()}
        ext4_exact.repair(tmp_path / "disk", START, found, flags=named, folder=tmp_path, work=work)
        script = tmp_path / "exact"
        return script.read_text().splitlines() if script.exists() else []

    return repair


def test_files_are_given_back_blocks_of_zeros_dates_and_flags(repaired: Any, system: Debugfs) -> None:
    full, dated, flagged = (system.add(f"/{name}").inode for name in ("full", "dated", "flagged"))
    found = Survey(full=[("/full", 4097)], times=[("/dated", 1_500_000_000, 2_000_000_001)])
    assert repaired(found, flagged=0x10) == [
        f"fallocate <{full}> 0 1",
        f"sif <{dated}> atime @1",
        f"sif <{dated}> atime_extra {500_000_000 << 2}",
        f"sif <{dated}> mtime @2",
        f"sif <{dated}> mtime_extra {1 << 2}",
        f"sif <{flagged}> flags {0x80010:#x}",
    ]


def test_the_root_folder_gets_its_mode_and_owner(repaired: Any, system: Debugfs) -> None:
    top = system.nodes["/"].inode
    assert repaired(Survey(top=(0o41751, 100_000, 4))) == [
        f"sif <{top}> mode 0x43e9",
        f"sif <{top}> uid 0x186a0",
        f"sif <{top}> gid 0x4",
    ]


def test_names_of_one_symbolic_link_are_one_again(repaired: Any, system: Debugfs) -> None:
    first = system.add("/a", mode=0o120777).inode
    system.add("/b", mode=0o120777)
    assert repaired(Survey(links=[["/a", "/b", "/gone"], ["/none"]])) == [
        'rm "/b"',
        f'ln <{first}> "/b"',
        f"sif <{first}> links_count 2",
    ]


def test_nothing_to_put_right_needs_no_debugfs(repaired: Any, tools: FakeTools) -> None:
    assert repaired(Survey()) == []
    assert tools.ran == []


def test_what_debugfs_cannot_be_told_is_named(repaired: Any, system: Debugfs, events: list[Event]) -> None:
    system.add("/a", mode=0o120777)
    system.add('/quo"te', mode=0o120777)
    many = [(f"/gone{number:02}", 1, 1) for number in range(12)]
    repaired(Survey(times=many, links=[["/a", '/quo"te']]))
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.message.startswith("holes, dates, links or attributes differ in the image: '/gone00'")
    assert notice.message.endswith(", and 3 more")
    assert notice.level == "warning"


def test_a_debugfs_that_complains_has_failed_whatever_its_exit_code(
    repaired: Any, system: Debugfs, tools: FakeTools
) -> None:
    system.add("/full")

    def run(words: Any, work: Any, **options: Any) -> bytes:
        del words, work
        for line in ("debugfs 1.47.0 (5-Feb-2023)", "", "fallocate: No space left on device"):
            options["on_line"](line)
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ext4_exact, "run", run)
        with pytest.raises(DriverError, match="files cannot be kept as they are") as raised:
            repaired(Survey(full=[("/full", 1 << 30)]))
    assert raised.value.why == "fallocate: No space left on device"


@given(moment=st.integers(-(1 << 31) * 10**9, ((1 << 34) - (1 << 31)) * 10**9 - 1))
@settings(max_examples=50)
def test_any_date_that_ext4_can_hold_is_written_as_ext4_reads_it(moment: int) -> None:
    """The kernel's rule (ext4.h, ext4_decode_extra_time): signed 32 bits, two more above, nanoseconds in the rest."""
    seconds, extra = (
        int(line.rpartition(" ")[2].removeprefix("@"))
        for line in list(ext4_exact._times([("/x", moment, moment)], {"/x": 12}))[2:]
    )
    signed = struct.unpack("<i", struct.pack("<I", seconds))[0]
    assert (signed + ((extra & 3) << 32)) * 10**9 + (extra >> 2) == moment


def test_a_tree_is_looked_at_by_a_process_of_its_own(
    tools: FakeTools, work: WorkContext, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 4096)
    os.utime(tree / "file", ns=(1, 1_500_000_000))
    os.utime(tree, (7, 7))
    monkeypatch.setattr(sys, "argv", ["tree_survey", str(tree)])
    tree_survey.main()
    tools.answer("*bakery.disk.tree_survey*", capsys.readouterr().out)
    found = ext4_exact.survey(tree, work)
    top = tree.stat()
    assert found == Survey(
        full=[("/file", 4096)],
        times=[("/", 7_000_000_000, 7_000_000_000), ("/file", 1, 1_500_000_000)],
        top=(top.st_mode, top.st_uid, top.st_gid),
    )


def test_a_survey_names_what_is_not_kept_and_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "zeros").write_bytes(bytes(1 << 16))
    os.link(tmp_path / "zeros", tmp_path / "twin")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 20)
    (tmp_path / "sub" / "link").symlink_to("x")
    os.link(tmp_path / "sub" / "link", tmp_path / "again", follow_symlinks=False)
    (tmp_path / "alone").symlink_to("x")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.utime(path, (7, 7), follow_symlinks=False)
    os.utime(tmp_path / "holes", (1, 1 << 32))
    found = tree_survey.survey(tmp_path)
    assert [size for _, size in found.full] == [1 << 16]
    assert found.times == [("/", 7 * 10**9, 7 * 10**9), ("/holes", 10**9, (1 << 32) * 10**9)]
    assert [sorted(names) for names in found.links] == [["/again", "/sub/link"]]
    assert Survey.from_json(json.dumps(found.__dict__).encode()) == found


# ---- the file system --------------------------------------------------------------------------------------------


def test_the_root_is_filled_from_the_tree_with_features_of_ours(
    tools: FakeTools, system: Debugfs, work: WorkContext, tmp_path: Path
) -> None:
    tools.answer("*mke2fs *").answer("*tree_survey*", b'{"full": [], "times": [], "links": [], "top": [16877, 0, 0]}')
    ext4.make(tmp_path / "disk", LAYOUT, tmp_path / "tree", tmp_path, work)
    words = tools.ran[0]
    options = words[words.index("-E") + 1]
    assert options.startswith(f"offset={START},hash_seed={LAYOUT.uuid('hash')},")
    assert words[-1] == f"{LAYOUT.root.size >> 10}k"
    assert words[words.index("-U") + 1] == str(LAYOUT.uuid("root-fs"))
    assert tools.options[0]["env"] == {"MKE2FS_CONFIG": str(tmp_path / "mke2fs.conf")}
    assert "metadata_csum" in (tmp_path / "mke2fs.conf").read_text()


def test_files_are_written_as_roots_and_read_back(tools: FakeTools, work: WorkContext, tmp_path: Path) -> None:
    tools.answer("debugfs -w *").answer("debugfs -R *", "LABEL=root / ext4\n")
    ext4.write(tmp_path / "disk", LAYOUT, {"/etc/fstab": "LABEL=root / ext4\n"}, tmp_path, work)
    assert (tmp_path / "debugfs").read_text().splitlines() == [
        'rm "/etc/fstab"',
        f'write "{tmp_path}/file0" "/etc/fstab"',
        'sif "/etc/fstab" mode 0100644',
        'sif "/etc/fstab" uid 0',
        'sif "/etc/fstab" gid 0',
    ]
    assert tools.ran[1] == ["debugfs", "-R", 'cat "/etc/fstab"', f"{tmp_path}/disk?offset={START}"]


def test_a_file_that_is_not_there_afterwards_is_noticed(tools: FakeTools, work: WorkContext, tmp_path: Path) -> None:
    tools.answer("debugfs *", "other\n")
    with pytest.raises(AssertionError, match="/etc/fstab was not written"):
        ext4.write(tmp_path / "disk", LAYOUT, {"/etc/fstab": "mine\n"}, tmp_path, work)


# ---- GRUB and the table -----------------------------------------------------------------------------------------


def test_a_disk_is_empty_but_for_its_table(tools: FakeTools, work: WorkContext, tmp_path: Path) -> None:
    tools.answer("sfdisk *")
    layout.partition(tmp_path / "disk", LAYOUT, tmp_path, work)
    assert (tmp_path / "disk").stat().st_size == LAYOUT.size
    assert (tmp_path / "disk").stat().st_blocks == 0
    assert tools.options[0]["stdin"].read_text() == LAYOUT.script()


@pytest.fixture
def bootable(tools: FakeTools, tmp_path: Path) -> Path:
    """A tree with a kernel, and GRUB's own parts; its grub-mkimage makes a core of three sectors."""
    tree = tmp_path / "tree"
    for name in ("usr/lib/grub/i386-pc", "boot", "etc"):
        (tree / name).mkdir(parents=True)
    (tree / "usr/lib/grub/i386-pc/boot.img").write_bytes(BOOT)
    (tree / "boot/vmlinuz-6.1").touch()
    (tree / "boot/initrd.img-6.1").touch()

    def mkimage(words: list[str]) -> None:
        Path(words[words.index("--output") + 1]).write_bytes(core(3))

    tools.answer("*grub-mkimage*", mkimage).answer("m[fmc]*")
    return tree


def test_both_firmwares_find_their_part_of_grub(
    tools: FakeTools, work: WorkContext, bootable: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(LAYOUT.size)
        file.seek(0x1B8)
        file.write(b"table" * 10)
        file.seek(LAYOUT.esp.start + 0x1BE)
        file.write(b"nested" * 10)
    grub.install(disk, LAYOUT, bootable, tmp_path, work)
    with disk.open("rb") as file:
        sector = file.read(SECTOR)
        file.seek(LAYOUT.bios.start)
        first = file.read(SECTOR)
        file.seek(LAYOUT.esp.start + 0x1BE)
        assert file.read(64) == bytes(64), "mformat's table is taken out of the partition's own boot sector"
    assert sector[0x1B8:0x1BC] == b"tabl"
    assert struct.unpack_from("<Q", sector, 0x5C) == (LAYOUT.bios.sector,)
    assert struct.unpack_from("<QH", first, SECTOR - 12) == (LAYOUT.bios.sector + 1, 3)
    assert [words[0] for words in tools.ran if words[0].startswith("m")] == ["mformat", "mmd", "mcopy"]
    assert all(words[words.index("-i") + 1] == f"{disk}@@{LAYOUT.esp.start}" for words in tools.ran[2:])


def test_a_grub_that_does_not_fit_is_refused(
    tools: FakeTools, work: WorkContext, bootable: Path, tmp_path: Path
) -> None:
    def too_large(words: list[str]) -> None:
        Path(words[words.index("--output") + 1]).write_bytes(core(4 * MIB // SECTOR))

    tools.answer("*grub-mkimage*", too_large)
    with pytest.raises(DriverError, match="does not fit into its partition"):
        grub.install(tmp_path / "disk", LAYOUT, bootable, tmp_path, work)


# ---- the whole disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def made(tools: FakeTools, system: Debugfs, work: WorkContext, bootable: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a disk of the tree, or of an archive of it."""
    tools.answer("*du --summarize*", f"{300 * MIB}\t/tree\n").answer("sfdisk *").answer("*mke2fs *")
    tools.answer("*tree_survey*", b'{"full": [], "times": [], "links": [], "top": [16877, 0, 0]}').answer(
        "debugfs -w *"
    )
    contents: dict[str, str] = {}

    def read_back(words: list[str]) -> bytes:
        name = words[2].split('"')[1]
        script = next(path for path in tmp_path.rglob("debugfs"))
        number = [line for line in script.read_text().splitlines() if line.startswith("write")].index(
            next(line for line in script.read_text().splitlines() if line.startswith("write") and f'"{name}"' in line)
        )
        contents[name] = (script.parent / f"file{number}").read_text()
        return contents[name].encode()

    tools.answer("debugfs -R *", read_back)

    def make(tree: Path = bootable, **options: Any) -> Path:
        build.make_disk(tree, tmp_path / "out.raw", work, **options)
        return tmp_path / "out.raw"

    make.contents = contents  # type: ignore[attr-defined]  # for tests to look at
    return make


@pytest.mark.parametrize(("asked", "size"), [(None, 2 << 30), (1, 1 << 20), ((3 << 30) + 1, (3 << 30) + MIB)])
def test_a_disk_has_the_size_that_was_asked_for_or_room(made: Any, asked: int | None, size: int) -> None:
    if asked == 1:
        assert build.rounded(asked) == size
    else:
        assert made(size=asked, identity=UUID(int=7)).stat().st_size == size


def test_a_disk_boots_the_kernel_of_its_tree(made: Any, tmp_path: Path) -> None:
    made(identity=UUID(int=7))
    assert "root=UUID=" in made.contents["/boot/grub/grub.cfg"]
    assert made.contents["/etc/fstab"].startswith("LABEL=root / ext4 ")
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "out.raw"}, "scratch is gone"


def test_an_archive_is_unpacked_for_as_long_as_needed(made: Any, tools: FakeTools, bootable: Path) -> None:
    archive = bootable.with_name("tree.tar")
    archive.touch()

    def unpack(words: list[str]) -> None:
        target = Path(words[words.index("--directory") + 1])
        target.rmdir()
        bootable.rename(target)

    tools.answer("*tar --extract *", unpack).answer("*rm --recursive *")
    made(archive)
    assert next(words[-1] for words in tools.ran if "rm" in words).startswith(str(bootable.parent / ".tree-"))
    assert any("--xattrs-include=*" in words for words in tools.ran)


def test_a_tree_that_cannot_boot_is_refused_before_a_disk_is_made(made: Any, bootable: Path, tools: FakeTools) -> None:
    (bootable / "boot/vmlinuz-6.1").unlink()
    with pytest.raises(DriverError, match="the tree has no kernel"):
        made()
    assert not any("sfdisk" in line for line in tools.lines)


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name.startswith("m") else f"/sbin/{name}")
    assert [problem.hint for problem in build.check() if problem.what.startswith("m")] == [
        "apt install e2fsprogs",
        "apt install mtools",
        "apt install mtools",
    ]


# ---- metadata ---------------------------------------------------------------------------------------------------

PER_GROUP = 64


def file_system(
    path: Path, free: set[int], *, blocks: int = 150, uninitialized: int | None = None, state: int = 1
) -> Path:
    """Write an ext4 file system of three small groups, as far as bitmaps are found in it."""
    blocks = 150
    groups = -(-blocks // PER_GROUP)
    data = bytearray((8 + groups) * BLOCK)
    for kind, at, value in (
        *(("<I", 0x4, blocks), ("<I", 0x18, 2), ("<I", 0x20, PER_GROUP), ("<H", 0x38, 0xEF53)),
        *(("<H", 0x3A, state), ("<H", 0xFE, 64)),
    ):
        struct.pack_into(kind, data, 1024 + at, value)
    for group in range(groups):
        at = BLOCK + group * 64
        struct.pack_into("<I", data, at, 8 + group)
        struct.pack_into("<H", data, at + 0x12, 2 if group == uninitialized else 0)
        bitmap = sum(1 << bit for bit in range(PER_GROUP) if group * PER_GROUP + bit not in free)
        data[(8 + group) * BLOCK : (8 + group) * BLOCK + 8] = bitmap.to_bytes(8, "little")
    path.write_bytes(bytes(data))
    return path


@given(free=st.sets(st.integers(0, 149)))
@settings(max_examples=30)
def test_free_blocks_are_read_from_the_bitmaps_with_neighbours_joined(free: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = free_blocks_now(file_system(Path(folder) / "fs", free), [])
    assert {block for part in found for block in part} == free
    assert all(one.stop < other.start for one, other in pairwise(found))


def test_a_group_that_was_never_written_to_is_as_free_as_it_was(tmp_path: Path) -> None:
    path = file_system(tmp_path / "fs", {3}, uninitialized=1)
    assert free_blocks_now(path, [range(2, 5), range(60, 70), range(100, 150)]) == [
        range(3, 4),
        range(64, 70),
        range(100, 128),
    ]


def test_a_file_system_that_was_not_written_to_its_end_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="not written to its end") as raised:
        free_blocks_now(file_system(tmp_path / "fs", set(), state=0), [])
    assert raised.value.why == "its state is 0x0"


def test_metadata_is_a_file_of_the_partitions_size(tools: FakeTools, work: WorkContext, tmp_path: Path) -> None:
    def image(words: list[str]) -> None:
        Path(words[-1]).write_bytes(b"head")

    tools.answer("e2image *", image)
    ext4_metadata.extract(tmp_path / "disk", tmp_path / "meta", LAYOUT, work)
    assert (tmp_path / "meta").stat().st_size == LAYOUT.root.size
    assert tools.ran[0][3] == str(START)
    tools.answer("dumpe2fs *", "Group 0:\n  Free blocks: 5-7, 8, 10\n")
    assert ext4_metadata.free_blocks(tmp_path / "meta", work) == [range(5, 9), range(10, 11)]


# ---- signatures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "mark"), SIGNATURES)
def test_each_kind_of_disk_image_is_known_by_its_first_bytes(tmp_path: Path, offset: int, mark: bytes) -> None:
    (tmp_path / "x").write_bytes(bytes(offset) + mark)
    assert is_disk_image(tmp_path / "x")
    (tmp_path / "x").write_bytes(bytes(offset + 1) + mark + bytes(600))
    assert not is_disk_image(tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "is_image"),
    [(b"", True), (b"<html>404</html>", False), (b"x" * 1000 + b"conectix" + bytes(504), True), (b"conect", False)],
)
def test_an_empty_disk_and_one_with_a_footer_are_images_and_a_web_page_is_none(
    tmp_path: Path, content: bytes, is_image: bool
) -> None:
    (tmp_path / "x").write_bytes(content)
    assert is_disk_image(tmp_path / "x") is is_image


@pytest.mark.parametrize(("first", "is_image"), [("web.ovf", True), ("notes.txt", False)])
def test_an_archive_that_begins_with_an_ovf_is_an_appliance(tmp_path: Path, first: str, is_image: bool) -> None:
    (tmp_path / first).write_text("text")
    with tarfile.open(tmp_path / "x", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / first, first)
    assert is_disk_image(tmp_path / "x") is is_image
