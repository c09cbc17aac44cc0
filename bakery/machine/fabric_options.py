"""The keywords of `Machine.run`: Fabric's, and what becomes of text and secrets on their way to a machine."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, TypedDict, cast

from bakery.machine.files import binary
from bakery.machine.output import hidden_streams
from bakery.model import Stream
from bakery.redaction.secret import Secret
from bakery.util.suggestions import did_you_mean

Input: TypeAlias = "str | bytes | Secret | IO[str] | IO[bytes] | None"


class FabricOptions(TypedDict, total=False):
    """Keywords of Fabric's `run` that make sense here.

    Args:
        echo: show the command before it runs.
        in_stream: another name for `input`; False for none, as in Fabric.
        out_stream: gets standard output as text, in place of the user.
        err_stream: the same for standard error.
        shell: the shell that runs the string.
        pty: accepted and without effect: nobody sits at a build's terminal, and programs behave better without one.
        replace_env: accepted and without effect: this host's environment is never sent.
        encoding: accepted as `utf-8` only.
    """

    echo: bool
    in_stream: IO[str] | IO[bytes] | bool | None
    out_stream: IO[str]
    err_stream: IO[str]
    shell: str
    pty: bool
    replace_env: bool
    encoding: str | None


OWN: Final = ("user", "env", "input", "timeout", "cwd", "warn", "hide")
REFUSED: Final = {
    "asynchronous": "a step ends when its commands have ended; start a service, or use `nohup ... &` in the shell",
    "disown": "a step ends when its commands have ended; start a service, or use `nohup ... &` in the shell",
    "watchers": "there is no terminal to answer prompts on; give the answers as input=",
    "password": "a build has no password to give; the login user must be able to sudo without one",
    "dry": "`bake plan` shows what would be done",
    "check": "a failed command raises by itself; warn=True returns the result instead",
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Fabric's keywords, read."""

    echo: bool = False
    in_stream: Any = None
    shell: str = ""
    files: Mapping[Stream, IO[str]] = field(default_factory=dict[Stream, IO[str]])

    def hidden(self, hide: bool | str | None) -> frozenset[Stream]:
        """Return the streams that nobody is to see; one that goes to a file of the caller is not hidden."""
        return hidden_streams(hide) - frozenset(self.files)


def options_of(given: Mapping[str, Any]) -> RunOptions:
    """Read Fabric's keywords.

    Raises:
        TypeError: one that does not exist here, with the one that was meant, or with what to do in its place.
    """
    for name in given:
        if name in FabricOptions.__annotations__:
            continue
        if name in REFUSED:
            raise TypeError(f"run() takes no {name}=: {REFUSED[name]}")
        hint = did_you_mean(name, [*OWN, *FabricOptions.__annotations__], keyword=True)
        raise TypeError("; ".join(filter(None, (f"run() takes no {name}=", hint))))
    if (encoding := given.get("encoding")) not in (None, "utf-8", "utf8", "UTF-8"):
        raise TypeError(f"encoding={encoding!r}: what machines write is read as UTF-8")
    files: dict[Stream, IO[str]] = {}
    if given.get("out_stream") is not None:
        files["stdout"] = given["out_stream"]
    if given.get("err_stream") is not None:
        files["stderr"] = given["err_stream"]
    return RunOptions(
        echo=bool(given.get("echo")),
        in_stream=given.get("in_stream") or None,
        shell=given.get("shell") or "",
        files=files,
    )


def plain_env(env: Mapping[str, str | Secret] | None) -> dict[str, str]:
    """Take secrets out of their wrapping, at the border to the machine.

    Raises:
        TypeError: a value that is no text.
    """
    plain: dict[str, str] = {}
    for name, value in (env or {}).items():
        if not isinstance(value, str | Secret):
            raise TypeError(f"env={{{name!r}: ...}}: a str or a Secret, not {type(value).__name__}")
        plain[name] = value.reveal() if isinstance(value, Secret) else value
    return plain


def plain_input(source: Input) -> bytes | IO[bytes] | None:
    """Turn what users give as input into bytes, or a file of bytes.

    Raises:
        TypeError: it is neither text, bytes, a secret nor a file.
    """
    given = cast("object", source)  # callers need not be type checked
    match given:
        case None | bytes():
            return given
        case str():
            return given.encode(errors="surrogateescape")
        case Secret():
            return given.reveal().encode(errors="surrogateescape")
        case bytearray() | memoryview():
            return bytes(given)
        case io.TextIOBase():
            return binary(given)
    if isinstance(source, Path) or not hasattr(source, "read"):
        raise TypeError(f"input is text, bytes, a Secret or an open file, not {type(source).__name__}")
    return cast("IO[bytes]", source)
