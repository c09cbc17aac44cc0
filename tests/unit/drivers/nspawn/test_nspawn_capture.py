"""The disk of a container: its base's with the changes joined to it, or one made from the start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.disk import build, ext4_metadata, qemuimg
from bakery.drivers.nspawn import base_template, capture, template_ahead
from bakery.drivers.nspawn.base_template import Template, prepare
from bakery.drivers.nspawn.capture import layout_of
from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.model import Problem
from bakery.util.context import WorkContext
from tests.unit.fake_tools import FakeTools

LAYOUT = layout_of("0123456789abcdef" * 4, 1 << 30)


@dataclass
class Host:
    """What would mount, format and convert: what it was asked."""

    folder: Path
    tools: FakeTools
    made: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    orders: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    joined: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    events: list[Event] = field(default_factory=list[Event])
    lost: Sequence[str] = ()

    @property
    def work(self) -> WorkContext:
        """Where the cache is."""
        return WorkContext(cache=self.folder / "cache", emit=self.events.append)

    @property
    def tree(self) -> Path:
        """The base's files."""
        return self.folder / "tree"

    @property
    def layer(self) -> Path:
        """What the machine changed."""
        return self.folder / "layer"

    @property
    def notices(self) -> list[str]:
        """What the user was told."""
        return [event.message for event in self.events if isinstance(event, Notice)]

    def make_disk(self, tree: Path, out: Path, work: WorkContext, **options: Any) -> None:
        """Stand in for `build.make_disk`."""
        del work
        self.made.append({"tree": tree, **options})
        out.write_bytes(b"a raw disk")

    def extract(self, raw: Path, to: Path, *_: object) -> None:
        """Stand in for `ext4_metadata.extract`."""
        assert raw.read_bytes() == b"a raw disk"
        to.write_bytes(bytes(8192))

    def write_layers(self, words: list[str]) -> bytes:
        """Stand in for the program that mounts."""
        assert words[-3:] == ["-P", "-m", "bakery.drivers.nspawn.layer_writer"]
        order = json.loads(Path(self.tools.options[-1]["stdin"]).read_text())
        self.orders.append(order)
        Path(order["disk"]).write_bytes(bytes(4096) + b"x" * 4096)
        return json.dumps(list(self.lost)).encode()

    def join(self, image: Path, delta: Path, to: Path, work: WorkContext) -> str:
        """Stand in for `qcow2_splice.join`."""
        del work
        self.joined.append((image.name, delta.name))
        to.write_bytes(b"joined")
        return hashlib.sha256(b"joined").hexdigest()

    def write(self, form: qemuimg.Format = "qcow2", **options: Any) -> tuple[bytes, str]:
        """Capture the machine: the file, and its digest."""
        to = self.folder / "image"
        digest = capture.write(
            to,
            format=form,
            layers=[self.layer],
            tree=self.tree,
            layout=LAYOUT,
            folder=self.folder,
            work=self.work,
            **options,
        )
        return to.read_bytes(), digest


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Root on a host that can mount a disk."""
    tools = FakeTools.install(monkeypatch, build, base_template, ext4_metadata)
    made = Host(tmp_path, tools)
    for name, kernel in (("tree", "6.1.0-1"), ("layer", "")):
        (tmp_path / name / "boot").mkdir(parents=True)
        if kernel:
            (tmp_path / name / f"boot/vmlinuz-{kernel}").touch()
            (tmp_path / name / f"boot/initrd.img-{kernel}").touch()
    (tmp_path / "mnt").mkdir()
    for module in (build, base_template):
        monkeypatch.setattr(module, "root", lambda: ())
    monkeypatch.setattr(base_template, "alone", lambda: ("unshare",))
    monkeypatch.setattr(base_template, "unusable", lambda *_: "")
    monkeypatch.setattr(base_template, "POINTS", (tmp_path / "mnt",))
    monkeypatch.setattr(build, "make_disk", made.make_disk)
    monkeypatch.setattr(ext4_metadata, "extract", made.extract)
    monkeypatch.setattr(ext4_metadata, "free_blocks_now", lambda *_: [])
    monkeypatch.setattr(base_template, "join", made.join)

    @contextmanager
    def merged(layers: Sequence[Path], *_: object) -> Generator[Path]:
        both = tmp_path / "both"
        for layer in reversed(layers):
            shutil.copytree(layer, both, dirs_exist_ok=True)
        yield both
        shutil.rmtree(both)

    for module in (base_template, capture):
        monkeypatch.setattr(module, "merged", merged)
    tools.answer("dumpe2fs *", "Group 0:\n  Free blocks: 1-1\n").answer("unshare *", made.write_layers)
    tools.answer("rm *", lambda words: shutil.rmtree(words[-1], ignore_errors=True))
    return made


def test_the_base_s_disk_is_made_once_and_each_machine_s_changes_are_joined_to_it(host: Host) -> None:
    data, digest = host.write()
    assert (data, digest) == (b"joined", hashlib.sha256(b"joined").hexdigest())
    host.write()
    assert [made["tree"] for made in host.made] == [host.tree]
    assert host.joined == [("image.qcow2", "delta.qcow2")] * 2


def test_layers_are_written_the_lowest_first_by_a_program_that_is_told_all_it_needs(host: Host) -> None:
    lower = host.folder / "lower"
    lower.mkdir()
    base_template.write(
        host.folder / "image",
        layers=[host.layer, lower],
        tree=host.tree,
        layout=LAYOUT,
        folder=host.folder,
        work=host.work,
    )
    (order,) = host.orders
    assert order["layers"] == [str(lower), str(host.layer)]
    assert order["point"] == str(host.folder / "mnt")
    assert order["disk"] == str(host.folder / "root.raw")
    (options,) = [one for one in host.tools.options if "stdin" in one]
    assert options["env"]["PYTHONPATH"].split(os.pathsep)[0] == str(base_template.PACKAGE)
    assert "1024 MiB; is it large enough?" in options["hint"]
    assert sys.executable in next(line for line in host.tools.lines if "layer_writer" in line)


def test_no_scratch_file_stays_not_even_after_a_failure(host: Host) -> None:
    host.write()
    host.tools.answer("unshare *", DriverError("no space"))
    with pytest.raises(DriverError, match="no space"):
        base_template.write(
            host.folder / "other", layers=[], tree=host.tree, layout=LAYOUT, folder=host.folder, work=host.work
        )
    assert {path.name for path in host.folder.iterdir()} == {"tree", "layer", "mnt", "cache", "image"}


def test_a_menu_and_an_fstab_that_stay_as_they_are_are_not_written(host: Host) -> None:
    host.write()
    assert host.orders[-1]["files"] == {}
    (host.layer / "boot/vmlinuz-6.2.0-1").touch()
    (host.layer / "boot/initrd.img-6.2.0-1").touch()
    host.write()
    assert list(host.orders[-1]["files"]) == ["boot/grub/grub.cfg"]
    assert "6.2.0-1" in host.orders[-1]["files"]["boot/grub/grub.cfg"]


def test_one_that_the_machine_wrote_itself_is_put_right(host: Host) -> None:
    (host.layer / "etc").mkdir()
    (host.layer / "etc/fstab").write_text("")
    host.write()
    assert list(host.orders[-1]["files"]) == ["etc/fstab"]


def test_attributes_that_cannot_be_written_are_named(host: Host) -> None:
    host.lost = ["i /etc/motd"]
    host.write()
    assert host.notices == ["file attributes are not in the image: i /etc/motd"]


def test_another_compression_than_the_base_s_is_made_of_the_whole(host: Host) -> None:
    data, digest = host.write(compression="zlib")
    assert data.startswith(b"QFI\xfb")
    assert digest == hashlib.sha256(data).hexdigest()
    assert host.joined == []
    assert not (host.folder / "overlay.qcow2").exists()


def test_where_the_quick_way_fails_the_disk_is_made_from_the_start_and_the_user_hears_why(host: Host) -> None:
    host.tools.answer("unshare *", DriverError("the mount failed", why="busy"))
    data, digest = host.write()
    assert host.notices == ["the disk is made from the start, which takes longer: the mount failed"]
    assert data.startswith(b"QFI\xfb")
    assert digest == hashlib.sha256(data).hexdigest()
    assert [made["tree"].name for made in host.made] == ["tree", "both"]
    assert not (host.folder / "disk.raw").exists()


def test_a_raw_disk_is_the_base_s_with_what_changed(host: Host) -> None:
    data, digest = host.write("raw")
    assert digest == hashlib.sha256(data).hexdigest()
    assert data[LAYOUT.root.start + 4096 :].startswith(b"x" * 4096)
    (made,) = host.made
    assert made["tree"] == host.tree
    assert (made["size"], made["identity"]) == (LAYOUT.size, LAYOUT.identity)


def test_a_raw_disk_is_made_from_the_start_where_that_is_impossible(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_template, "unusable", lambda *_: "the boot loader was changed")
    data, _ = host.write("raw")
    assert data == b"a raw disk"
    assert [made["tree"].name for made in host.made] == ["both"]


# ---- the base's disk in the cache ------------------------------------------------------------------------------------


def template(host: Host) -> Template:
    return prepare(host.tree, LAYOUT, host.work)


def test_its_free_blocks_are_kept_beside_it(host: Host) -> None:
    assert template(host).free == [range(1, 2)]
    assert sorted(path.name for path in template(host).folder.iterdir()) == [
        "free.json",
        "image.qcow2",
        "metadata.raw",
    ]


def test_another_tree_or_another_size_has_another_disk(host: Host) -> None:
    first = template(host)
    assert prepare(host.tree, layout_of("0123", 2 << 30), host.work).folder != first.folder
    os.utime(host.tree, (1, 1))
    assert template(host).folder != first.folder


def test_one_whose_making_was_killed_is_made_anew_and_one_that_fails_leaves_nothing(host: Host) -> None:
    folder = template(host).folder
    shutil.rmtree(folder)
    (folder.parent / base_template.NEW).mkdir()
    (folder.parent / base_template.NEW / "half").touch()
    assert not (template(host).folder / "half").exists()
    shutil.rmtree(folder)
    host.tools.answer("dumpe2fs *", DriverError("it has errors"))
    with pytest.raises(DriverError, match="it has errors"):
        template(host)
    assert [path.name for path in folder.parent.iterdir() if path.name != "lock"] == []


# ---- this host -------------------------------------------------------------------------------------------------------


def test_the_kernel_s_own_word_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.1.0-18-amd64"))
    assert base_template._kernel() == (6, 1)
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    monkeypatch.setattr(Path, "read_text", lambda _: f"1 1 0:1 / /a rw - ext4 x rw\n2 1 {number} / /b rw - 9p x rw\n")
    assert base_template._file_system(tmp_path) == "9p"
    monkeypatch.setattr(Path, "read_text", lambda _: "")
    assert base_template._file_system(tmp_path) == ""


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"alone": lambda: ()}, "a disk cannot be mounted here"),
        ({"LOOP": Path("/nowhere")}, "a disk cannot be mounted here"),
        ({"missing": lambda _: iter([Problem(what="e2image is not installed")])}, "e2image is not installed"),
    ],
)
def test_a_host_that_cannot_mount_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patch: Mapping[str, Any], words: str
) -> None:
    defaults: dict[str, Any] = {"root": lambda: (), "alone": lambda: ("unshare",), "LOOP": Path("/")}
    for name, value in {**defaults, **patch}.items():
        monkeypatch.setattr(base_template, name, value)
    assert words in base_template.unusable([], tmp_path)


def test_qemu_img_is_told_the_compression(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    convert = qemuimg.convert

    def noting(*words: Any, **options: Any) -> None:
        given.append(options["compression"])
        convert(*words, **options)

    monkeypatch.setattr(base_template, "unusable", lambda *_: "not today")
    monkeypatch.setattr(qemuimg, "convert", noting)
    host.write(compression="zlib")
    assert given == ["zlib"]


# ---- made ahead -----------------------------------------------------------------------------------------------------


def test_a_disk_that_was_made_ahead_is_the_one_that_a_capture_takes(host: Host) -> None:
    ahead = template_ahead.begin(host.tree, LAYOUT, host.folder, host.work)
    assert ahead is not None
    host.write()
    assert [made["tree"] for made in host.made] == [host.tree]
    assert template_ahead.begin(host.tree, LAYOUT, host.folder, host.work) is None
    ahead.stop()


def test_none_is_made_ahead_where_a_capture_has_no_use_for_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_template, "unusable", lambda *_: "only root can mount a disk")
    assert template_ahead.begin(host.tree, LAYOUT, host.folder, host.work) is None
    assert host.made == []


def test_it_ends_with_its_machine_and_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(tree: Path, out: Path, work: WorkContext, **_: Any) -> None:
        del tree
        out.touch()
        begun.set()
        while True:
            work.cancel.sleep(0.01)

    monkeypatch.setattr(build, "make_disk", endless)
    ahead = template_ahead.begin(host.tree, LAYOUT, host.folder, host.work)
    assert ahead is not None
    assert begun.wait(10)
    ahead.stop()
    place = base_template.place(host.tree, LAYOUT, host.work).folder.parent
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_what_goes_wrong_ahead_is_told_by_the_capture(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise DriverError("mke2fs is not installed")

    monkeypatch.setattr(build, "make_disk", broken)
    ahead = template_ahead.begin(host.tree, LAYOUT, host.folder, host.work)
    assert ahead is not None
    ahead.stop()
    assert host.events == []
    with pytest.raises(DriverError, match="mke2fs is not installed"):
        base_template.prepare(host.tree, LAYOUT, host.work)
