"""Chef without a server: cookbooks of this host, applied on the machine by `chef-client` or `cinc-client`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bakery.errors import TaskError
from bakery.machine.access import access
from bakery.machine.output import caller
from bakery.provision.borrowed import borrowed, borrowed_file
from bakery.provision.items import Applied, announce, require, settle
from bakery.provision.json_data import plain, secret_json
from bakery.provision.resource_events import RUBY, read_events
from bakery.provision.uploads import Uploads, uploads
from bakery.redaction.secret import Secret

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.model import Result

PathLike: TypeAlias = "str | os.PathLike[str]"
EVENTS: Final = RUBY / "chef_events.rb"
FIND: Final = """
for p in chef-client cinc-client /opt/chef/bin/chef-client /opt/cinc/bin/cinc-client; do
  if p=$(command -v "$p"); then exec "$p" "$@"; fi
done
echo "there is neither a chef-client nor a cinc-client on the machine" >&2
exit 127
"""
REASONS: Final = {
    35: ("asks for a restart", "take the reboot resource out, and call m.reboot() after chef(...)"),
    37: ("waits for a restart", "take the reboot resource out, and call m.reboot() before or after chef(...)"),
    41: ("could not restart the machine", "take the reboot resource out, and call m.reboot() after chef(...)"),
    43: ("does not take its configuration", "env= or options= may be what it does not take"),
    127: ("is not there", "install= names the package, or its address, that brings it"),
    172: ("waits for its license to be accepted", "accept_license=True accepts it, for this run alone"),
    173: ("is not entitled by its license", 'env={"CHEF_LICENSE_KEY": ...} gives it one'),
    174: ("has no license", 'env={"CHEF_LICENSE_KEY": ...} gives it one'),
    213: ("has replaced itself", "install= should name the version that the recipe asks for"),
}
"""Exit codes of Chef's own: its design document "Chef Infra Client Exit Codes", and its licensing."""


