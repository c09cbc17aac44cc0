"""The ground floor's smaller rooms: large files, locks, what is a host's fault, what is said, who watches."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
import time
from errno import EACCES, EDQUOT, EFBIG, EINVAL, EIO, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.errors import DriverError, ImagefileError, Interrupted, PreflightError
from bakery.events import Event, Notice, Output, Progress, Waiting
from bakery.util import durations, host_errors, observer, sparse_files
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.waiting import Cancel

MIB = 1 << 20


@pytest.fixture
def told() -> list[Event]:
    """What was said."""
    return []


@pytest.fixture
def work(tmp_path: Path, told: list[Event]) -> WorkContext:
    """What code that makes files is handed."""
    return WorkContext(cache=tmp_path / "cache", emit=told.append, build="web@box")


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_whoever_makes_files_says_what_goes_on(work: WorkContext, told: list[Event]) -> None:
    work.waiting("the lock", 3.0)
    work.progress("copying", 1, 4)
    work.notice("no KVM", hint="usermod", warning=True)
    work.notice("cached")
    work.output("text", "stderr")
    assert [(type(event), event.build) for event in told] == [
        (kind, "web@box") for kind in (Waiting, Progress, Notice, Notice, Output)
    ]
    waiting, progress, warning, info, output = told
    assert isinstance(waiting, Waiting)
    assert isinstance(progress, Progress)
    assert isinstance(warning, Notice)
    assert isinstance(info, Notice)
    assert isinstance(output, Output)
    assert (waiting.what, waiting.seconds) == ("the lock", 3.0)
    assert (progress.what, progress.done, progress.total, progress.unit) == ("copying", 1, 4, "B")
    assert (warning.level, warning.message, warning.hint) == ("warning", "no KVM", "usermod")
    assert (info.level, info.message) == ("info", "cached")
    assert (output.text, output.stream) == ("text", "stderr")


class Watcher:
    """Writes down what a step is said to do."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def file(self, path: str | Path) -> None:
        self.seen.append(("file", str(path)))

    def blame(self, reason: str) -> None:
        self.seen.append(("blame", reason))

    def output(self, path: str | Path) -> None:
        self.seen.append(("output", str(path)))


def test_who_watches_a_step_hears_what_it_reads_and_writes() -> None:
    watcher = Watcher()
    token = observer.ACTIVE.set(watcher)
    try:
        observer.note_path("/a")
        observer.note_untraceable("a socket")
        with observer.untraced():
            observer.note_path("/ours")
            observer.note_output("/ours")
        observer.note_output("/b")
    finally:
        observer.ACTIVE.reset(token)
    observer.note_path("/afterwards")
    assert watcher.seen == [("file", "/a"), ("blame", "a socket"), ("output", "/b")]


# ---- a host's faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "what", "hint"),
    [
        (ENOSPC, "the disk is full: /images/x", "bake prune"),
        (EDQUOT, "the quota of disk space is used up: /images/x", "bake prune"),
        (EFBIG, "the file is too large", "bake prune"),
        (EROFS, "the file system cannot be written to", "BAKERY_CACHE_DIR"),
        (EACCES, "the folder cannot be written to", "BAKERY_CACHE_DIR"),
        (EPERM, "the folder cannot be written to", "BAKERY_CACHE_DIR"),
        (ENOTDIR, "a file is in its way", "BAKERY_CACHE_DIR"),
        (EIO, "the disk fails", "dmesg"),
    ],
)
def test_what_is_the_hosts_fault_is_said_to_be_that(number: int, what: str, hint: str) -> None:
    error = host_errors.trouble(OSError(number, os.strerror(number), "/images/x"))
    assert error is not None
    assert what in error.what
    assert hint in error.hint
    assert os.strerror(number) in error.why


def test_without_a_file_only_the_fault_is_named() -> None:
    error = host_errors.trouble(OSError(ENOSPC, "No space left on device"))
    assert error is not None
    assert error.what == "the disk is full"


