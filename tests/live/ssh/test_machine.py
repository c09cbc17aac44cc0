"""Machine against real shells: Debian behind sshd, another user who must sudo, busybox in namespaces."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bakery import Machine, Seal, Secret
from bakery.errors import CommandFailed, ConnectError, TaskError
from bakery.machine.seal import script, seal
from bakery.machine.transport.link import Link
from bakery.machine.transport.namespace import start_time
from bakery.model import Endpoint
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd
from bakery.util.context import WorkContext

pytestmark = pytest.mark.live

BUSYBOX = shutil.which("busybox")
LOGIN = """
set -e
cd {folder}
cp /etc/passwd /etc/shadow .
echo 'builder:x:4711:4711::{folder}/home:/bin/sh' >>passwd
echo 'builder:*:19000:0:99999:7:::' >>shadow
mkdir -p home sudoers.d
chown 4711 home
{sudoers}
chmod 0440 sudoers.d/* 2>/dev/null || true
mount --bind passwd /etc/passwd
mount --bind shadow /etc/shadow
mount --bind sudoers.d /etc/sudoers.d
exec "$@"
"""


# ---- files, over SSH ------------------------------------------------------------------------------------------------


def test_files_arrive_whole_with_mode_and_owner(machine: Machine, server: Server) -> None:
    data, far = os.urandom(3_000_000), server.folder / "far dir"
    far.mkdir()
    (server.folder / "near").write_bytes(data)
    (server.folder / "near").chmod(0o750)
    machine.put("near", far, owner="nobody")
    info = (far / "near").stat()
    assert ((far / "near").read_bytes(), info.st_mode & 0o777, info.st_uid) == (data, 0o750, 65534)
    machine.get(far / "near", "back")
    assert (server.folder / "back").read_bytes() == data
    assert sorted(path.name for path in far.iterdir()) == ["near"]


def test_a_link_is_written_through(machine: Machine, server: Server) -> None:
    (server.folder / "real").write_text("old")
    (server.folder / "link").symlink_to("real")
    machine.write(server.folder / "link", "new", mode=0o600)
    assert (server.folder / "link").is_symlink()
    assert (server.folder / "real").read_text() == "new"


def test_a_secret_is_written_to_a_file(machine: Machine, server: Server) -> None:
    machine.write(server.folder / "token", Secret("hunter22"), mode=0o400)
    assert (server.folder / "token").read_text() == "hunter22"
    assert (server.folder / "token").stat().st_mode & 0o777 == 0o400


def test_a_folder_that_is_not_there_is_named(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="/nonexistent/: no such folder"):
        machine.write("/nonexistent/file", "x")
    with pytest.raises(CommandFailed, match="No such file"):
        machine.get("/nonexistent/file")
    with pytest.raises(CommandFailed, match="is a folder"):
        machine.get("/etc", "x")


def test_a_folder_is_copied_as_one_stream(machine: Machine, server: Server) -> None:
    near, far = server.folder / "near", server.folder / "far"
    for number in range(300):
        path = near / f"d{number % 7}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 100))
    (near / "d1" / "link").symlink_to("../d2")
    machine.copy("near", str(far), exclude=["d3"])
    shutil.rmtree(near / "d3")
    found = subprocess.run(["diff", "-r", "--no-dereference", near, far], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_a_slow_link_carries_a_gzip_stream(machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = machine._link.open()
    monkeypatch.setattr(transport, "round_trip", lambda: 0.2)
    (server.folder / "near").mkdir()
    (server.folder / "near" / "a").write_text("a" * 100_000)
    machine.copy("near", str(server.folder / "far"))
    assert (server.folder / "far" / "a").read_text() == "a" * 100_000


def test_a_script_runs_by_its_first_line_with_its_arguments(machine: Machine, server: Server) -> None:
    (server.folder / "s.py").write_text("#!/usr/bin/env -S python3 -u\nimport sys\nprint(sys.argv[1:])\n")
    (server.folder / "s.sh").write_text('read -r x; echo "[$x] $1"\n')
    assert machine.script("s.py", "a b", "$HOME").stdout == "['a b', '$HOME']\n"
    assert machine.script("s.sh", "one").stdout == "[] one\n"


# ---- users ----------------------------------------------------------------------------------------------------------


def test_another_user_runs_in_its_own_home_with_its_own_name(machine: Machine) -> None:
    shown = machine.run("id -un; echo $USER $LOGNAME $HOME; pwd", user="games", env={"A": "1"}).stdout
    assert shown.split() == ["games", "games", "games", "/usr/games", "/usr/games"]


def test_words_are_quoted_and_folders_and_prefixes_hold(machine: Machine, server: Server) -> None:
    assert machine.run(["printf", "%s|", "a b", "$HOME", "", "*"]).stdout == "a b|$HOME||*|"
    with machine.cd(str(server.folder)), machine.prefix("X='1 2'"):
        assert machine.run("pwd; echo $X").stdout == f"{server.folder}\n1 2\n"
    with pytest.raises(CommandFailed):
        machine.run("pwd", cwd="/nonexistent")


def test_facts_are_those_of_this_host(machine: Machine) -> None:
    assert (machine.facts.kernel, machine.facts.cpus) == (os.uname().release, os.cpu_count())
    assert machine.facts.memory > 1 << 28
    assert machine.facts is machine.for_step("other").facts


@pytest.mark.parametrize(
    ("sudoers", "refused"),
    [("echo 'builder ALL=(ALL) NOPASSWD: ALL' >sudoers.d/builder", ""), ("true", "the login user may not")],
)
def test_a_login_user_becomes_root_by_sudo_or_is_told_why_not(sudoers: str, refused: str) -> None:
    if os.geteuid() or shutil.which("sudo") is None:
        pytest.skip("needs root, and sudo")
    open_to_all = Path(tempfile.mkdtemp(prefix="bakery-sshd-"))  # pytest's folders are closed to other users
    open_to_all.chmod(0o755)
    folder = open_to_all / "sshd"
    lines = LOGIN.format(folder=folder, sudoers=sudoers)
    server = start_sshd(folder, make_keys("bakery-x"), wrap=["unshare", "--mount", "sh", "-c", lines, "wrap"])
    machine = server.machine(replace(server.endpoint, user="builder"))
    try:
        if refused:
            with pytest.raises(TaskError, match=refused):
                machine.run("id", warn=True)
            return
        assert machine.run("id -un; echo $HOME; pwd", env={"A": "1"}).stdout.split() == ["root", "/root", "/root"]
        assert machine.run("id -un; echo $A", user="builder", env={"A": "1"}).stdout.split() == ["builder", "1"]
        assert machine.run("id -un; cat", user="games", input="in").stdout == "games\nin"
        with pytest.raises(CommandFailed, match="timeout"):
            machine.run("sleep 4715.1", timeout=0.5)
        assert machine.run("pgrep -fc 'sleep 4715[.]1'", warn=True).stdout == "0\n"
    finally:
        machine._link.close()
        server.stop()
        shutil.rmtree(open_to_all)


# ---- busybox in namespaces: no sshd, no bash, no systemd, no sudo ---------------------------------------------------


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Callable[..., tuple[Machine, int]]]:
    """Start a container: a busybox file system, its own process ids, mounts and names."""
    if (
        os.geteuid()
        or BUSYBOX is None
        or b"statically" not in subprocess.run(["file", "-L", BUSYBOX], capture_output=True, check=False).stdout
    ):
        pytest.skip("needs root and a static busybox")
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[Machine, int]:
        root = tmp_path / "root"
        for name in ("bin", "proc", "dev", "tmp", "var/tmp", "etc", "root/.ssh", "var/log", "run", "home/app"):
            (root / name).mkdir(parents=True)
        assert BUSYBOX is not None
        shutil.copy(BUSYBOX, root / "bin/busybox")
        subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\napp:x:1000:\n")
        (root / "run/.containerenv").touch()
        (root / "dev/null").touch()
        (root / "etc/container-of-a-test").touch()
        os.chown(root / "home/app", 1000, 1000)
        mounts = f"mount --bind {root} {root}; mount --bind /dev/null {root}/dev/null; mount -t proc proc {root}/proc"
        init = f"{mounts}; exec chroot {root} /bin/sleep 4716.1"
        shell = ["unshare", *options, "--fork", "--pid", "--mount", "--uts", "--ipc", "sh", "-c", init]
        started.append(subprocess.Popen(shell))
        leader = _leader(started[-1].pid)
        endpoint = Endpoint(transport="namespace", data={"pid": leader, "start": start_time(leader)})
        work = WorkContext(cache=tmp_path)
        machine = Machine(Link(lambda: endpoint, make_keys("bakery-7"), work, timeout=2), tmp_path, work)
        machine.run("test -e /etc/container-of-a-test")  # what the tests do must never be done to this host
        return machine, leader

    yield start
    for process in started:
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def _leader(pid: int) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in _children(pid):
            # Only what has changed its root folder may be entered: before that, it is this host's.
            if (
                Path(f"/proc/{child}/root").readlink() != Path("/")
                and Path(f"/proc/{child}/comm").read_text() == "sleep\n"
            ):
                return child
        time.sleep(0.02)
    raise AssertionError("the container did not start")


@pytest.mark.parametrize("options", [(), ("--user", "--map-root-user")], ids=["root", "rootless"])
def test_a_container_is_a_machine(container: Callable[..., tuple[Machine, int]], options: tuple[str, ...]) -> None:
    machine, _ = container(*options)
    assert machine.run("pwd; echo $HOME; echo $$; cat", input="in", env={"A": "b"}).stdout.endswith("in")
    assert machine.run("ls /").stdout.split() == sorted(
        ["bin", "proc", "dev", "tmp", "var", "etc", "root", "run", "home"]
    )
    machine.write("/etc/x", "text\n", mode=0o600)
    assert machine.run("cat /etc/x; stat -c %a /etc/x").stdout == "text\n600\n"
    assert machine.run("kill -9 $$", warn=True).exited == 137
    assert (machine.facts.init, machine.facts.os_id) == ("sleep", "")
    with pytest.raises(CommandFailed, match="timeout"):
        machine.run("sleep 4717.1 & sleep 4717.2", timeout=0.3)
    machine.wait_for("! ps | grep '[s]leep 4717'")  # killed, and gone as soon as the kernel gets to it


def test_files_users_and_scripts_work_with_busybox_alone(
    container: Callable[..., tuple[Machine, int]], tmp_path: Path
) -> None:
    machine, _ = container()
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "a b").write_text("x")
    (tmp_path / "s").write_text('echo "$1 $(id -un)"\n')
    machine.copy("near", "/opt/far")
    machine.put("s", "~/s", mode=0o700, owner="app")
    assert machine.run("ls /opt/far; stat -c '%a %U' /root/s").stdout == "a b\n700 app\n"
    assert machine.script("s", "hello").stdout == "hello root\n"
    assert machine.run("id -un; pwd", user="app").stdout == "app\n/home/app\n"
    shell = machine._link.open().open_shell()
    shell.send(b"echo $((6 * 7)); exit\n")
    assert shell.receive(timeout=20) == [("stdout", b"42\n")]
    shell.close()


def test_a_container_that_dies_is_lost(container: Callable[..., tuple[Machine, int]]) -> None:
    machine, leader = container()
    machine.run("true")
    os.kill(leader, signal.SIGKILL)
    with pytest.raises((TaskError, ConnectError), match=r"gone|lost"):
        machine.run("sleep 30")


def test_sealing_busybox_removes_what_is_there_and_skips_the_rest(
    container: Callable[..., tuple[Machine, int]],
) -> None:
    machine, _ = container()
    machine.write("/etc/machine-id", "0123\n")
    machine.write("/tmp/left", "x")
    machine.write("/root/.ash_history", "secret\n")
    machine.write("/var/log/messages", "x\n")
    mine = f"{machine.login_key}\nssh-ed25519 AAAAold bakery-6\nssh-ed25519 AAAAadmin admin@desk\n"
    machine.write("/root/.ssh/authorized_keys", mine, mode=0o600)
    first = seal(machine, Seal())
    assert "build_keys: removed 2 lines from /root/.ssh/authorized_keys" in first
    assert "trim: skipped, a container's disk is its host's" in first
    assert machine.run("cat /root/.ssh/authorized_keys").stdout == "ssh-ed25519 AAAAadmin admin@desk\n"
    left = machine.run("cat /etc/machine-id /var/log/messages; ls -A /tmp; ls /root/.ash_history", warn=True)
    assert left.stdout == ""
    assert {line.partition(":")[0] for line in first} == {field.name for field in fields(Seal)}
    assert all("skipped" in line or line.startswith(("logs", "temporary")) for line in seal(machine, Seal()))


def test_a_sealed_machine_without_other_keys_has_no_trace_of_ours(
    container: Callable[..., tuple[Machine, int]],
) -> None:
    machine, _ = container()
    machine.write("/root/.ssh/authorized_keys", machine.login_key + "\n", mode=0o600)
    seal(machine, Seal())
    assert machine.run("ls -A /root").stdout == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_the_sealing_script_is_sound(tmp_path: Path) -> None:
    (tmp_path / "seal").write_text(script(Seal(), "ssh-ed25519 AAAA x"))
    found = subprocess.run(
        ["shellcheck", "--shell=sh", "--severity=warning", tmp_path / "seal"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


UNITS = "/etc/systemd/system"
OURS = "host_keys: installed bakery-host-keys.service, which makes new ones at boot"
THEIRS = "host_keys: new ones are made at boot"
KEYGEN = "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n"
TRIXIE = "[Unit]\nConditionFirstBoot=yes\n" + KEYGEN


@pytest.fixture
def systemd_machine(container: Callable[..., tuple[Machine, int]]) -> Machine:
    """A machine that looks as if systemd ran, with an SSH host key."""
    machine, _ = container()
    machine.run(f"mkdir -p /run/systemd/system {UNITS} /etc/ssh; echo key >/etc/ssh/ssh_host_ed25519_key")
    machine.write("/bin/ssh-keygen", "#!/bin/sh\n", mode=0o755)
    return machine


@pytest.mark.parametrize(
    ("files", "links", "said"),
    [
        pytest.param({"cloud-init.service": "[Unit]\nBefore=sshd-keygen.service\n"}, (), OURS, id="cloud-init alone"),
        pytest.param({"mine.service": KEYGEN}, ("multi-user.target.wants/mine.service",), THEIRS, id="a unit"),
        pytest.param({"mine.service": KEYGEN}, (), OURS, id="a unit that nothing starts"),
        pytest.param(
            {"sshd-keygen@.service": KEYGEN, "sshd-keygen.target": "[Unit]\nWants=sshd-keygen@rsa.service\n"},
            (),
            THEIRS,
            id="Fedora",
        ),
        pytest.param({"sshd-keygen.service": TRIXIE}, ("ssh.service.wants/sshd-keygen.service",), OURS, id="Debian 13"),
        pytest.param(
            {"mine.service": KEYGEN, "mine.service.d/first.conf": "[Unit]\nConditionFirstBoot=yes\n"},
            ("ssh.service.wants/mine.service",),
            OURS,
            id="a first boot by drop-in",
        ),
        pytest.param(
            {"bakery-host-keys.service": KEYGEN},
            ("multi-user.target.wants/bakery-host-keys.service",),
            OURS,
            id="one of ours, older",
        ),
    ],
)
def test_a_sealed_machine_makes_host_keys_at_its_next_boot(
    systemd_machine: Machine, files: dict[str, str], links: tuple[str, ...], said: str
) -> None:
    machine = systemd_machine
    for name, text in files.items():
        machine.run(["mkdir", "-p", f"{UNITS}/{name}".rpartition("/")[0]])
        machine.write(f"{UNITS}/{name}", text)
    for name in links:
        machine.run(["mkdir", "-p", f"{UNITS}/{name}".rpartition("/")[0]])
        machine.run(["ln", "-s", f"../{name.rpartition('/')[2]}", f"{UNITS}/{name}"])
    assert said in seal(machine, Seal())
    assert machine.run("ls /etc/ssh").stdout == ""
    if said == OURS:
        assert machine.run(f"readlink -f {UNITS}/multi-user.target.wants/bakery*").stdout.strip().endswith(".service")


def test_our_unit_stands_before_no_socket_which_would_be_a_circle(systemd_machine: Machine) -> None:
    """Systemd breaks a circle by leaving out one of its jobs: ssh.socket (seen, 252 and 257), and nobody listens."""
    seal(systemd_machine, Seal())
    unit = systemd_machine.run(f"cat {UNITS}/bakery-host-keys.service").stdout
    assert ".socket" not in unit
    assert "After=bakery-host-keys.service" in systemd_machine.run(f"cat {UNITS}/ssh@.service.d/*").stdout
