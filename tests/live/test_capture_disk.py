"""A machine's layers written into a copy of its base's disk: what comes out, and what goes wrong in the open."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from bakery.disk import ext4, ext4_metadata
from bakery.disk.build import rounded
from bakery.disk.layout import Layout, partition
from bakery.disk.qemuimg import Compression, Format
from bakery.drivers.nspawn import base_template
from bakery.drivers.nspawn.apply_layer import apply
from bakery.drivers.nspawn.base_template import Template
from bakery.errors import DriverError
from bakery.util import inode_flags
from bakery.util.context import WorkContext
from tests.live.test_disk_splice import run, seen

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(base_template.unusable([], Path("/"))), reason=base_template.unusable([], Path("/"))),
]
MIB = 1 << 20
SECRET = b"what the base had, and the image must not have "
OPAQUE = "trusted.overlay.opaque"
CAPTURE = """
import sys
from pathlib import Path
from uuid import UUID
from bakery.disk.layout import Layout
from bakery.drivers.nspawn.base_template import Template, write_changed
from bakery.util.context import WorkContext

folder, layer, template = map(Path, sys.argv[1:])
layout, work = Layout(size=256 << 20, identity=UUID(int=7)), WorkContext(cache=folder)
write_changed(folder / "image", Template(template), layers=[layer], files={}, layout=layout, folder=folder, work=work)
"""


@dataclass
class Base:
    """A base's tree and its disk in the cache."""

    tree: Path
    layout: Layout
    template: Template
    work: WorkContext

    def capture(
        self,
        layers: list[Path],
        folder: Path,
        files: dict[str, str] | None = None,
        format: Format = "qcow2",  # noqa: A002  as everywhere
        compression: Compression = "zstd",
    ) -> Path:
        """Write an image and return it as a raw file system, checked."""
        folder.mkdir(exist_ok=True)
        image, raw = folder / "image", folder / "root.ext4"
        digest = base_template.write_changed(
            image,
            self.template,
            layers=layers,
            files=files or {},
            layout=self.layout,
            folder=folder,
            work=self.work,
            format=format,
            compression=compression,
        )
        assert digest == hashlib.sha256(image.read_bytes()).hexdigest()
        if format == "qcow2":
            assert "No errors" in run("qemu-img", "check", "-f", format, image)
        part = f"driver=raw,offset={self.layout.root.start},size={self.layout.root.size},file.driver={format}"
        run("qemu-img", "convert", "--image-opts", f"{part},file.file.filename={image}", "-O", "raw", raw)
        run("e2fsck", "-fn", raw)
        return raw


@contextmanager
def mounted(file_system: Path, point: Path) -> Generator[Path]:
    """Show a file system read-only, in a namespace that ends with the block."""
    point.mkdir(exist_ok=True)
    script = 'mount -t ext4 -o ro,loop,noload "$1" "$2"; echo ready; read -r _ || true'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(file_system), str(point)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield Path(f"/proc/{holder.pid}/root{point}")


def contents(tree: Path) -> dict[str, object]:
    """All that can be known of a tree but `lost+found`, and its own dates."""
    return {name: value for name, value in seen(tree).items() if name != "lost+found"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    chance, tree = random.Random(1), folder / "tree"
    for number in range(300):
        place = tree / f"d{number % 17}/s{number % 5}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}").write_bytes(SECRET * chance.randrange(1, 3000))
    (tree / "d0/link").symlink_to("x" * 200)
    for name in ("etc", "usr"):  # by which a root file system is known
        (tree / name).mkdir()
    for path in (tree, *tree.rglob("*")):  # mke2fs drops parts of seconds
        os.utime(path, (1, 2), follow_symlinks=False)
    layout, work = Layout(size=rounded(256 * MIB), identity=UUID(int=7)), WorkContext(cache=folder)
    raw = folder / "disk.raw"
    partition(raw, layout, folder, work)
    ext4.make(raw, layout, tree, folder, work)
    made = Template(folder / "template")
    made.folder.mkdir()
    made.make(raw, layout, work)
    raw.unlink()
    return Base(tree, layout, made, work)


def layer_of(base: Base, folder: Path, seed: int) -> Path:
    """A layer as overlayfs leaves it: new, changed and removed files, folders in place of files and the reverse."""
    chance, layer = random.Random(seed), folder / f"layer{seed}"
    layer.mkdir(parents=True)
    shutil.copymode(base.tree, layer)
    files = sorted(path.relative_to(base.tree) for path in base.tree.rglob("f*"))
    for path in chance.sample(files, 60):
        for parent in reversed(path.parents[:-1]):
            (layer / parent).mkdir(exist_ok=True)
            shutil.copystat(base.tree / parent, layer / parent)
        match chance.randrange(4):
            case 0:
                os.mknod(layer / path, 0o020000, os.makedev(0, 0))
            case 1:
                (layer / path).write_bytes(bytes(chance.randrange(1, 400_000)))
            case 2:
                (layer / path).write_bytes(chance.randbytes(chance.randrange(1, 200_000)))
            case _:
                (layer / path).mkdir()
                (layer / path / "in").write_text("a folder now")
    replaced = layer / f"d{chance.randrange(17)}"
    shutil.rmtree(replaced, ignore_errors=True)
    replaced.mkdir()
    os.setxattr(replaced, OPAQUE, b"y")
    with (replaced / "sparse").open("wb") as file:
        file.write(b"start")
        file.truncate(30 * MIB)
    return layer


