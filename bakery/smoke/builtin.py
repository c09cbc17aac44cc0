"""The tests that every image gets. Ordinary pytest tests; each can be switched off by its name.

Where one does not apply (no systemd, no SSH server, a container's file system), it is skipped and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

from bakery.smoke.host_keys import keys_made_again, was_given
from bakery.smoke.identity import fingerprint, key_blob

if TYPE_CHECKING:
    from bakery.smoke.host import Host
    from bakery.smoke.plugin import Session

BOOT_TIMEOUT: Final = 300.0
CLOCK_LIMIT: Final = 120.0
"""Seconds: TLS and package managers begin to refuse at a few minutes."""
FULL: Final = 0.95
GROWN: Final = 0.85
"""The part of its disk that a root file system must cover; boot and EFI partitions take the rest."""
SMALL_DISK: Final = 1 << 30
SECTOR: Final = 512
"""Bytes in a unit of sysfs's `size`, whatever the disk's own sectors are."""
SHORTEST: Final = 6
SHOWN: Final = 5

_OPENRC: Final = "[ ! -d /run/openrc ] || { echo openrc; %s; }; true"
_STARTING: Final = (
    "booted() { [ ! -e /run/openrc/rc.starting ] && case $(cat /run/openrc/softlevel 2>/dev/null) in "
    "'' | sysinit | boot) false ;; esac; }; "
    f"i=0; until booted || [ $i -ge {BOOT_TIMEOUT:g} ]; do sleep 1; i=$((i + 1)); done; "
    'booted || echo "runlevel $(cat /run/openrc/softlevel 2>/dev/null)" $(ls /run/openrc/starting)'
)
_FAILED: Final = (
    "for l in sysinit boot $(cat /run/openrc/softlevel); do rc-status --nocolor $l; done 2>/dev/null | "
    r"sed -n 's/^ *\([^ ]*\) .*\[ *\(stopped\|crashed\|failed\) .*/\1/p'"
)
"""Where OpenRC notes it: RC_SVCDIR of its librc/rc.h, and rc-status(8). In OpenRC 0.45 a service whose start failed is
stopped, and not among the failed."""
_HOMES: Final = "{ cut -d: -f6 /etc/passwd; echo /root; } | sort -u"
_KEYS: Final = (
    f'for h in $({_HOMES}); do for f in "$h/.ssh/authorized_keys" "$h/.ssh/authorized_keys2"; do '
    '[ -f "$f" ] && sed "s|^|$f: |" "$f"; done; done; '
    "for f in /etc/ssh/authorized_keys.d/* /etc/dropbear/authorized_keys; do "
    '[ -f "$f" ] && sed "s|^|$f: |" "$f"; done; true'
)
_SEARCH: Final = r"""
( umask 077; f=/run/bakery-smoke.$$; [ -w /run ] || f=/tmp/bakery-smoke.$$; cat >$f <<'end-of-the-secrets'
%s
end-of-the-secrets
find /root /home /etc /tmp /var/tmp /var/log /var/lib/cloud /var/backups -xdev -type f ! -path "$f" -size -4096k \
  -exec grep -lFsf $f {} + </dev/null 2>/dev/null
rm -f $f )
"""
_ROOT: Final = r"""
set -- $(df -Pk / | tail -1); echo "fs $2 $3 $1"
p=$(readlink -f "$1"); p=${p##*/}
[ -e /sys/class/block/$p/partition ] || exit 0
d=$(readlink -f /sys/class/block/$p/..); echo "disk $(cat $d/size)"
others=0; for o in $d/*/partition; do
  o=${o%/partition}; [ ${o##*/} = $p ] || others=$((others + $(cat $o/size)))
done; echo "others $others"
"""
_OWNERS: Final = r"""
echo "shadow $(sed -n 's/^shadow:[^:]*:\([0-9]*\):.*/\1/p' /etc/group 2>/dev/null)"
set --; for f in %s; do [ ! -e "$f" ] || [ -L "$f" ] || set -- "$@" "$f"; done
stat -c '%%f %%u %%g %%n' "$@"
set --; for d in /etc /root /boot /bin /sbin /usr/bin /usr/sbin /usr/local /tmp /var/tmp /home; do
  [ -L "$d" ] || [ ! -d "$d" ] || set -- "$@" "$d"
done
find "$@" -xdev \( -type f -o -type d \) \( -perm -0002 -o -perm -4000 -o -perm -2000 -o -perm -0020 \
  -o ! -user 0 \( -path '/etc/*/*' -o -path '*bin/*' \) \) -exec stat -c '%%f %%u %%g %%n' {} + 2>/dev/null
