"""Puppet with a server: its catalog, applied on the machine by `puppet agent`, once."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bakery.errors import BakeryError
from bakery.machine.access import access
from bakery.provision.borrowed import borrowed
from bakery.provision.items import Applied, require, settle
from bakery.provision.json_data import secret_json
from bakery.provision.puppet_apply import AGENT, read_report, run_puppet
from bakery.provision.uploads import Uploads, uploads
from bakery.redaction.secret import Secret
from bakery.util.observer import note_untraceable

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

Pem: TypeAlias = "Secret | str | os.PathLike[str]"
FACTS: Final = "/etc/facter/facts.d"
"""Where Facter looks as well: what is in Puppet's own folder, the agent replaces by what the server has."""
CHALLENGE: Final = "1.2.840.113549.1.9.7"
"""The object identifier of challengePassword, by which a server can tell whose request it signs."""


def puppet_agent(
    m: Machine,
    server: str,
    *,
    certname: str,
    port: int = 8140,
    environment: str = "production",
    ca: Pem | None = None,
    cert: Pem | None = None,
    key: Pem | None = None,
    challenge_password: Secret | str = "",
    facts: Mapping[str, Any] | None = None,
    install: Sequence[str] = (AGENT,),
    keep: bool = False,
    noop: bool = False,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> Applied:
    """Apply what a Puppet server has for this machine, by one run of `puppet agent` there.

    The agent's keys and certificates, and all else of its own, are in a folder that is removed afterwards: no image can
    act as the machine that it was built on. What the server gives cannot be followed, so the step runs every time.

    Args:
        m: the machine.
        server: its name, as its certificate has it.
        certname: the name by which it knows this machine.
        port: its port.
        environment: the environment's name.
        ca: the certificate that the server is known by, a file or a text; what it shows first is believed when None.
        cert: this machine's certificate; asked of the server when None.
        key: the key that belongs to it.
        challenge_password: sent with the request for a certificate, for a server that signs by it.
        facts: more facts, of JSON's types; a `Secret` in them is in no argument.
        install: packages that are installed for the time of the run where they are missing.
        keep: True leaves these packages on the machine.
        noop: True changes nothing; what would be changed is told.
        options: more words for `puppet agent`.
        timeout: seconds.

    Raises:
        TaskError: no catalog, or a resource failed; the certificate waits to be signed; the server is not reached.
    """
    require((cert is None) is (key is None), "puppet_agent: cert= and key= belong together")
    inside = access(m)
    note_untraceable(f"the Puppet server {server} decides what is done")
    if ca is None:
        inside.work.notice(f"puppet: the server {server} is believed unseen", hint="ca= is what it is known by")
    words = ["--onetime", "--no-daemonize", "--verbose", "--no-usecacheonfailure", "--no-splay", "--waitforcert=0"]
    words += [f"--server={server}", f"--serverport={port}", f"--certname={certname}", f"--environment={environment}"]
    with borrowed(m, install, keep=keep), uploads(m, inside, "puppet") as sent, _facts(m, facts or {}):
        _write_identity(m, sent, inside.folder, certname, {"certs/ca": ca, f"certs/{certname}": cert, "key": key})
        if challenge_password:
            _write_request(m, sent, challenge_password)
        done = run_puppet(m, sent, "agent", [*words, *(["--noop"] if noop else []), *options], timeout)
        items = read_report(m, sent, done)
    return settle(inside, "puppet", items)


@contextmanager
def _facts(m: Machine, facts: Mapping[str, Any]) -> Generator[None]:
    root, file = m.with_defaults(user="root"), f"{FACTS}/bakery.json"
    if not facts:
        yield
        return
    made = root.run(f"d={FACTS}; while ! [ -d $d ]; do t=$d; d=${{d%/*}}; done; echo $t; mkdir -p {FACTS}", hide=True)
    remove = ["rm", "-rf", "--", made.stdout.strip() or file]
    try:
        root.write(file, secret_json(facts), mode=0o600)
        yield
    except BaseException:
        with suppress(BakeryError):  # it may be dead, and what brought us here says more
            root.run(remove, hide=True)
        raise
    root.run(remove, hide=True)


def _write_identity(m: Machine, sent: Uploads, folder: Path, certname: str, given: Mapping[str, Pem | None]) -> None:
    root = m.with_defaults(user="root")
    root.run(["mkdir", "-p", f"{sent.folder}/ssl/certs", f"{sent.folder}/ssl/private_keys"], hide=True)
    for name, pem in given.items():
        if pem is not None:
            place = f"private_keys/{certname}" if name == "key" else name
            text = pem if isinstance(pem, Secret) or "BEGIN " in str(pem) else (folder / pem).read_text()
            root.write(f"{sent.folder}/ssl/{place}.pem", text if isinstance(text, Secret) else str(text), mode=0o600)


def _write_request(m: Machine, sent: Uploads, password: Secret | str) -> None:
    word = password.reveal() if isinstance(password, Secret) else password
    text = Secret(json.dumps({"custom_attributes": {CHALLENGE: word}}))  # JSON is YAML
    root = m.with_defaults(user="root")
    root.run(["mkdir", "-p", f"{sent.folder}/conf"], hide=True)
    root.write(f"{sent.folder}/conf/csr_attributes.yaml", text, mode=0o600)
