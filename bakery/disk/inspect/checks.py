"""What must not be in an image's files, check by check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bakery.disk.inspect.findings import Finding
from bakery.disk.inspect.permissions import judge
from bakery.disk.inspect.tree import Tree

_HISTORIES: Final = (
    ".bash_history",
    ".zsh_history",
    ".ash_history",
    ".sh_history",
    ".history",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
    ".node_repl_history",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
)
_KEY: Final = re.compile(r"^[^#\n]*AAAA\S+ *(.*)$", re.MULTILINE)
_SWAP_FILES: Final = ("/swapfile", "/swap.img", "/swap/swapfile", "/var/swap")
_NEW: Final = ("", "uninitialized")


def homes(tree: Tree) -> tuple[str, ...]:
    """List the home folders of /etc/passwd, root's and the one that new users get."""
    fields = (line.split(":") for line in tree.text("/etc/passwd").splitlines())
    named = [words[5] for words in fields if len(words) > len("nupgch") and words[5].startswith("/")]
    return tuple(dict.fromkeys(["/root", "/etc/skel", *(home.rstrip("/") for home in named if home.strip("/"))]))


def authorized_keys(tree: Tree) -> Iterator[Finding]:
    """Find keys that let somebody log in to every machine of this image."""
    names = ("authorized_keys", "authorized_keys2")
    files = [entry for home in homes(tree) for entry in tree.files(*(f"{home}/.ssh/{name}" for name in names))]
    files += [
        entry for entry in tree.entries("/etc/ssh/authorized_keys.d", "/etc/dropbear") if "authorized" in entry.path
    ]
    for entry in files:
        if entry.is_file and entry.size and (keys := _KEY.findall(tree.read(entry))):
            whose = ", ".join(comment or "without a comment" for comment in keys)
            yield Finding("authorized-keys", entry.path, f"lets in {len(keys)}: {whose}")


def host_keys(tree: Tree) -> Iterator[Finding]:
    """Find private SSH host keys: with them, anybody who has the image can pose as any of its machines."""
    for entry in tree.entries("/etc/ssh", "/etc/dropbear"):
        if entry.is_file and entry.size and re.search(r"host_.*key$|_host_key$", entry.name):
            yield Finding("host-key", entry.path, "all machines of this image would have this SSH host key")


def machine_id(tree: Tree) -> Iterator[Finding]:
    """Find a machine-id that is set. Source: machine-id(5), "first boot semantics"."""
    for entry in tree.files("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if entry.size and tree.read(entry).strip() not in _NEW:
            yield Finding("machine-id", entry.path, "all machines of this image would have this machine-id")


def cloud_init(tree: Tree) -> Iterator[Finding]:
    """Find what cloud-init knows of the build machine: user data, and the belief that the first boot is over."""
    for entry in tree.entries("/var/lib/cloud/instances"):
        yield Finding("cloud-init", entry.path, "data of the instance that the image was built on")


def histories(tree: Tree) -> Iterator[Finding]:
    """Find what was typed."""
    paths = [f"{home}/{name}" for home in homes(tree) for name in _HISTORIES]
    for entry in tree.files(*paths):
        if entry.size:
            yield Finding("history", entry.path, f"{entry.size} bytes of what was typed")


def temporary(tree: Tree) -> Iterator[Finding]:
    """Find files that a step forgot."""
    for entry in (*tree.walk("/tmp"), *tree.walk("/var/tmp")):  # noqa: S108  the image's, not ours
        if not entry.is_folder:
            yield Finding("temporary", entry.path, f"{entry.size} bytes left behind")


def swap(tree: Tree) -> Iterator[Finding]:
    """Find swap files: they may hold memory of the build machine. Secrets are searched in them as everywhere."""
    fields = (line.split() for line in tree.text("/etc/fstab").splitlines())
    named = [words[0] for words in fields if len(words) > 2 and words[2] == "swap" and words[0].startswith("/")]  # noqa: PLR2004  fstab(5)
    paths = [path for path in dict.fromkeys([*_SWAP_FILES, *named]) if not path.startswith("/dev/")]
    for entry in tree.files(*paths):
        if entry.size:
            yield Finding("swap", entry.path, f"a swap file of {entry.size >> 20} MiB is part of the image")


def permissions(tree: Tree) -> Iterator[Finding]:
    """Find what must be root's and is not, and what others than root can read, write or become."""
    groups = (line.split(":") for line in tree.text("/etc/group").splitlines())
    shadow = next((int(words[2]) for words in groups if words[0] == "shadow" and words[2:3] > ["0"]), None)
    yield from judge(tree.everything(), shadow)


_PUPPET: Final = "Puppet's key of the build machine"
_IDENTITIES: Final = {
    "/etc/puppet/ssl/private_keys/": _PUPPET,
    "/etc/puppetlabs/puppet/ssl/private_keys/": _PUPPET,
    "/var/lib/puppet/ssl/private_keys/": _PUPPET,
    "/etc/chef/client.pem": "Chef's key of the build machine",
    "/etc/cinc/client.pem": "Cinc's key of the build machine",
    "/etc/salt/minion_id": "Salt's name of the build machine",
    "/etc/salt/pki/minion/": "Salt's keys of the build machine",
    "/etc/salt/pki/master/": "the keys of a Salt master",
    "/var/cache/salt/minion/": "what Salt keeps of a run, pillar data among it",
}
"""Files, and folders with all that is in them, that tie a machine to a server, or to the one that it was built on."""


def client_identities(tree: Tree) -> Iterator[Finding]:
    """Find what configuration management knows the build machine by, and what it left of its run."""
    folders = [path.rstrip("/") for path in _IDENTITIES if path.endswith("/")]
    for entry in (*tree.files(*_IDENTITIES.keys() - {*folders}), *tree.entries(*folders)):
        whose = _IDENTITIES.get(entry.path) or _IDENTITIES[f"{entry.path.rpartition('/')[0]}/"]
        if entry.is_folder or entry.size:
            yield Finding("client-identity", entry.path, f"all machines of this image would have {whose}")
    for entry in tree.entries(
        *(f"{home}/{name}" for home in homes(tree) for name in (".ansible/tmp", ".ansible_async"))
    ):
        yield Finding("temporary", entry.path, "left behind by Ansible")


CHECKS: Final[Sequence[Callable[[Tree], Iterator[Finding]]]] = (
    authorized_keys,
    host_keys,
    machine_id,
    cloud_init,
    histories,
    temporary,
    swap,
    permissions,
    client_identities,
)
