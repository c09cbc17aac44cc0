"""A user's own user data beside ours: one message of several parts, which cloud-init takes apart and merges.

By itself cloud-init lets a later part replace the lists of an earlier one, so that a user's `users:` or `ssh_keys:`
would take our account or the pinned host key away. Hence theirs come first; then ours, in two parts: what must be as we
say replaces theirs, and lists (accounts, login keys) are added to theirs.
https://docs.cloud-init.io/en/latest/explanation/format.html, https://docs.cloud-init.io/en/latest/reference/merging.html
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterator, Mapping
from email import message_from_string
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

from bakery.drivers import cloudinit
from bakery.errors import ImagefileError
from bakery.state.claim import Claim

KINDS: Mapping[str, str] = {
    "#cloud-config-archive": "cloud-config-archive",
    "#cloud-config-jsonp": "cloud-config-jsonp",
    "#cloud-config": "cloud-config",
    "#cloud-boothook": "cloud-boothook",
    "#part-handler": "part-handler",
    "#include-once": "x-include-once-url",
    "#include": "x-include-url",
    "## template: jinja": "jinja2",
    "#!": "x-shellscript",
}
"""How cloud-init tells parts from their first line, the longest first; case does not count."""
LISTS = {
    "users": "users: [default, {name: deploy}]",
    "ssh_authorized_keys": "ssh_authorized_keys: [ssh-ed25519 ...]",
    "bootcmd": "bootcmd: [[modprobe, loop]]",
}
"""Our entries that stand beside the user's, with how each is written."""
APPEND = "list(append)+dict(no_replace,recurse_list)+str()"
MIME_WITHIN = 4096
"""Bytes in which cloud-init looks for `MIME-Version:`."""


def text_of(given: str | bytes) -> str:
    """Return user data as text.

    Args:
        given: text; or what gzip made of it, as bytes or in base64.

    Raises:
        ImagefileError: it is neither.
    """
    data = given if isinstance(given, bytes) else given.encode()
    if data.lstrip().startswith(b"H4sI"):  # gzip's first bytes in base64
        try:
            data = base64.b64decode(data)
        except binascii.Error as error:
            raise ImagefileError("user_data=...: broken base64", why=str(error)) from error
    try:
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ImagefileError("user_data=...: neither text nor what gzip makes of text", why=str(error)) from error


def join(ours: Mapping[str, Any], theirs: str) -> str:
    """Return our configuration and the user's own data in one message.

    Args:
        ours: the entries of our `#cloud-config`.
        theirs: user data of any kind that cloud-init knows.

    Raises:
        ImagefileError: theirs are of an unknown kind, or would take our account away.
    """
    check(theirs, next((entry["name"] for entry in ours.get("users", []) if isinstance(entry, dict)), ""))
    message = MIMEMultipart()
    message.attach(_message(theirs))
    message.attach(_part({name: value for name, value in ours.items() if name not in LISTS}))
    lists = _part({name: _merged(ours[name], theirs) for name in LISTS if name in ours})
    lists["Merge-Type"] = APPEND
    message.attach(lists)
    return message.as_string()


def of_machine(claim: Claim, *, user: str, theirs: str, host_key: bool = True) -> str:
    """Return the user data of one machine: our keys, and the user's own data beside them while it is built on.

    Args:
        claim: the right to make it, and its keys.
        user: who logs in.
        theirs: user data of any kind that cloud-init knows; empty for none.
        host_key: False where the machine makes its own and shows it on its console.

    Raises:
        ImagefileError: theirs are of an unknown kind, or would take our account away.
    """
    if theirs and claim.role == "build":
        return join(cloudinit.configuration(claim.keys, user=user, host_key=host_key), theirs)
    if host_key and claim.role != "build":
        return cloudinit.user_data_for_test(claim.keys, user=user)
    return cloudinit.user_data(claim.keys, user=user, host_key=host_key)


def check(theirs: str, user: str = "") -> None:
    """See that cloud-init will understand the user's data, and that ours can be merged with them.

    Args:
        theirs: user data of any kind that cloud-init knows.
        user: who logs in.

    Raises:
        ImagefileError: it will not, or they cannot.
    """
    for kind, text in _parts(_message(theirs)):
        if kind == "cloud-config":
            _check_config(text, user)


