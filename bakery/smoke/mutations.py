"""Breaking one thing on a machine, to see whether its tests notice: what there is to break, and how.

Candidates are found on a machine of the image itself, by a script that any POSIX shell runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final, Literal, TypeAlias, cast, get_args

MutationKind: TypeAlias = Literal["service", "port", "file", "mode", "package", "kernel", "clock", "dns"]
KINDS: Final[tuple[str, ...]] = get_args(MutationKind)

FIND: Final = r"""
own() {
  if [ -d /var/lib/dpkg/info ]; then sort -u /var/lib/dpkg/info/*.list
  elif command -v rpm >/dev/null; then rpm -qal | sort -u
  elif command -v apk >/dev/null; then apk info -Lq $(apk info -q) 2>/dev/null | sed 's,^,/,' | sort -u
  fi
}
units() {
  for link in $(ls -td /etc/systemd/system/*.wants/*.service /etc/systemd/system/*.requires/*.service 2>/dev/null); do
    [ -e "$link" ] && echo "${link##*/}"
  done
  systemctl list-unit-files --state=enabled --type=service --no-legend --no-pager |
    while read -r unit rest; do case "$unit" in *@.service) ;; *) echo "$unit" ;; esac; done
}
packages() {
  if command -v apt-mark >/dev/null; then
    apt-mark showmanual >"$list"
    ls -t /var/lib/dpkg/info/ | sed -n 's/\(:[a-z0-9-]*\)\{0,1\}\.list$//p' | grep -Fxf "$list"
  elif command -v rpm >/dev/null; then rpm -qa --qf '%{INSTALLTIME} %{NAME}\n' | sort -rn | sed 's/^[0-9]* //'
  elif command -v apk >/dev/null; then cat /etc/apk/world
  fi
}
list=$(mktemp); booted=$(mktemp)
touch -d "@$(sed -n 's/^btime //p' /proc/stat)" "$booted" 2>/dev/null
[ -d /run/systemd/system ] && units | while read -r unit; do printf 'service\t%s\n' "$unit"; done
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r n local remote state rest; do
  [ "$state" = 0A ] && printf 'port\t%d\n' "0x${local##*:}"
done | sort -u
own >"$list"
newer=; [ -s "$list" ] || newer="-newer /bin/sh"
for when in "! -newer" -newer; do
  find /etc /usr/local /opt /srv /var/www /root /home -xdev -type f $newer $when "$booted" -exec ls -td {} + 2>/dev/null
done |
  while IFS= read -r file; do
    case "$file" in
      */ssl/certs/*|*/ssh_host_*|*dropbear*_host_key|*/.ssh/*|/etc/machine-id) ;;
      *-|*.lock|*.pwd.lock|*/ld.so.cache|*/.cache/*) ;;
      /etc/passwd|/etc/group|/etc/shadow|/etc/gshadow|/etc/mtab|/etc/resolv.conf|/etc/hostname|*/.*history) ;;
      *) grep -Fqx -- "$file" "$list" || printf 'file\t%s\n' "$file" ;;
    esac
  done
for file in /etc/shadow /etc/sudoers /etc/passwd /etc/ssh/sshd_config; do
  [ -f "$file" ] && printf 'mode\t%s\n' "$file"
done
packages | while read -r package; do printf 'package\t%s\n' "$package"; done
for word in $(cat /proc/cmdline); do
  case "$word" in root=*|ro|rw|BOOT_IMAGE=*|initrd=*|quiet) ;; *) printf 'kernel\t%s\n' "$word" ;; esac
done
printf 'clock\ttwo days ahead\n'
grep -q '^nameserver' /etc/resolv.conf 2>/dev/null && printf 'dns\t/etc/resolv.conf\n'
rm -f "$list" "$booted"
"""
"""Prints a candidate a line: its kind, a tab, what it is. Of each kind what came last comes first, the work of the
user's tasks; what the boot itself has written comes last."""

_LIFELINES: Final = (
    "ssh",
    "sshd",
    "dropbear",
    "dbus",
    "networking",
    "NetworkManager",
    "systemd-networkd",
    "cloud-init",
)
"""Services that are not stopped: without them nobody could ask what the tests say."""
_KEEP_PACKAGES: Final = ("openssh-server", "dropbear", "sudo", "systemd", "dash", "bash", "busybox", "libc6", "apt")
_OWN_PORT: Final = "22"