@pytest.mark.parametrize(
    "error", [OSError(EINVAL, "x"), OSError(ENOENT, "x"), OSError("x"), ValueError(), KeyError(28)]
)
def test_what_is_no_hosts_fault_is_not_explained_away(error: Exception) -> None:
    assert host_errors.trouble(error) is None


def test_a_folder_of_the_run_that_somebody_removed_is_named(tmp_path: Path) -> None:
    gone = tmp_path / ".bakery"
    error = host_errors.trouble(FileNotFoundError(ENOENT, "No such file", str(gone / "runs/r/machines/.x")))
    assert error is not None
    assert error.what == f"{gone} was removed while the run used it"
    (gone / "runs").mkdir(parents=True)
    assert host_errors.trouble(FileNotFoundError(ENOENT, "No such file", str(gone / "runs/x"))) is None
    assert host_errors.trouble(FileNotFoundError(ENOENT, "No such file", str(tmp_path / "a/b"))) is None


@pytest.mark.parametrize(("free", "full"), [(0, True), (16 * MIB - 1, True), (16 * MIB, False), (1 << 40, False)])
def test_a_disk_without_room_for_anything_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert host_errors.no_space(tmp_path) == full


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100 * MIB}))
    sparse_files.must_fit(tmp_path, 100 * MIB)
    with pytest.raises(PreflightError, match="too full") as caught:
        sparse_files.must_fit(tmp_path, 300 * MIB)
    assert caught.value.why == "300 MiB are needed, 100 MiB are free"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(ENOSPC, "No space left on device"), PreflightError),
        (OSError(EDQUOT, "Disk quota exceeded"), PreflightError),
        (OSError(EIO, "Input/output error"), OSError),
        (DriverError("it failed"), DriverError),
        (KeyError("x"), KeyError),
    ],
)
def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path, error: Exception, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught, sparse_files.disk_space(tmp_path):
        raise error
    if raised is PreflightError:
        assert str(tmp_path) in str(caught.value)
        assert caught.value.__cause__ is error
    else:
        assert caught.value is error


# ---- large files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
def test_a_digest_is_that_of_the_content(tmp_path: Path, work: WorkContext, size: int, algorithm: str) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    expected = hashlib.new(algorithm, data[:size]).hexdigest()
    assert sparse_files.digest(tmp_path / "file", algorithm, work) == expected


def test_what_takes_long_says_how_far_it_is(
    tmp_path: Path, work: WorkContext, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    (tmp_path / "disk.raw").write_bytes(bytes(3 * MIB))
    sparse_files.digest(tmp_path / "disk.raw", "sha256", work)
    progress = [event for event in told if isinstance(event, Progress)]
    assert [(event.what, event.done, event.total) for event in progress] == [
        ("checking disk.raw", MIB * number, 3 * MIB) for number in (1, 2, 3)
    ]


parts = st.lists(st.sampled_from([bytes(16), b"\1" * 16, bytes(15) + b"\1", bytes(5), b"end"]), max_size=6)


@settings(max_examples=60)
@given(parts)
def test_a_copy_with_holes_is_the_same(parts: list[bytes]) -> None:
    data = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as target:
        patch.setattr(sparse_files, "CHUNK", 16)
        sparse_files.copy_sparse(io.BytesIO(data), target, WorkContext(cache=Path()), what="copying")
        target.seek(0)
        assert target.read() == data


def test_blocks_of_zeros_become_holes(tmp_path: Path, work: WorkContext) -> None:
    data = b"\1" * MIB + bytes(8 * MIB) + b"\1" * MIB + bytes(2 * MIB)
    with (tmp_path / "copy").open("wb") as file:
        sparse_files.copy_sparse(io.BytesIO(data), file, work, what="copying")
    status = (tmp_path / "copy").stat()
    assert (tmp_path / "copy").read_bytes() == data
    if status.st_blocks * 512 == status.st_size:
        pytest.skip("the file system knows no holes")
    assert status.st_blocks * 512 <= 3 * MIB


def test_a_cancelled_run_reads_no_further(tmp_path: Path, work: WorkContext) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    work.cancel.set("enough")
    with pytest.raises(Interrupted):
        sparse_files.digest(tmp_path / "file", "sha256", work)
    with pytest.raises(Interrupted):
        sparse_files.copy_sparse(io.BytesIO(b"x"), io.BytesIO(), work, what="copying")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "a web page, not an image"),
        (b"\n  <HTML>", "a web page, not an image"),
        (b'<?xml version="1.0"?><Error>', "a web page, not an image"),
        (b"QFI\xfb\0\0\0\3", ""),
        (bytes(512), ""),
    ],
)
def test_a_file_with_the_wrong_content_is_described(tmp_path: Path, data: bytes, hint: str) -> None:
    (tmp_path / "file").write_bytes(data)
    text = sparse_files.describe(tmp_path / "file")
    assert hint in text
    assert bool(text) == bool(hint)


