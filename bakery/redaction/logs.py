"""What libraries log and what Python says of a crash goes through the redactor as well."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

Redact: TypeAlias = Callable[[str], str]


def clean_logs(folder: Path, redact: Redact) -> None:
    """Redact the log files in a folder: a machine's console is written by its emulator, past every gate of ours."""
    for file in folder.glob("*.log"):
        text = file.read_text(encoding="utf-8", errors="replace")
        clean = redact(text)
        if clean != text:
            file.write_text(clean, encoding="utf-8")


@contextmanager
def guarded(redact: Redact) -> Generator[None]:
    """Redact, while this lasts, every log record of every logger, and every traceback that Python prints itself.

    The record is redacted where it is born: handlers of any library, also those added later, see the clean one only.
    """
    factory, hook, thread_hook = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook
    logging.setLogRecordFactory(lambda *args, **kwargs: clean_record(factory(*args, **kwargs), redact))
    sys.excepthook = lambda kind, error, trace: _report(kind, error, trace, redact)
    threading.excepthook = lambda args: _report(args.exc_type, args.exc_value, args.exc_traceback, redact)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
        sys.excepthook, threading.excepthook = hook, thread_hook


def clean_record(record: logging.LogRecord, redact: Redact) -> logging.LogRecord:
    """Replace message, arguments and exception of a record by redacted text."""
    try:
        message = record.getMessage()
    except Exception:  # the caller's format string does not fit its arguments: show both, do not fail here
        message = f"{record.msg!r} {record.args!r}"
    record.msg, record.args = redact(message), ()
    if record.exc_info:
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        record.exc_info = None
    return record


def traceback_text(error: BaseException, redact: Redact) -> str:
    """Return the traceback of an error, with its causes, redacted."""
    return redact("".join(traceback.format_exception(error)))


def _report(kind: Any, error: BaseException | None, trace: TracebackType | None, redact: Redact) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))
