"""An inspection as a whole: an image whose partitions, files and bytes are known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bakery.disk.inspect import Finding, Hygiene, inspect, missing_tools, mounted, tools
from bakery.disk.inspect import ext4_reader as reader
from bakery.disk.inspect import volumes as reading
from bakery.disk.inspect.ext4_reader import DirectoryEntry, Ext4
from bakery.disk.inspect.tree import fstab, means
from bakery.disk.inspect.volumes import DiskVolume, raw_disk, volumes
from bakery.errors import DriverError, PreflightError
from bakery.events import Event, Progress, Waiting
from bakery.util import tools as programs
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel
from tests.unit.disk.inspect.debugfs import BLOCK, Debugfs

SECTOR = 512
ROOT = 2048 * SECTOR
HOME = 6144 * SECTOR
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" * 5 + b"\n"


class Image:
    """A raw image of two partitions: the root, and one for /home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root, self.home = Debugfs(ROOT), Debugfs(HOME)
        self.kinds: dict[int, Mapping[str, str]] = {
            ROOT: {"TYPE": "ext4", "UUID": "aaaa-1111"},
            HOME: {"TYPE": "ext4", "LABEL": "home"},
        }
        self.has_table = True
        self.ran: list[str] = []
        with path.open("wb") as file:
            file.truncate(16 << 20)
        for name, text in {"passwd": "root:x:0:0::/root:/bin/sh\nann:x:1:1::/home/ann:/bin/sh\n", "fstab": ""}.items():
            self.root.add(f"/etc/{name}", text)
        self.root.nodes["/etc/fstab"].text = "UUID=AAAA-1111 / ext4 defaults 0 1\nLABEL=home /home ext4 defaults 0 2\n"

    def put(self, at: int, data: bytes) -> None:
        """Write bytes onto the disk."""
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def run(self, words: Sequence[str], cancel: Cancel, *, text: str = "", accept: tuple[int, ...] = (0,)) -> str:
        """Answer as the tools do."""
        del cancel, accept
        self.ran.append(words[0])
        match words[0]:
            case "debugfs":
                return next(f for f in (self.root, self.home) if words[-1].endswith(f"={f.start}")).run(words, text)
            case "sfdisk":
                return self._table() if self.has_table else ""
            case "blkid":
                seen = self.kinds.get(int(words[words.index("--offset") + 1]), {})
                return "".join(f"{name}={value}\n" for name, value in seen.items())
            case "qemu-img":
                shutil.copyfile(words[-2], words[-1])
                return ""
        raise AssertionError(f"nobody foresaw {words}")

    def _table(self) -> str:
        parts = [
            {"node": f"{self.disk}{number}", "start": start // SECTOR, "size": 4096, "uuid": f"PART-{number}"}
            for number, start in ((1, ROOT), (15, HOME))
        ]
        return json.dumps({"partitiontable": {"label": "gpt", "sectorsize": SECTOR, "partitions": parts}})

    @property
    def disk(self) -> Path:
        return self.path


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    image = Image(tmp_path / "disk.raw")
    for module in (reader, reading):
        monkeypatch.setattr(module, "run", image.run)
    monkeypatch.setattr("bakery.disk.inspect.grep.find", lambda _: None)  # Python searches by itself then
    return image


def look(image: Image, *secrets: tuple[str, bytes], options: Hygiene | None = None) -> list[tuple[str, str, str]]:
    found = inspect(image.path, "raw", secrets, options or Hygiene(), WorkContext(cache=Path()))
    return [(finding.kind, finding.path, finding.detail) for finding in found]


def test_a_clean_image_has_nothing(image: Image) -> None:
    assert look(image, ("pw", b"hunter22")) == []


def test_a_secret_is_found_in_the_file_that_holds_it_as_the_running_system_calls_it(image: Image) -> None:
    image.root.add("/etc/app.conf", at=range(100, 102))
    image.home.add("/ann/notes", at=range(50, 51))
    image.put(ROOT + 101 * BLOCK + 17, b"password=hunter22 and again hunter22")
    image.put(HOME + 50 * BLOCK, b"hunter22")
    assert look(image, ("pw", b"hunter22")) == [
        ("secret", "/etc/app.conf", "holds the secret pw, 2 times"),
        ("secret", "/home/ann/notes", "holds the secret pw, once"),
    ]


def test_a_secret_in_no_file_says_where_it_is(image: Image) -> None:
    image.put(ROOT + 300 * BLOCK, b"hunter22")
    image.put(ROOT + 1 * BLOCK, b"hunter22")
    image.put(100, b"hunter22")
    image.put(HOME + 4096 * SECTOR + 1, b"hunter22")
    assert look(image, ("", b"hunter22")) == [
        ("secret", "free space or metadata of partition 1", "holds the secret (unnamed), 2 times"),
        ("secret", "outside of all partitions", "holds the secret (unnamed), 2 times"),
    ]


def test_a_file_without_a_name_still_holds_it(image: Image) -> None:
    number = image.root.add("\0open when the machine died", at=range(100, 101)).inode
    image.put(ROOT + 100 * BLOCK, b"hunter22")
    (finding,) = look(image, ("pw", b"hunter22"))
    assert finding[1] == f"a file without a name (inode {number})"


def test_a_private_key_is_one_only_where_a_key_follows_the_mark(image: Image) -> None:
    image.root.add("/root/id", at=range(100, 101))
    image.root.add("/usr/bin/ssh", at=range(110, 111))
    image.root.add("/usr/share/doc/example.pem", at=range(120, 121))
    image.put(ROOT + 100 * BLOCK, KEY)
    image.put(ROOT + 110 * BLOCK, b"-----BEGIN OPENSSH PRIVATE KEY-----\0-----END")
    image.put(ROOT + 120 * BLOCK, KEY)
    assert look(image) == [("private-key", "/root/id", "holds a private key, once")]


def test_what_is_wrong_with_files_is_found_with_what_is_in_them(image: Image) -> None:
    image.root.add("/etc/machine-id", "0123\n")
    image.root.add("/root/.bash_history", "rm -rf /\n")
    image.home.add("/ann/.ssh/authorized_keys", "ssh-ed25519 AAAAC3 ann@laptop\n", 0o100600)
    found = look(image)
    assert [(kind, path) for kind, path, _ in found] == [
        ("authorized-keys", "/home/ann/.ssh/authorized_keys"),
        ("history", "/root/.bash_history"),
        ("machine-id", "/etc/machine-id"),
    ]
    wanted = Hygiene(off=frozenset({"history"}), allow=("/home/*/.ssh/*",))
    assert [kind for kind, *_ in look(image, options=wanted)] == ["machine-id"]


@pytest.mark.parametrize(("kind", "is_named"), [("xfs", True), ("LVM2_member", True), ("vfat", False), ("", False)])
def test_what_cannot_be_read_is_said_and_searched_all_the_same(
    image: Image, kind: str, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted, "possible", lambda: False)
    image.kinds[HOME] = {"TYPE": kind}
    image.put(HOME + 7, b"hunter22")
    found = look(image, ("pw", b"hunter22"))
    assert [path for k, path, _ in found if k == "not-inspected"] == (["partition 15"] if is_named else [])
    assert ("secret", "partition 15", "holds the secret pw, once") in found


def test_a_disk_without_a_system_on_it_is_said_to_have_none(image: Image) -> None:
    image.root.nodes = {"/": image.root.nodes["/"]}
    image.kinds[HOME] = {}
    assert look(image) == [
        ("not-inspected", "the disk", "there is no root file system that could be looked into"),
    ]


def test_a_disk_without_partitions_is_one_volume(image: Image) -> None:
    image.has_table = False
    (volume,) = volumes(image.path, WorkContext(cache=Path()))
    assert (volume.number, volume.start, volume.size, volume.name) == (0, 0, 16 << 20, "the disk")


def test_partitions_are_read_with_what_is_in_them(image: Image) -> None:
    first, second = volumes(image.path, WorkContext(cache=Path()))
    assert first == DiskVolume(
        number=1, start=ROOT, size=4096 * SECTOR, kind="ext4", uuid="aaaa-1111", part_uuid="part-1"
    )
    assert (second.number, second.label) == (15, "home")


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_only_a_packed_image_is_unpacked_and_for_no_longer_than_needed(image: Image, form: str) -> None:
    events: list[Event] = []
    with raw_disk(image.path, form, None, WorkContext(cache=Path(), emit=events.append)) as raw:
        assert (raw == image.path) is (form == "raw")
        assert raw.stat().st_size == 16 << 20
    assert image.path.exists()
    assert [path.name for path in image.path.parent.iterdir()] == ["disk.raw"]
    assert len([event for event in events if isinstance(event, Waiting)]) == (0 if form == "raw" else 1)


def test_the_search_says_how_far_it_is(image: Image) -> None:
    events: list[Event] = []
    image.put(0, b"x")
    inspect(image.path, "raw", [("pw", b"hunter22")], Hygiene(), WorkContext(cache=Path(), emit=events.append))
    assert any(isinstance(event, Progress) for event in events)


def test_findings_are_sorted_and_told_in_one_line(image: Image) -> None:
    image.root.add("/etc/machine-id", "0123\n")
    (finding,) = inspect(image.path, "raw", [], Hygiene(), WorkContext(cache=Path()))
    assert str(finding) == "/etc/machine-id: all machines of this image would have this machine-id (machine-id)"
    assert finding.fatal
    assert not Finding("swap", "/swapfile", "big").fatal


# ---- the reader -------------------------------------------------------------------------------------------------


@pytest.fixture
def system(image: Image) -> Ext4:
    return Ext4(image.path, DiskVolume(number=1, start=ROOT, size=4096 * SECTOR, kind="ext4"), Cancel())


def test_a_tree_is_walked_folder_by_folder_and_whatever_the_names(system: Ext4, image: Image) -> None:
    for name in ("a b", 'quote"d', "ümlaut", "slash\\"):
        image.root.add(f"/srv/{name}/file", "x", uid=7)
    found = {entry.path: entry for entry in system.walk("/srv")}
    assert sorted(found) == sorted(
        [f"/srv/{name}{end}" for name in ("a b", 'quote"d', "ümlaut", "slash\\") for end in ("", "/file")]
    )
    assert (found["/srv/a b/file"].uid, found["/srv/a b/file"].is_file, found["/srv/a b"].is_folder) == (7, True, True)
    assert len(image.root.scripts) == 2, "one debugfs a level"


def test_folders_that_are_not_there_are_empty(system: Ext4) -> None:
    assert system.entries("/none", 'a"b', "/none\n") == ()
    assert [entry.name for entry in system.entries("/none", "/etc")] == ["passwd", "fstab"]
    assert system.walk("/none") == ()


def test_the_root_folder_is_an_entry_of_its_own(system: Ext4) -> None:
    assert system.top() == DirectoryEntry("/.", 2, 0o40755, 0)


def test_flags_are_read_by_number(system: Ext4, image: Image) -> None:
    image.root.add("/x").flags = 0x80010
    assert system.flags([image.root.nodes["/x"].inode, 2]) == (0x80010, 0x80000)
    assert system.flags([]) == ()


def test_content_is_read_by_number(system: Ext4) -> None:
    (passwd, _) = system.entries("/etc")
    assert system.read(passwd).startswith("root:x:0:0")


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("/12/100644/0/0/name/5/", DirectoryEntry("/f/name", 12, 0o100644, 5)),
        ("/12/040755/33/34/a b//", DirectoryEntry("/f/a b", 12, 0o40755, 0, 33, 34)),
        ("/12/100644/0/0/sla/sh/5/", DirectoryEntry("/f/sla/sh", 12, 0o100644, 5)),
        ("/12/100644///name//", DirectoryEntry("/f/name", 12, 0o100644, 0)),
        ("/0/100644/0/0/gone/5/", None),
        ("/2/040755/0/0/.//", None),
        ("File not found by ext2_lookup", None),
    ],
)
def test_a_line_of_debugfs_is_read(line: str, entry: DirectoryEntry | None) -> None:
    assert list(reader._entries("/f", line)) == ([entry] if entry else [])