# ---- locks ----------------------------------------------------------------------------------------------------------


def test_a_lock_is_made_with_its_folder_and_its_date_says_when_it_was_held(tmp_path: Path, work: WorkContext) -> None:
    path = tmp_path / "bases" / "disk" / "lock"
    with hold(path, what="another bake downloads it", work=work):
        os.utime(path, (1, 1))
    with hold(path, what="another bake downloads it", work=work):
        assert path.stat().st_mtime > 1e9


def test_who_waits_for_a_lock_says_what_the_other_one_does(
    tmp_path: Path, work: WorkContext, told: list[Event]
) -> None:
    path, held, go = tmp_path / "lock", threading.Event(), threading.Event()

    def other() -> None:
        with hold(path, what="", work=WorkContext(cache=tmp_path)):
            held.set()
            go.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)
    with (
        pytest.raises(PreflightError, match="the lock"),
        hold(path, what="another bake has it", work=work, timeout=0.01),
    ):
        pytest.fail("it is held by another thread")
    assert [event.what for event in told if isinstance(event, Waiting)] == ["another bake has it"]
    go.set()
    thread.join()
    with hold(path, what="another bake has it", work=work, timeout=5):
        pass


def test_an_error_under_a_lock_releases_it(tmp_path: Path, work: WorkContext) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "lock", what="", work=work):
        _ = 1 / 0
    with hold(tmp_path / "lock", what="", work=work, timeout=1):
        pass


def test_a_cancelled_run_waits_for_no_lock(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set("enough")
    with pytest.raises(Interrupted), hold(tmp_path / "lock", what="", work=WorkContext(cache=tmp_path, cancel=cancel)):
        pytest.fail("it was cancelled")


# ---- spans of time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["soon", "", "5 years", "-3", None, True, [], b"5s"])
def test_a_span_of_time_in_an_imagefile_that_is_none_is_the_imagefiles_fault(text: Any) -> None:
    with pytest.raises(ImagefileError, match="is no span of time") as caught:
        durations.seconds(text)
    assert '"30m"' in caught.value.hint


@pytest.mark.parametrize(
    ("age", "most", "young"),
    [(0, 10, True), (9, 10, True), (11, 10, False), (-100, 10, True), (-299, 0, True), (-301, 1e9, False)],
)
def test_what_is_dated_too_far_ahead_is_not_young(
    monkeypatch: pytest.MonkeyPatch, age: float, most: float, young: bool
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert durations.is_young(1e9 - age, most) == young


@pytest.mark.parametrize(("noted", "shown"), [(5.0, 5.0), (1e9, 1e9), (1e9 + 299, 1e9 + 299), (1e9 + 301, 0.0)])
def test_a_date_of_use_too_far_ahead_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, noted: float, shown: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert durations.date_of_use(noted) == shown