def _merged(entries: list[Any], theirs: str) -> list[Any]:
    """Let an account of ours add to the user's account of the same name: cloud-init keeps what the first one says.

    Only where there may be one, since `merge_how` is what cloud-init obeys here, and warns of.
    """
    return [
        {**entry, "merge_how": APPEND}
        if isinstance(entry, dict) and (entry["name"] in theirs or "#include" in theirs.lower())
        else entry
        for entry in entries
    ]


def _part(config: Mapping[str, Any]) -> Message:
    text = "#cloud-config\n" + yaml.safe_dump(dict(config), sort_keys=False, width=10_000)
    return MIMEText(text, "cloud-config", "us-ascii")


def _message(theirs: str) -> Message:
    """Return the user's data as a part: a message of several parts is one already."""
    if "mime-version:" in theirs[:MIME_WITHIN].lower():
        return message_from_string(theirs.lstrip())
    text = theirs.lstrip()  # as cloud-init does, which then finds no `#!` in a script's first line
    return MIMEText(text, kind(text), "utf-8")


def kind(text: str) -> str:
    """Tell of what kind user data are: MIME's subtype of `text/`.

    Raises:
        ImagefileError: of none that cloud-init knows.
    """
    if known := _known(text):
        return known
    raise ImagefileError(
        "user_data=...: cannot tell of what kind the user data are",
        why=f"they begin with {text.lstrip()[:20]!r}",
        hint=f"the first line decides: {', '.join(KINDS)}, or a MIME message",
    )


def _known(text: str) -> str:
    """Return MIME's subtype for what text begins with; empty for what cloud-init does not know."""
    start = text.lstrip().lower()
    return next((subtype for first, subtype in KINDS.items() if start.startswith(first)), "")


def _parts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each part that can be read here; compressed ones are left to cloud-init."""
    for part in message.walk():
        content = part.get_payload(decode=True)
        if part.get_content_maintype() != "text" or not isinstance(content, bytes):
            continue
        text = content.decode(errors="replace")
        subtype = part.get_content_subtype()
        told = kind(text) if subtype in ("plain", "x-not-multipart") else subtype
        yield told, text
        if told == "cloud-config-archive":
            yield from _archived(text)


def _archived(text: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each entry of a `#cloud-config-archive`.

    Raises:
        ImagefileError: it is none.
    """
    entries = _yaml(text, "#cloud-config-archive")
    if not isinstance(entries, list):
        raise ImagefileError(
            "user_data=...: the #cloud-config-archive is no list",
            why=f"it is {type(entries).__name__}",
            hint="as in: - {type: text/cloud-config, content: 'package_update: true'}",
        )
    for entry in entries:
        content, named = (entry.get("content"), entry.get("type", "")) if isinstance(entry, dict) else (entry, "")
        if isinstance(content, str):
            yield str(named).partition("/")[2] or _known(content) or "cloud-config", content


def _yaml(text: str, called: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ImagefileError(f"user_data=...: the {called} is no YAML", why=str(error)) from error


def _check_config(text: str, user: str) -> None:
    config = _yaml(text, "#cloud-config")
    if not isinstance(config, dict):
        raise ImagefileError(
            "user_data=...: the #cloud-config has no entries",
            why=f"it is {type(config).__name__}",
            hint="as in: package_update: true",
        )
    for name, written in LISTS.items():
        if name in config and not isinstance(config[name], list):
            raise ImagefileError(
                f"user_data=...: {name}: must be a list, so that bakery's own can stand beside it",
                why=f"cloud-init cannot merge a list with {type(config[name]).__name__}",
                hint=written,
            )
    for account in config.get("users", []):
        if isinstance(account, dict) and "ssh-authorized-keys" in account:
            raise ImagefileError(
                "user_data=...: an account has ssh-authorized-keys, which would replace bakery's key",
                hint="write it as cloud-init has for ten years: ssh_authorized_keys",
            )
        if isinstance(account, dict) and account.get("name") == user and account.get("ssh_redirect_user"):
            raise ImagefileError(
                f"user_data=...: {user}, who logs in, has ssh_redirect_user, which takes no keys beside it",
                why="cloud-init makes no account that has both",
                hint="leave it out for this account, or log in as another: user=...",
            )


def packed(text: str, limit: int) -> bytes:
    """Return user data as bytes, packed by gzip where they are longer than a provider takes; cloud-init unpacks them.

    Args:
        text: the user data.
        limit: bytes.
    """
    plain = text.encode()
    return plain if len(plain) <= limit else gzip.compress(plain, mtime=0)
