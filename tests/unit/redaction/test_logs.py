"""What libraries log, what Python says of a crash and what an emulator wrote: all of it through the redactor."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.redaction.logs import clean_logs, clean_record, guarded, traceback_text
from bakery.redaction.redactor import Redactor
from bakery.redaction.secret import Secret

WORD = "correct/horse"


def fail() -> None:
    """Raise something that tells."""
    raise ValueError(WORD)


@pytest.fixture
def redact() -> Redactor:
    """Something that knows one secret."""
    made = Redactor()
    made.add(Secret(WORD, "pw"))
    return made


class Kept(logging.Handler):
    """A library's own handler."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


@pytest.fixture
def logger() -> Iterator[tuple[logging.Logger, Kept]]:
    """A library's logger with a handler that was there before us."""
    made, kept = logging.getLogger("bakery-test-library"), Kept()
    made.setLevel(logging.DEBUG)
    made.propagate = False
    made.addHandler(kept)
    yield made, kept
    made.removeHandler(kept)


# ---- records --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        (f"it is {WORD}", (), "it is [secret pw]"),
        ("it is %s", (WORD,), "it is [secret pw]"),
        ("%s", (["a", WORD],), "['a', '[secret pw]']"),
        ("%(word)s", ({"word": WORD},), "[secret pw]"),
        ("100 %", (), "100 %"),
        ("%d of %d", (1, 2), "1 of 2"),
        ("%s and %s", (WORD,), "'%s and %s' ('[secret pw]',)"),
        ("%d", (WORD,), "'%d' ('[secret pw]',)"),
    ],
)
def test_a_record_is_clean_before_any_handler_sees_it(
    redact: Redactor, logger: tuple[logging.Logger, Kept], message: str, args: tuple[object, ...], shown: str
) -> None:
    log, kept = logger
    with guarded(redact):
        log.warning(message, *args)
    assert kept.lines == [shown]


def test_a_handler_that_comes_later_sees_clean_records_too(
    redact: Redactor, logger: tuple[logging.Logger, Kept]
) -> None:
    log, _ = logger
    later = Kept()
    with guarded(redact):
        log.addHandler(later)
        logging.getLogger("bakery-test-library.below").info("it is %s", WORD)
    log.removeHandler(later)
    assert later.lines == ["it is [secret pw]"]


def test_the_traceback_of_a_record_is_clean(redact: Redactor, logger: tuple[logging.Logger, Kept]) -> None:
    log, kept = logger
    with guarded(redact):
        try:
            fail()
        except ValueError:
            log.exception("it failed")
    (text,) = kept.lines
    assert text.startswith("it failed\nTraceback (most recent call last):")
    assert text.endswith("ValueError: [secret pw]")
    assert WORD not in text
    assert [record.exc_info for record in kept.records] == [None]  # for those that draw a traceback themselves


def test_a_record_without_an_error_has_none(redact: Redactor) -> None:
    record = logging.LogRecord("n", logging.INFO, "f", 1, "m", None, None)
    assert clean_record(record, redact).exc_text is None


# ---- what Python prints ---------------------------------------------------------------------------------------------


def test_what_nobody_catches_is_printed_clean(redact: Redactor, capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(redact):
        error = ValueError(f"the password is {WORD}")
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "ValueError: the password is [secret pw]\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_catches_in_a_thread_is_printed_clean(redact: Redactor, capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(redact):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    text = capsys.readouterr().err
    assert "ValueError: [secret pw]" in text
    assert WORD not in text


@pytest.mark.parametrize("ends", [None, ZeroDivisionError()])
def test_afterwards_all_is_as_it_was(redact: Redactor, ends: Exception | None) -> None:
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook

    def block() -> None:
        with guarded(redact):
            assert logging.getLogRecordFactory() is not before[0]
            if ends:
                raise ends

    if ends is None:
        block()
    else:
        with pytest.raises(ZeroDivisionError):
            block()
    assert (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook) == before


def test_a_traceback_has_its_causes_and_no_secret(redact: Redactor) -> None:
    def wrapped() -> None:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError("it failed") from error

    with pytest.raises(RuntimeError) as caught:
        wrapped()
    text = traceback_text(caught.value, redact)
    assert "ValueError: [secret pw]" in text
    assert "The above exception was the direct cause" in text
    assert text.endswith("RuntimeError: it failed\n")
    assert f'"{WORD}"' not in text


# ---- files past every gate ------------------------------------------------------------------------------------------


def test_consoles_are_cleaned_and_nothing_else_is_touched(redact: Redactor, tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"login: root\nPassword: " + WORD.encode() + b"\n\xff\xfe")
    (tmp_path / "clean.log").write_bytes(b"nothing \xff\n")
    (tmp_path / "disk.raw").write_bytes(WORD.encode())
    before = (tmp_path / "clean.log").stat()
    clean_logs(tmp_path, redact)
    assert "Password: [secret pw]\n" in (tmp_path / "console.log").read_text()
    assert (tmp_path / "clean.log").read_bytes() == b"nothing \xff\n"
    assert (tmp_path / "clean.log").stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / "disk.raw").read_bytes() == WORD.encode()


def test_a_folder_without_logs_stays_empty(redact: Redactor, tmp_path: Path) -> None:
    clean_logs(tmp_path, redact)
    clean_logs(tmp_path / "nothing", redact)
    assert list(tmp_path.iterdir()) == []