def chef(
    m: Machine,
    run_list: Sequence[str] | str = (),
    *,
    cookbooks: PathLike | Sequence[PathLike] = (),
    policyfile: PathLike | None = None,
    named_run_list: str = "",
    roles: PathLike | None = None,
    environments: PathLike | None = None,
    environment: str = "",
    data_bags: PathLike | Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    data_bag_secret: Secret | str = "",
    attributes: Mapping[str, Any] | None = None,
    node_name: str = "default",
    install: Sequence[str] | str | None = None,
    checksum: str = "",
    keep: bool = False,
    accept_license: bool = False,
    why_run: bool = False,
    env: Mapping[str, str | Secret] | None = None,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> Applied:
    """Apply cookbooks of this host on the machine, by `chef-client --local-mode` or `cinc-client` there.

    Paths are relative to the imagefile's folder. All goes to a folder of the machine that is removed afterwards, with
    Chef's caches, its node object and its keys.

    Args:
        m: the machine.
        run_list: `recipe[web]`, `web::tls`, `role[db]`; not with a policyfile, which has its own.
        cookbooks: folders with cookbooks, searched in this order.
        policyfile: the folder that `chef export` makes of a Policyfile, in place of cookbooks and a run list.
        named_run_list: of the policyfile.
        roles: a folder with roles.
        environments: a folder with environments.
        environment: the environment's name.
        data_bags: a folder with data bags; or bags, their items and what is in them, of JSON's types and secrets.
        data_bag_secret: the key of encrypted items.
        attributes: the node's attributes, of JSON's types; a `Secret` in them is in no argument.
        node_name: by which recipes know the machine.
        install: packages that are installed for the time of the run where they are missing; or the address of a `.deb`
            or `.rpm`, with `checksum`; None uses the client that the machine has.
        checksum: of what `install` names by its address, `sha256:HEX`.
        keep: True leaves what was installed on the machine.
        accept_license: True accepts the license of Chef's own builds, and leaves no note of that on the machine.
        why_run: True changes nothing; what would be changed is told.
        env: more environment.
        options: more words for the client.
        timeout: seconds.

    Raises:
        TaskError: a resource failed, or something cannot be read; has the cookbook's file and line. Nothing was run.
        PreflightError: the package is not to be had.
    """
    inside = access(m)
    root = m.with_defaults(user="root")
    items = [run_list] if isinstance(run_list, str) else list(run_list)
    _check(items, policyfile, cookbooks, install, checksum)
    with _installed(m, install, checksum, keep=keep), uploads(m, inside, "chef") as sent:
        repo = ChefRepository(root, sent, Path(inside.folder))
        repo.send(cookbooks=cookbooks, policyfile=policyfile, roles=roles, environments=environments)
        repo.send_data_bags(data_bags)
        repo.configure(node_name, environment, named_run_list, data_bag_secret, attributes or {})
        words = repo.words(items, why_run=why_run)
        license_ = {"CHEF_LICENSE": "accept-no-persist"} if accept_license else {}
        sent.begin_trace()
        done = root.run([*words, *options], env={**license_, **(env or {})}, warn=True, timeout=timeout)
        sent.note_inputs()
        events = root.run(f"cat {sent.folder}/own/events", warn=True, hide=True).stdout
        told = read_events(events, sent, repo.original)
        for item in told.items:
            announce(inside, "chef", item)
        if done.exited in REASONS:
            raise _reason(done, told.error)
        if (error := told.failure("chef", done)) is not None:
            raise error
    return settle(inside, "chef", told.items)


def _check(
    items: Sequence[str],
    policyfile: PathLike | None,
    cookbooks: PathLike | Sequence[PathLike],
    install: Sequence[str] | str | None,
    checksum: str,
) -> None:
    """Refuse what Chef would take for something else."""
    if policyfile is None:
        require(items and cookbooks, "chef needs a run_list= and cookbooks=, or a policyfile=")
    else:
        require(not items and not cookbooks, "chef: a policyfile has its own run list and cookbooks")
    for item in items:
        require("," not in item, f"chef: {item!r} is several items", hint="run_list is a list, one item each")
    address = isinstance(install, str) and "://" in install
    require(bool(checksum) is address, "chef: install= as an address needs checksum=, and nothing else has one")


def _installed(
    m: Machine, install: Sequence[str] | str | None, checksum: str, *, keep: bool
) -> AbstractContextManager[None]:
    if checksum and isinstance(install, str):
        return borrowed_file(m, install, checksum, keep=keep)
    return borrowed(m, [install] if isinstance(install, str) else install or (), keep=keep)


@dataclass(frozen=True)
class ChefRepository:
    """What Chef calls its repository, as it is on the machine, and the client's configuration beside it.

    Args:
        root: the machine, as root.
        sent: the folder.
        folder: the imagefile's.
    """

    root: Machine
    sent: Uploads
    folder: Path
    settings: dict[str, str] = field(default_factory=dict[str, str])

    def send(
        self,
        *,
        cookbooks: PathLike | Sequence[PathLike],
        policyfile: PathLike | None,
        roles: PathLike | None,
        environments: PathLike | None,
    ) -> None:
        """Send folders, each under the name that Chef has for it."""
        each = [cookbooks] if isinstance(cookbooks, str | os.PathLike) else cookbooks
        there = [self.sent.send(self._existing(path), f"cookbooks-{number}") for number, path in enumerate(each)]
        if there:
            self.settings["cookbook_path"] = f"[{', '.join(map(ruby, there))}]"
        if policyfile is not None:
            self._send_policy(self._existing(policyfile))
        for name, path in (("roles", roles), ("environments", environments)):
            if path is not None:
                self.sent.send(self._existing(path), f"repo/{name}")

    def _send_policy(self, folder: Path) -> None:
        lock = folder / "Policyfile.lock.json"
        require(
            lock.is_file(),
            f"{folder} is no exported policy: it has no Policyfile.lock.json",
            hint="`chef install Policyfile.rb && chef export Policyfile.rb FOLDER` makes one",
        )
        self.sent.send(folder, "repo")
        self.settings["use_policyfile"] = "true"
        self.settings["policy_document_native_api"] = "true"
        self.settings["policy_name"] = ruby(json.loads(lock.read_bytes())["name"])
        self.settings["policy_group"] = ruby("local")  # the only one that an exported policy has

    def _existing(self, path: PathLike) -> Path:
        found = Path(os.path.abspath(self.folder / path))  # noqa: PTH100  resolve() would follow links
        require(found.is_dir(), f"there is no folder {found}")
        return found

    def send_data_bags(self, data_bags: PathLike | Mapping[str, Mapping[str, Mapping[str, Any]]] | None) -> None:
        """Send a folder of bags, or write them."""
        if data_bags is None:
            return
        if isinstance(data_bags, str | os.PathLike):
            self.sent.send(self._existing(data_bags), "repo/data_bags")
            return
        for bag, items in data_bags.items():
            self.root.run(["mkdir", "-p", "--", f"{self.sent.folder}/repo/data_bags/{bag}"], hide=True)
            for name, item in items.items():
                text = Secret(json.dumps({"id": name, **plain(item)}))
                self.root.write(f"{self.sent.folder}/repo/data_bags/{bag}/{name}.json", text, mode=0o600)

    def configure(
        self,
        node_name: str,
        environment: str,
        named_run_list: str,
        secret: Secret | str,
        attributes: Mapping[str, Any],
    ) -> None:
        """Write the client's configuration: all that Chef writes is in our folder."""
        own, root = f"{self.sent.folder}/own", self.root
        root.run(["mkdir", "-p", own, f"{self.sent.folder}/repo"], hide=True)
        root.write(f"{own}/{EVENTS.name}", EVENTS.read_bytes())
        root.write(f"{own}/attributes.json", secret_json(attributes), mode=0o600)
        if secret:
            root.write(f"{own}/data_bag_secret", secret, mode=0o600)
            self.settings["encrypted_data_bag_secret"] = ruby(f"{own}/data_bag_secret")
        for name, value in (("environment", environment), ("named_run_list", named_run_list)):
            if value:
                self.settings[name] = ruby(value)
        lines = [f"{name} {value}" for name, value in {**self._fixed(own, node_name), **self.settings}.items()]
        lines += [
            f"require {ruby(f'{own}/{EVENTS.name}')}",
            f"event_handlers << BakeryEvents.new({ruby(f'{own}/events')})",
        ]
        root.write(f"{own}/client.rb", "\n".join([*lines, ""]))

    def _fixed(self, own: str, node_name: str) -> dict[str, str]:
        return {
            "local_mode": "true",
            "node_name": ruby(node_name),
            "chef_repo_path": ruby(f"{self.sent.folder}/repo"),
            "node_path": ruby(f"{own}/nodes"),
            "cache_path": ruby(own),
            "file_cache_path": ruby(f"{own}/cache"),
            "file_backup_path": ruby(f"{own}/backup"),
            "lockfile": ruby(f"{own}/lock"),
        }

    def words(self, run_list: Sequence[str], *, why_run: bool) -> list[str]:
        """Return the words that start the client, wherever it is."""
        own = f"{self.sent.folder}/own"
        found = ["sh", "-c", FIND, "chef-client", "--local-mode", "--config", f"{own}/client.rb"]
        found += ["--json-attributes", f"{own}/attributes.json", "--no-fork", "--no-color", "--force-formatter"]
        found += ["--runlist", ",".join(run_list)] if run_list else []
        return [*found, *(["--why-run"] if why_run else [])]

    def original(self, text: str) -> str:
        """Put the cookbooks that were sent in the place of the copies from which Chef reads them."""
        cached = re.compile(rf"{re.escape(self.sent.folder)}/own/cache/cookbooks/([^/\s:]+)")
        return cached.sub(lambda match: self._of_cookbook(match[1]) or match[0], text)

    def _of_cookbook(self, name: str) -> str | None:
        for there, folder in self.sent.folders():
            if (folder / name).is_dir():
                return f"{there}/{name}"
            for artifact in (folder / "cookbook_artifacts").glob(f"{name}-*"):
                if artifact.name.rpartition("-")[0] == name:  # NAME-IDENTIFIER
                    return f"{there}/cookbook_artifacts/{artifact.name}"
        return None


def ruby(text: str) -> str:
    """Return a text as Ruby writes it: JSON's way, in which Ruby alone sees something in `#{`."""
    return json.dumps(text).replace("#", "\\#")


def _reason(done: Result, error: str) -> TaskError:
    what, hint = REASONS[done.exited]
    why = error or "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
    return TaskError(f"chef {what} (exit code {done.exited})", why=why, hint=hint, where=caller())
