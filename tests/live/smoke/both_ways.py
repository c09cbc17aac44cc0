r"""One machine, and a suite run on it by plain pytest and by bakery.

As a script it compares verdicts and times of suites that exist somewhere, on this host's Debian in a container:

    python -m tests.live.smoke.both_ways FOLDER PATH... [--user USER] [--delay MILLISECONDS] [--boot SECONDS] \
        [-- PYTEST-ARGUMENT...]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil

from bakery.errors import NotYet
from bakery.imagefile.suites import Suites
from bakery.machine.shell import known_hosts
from bakery.machine.transport.namespace import entering, environment
from bakery.model import Endpoint
from bakery.smoke import SmokeJob, SuiteRun
from bakery.smoke.suites import run_suites, started_ahead
from bakery.state.ssh_keys import Keys, make_keys
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until
from benchmarks.distance import distant

CONTAINER = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
cd "$1/root"
mkdir -p run/sshd etc/ssh/diff srv/diff home/diff home/zed
cp "$2"/host "$2"/authorized etc/ssh/diff
chmod 600 etc/ssh/diff/host
echo 'diff:x:4711:4711:A Different User,,,:/home/diff:/bin/bash' >>etc/passwd
echo 'zed:x:0:0::/root:/bin/zsh' >>etc/passwd
echo 'space user:x:4713:4713::/:/bin/sh' >>etc/passwd
echo 'diff:x:4711:' >>etc/group
echo 'domain users:x:4712:diff' >>etc/group
printf '%s:*:19000:0:99999:7:::\\n' diff zed >>etc/shadow
echo 'diff ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/diff
chmod 440 etc/sudoers.d/diff
echo blank >srv/diff/blank
chown 4713:4712 srv/diff/blank
ln -s blank srv/diff/link
touch "srv/diff/a b'c"
chown -R 4711:4711 home/diff
cp etc/skel/.bashrc root/.bashrc
exec chroot . /usr/sbin/sshd -D -e -p "$3" -o ListenAddress=127.0.0.1 -o HostKey=/etc/ssh/diff/host \\
  -o AuthorizedKeysFile=/etc/ssh/diff/authorized -o StrictModes=no -o PidFile=none -o UsePAM=no -o MaxStartups=100
"""


@dataclass(frozen=True)
class Debian:
    """This host's Debian in a container.

    Args:
        endpoint: its sshd.
        keys: to it.
        leader: its first process.
    """

    endpoint: Endpoint
    keys: Keys
    leader: int

    @property
    def entered(self) -> Endpoint:
        """The way in by its namespaces."""
        return Endpoint(transport="namespace", data={"pid": self.leader})


@contextmanager
def debian(folder: Path) -> Generator[Debian]:
    """Yield this host's Debian, changed in memory, behind an sshd of its own."""
    keys = make_keys("bakery-test")
    (folder / "host").write_text(keys.host_private)
    (folder / "authorized").write_text(keys.user_public + "\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", CONTAINER, "container"]
    (folder / "mount").mkdir()
    with subprocess.Popen(
        [*words, str(folder / "mount"), str(folder), str(port)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: _answers(port), what="sshd listens", timeout=30, cancel=Cancel())
            (leader,) = psutil.Process(process.pid).children()
            endpoint = Endpoint(host="127.0.0.1", port=port, user="root", host_key=keys.host_public)
            yield Debian(endpoint, keys, leader.pid)
        finally:
            process.kill()


def _answers(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError as error:
        raise NotYet("no answer") from error


@contextmanager
def ssh_config(folder: Path, endpoint: Endpoint, keys: Keys) -> Generator[Path]:
    """Yield a configuration for ssh, whose shared connection ends with the block."""
    (folder / "known_hosts").write_text(known_hosts(endpoint))
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_text(keys.user_private)
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile none\n IdentityFile {folder}/key\n"
        f" IdentitiesOnly yes\n ControlPath /tmp/diff-{os.getpid()}-%C\n"
    )
    try:
        yield config
    finally:
        words = ["ssh", "-F", str(config), "-p", str(endpoint.port), "-l", endpoint.user, "-O", "exit", endpoint.host]
        subprocess.run(words, check=False, capture_output=True)


def theirs(
    folder: Path, endpoint: Endpoint, keys: Keys, paths: Sequence[str], arguments: Sequence[str] = (), *, work: Path
) -> tuple[float, dict[str, str]]:
    """Run suites by plain pytest, over testinfra's ssh backend; return the seconds, and how each test ended."""
    report = work / "theirs.xml"
    with ssh_config(work, endpoint, keys) as config:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        host = f"ssh://{endpoint.user}@{endpoint.host}:{endpoint.port}"
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hosts={host}", f"--ssh-config={config}"]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-P", *words, f"--junitxml={report}", *paths, *arguments],
            cwd=folder,
            env={**environ, "ANSWERS": str(work / "theirs")},
            check=False,
            capture_output=True,
            text=True,
            timeout=900,
        )
        seconds = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return seconds, _verdicts(report)