@pytest.mark.parametrize(
    ("seed", "format_", "compression"),
    [(0, "qcow2", "zstd"), (1, "qcow2", "zstd"), (2, "raw", "zstd"), (3, "qcow2", "zlib")],
)
def test_an_image_has_the_files_that_the_layers_say_and_nothing_of_those_that_went(
    base: Base, tmp_path: Path, seed: int, format_: Format, compression: Compression
) -> None:
    layers = [layer_of(base, tmp_path, seed), layer_of(base, tmp_path, seed + 100)]
    wanted = tmp_path / "wanted"
    run("cp", "--archive", base.tree, wanted)
    for layer in reversed(layers):
        apply(layer, wanted)
    (wanted / "d3").mkdir(exist_ok=True)
    (wanted / "d3/tie").write_text("tied\n")
    (wanted / "d3/tie").chmod(0o644)
    raw = base.capture(layers, tmp_path / "out", {"/d3/tie": "tied\n"}, format_, compression)
    with mounted(raw, tmp_path / "point") as tree:
        found, expected = contents(tree), contents(wanted)
    for known in (found, expected):  # dates that writing the tie changed
        known.pop("d3")
        known.pop("d3/tie")
    assert found == expected
    assert raw.read_bytes().count(SECRET) == sum(
        path.read_bytes().count(SECRET) for path in wanted.rglob("*") if path.is_file() and not path.is_symlink()
    )


def test_the_free_blocks_are_those_that_dumpe2fs_sees(base: Base, tmp_path: Path) -> None:
    raw = base.capture([layer_of(base, tmp_path, 5)], tmp_path / "out")
    assert ext4_metadata.free_blocks_now(raw, base.template.free) == ext4_metadata.free_blocks(raw, base.work)


def test_a_new_file_never_shows_what_a_removed_one_had(base: Base, tmp_path: Path) -> None:
    """Nearly all room is taken, so that blocks of removed files would be used anew if they could."""
    layer = tmp_path / "layer"
    layer.mkdir()
    for number in range(17):
        os.mknod(layer / f"d{number}", 0o020000, os.makedev(0, 0))
    for number in range(5):
        (layer / f"new{number}").write_bytes(bytes(20 * MIB))
    raw = base.capture([layer], tmp_path / "out")
    assert SECRET not in raw.read_bytes()
    with mounted(raw, tmp_path / "point") as tree:
        assert all((tree / f"new{number}").read_bytes() == bytes(20 * MIB) for number in range(5))


def test_an_immutable_file_of_one_layer_is_removed_by_the_next_and_kept_otherwise(base: Base, tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for name in ("gone", "stays"):
        (lower / name).mkdir(parents=True)
        (lower / name / "file").write_text(name)
        for path in (lower / name, lower / name / "file"):
            os.setxattr(path, inode_flags.NOTE, str(inode_flags.LETTERS["i"]).encode())
    upper.mkdir()
    os.mknod(upper / "gone", 0o020000, os.makedev(0, 0))
    raw = base.capture([upper, lower], tmp_path / "out")
    with mounted(raw, tmp_path / "point") as tree:
        assert not (tree / "gone").exists()
        assert inode_flags.shown(inode_flags.read(tree / "stays/file")) == "i"
        assert inode_flags.shown(inode_flags.read(tree / "stays")) == "i"


def test_files_that_do_not_fit_into_the_image_are_an_error_that_says_so(base: Base, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "large").write_bytes(random.Random(1).randbytes(200 * MIB))
    with pytest.raises(DriverError, match="writing the machine's files to its disk failed") as caught:
        base.capture([layer], tmp_path / "out")
    assert "No space left on device" in caught.value.why
    assert "256 MiB" in caught.value.hint
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


def test_a_full_disk_of_this_host_is_an_error_and_never_a_broken_image(base: Base, tmp_path: Path) -> None:
    """The image has room for it, the disk under the file does not; writes into the page cache succeed all the same."""
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "large").write_bytes(random.Random(1).randbytes(60 * MIB))
    small = tmp_path / "small"
    small.mkdir()
    words = ["sh", "-c", 'mount -t tmpfs -o size=40M tmpfs "$1" && exec "$2" -c "$3" "$1" "$4" "$5"', "sh"]
    words += [str(small), str(Path(sys.executable)), CAPTURE, str(layer), str(base.template.folder)]
    done = subprocess.run(["unshare", "--mount", *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done
    assert "DriverError" in done.stderr
    assert "sync" in done.stderr
    assert str(small) not in run("losetup", "--all")