true
"""
"""Two programs look at everything: on an emulated processor the start of one takes a tenth of a second."""


def _needs_systemd(host: Host) -> None:
    if not host.file("/run/systemd/system/").is_directory:
        pytest.skip("the image has no systemd")


def _check(fine: object, problem: str) -> None:
    """Fail with a text for the image's author, who has no use for a traceback into this file."""
    if not fine:
        pytest.fail(problem, pytrace=False)


def _openrc(host: Host, script: str) -> list[str] | None:
    """Run a script where OpenRC runs the machine; returns its lines, None elsewhere."""
    first, *lines = host.check_output(_OPENRC % script).splitlines() or [""]
    return lines if first == "openrc" else None


def boot_is_finished(host: Host) -> None:
    """Wait for systemctl(1)'s `running`, or for `degraded`, which is the matter of no_failed_units."""
    if (waiting := _openrc(host, _STARTING)) is not None:
        _check(not waiting, f"OpenRC has not booted after {BOOT_TIMEOUT:g} s: {' '.join(waiting)}")
        return
    _needs_systemd(host)
    state = host.run("systemctl is-system-running --wait", timeout=BOOT_TIMEOUT).stdout.strip()
    if state not in ("running", "degraded"):
        jobs = host.run("systemctl list-jobs --no-pager").stdout
        pytest.fail(f"the machine is {state or 'silent'}; jobs that still wait:\n{jobs}", pytrace=False)


def no_failed_units(host: Host) -> None:
    """A unit that fails on a fresh clone fails on every machine of this image."""
    if (services := _openrc(host, _FAILED)) is not None:
        _check(not services, f"failed at boot: {', '.join(sorted({*services}))}")
        return
    _needs_systemd(host)
    failed = [
        line.split()[0] for line in host.check_output("systemctl --failed --plain --no-legend").splitlines() if line
    ]
    logs = [host.run("systemctl status --no-pager --lines=10 %s", unit).stdout for unit in failed[:SHOWN]]
    _check(not failed, "\n".join([f"failed at boot: {', '.join(failed)}", *logs]))


def no_build_key(host: Host, bakery_session: Session) -> None:
    """The one key that may log in is the one that this machine was given."""
    own = key_blob(bakery_session.job.keys.user_public)
    lines = host.check_output(_KEYS).splitlines()
    others = [line for line in lines if key_blob(line) and key_blob(line) != own]
    _check(not others, "\n".join(["keys that nobody gave to this machine:", *others]))


def no_build_secret(bakery_session: Session) -> None:
    """A quick look; the inspection of the image itself is thorough."""
    lines = {line for text in bakery_session.job.secrets.values() for line in text.splitlines()}
    wanted = sorted(line for line in lines if len(line) >= SHORTEST and not line.startswith("-----"))
    if not wanted:
        pytest.skip("the build has no secrets")
    # Through the shell's standard input: never in the arguments of a process.
    files = bakery_session.feed(_SEARCH % "\n".join(wanted)).splitlines()
    _check(not files, "\n".join(["files that hold a secret of the build:", *files]))


def machine_id_is_new(bakery_session: Session) -> None:
    """machine-id(5): the same id on two machines breaks DHCP leases, the journal and whatever counts machines."""
    mine, builder = bakery_session.identity.machine_id, bakery_session.job.builder
    if mine is None:
        pytest.skip("the image has no /etc/machine-id")
    _check(mine, "/etc/machine-id is empty")
    _check(mine != "uninitialized", "the first boot did not finish /etc/machine-id")
    _check(
        builder is None or mine != builder.machine_id, f"{mine} is the machine-id of the machine that built the image"
    )


def host_keys_are_new(bakery_session: Session) -> None:
    """Only the key that this machine was given may be known beforehand."""
    mine, job = bakery_session.identity.host_keys, bakery_session.job
    if not mine:
        pytest.skip("the image has no SSH host keys")
    given = {fingerprint(job.keys.host_public)} if job.keys.host_public else set[str]()
    old = sorted((mine - given) & (job.builder.host_keys if job.builder else frozenset()))
    _check(not old, "\n".join(["SSH host keys that the machine that built the image has too:", *old]))