def theirs_inside(folder: Path, leader: int, paths: Sequence[str], *, work: Path) -> dict[str, str]:
    """Run suites by plain pytest in a container, over testinfra's local backend; return how each test ended.

    Its files are below `/proc/PID/root`: what it writes is brought to the same places here.
    """
    report, answers = work / "inside.xml", work / "theirs"
    words = [*entering(leader), "-c", 'cd / && exec "$@"', "sh"]  # where a shell of ours is, too
    words += [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hosts=local://"]
    done = subprocess.run(
        [*words, f"--junitxml={report}", *(str(folder / path) for path in paths)],
        env={**environment(leader), "ANSWERS": str(answers), "PYTHONUTF8": "1", "PYTHONCOERCECLOCALE": "0"},
        umask=0o022,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    for file in (report, answers):
        file.write_bytes(Path(f"/proc/{leader}/root{file}").read_bytes())
    return _verdicts(report)


def _verdicts(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest's own
        tags = {child.tag for child in case}
        outcome = next((tag for tag in ("error", "failure", "skipped") if tag in tags), "passed")
        name = f"{case.get('classname')}.{case.get('name')}"
        found[_plain(name)] = {"failure": "failed"}.get(outcome, outcome)
    return found


def _plain(name: str) -> str:
    """Return a test's name without its host."""
    return re.sub(r"(ssh|bakery|local)://[^]-]*", "HOST", name)


def ours(
    folder: Path,
    endpoint: Endpoint,
    keys: Keys,
    paths: Sequence[str],
    arguments: Sequence[str] = (),
    *,
    work: Path,
    boot: float = 0.0,
) -> tuple[float, dict[str, str]]:
    """Run the same suites as bakery does, on a machine that has just taken some seconds to boot."""
    report = work / "ours.xml"
    suite = SuiteRun(
        paths=tuple(paths),
        names=("machine",),
        options=Suites(user="login", hosts=("*",)),
        cache=work / "cache",
        arguments=("-q", f"--junitxml={report}", *arguments),
    )
    job = SmokeJob(
        imagefile=folder / "imagefile.py",
        tests=(),
        builtin=frozenset(),
        endpoint=endpoint,
        keys=keys,
        junit=work / "junit.xml",
        suite=suite,
        timeout=900,
    )
    os.environ["ANSWERS"] = str(work / "ours")
    with (started_ahead(suite, job.imagefile) if boot else None) or nullcontext() as process:
        time.sleep(boot)
        began = time.monotonic()
        report_of = run_suites(job, WorkContext(cache=work), process)
        seconds = time.monotonic() - began
    del os.environ["ANSWERS"]
    sys.stdout.write(f"{report_of.round_trips} round trips\n")
    return seconds, _verdicts(report)


def main(words: Sequence[str]) -> int:
    """Compare the verdicts of suites, and show the times of a first run and of the next; 1 where verdicts differ."""
    own, _, arguments = [*words], None, []
    if "--" in words:
        own, arguments = [*words[: words.index("--")]], [*words[words.index("--") + 1 :]]
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--user", default="root")
    parser.add_argument("--boot", type=float, default=0.0, help="seconds of a boot in which bakery's process loads")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds, there and back")
    given = parser.parse_args(own)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name, debian(Path(name)) as machine:
        endpoint, keys = machine.endpoint, machine.keys
        away = distant(endpoint.port, given.delay / 1000) if given.delay else nullcontext(endpoint.port)
        with away as port:
            there = replace(endpoint, user=given.user, port=port)
            copies = [Path(name) / side / given.folder.resolve().name for side in ("a", "b", "c")]
            for copy in copies:  # a suite may write beside itself, and the other run is not to find that
                shutil.copytree(given.folder, copy, symlinks=True)
            slow, expected = theirs(copies[0], there, keys, given.paths, arguments, work=Path(name))
            runs = [
                ours(copy, there, keys, given.paths, arguments, work=Path(name), boot=given.boot) for copy in copies[1:]
            ]
    other = {
        test: (expected.get(test), got.get(test))
        for _, got in runs
        for test in {**expected, **got}
        if expected.get(test) != got.get(test)
    }
    counts = {outcome: list(expected.values()).count(outcome) for outcome in sorted({*expected.values()})}
    times = ", ".join(f"{seconds:.2f} s ({seconds / slow:.2f})" for seconds, _ in runs)
    load = os.getloadavg()[0]
    sys.stdout.write(f"{len(expected)} tests {counts}: testinfra {slow:.2f} s, bakery {times}; load {load:.1f}\n")
    for test, pair in other.items():
        sys.stdout.write(f"  {test}: {pair[0]} with testinfra, {pair[1]} here\n")
    return bool(other)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