_BREAK: Final[Mapping[str, str]] = {
    "service": "systemctl disable --now %s",
    "lifeline": "systemctl disable %s",
    "port": r"""
port=$(printf %%04X %s)
for inode in $(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r n local r state q t u uid o inode rest; do
    [ "$state:${local##*:}" = "0A:$port" ] && echo "$inode"; done); do
  for fd in /proc/[0-9]*/fd/*; do
    [ "$(readlink "$fd" 2>/dev/null)" = "socket:[$inode]" ] || continue
    pid=${fd#/proc/}; pid=${pid%%%%/*}
    unit=$(sed -n 's,.*/\([^/]*\.service\)$,\1,p' "/proc/$pid/cgroup" 2>/dev/null | head -n 1)
    [ -n "$unit" ] && systemctl stop "$unit"
    kill -9 "$pid" 2>/dev/null
  done
done
true""",
    "file": "rm -f -- %s",
    "mode": "chmod a+rw -- %s",
    "package": "dpkg --force-all --purge %s 2>/dev/null || rpm -e --nodeps %s 2>/dev/null || apk del %s",
    "kernel": "sed \"s,$(printf %%s %s | sed 's/[].[*^$,\\\\]/\\\\&/g'),,\" /proc/cmdline >/run/cmdline && "
    "mount --bind /run/cmdline /proc/cmdline",
    "clock": 'date -s "@$(($(date +%%s) + 172800))"',
    "dns": ": >/run/resolv.empty && mount --bind /run/resolv.empty /etc/resolv.conf",
}


@dataclass(frozen=True)
class Mutation:
    """One thing that is broken.

    Args:
        kind: what kind of thing.
        subject: which of them.
    """

    kind: MutationKind
    subject: str

    def __str__(self) -> str:
        """Say it as a sentence says it: `the service nginx.service is disabled and stopped`."""
        match self.kind:
            case "service":
                stopped = "" if self._is_lifeline else " and stopped"
                return f"the service {self.subject} is disabled{stopped}"
            case "port":
                return f"nothing listens on port {self.subject}"
            case "file":
                return f"{self.subject} is gone"
            case "mode":
                return f"everybody can read and write {self.subject}"
            case "package":
                return f"the package {self.subject} is removed"
            case "kernel":
                return f"the kernel argument {self.subject} is missing"
            case "clock":
                return f"the clock is {self.subject}"
            case "dns":
                return "no name server is known"

    @property
    def _is_lifeline(self) -> bool:
        return self.subject.removesuffix(".service") in _LIFELINES

    @property
    def script(self) -> str:
        """Lines for a POSIX shell, as root, that break it."""
        template = _BREAK["lifeline" if self.kind == "service" and self._is_lifeline else self.kind]
        return template % ((shlex.quote(self.subject),) * template.replace("%%", "").count("%s"))


def candidates(text: str) -> list[Mutation]:
    """Read what `FIND` printed; what would cut the way to the machine is left out."""
    found: dict[Mutation, None] = {}
    for line in text.splitlines():
        kind, tab, subject = line.partition("\t")
        mutation = Mutation(cast("MutationKind", kind), subject)
        if tab and kind in KINDS and subject and not _cuts_us_off(mutation):
            found[mutation] = None
            if kind == "file":
                found[Mutation("mode", subject)] = None
    return [*found]


def _cuts_us_off(mutation: Mutation) -> bool:
    return (mutation.kind == "port" and mutation.subject == _OWN_PORT) or (
        mutation.kind == "package" and mutation.subject in _KEEP_PACKAGES
    )


def chosen(found: Iterable[Mutation], kinds: Sequence[str], limit: int) -> list[Mutation]:
    """Choose so many, of each kind in turn, so that none crowds out the others.

    Args:
        found: the candidates.
        kinds: those that are wanted; all when empty.
        limit: how many at most.
    """
    by_kind: dict[str, list[Mutation]] = {kind: [] for kind in KINDS if not kinds or kind in kinds}
    for mutation in found:
        if mutation.kind in by_kind:
            by_kind[mutation.kind].append(mutation)
    return list(_in_turn(by_kind.values()))[:limit]


def _in_turn(lists: Iterable[list[Mutation]]) -> Iterator[Mutation]:
    yield from (each for each in chain.from_iterable(zip_longest(*lists)) if each is not None)