def host_keys_are_made(host: Host, bakery_session: Session) -> None:
    """A machine to which nobody gives host keys makes its own at its first boot, or nobody can ever log in to it.

    Where this machine was given none, it has just done so. Where it was (with user data of the user's own, that is how
    we know it), what makes keys at boot is run again on a folder without any.
    """
    if not bakery_session.identity.host_keys and bakery_session.job.endpoint.transport != "ssh":
        pytest.skip("the image has no SSH host keys, and is not reached by SSH")
    if not was_given(bakery_session.job, bakery_session.identity):
        _check(bakery_session.identity.host_keys, "no host key is in /etc/ssh or /etc/dropbear, though an sshd answers")
        return
    _needs_systemd(host)
    units, keys = keys_made_again(host)
    if not keys and host.file("/run/cloud-init/enabled").exists:
        pytest.skip("only cloud-init makes host keys here; it was given this machine's, so it was not seen to do so")
    tried = f"what was run again: {', '.join(units)}" if units else "no unit of this boot runs ssh-keygen"
    _check(keys, f"nothing makes host keys on a machine that has none ({tried})")


def clock_is_right(host: Host) -> None:
    """TLS, Kerberos and package managers refuse to work with a wrong clock."""
    off = float(host.check_output("date +%s")) - time.time()
    _check(abs(off) <= CLOCK_LIMIT, f"the clock is {off:+.0f} s off")


def root_has_room(host: Host) -> None:
    """The root file system grew into the disk that this machine was given, and has space left."""
    facts = dict(line.split(" ", 1) for line in host.check_output(_ROOT).splitlines())
    total, used, device = facts["fs"].split()
    if not total.isdecimal():
        pytest.skip("/ is no mount of its own, so df says nothing of it")
    _check(int(used) <= FULL * int(total), f"{device} is full: {int(used) >> 10} of {int(total) >> 10} MiB are in use")
    if "disk" not in facts or not device.startswith("/dev/"):
        pytest.skip(f"/ is on {device}, not on a plain partition: nothing can be said of its growth")
    disk = (int(facts["disk"]) - int(facts.get("others", 0))) * SECTOR  # partitions of one's own are not the root's
    covered = int(total) * 1024 / disk
    _check(disk <= SMALL_DISK or covered >= GROWN, f"/ did not grow: it covers {covered:.0%} of {disk >> 20} MiB")


def only_root_rules_the_system(host: Host) -> None:
    """What decides who is root belongs to root, and nobody else can write it: also on disks that cannot be read."""
    from bakery.disk.inspect import permissions  # loads what reads disks: only where this test runs
    from bakery.disk.inspect.ext4_reader import DirectoryEntry

    paths = " ".join((*permissions.FOLDERS, *permissions.OPEN, *permissions.VITAL, *permissions.SECRET))
    first, *lines = host.check_output(_OWNERS % paths).splitlines()
    fields = [line.split(" ", 3) for line in lines]
    entries = [DirectoryEntry(path, 0, int(mode, 16), 0, uid=int(uid), gid=int(gid)) for mode, uid, gid, path in fields]
    shadow = first.removeprefix("shadow").strip()
    faults = permissions.judge(entries, int(shadow) if shadow.isdecimal() else None)
    wrong = sorted({f"{finding.path}: {finding.detail}" for finding in faults if finding.fatal})
    _check(not wrong, "\n".join(["owners and modes that let others rule the system:", *wrong]))


def survives_reboot(host: Host, bakery_session: Session) -> None:
    """An image may keep what it writes in memory alone, and make keys or an id anew at each boot, not at the first."""
    before, now = bakery_session.job.before, bakery_session.identity
    if before is None:
        pytest.skip("the machine was not rebooted")
    wrong = [
        f"{path} is not what was written before the reboot"
        for path in before.sentinels
        if host.run("cat -- %s", path).stdout.strip() != before.token
    ]
    if before.identity.machine_id != now.machine_id:
        wrong.append(f"the machine-id was {before.identity.machine_id}, and is {now.machine_id}")
    if lost := sorted(before.identity.host_keys - now.host_keys):
        wrong += ["SSH host keys that are gone:", *lost]
    _check(not wrong, "\n".join(["what did not survive a reboot:", *wrong]))


TESTS: Final[dict[str, Callable[..., None]]] = {
    test.__name__: test
    for test in (
        boot_is_finished,
        no_failed_units,
        no_build_key,
        no_build_secret,
        machine_id_is_new,
        host_keys_are_new,
        host_keys_are_made,
        clock_is_right,
        root_has_room,
        only_root_rules_the_system,
        survives_reboot,
    )
}
