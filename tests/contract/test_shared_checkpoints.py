"""Checkpoints that two hosts share: in a folder, in a bucket of moto's, and at a real SFTP server."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.cache.checkpoints.lease import Lease
from bakery.cache.checkpoints.store import Store
from bakery.cache.shared.checkpoints import SharedCheckpoints
from bakery.cache.shared.place import SharedPlace
from bakery.cli.app import run
from bakery.errors import DriverError, Interrupted, UsageError
from bakery.model import Checkpoint
from bakery.state.ssh_keys import make_keys
from bakery.testing.aws import aws
from bakery.testing.sshd import start_sshd
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and sshd need root")
FIRST = "base-0"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with aws(tmp_path_factory.mktemp("aws")) as cloud:
        cloud.client("s3").create_bucket(Bucket="bakery")
        yield cloud


@pytest.fixture(params=["file", "s3", "sftp"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}/shared"
    elif request.param == "s3":
        cloud = request.getfixturevalue("bucket")
        for name, value in {**cloud.environment, "AWS_ENDPOINT_URL": cloud.url}.items():
            monkeypatch.setenv(name, value)
        yield f"s3://bakery/{tmp_path.name}"
    else:
        keys = make_keys("shared")
        server = start_sshd(tmp_path / "sshd", keys)
        home = tmp_path / "home"
        (home / ".ssh").mkdir(parents=True)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        (home / ".ssh/id_ed25519").write_text(keys.user_private)
        (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{server.port} {keys.host_public}\n")
        try:
            yield f"sftp://root@127.0.0.1:{server.port}{tmp_path}/shared"
        finally:
            server.stop()


class Host:
    """A host: a cache, and what it shares."""

    def __init__(self, folder: Path, url: str) -> None:
        self.cancel = Cancel()
        self.store = Store(WorkContext(cache=folder, cancel=self.cancel))
        self.place = SharedPlace(url)
        self.shared = SharedCheckpoints(self.place, self.store, "web@here", threading.Lock())
        self.read: list[str] = []
        self.written: list[str] = []
        read, write = self.place.read, self.place.write

        def counted_read(name: str) -> bytes | None:
            self.read.append(name)
            return read(name)

        def counted_write(name: str, data: bytes) -> None:
            self.written.append(name)
            write(name, data)

        self.place.read, self.place.write = counted_read, counted_write  # type: ignore[method-assign]

    def parts(self, names: list[str]) -> int:
        return sum(name.startswith("parts/") for name in names)


def base_in(cache: Path) -> Path:
    """Make a base as it is in a cache: a tree with owners, links, a device, an attribute and a hole."""
    tree = cache / "bases/debian/1/tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/motd").write_text("welcome\n")
    os.link(tree / "etc/motd", tree / "etc/issue")
    (tree / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    os.mknod(tree / "gone", stat.S_IFCHR, 0)
    os.chown(tree / "etc/motd", 42, 43)
    (tree / "etc/motd").chmod(0o4751)
    os.setxattr(tree / "etc/motd", "user.note", b"kept")
    with (tree / "disk.raw").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(os.urandom(1 << 20))
    (tree / "random").write_bytes(os.urandom(20 << 20))
    return tree


def make(host: Host, lease: Lease, key: str, tree: Path, text: str, *, below: str = "") -> None:
    place = lease.make(key, {"build": "web@here"})
    assert place is not None
    (place.folder / "layer").mkdir()
    (place.folder / "layer/said").write_text(text)
    settings: dict[str, Any] = {"tree": str(tree), "machine": {"accel": "auto"}}
    settings |= {"below": str(host.store.folder / below / "layer")} if below else {}
    place.keep(Checkpoint(driver="nspawn", key=key, folder=place.folder, settings=settings))


def seen(folder: Path) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        link = str(path.readlink()) if path.is_symlink() else ""
        named = os.listxattr(path, follow_symlinks=False)
        found[str(path.relative_to(folder))] = (
            *(info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink * stat.S_ISREG(info.st_mode)),
            *(content, link, named),
        )
    return found


def test_a_checkpoint_comes_whole_to_another_host_with_what_it_stands_on(url: str, tmp_path: Path) -> None:
    one, two = Host(tmp_path / "one", url), Host(tmp_path / "two", url)
    tree = base_in(tmp_path / "one")
    with Lease(one.store) as lease:
        make(one, lease, "s1-a", tree, "first")
        make(one, lease, "s1-b", tree, "second", below="s1-a")
        one.shared.send("s1-b", FIRST, "a note")
        sent = one.parts(one.written)
        one.shared.send("s1-b", FIRST, "a note")
        assert one.parts(one.written) == sent  # nothing travels twice
    assert two.shared.notes(FIRST) == ("a note",)
    assert two.shared.notes("base-1") == ()
    with Lease(two.store) as lease:
        assert two.shared.fetch("s1-c", lease) is None
        fetched = two.shared.fetch("s1-b", lease)
        assert fetched is not None
        assert fetched.folder == tmp_path / "two/steps/s1-b"
        assert fetched.settings["below"] == f"{tmp_path}/two/steps/s1-a/layer"
        assert (fetched.folder / "layer/said").read_text() == "second"
        assert seen(Path(fetched.settings["tree"])) == seen(tree)
        assert (Path(fetched.settings["tree"]) / "disk.raw").stat().st_blocks * 512 < 8 << 20
        before = two.parts(two.read)
        assert two.shared.fetch("s1-a", lease) == lease.get("s1-a")
        assert two.parts(two.read) == before
        make(two, lease, "s1-d", Path(fetched.settings["tree"]), "third", below="s1-b")
        two.shared.send("s1-d", FIRST, "another")  # it stands on what came from there
        assert two.parts(two.written) == 1
    with Lease(one.store) as lease:
        back = one.shared.fetch("s1-d", lease)
        assert back is not None
        assert back.settings["below"] == f"{tmp_path}/one/steps/s1-b/layer"
        assert seen(Path(back.settings["tree"])) == seen(tree)


def test_a_transfer_that_broke_off_goes_on_where_it_was(url: str, tmp_path: Path) -> None:
    one, two = Host(tmp_path / "one", url), Host(tmp_path / "two", url)
    with Lease(one.store) as lease:
        make(one, lease, "s1-a", base_in(tmp_path / "one"), "first")
        write = one.place.write

        def breaking(name: str, data: bytes) -> None:
            write(name, data)
            if one.parts(one.written) == 1:
                one.cancel.set("interrupted")

        one.place.write = breaking  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            one.shared.send("s1-a", FIRST, "")
        again = Host(tmp_path / "one", url)
        again.shared.send("s1-a", FIRST, "")
        total = one.parts(one.written) + again.parts(again.written)
    read = two.place.read

    def breaking_read(name: str) -> bytes | None:
        if two.parts(two.read) == 1:
            two.cancel.set("interrupted")
        return read(name)

    two.place.read = breaking_read  # type: ignore[method-assign]
    with Lease(two.store) as lease, pytest.raises(Interrupted):
        two.shared.fetch("s1-a", lease)
    then = Host(tmp_path / "two", url)
    with Lease(then.store) as lease:
        assert then.shared.fetch("s1-a", lease) is not None
    assert two.parts(two.read) + then.parts(then.read) == total


def test_a_part_that_is_damaged_or_gone_is_never_used_and_sent_again(url: str, tmp_path: Path) -> None:
    one, two = Host(tmp_path / "one", url), Host(tmp_path / "two", url)
    with Lease(one.store) as lease:
        make(one, lease, "s1-a", base_in(tmp_path / "one"), "first")
        one.shared.send("s1-a", FIRST, "")
        for spoil in ("damage", "delete"):
            part = one.shared.place.read("checkpoints/s1-a.json")
            assert part is not None
            name = next(name for name in one.written if name.startswith("parts/"))
            one.place.write(name, b"another") if spoil == "damage" else one.place.delete(name)
            with Lease(two.store) as other, pytest.raises(DriverError, match="a part of a checkpoint is"):
                two.shared.fetch("s1-a", other)
            assert not (tmp_path / "two/steps/s1-a").exists()
            one.written.clear()
            one.shared.send("s1-a", FIRST, "")
            assert one.parts(one.written) == 1
    with Lease(two.store) as other:
        assert two.shared.fetch("s1-a", other) is not None


def test_an_sftp_server_that_ssh_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make_keys("shared")
    server = start_sshd(tmp_path / "sshd", keys)
    (tmp_path / "home/.ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.ssh/id_ed25519").write_text(keys.user_private)
    try:
        with pytest.raises(DriverError, match="is not in known_hosts"):
            SharedPlace(f"sftp://root@127.0.0.1:{server.port}/srv")
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["/srv/bakery", "file://host/srv", "http://host/x", "sftp://me:word@host/srv"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="BAKERY_STORE"):
        SharedPlace(address)


def test_a_worker_does_not_start_with_an_address_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAKERY_STORE", "/srv/bakery")
    assert run(["worker", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "BAKERY_STORE=/srv/bakery is no address of a store" in capsys.readouterr().err
