"""Commands on this host, for tasks: `Machine.local`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bakery.errors import TaskError
from bakery.machine.command import Command
from bakery.machine.fabric_options import Input, plain_env, plain_input
from bakery.model import Result
from bakery.redaction.secret import Secret
from bakery.util.process import run_process
from bakery.util.results import OnOutput
from bakery.util.waiting import Cancel


def run_here(
    call: Command,
    folder: Path,
    cancel: Cancel,
    on_output: OnOutput,
    *,
    env: Mapping[str, str | Secret] | None = None,
    input: Input = None,  # noqa: A002  subprocess's word
    timeout: float | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Result:
    """Run a command on this host.

    Args:
        call: the command; a string is run by `sh`.
        folder: where it runs, or what `cwd` is relative to.
        cancel: ends it.
        on_output: gets its output as it comes.
        env: added to this process's environment.
        input: its standard input.
        timeout: seconds.
        cwd: another folder.

    Raises:
        TaskError: there is no such program.
        TimedOut: it was ended.
    """
    words = ["sh", "-c", call.command] if isinstance(call.command, str) else list(call.command)
    try:
        result = run_process(
            words,
            cancel=cancel,
            command=call.shown,
            env={**os.environ, **plain_env(env)},
            cwd=folder / (cwd or ""),
            input=plain_input(input),
            timeout=timeout,
            on_output=on_output,
        )
    except OSError as error:
        raise TaskError(f"cannot run `{call.shown}` on this host", why=str(error)) from error
    return replace(result, command=call.shown)
