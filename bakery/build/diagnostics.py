"""What explains a failure, collected before the machine is destroyed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bakery.build.running import RunningMachine
from bakery.errors import BakeryError, Interrupted
from bakery.redaction.logs import clean_logs

ASK = """
systemctl --failed --no-legend 2>/dev/null
journalctl --no-pager --boot --priority=warning --lines=200 2>/dev/null
dmesg 2>/dev/null | tail -n 50
df -h 2>/dev/null
"""
PATIENCE = 15.0


def collect(running: RunningMachine, error: BaseException, folder: Path) -> None:
    """Write console, screenshot, the machine's own logs and a one-line verdict into `folder`.

    Nothing in here may hide the error that brought us here, so each part that fails says so in the folder instead.
    """
    if isinstance(error, Interrupted | KeyboardInterrupt | GeneratorExit):
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    redact = running.claim.redact
    verdict = error.what if isinstance(error, BakeryError) else f"{type(error).__name__}: {error}"
    (folder / "verdict.txt").write_text(redact(f"{verdict}\n"), encoding="utf-8", errors="backslashreplace")
    if isinstance(error, BakeryError):
        (folder / "error.txt").write_text(redact(f"{error}\n"), encoding="utf-8", errors="backslashreplace")
    _try(folder, "evidence", lambda: running.driver.collect_diagnostics(running.handle, folder))
    if running.link.is_open:
        _try(folder, "machine", lambda: _ask_machine(running, folder))
    clean_logs(folder, redact)


def _ask_machine(running: RunningMachine, folder: Path) -> None:
    result = running.link.open().run(ASK, timeout=PATIENCE)
    (folder / "machine.log").write_text(result.stdout + result.stderr, encoding="utf-8", errors="backslashreplace")


def _try(folder: Path, name: str, part: Callable[[], None]) -> None:
    try:
        part()
    except Exception as problem:  # evidence is a courtesy; the error itself is what counts
        with (folder / "missing.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{name}: {type(problem).__name__}: {problem}\n")
