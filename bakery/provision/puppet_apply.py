"""Puppet without a server: manifests of this host, applied on the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bakery.machine.access import access
from bakery.provision.borrowed import borrowed
from bakery.provision.items import Applied, Item, announce, require, settle
from bakery.provision.json_data import plain
from bakery.provision.puppet_report import failure, items_of
from bakery.provision.uploads import Uploads, uploads
from bakery.redaction.secret import Secret

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.model import Result

PathLike: TypeAlias = "str | os.PathLike[str]"
AGENT: Final = "puppet-agent"
ENVIRONMENT: Final = "environments/production"
DONE: Final = (0, 2)
"""Of `--detailed-exitcodes`: nothing to do, changed. 1 did not compile, 4 and 6 had failures; see puppet-apply(8)."""


def puppet(
    m: Machine,
    manifest: PathLike | None = None,
    *,
    environment: PathLike | None = None,
    modules: PathLike | Sequence[PathLike] = (),
    hiera: PathLike | None = None,
    data: PathLike | None = None,
    facts: Mapping[str, Any] | None = None,
    install: Sequence[str] = (AGENT,),
    keep: bool = False,
    noop: bool = False,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> Applied:
    """Apply a manifest of this host on the machine, by its `puppet apply`.

    Paths are relative to the imagefile's folder. All goes to a folder of the machine that is removed afterwards, with
    Puppet's own state, its certificates among it.

    Args:
        m: the machine.
        manifest: the manifest, or a folder of them; that of `environment` when None.
        environment: a folder with `manifests`, `modules`, `hiera.yaml` and its data, as on a server.
        modules: folders with modules, searched in this order.
        hiera: the hiera.yaml, version 5.
        data: the folder that hiera.yaml calls its datadir, where it is not beside it.
        facts: more facts, of JSON's types; a `Secret` in them is in no argument.
        install: packages that are installed for the time of the run where they are missing: Puppet, and types of its
            that the distribution has in packages of their own.
        keep: True leaves these packages on the machine.
        noop: True changes nothing; what would be changed is told.
        options: more words for `puppet apply`.
        timeout: seconds.

    Raises:
        TaskError: it does not compile, or a resource failed; has the manifest's file and line.
    """
    require(manifest or environment, "puppet needs a manifest= or an environment=")
    inside = access(m)
    with borrowed(m, install, keep=keep), uploads(m, inside, "puppet") as sent:
        words = ["--strict_variables", *_send_modules(sent, modules, environment)]
        words += [*_send_data(sent, hiera, data), _send(sent, manifest)]
        _write_facts(m, sent, plain(facts or {}))
        sent.begin_trace()
        done = run_puppet(m, sent, "apply", [*words, *(["--noop"] if noop else []), *options], timeout)
        sent.note_inputs()
        items = read_report(m, sent, done)
    return settle(inside, "puppet", items)


def read_report(m: Machine, sent: Uploads, done: Result) -> list[Item]:
    """Read what a run did, and tell of it.

    Raises:
        TaskError: it failed.
    """
    inside = access(m)
    report = m.run(f"cat {sent.folder}/var/state/last_run_report.yaml", user="root", warn=True, hide=True).stdout
    items = items_of(report, sent)
    for item in items:
        announce(inside, "puppet", item)
    if done.exited not in DONE or any(item.outcome == "failed" for item in items):
        raise failure(done, items, sent)
    return items


def _send_modules(sent: Uploads, modules: PathLike | Sequence[PathLike], environment: PathLike | None) -> Iterator[str]:
    """Send modules, and return the words that name their folders."""
    each = [modules] if isinstance(modules, str | os.PathLike) else modules
    path = [sent.send(folder, f"modules-{number}") for number, folder in enumerate(each)]
    if environment is not None:
        path.append(f"{sent.send(environment, ENVIRONMENT)}/modules")
        yield from ("--environmentpath", f"{sent.folder}/environments", "--environment", "production")
    yield from ("--modulepath", ":".join((*path, *SHARED)))


def _send_data(sent: Uploads, hiera: PathLike | None, data: PathLike | None) -> Iterator[str]:
    """Send Hiera's configuration and data; the folder keeps its name, which the configuration knows."""
    if data is not None:
        sent.send(data, f"hiera/{Path(data).name}")
    if hiera is not None:
        yield from ("--hiera_config", sent.send(hiera, "hiera/hiera.yaml"))


def _send(sent: Uploads, manifest: PathLike | None) -> str:
    """Send the manifest, and return its path; the environment's where there is none."""
    if manifest is None:
        return f"{sent.folder}/{ENVIRONMENT}/manifests"
    return sent.send(manifest, f"manifest/{Path(manifest).name}")


def _write_facts(m: Machine, sent: Uploads, facts: Any) -> None:
    if facts:
        m.run(["mkdir", "-p", f"{sent.folder}/var/facts.d"], user="root", hide=True)
        text = Secret(json.dumps(facts))
        m.with_defaults(user="root").write(f"{sent.folder}/var/facts.d/bakery.json", text, mode=0o600)


def run_puppet(m: Machine, sent: Uploads, verb: str, words: Sequence[str], timeout: float | None) -> Result:
    """Run `puppet VERB`, wherever it is; all that it keeps is in our folder."""
    where = [f"--{name}={sent.folder}/{place}" for name, place in PLACES.items()]
    ours = ["--detailed-exitcodes", "--color=false", "--no-show_diff", *where]
    found = (
        'p=$(command -v puppet || ls /opt/puppetlabs/bin/puppet) || { echo "no puppet" >&2; exit 127; }\nexec "$p" "$@"'
    )
    return m.run(["sh", "-c", found, "puppet", verb, *ours, *words], user="root", warn=True, timeout=timeout)


PLACES: Final = {
    "confdir": "conf",
    "vardir": "var",
    "statedir": "var/state",
    "ssldir": "ssl",
    "codedir": "code",
    "logdir": "log",
    "rundir": "run",
    "publicdir": "public",
}
"""Settings that say where Puppet keeps what is its own; each by itself, since distributions change their defaults."""
SHARED: Final = (
    "/etc/puppet/code/modules",
    "/usr/share/puppet/modules",
    "/usr/share/puppet/vendor_modules",
    "/opt/puppetlabs/puppet/modules",
    "/opt/puppetlabs/puppet/vendor_modules",
)
"""Folders of the machine with modules from packages, of Debian's and of the makers'."""