# ---- fstab ------------------------------------------------------------------------------------------------------


def test_an_fstab_names_devices_and_their_folders() -> None:
    text = "# comment\n\nUUID=1 / ext4 rw 0 1\n/dev/sdb none swap sw\nLABEL=x /srv\nshort\n #UUID=2 /x\n"
    assert list(fstab(text)) == [("UUID=1", "/"), ("LABEL=x", "/srv")]


@pytest.mark.parametrize(
    ("spec", "is_it"),
    [
        ("UUID=abcd", True),
        ('UUID="ABCD"', True),
        ("LABEL=Root", True),
        ("PARTUUID=42", True),
        ("UUID=", False),
        ("UUID=42", False),
        ("/dev/vda1", False),
        ("TYPE=ext4", False),
    ],
)
def test_a_device_of_an_fstab_is_a_volume_or_not(spec: str, is_it: bool) -> None:
    volume = DiskVolume(number=1, start=0, size=1, kind="ext4", uuid="abcd", label="root", part_uuid="42")
    assert means(spec, volume) is is_it


# ---- the tools --------------------------------------------------------------------------------------------------


def test_tools_of_administrators_count_and_missing_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def which(tool: str, path: str) -> str | None:
        asked.append(path)
        return None if tool in ("debugfs", "qemu-img") else f"/sbin/{tool}"

    monkeypatch.setattr(shutil, "which", which)
    assert missing_tools() == ("qemu-utils", "e2fsprogs")
    assert missing_tools("raw") == ("e2fsprogs",)
    assert all(path.endswith(":/usr/local/sbin:/usr/sbin:/sbin") for path in asked)
    with pytest.raises(PreflightError, match="debugfs is missing") as raised:
        tools.run(["debugfs"], Cancel())
    assert raised.value.hint == "apt-get install e2fsprogs"


def test_a_tool_gets_its_input_and_its_output_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of one that fails is shown in tests/contract/test_programs.py, with real ones."""
    monkeypatch.setattr(tools, "find", lambda tool: f"/sbin/{tool}")
    given: dict[str, object] = {}
    cancel = Cancel()

    def run(words: list[str], work: WorkContext, **options: object) -> bytes:
        given.update(options, words=words, cancel=work.cancel)
        return b"out \xff"

    monkeypatch.setattr(programs, "run", run)
    assert tools.run(["blkid", "x"], cancel, text="ä", accept=(0, 2)) == "out \ufffd"
    assert (given["words"], given["stdin"], given["accept"]) == (["blkid", "x"], "ä".encode(), (0, 2))
    assert given["cancel"] is cancel
    assert given["what"] == "reading the image with blkid"


def test_a_tool_that_fails_fails_the_inspection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda tool: f"/sbin/{tool}")

    def run(words: list[str], work: WorkContext, *, what: str, **options: object) -> bytes:
        raise DriverError(f"{what} failed", why="bad magic")

    monkeypatch.setattr(programs, "run", run)
    with pytest.raises(DriverError, match="reading the image with blkid failed"):
        tools.run(["blkid", "x"], Cancel())
