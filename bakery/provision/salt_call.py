"""Salt without a master: states of this host, applied on the machine by `salt-call --local`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bakery.machine.access import access
from bakery.provision.guest_python import PythonNeeds, environment
from bakery.provision.items import Applied, announce, settle
from bakery.provision.json_data import plain
from bakery.provision.salt_results import failure, items_of, parsed
from bakery.provision.uploads import Uploads, uploads
from bakery.redaction.secret import Secret

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

PathLike: TypeAlias = "str | os.PathLike[str]"
VERSION: Final = "salt>=3007"
COMPILERS: Final = ("gcc", "libc6-dev", "python3-dev")
"""For timelib, of which PyPI has no wheel for Linux."""
WITHOUT: Final = ("timelib", "apache-libcloud", "cheroot", "cherrypy", "virtualenv")
"""What Salt requires and salt-call goes without: for salt-cloud, salt-api, environments that a state makes by
virtualenv's own library, and `strftime` with words such as `tomorrow`. A fifth of all that would be sent."""


def salt(
    m: Machine,
    states: Sequence[str] | str = (),
    *,
    tree: PathLike = "salt",
    pillar: Mapping[str, Any] | None = None,
    pillar_tree: PathLike | None = None,
    grains: Mapping[str, Any] | None = None,
    minion_id: str = "default",
    install: Sequence[str] | str | None = VERSION,
    packages: Sequence[str] | None = None,
    test: bool = False,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> Applied:
    """Apply states of this host on the machine, by `salt-call --local` there.

    Paths are relative to the imagefile's folder. All goes to a folder of the machine that is removed afterwards, with
    Salt itself, its caches and the minion's id.

    Args:
        m: the machine.
        states: their names, as for `state.apply`; the highstate of `top.sls` when empty.
        tree: the folder with the states: one of Salt's file_roots.
        pillar: data for the states, of JSON's types; a `Secret` in it is in no argument.
        pillar_tree: a folder with pillar files and their `top.sls`.
        grains: more grains.
        minion_id: the name that `top.sls` knows the machine by.
        install: what is installed into an environment of its own, as pip takes it; None uses the `salt-call` that is
            there.
        packages: those of the machine that are there for the time of the run; gone afterwards where they were not there
            before. When None, what the environment needs.
        test: True changes nothing; what would be changed is told.
        options: more words for `salt-call`.
        timeout: seconds for the run, and for the installation.

    Raises:
        TaskError: a state failed, or Salt could not read something; nothing was run.
    """
    inside = access(m)
    root = m.with_defaults(user="root")
    names = [states] if isinstance(states, str) else list(states)
    needs = PythonNeeds.of(install, packages, compilers=COMPILERS, without=WITHOUT)
    with (
        environment(m, needs, timeout) as programs,
        uploads(m, inside, "salt") as sent,
    ):
        sent.send(tree, "states")
        if pillar_tree is not None:
            sent.send(pillar_tree, "pillar")
        _configure(root, sent, minion_id, plain(pillar or {}), plain(grains or {}))
        sent.begin_trace()
        words = _words(sent, f"{programs}/salt-call" if programs else "salt-call", names, test=test)
        done = root.run([*words, *options], warn=True, hide="out", timeout=timeout)
        sent.note_inputs()
        returned = parsed(done.stdout)
        items = items_of(returned)
        for item in items:
            announce(inside, "salt", item)
        if (error := failure(done, returned, items, sent, names)) is not None:
            raise error
    return settle(inside, "salt", items)


def _configure(root: Machine, sent: Uploads, minion_id: str, pillar: Any, grains: Any) -> None:
    """Write a minion's configuration: all that Salt writes is in our folder."""
    root.run(["mkdir", "-p", f"{sent.folder}/config", f"{sent.folder}/pillar", f"{sent.folder}/own"], hide=True)
    root.write(f"{sent.folder}/own/pillar.json", Secret(json.dumps(pillar)) if pillar else "{}", mode=0o600)
    minion = {
        "id": minion_id,
        "root_dir": f"{sent.folder}/root",
        "file_client": "local",
        "file_roots": {"base": [f"{sent.folder}/states"]},
        "pillar_roots": {"base": [f"{sent.folder}/pillar"]},
        "ext_pillar": [{"cmd_json": f"cat {sent.folder}/own/pillar.json"}],
        "grains": grains,
        "log_level_logfile": "quiet",
        "enable_fqdns_grains": False,
    }
    root.write(f"{sent.folder}/config/minion", json.dumps(minion), mode=0o600)


def _words(sent: Uploads, program: str, names: Sequence[str], *, test: bool) -> list[str]:
    words = [program, "--local", "--config-dir", f"{sent.folder}/config", "--log-level", "warning", "--out", "json"]
    words += ["--out-indent=-1", "--retcode-passthrough", "state.apply"]
    return [*words, *([",".join(names)] if names else []), *(["test=True"] if test else [])]
