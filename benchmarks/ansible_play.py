"""A play of a hundred tasks over SSH: by bakery, by ansible-playbook as an expert calls it, and by Packer.

Once on loopback, where what all three do on this host counts alone; and once with the network between, that a machine
in a cloud has.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bakery.machine.access import access
from bakery.machine.shell import known_hosts
from bakery.provision import ansible
from bakery.provision.ansible_host import end_masters
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd
from benchmarks.bench import Aim, Failed, Row, timed
from benchmarks.distance import distant

TASKS = int(os.environ.get("BAKERY_BENCH_TASKS", "100"))
ROUNDS = int(os.environ.get("BAKERY_BENCH_ROUNDS", "2"))
ROUND_TRIP = 0.03
"""Seconds there and back: a region of the same continent."""
SESSIONS_END = 5.0
"""Seconds that a run's connections have to end, once it has."""
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
RSA = "-o IdentitiesOnly=yes -o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedAlgorithms=+ssh-rsa"
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n" + '  - command: "true"\n' * TASKS
CONFIG = "[defaults]\ninterpreter_python = auto_silent\n[connection]\npipelining = True\n"


def run(folder: Path) -> list[Row]:
    """Measure all in one run, in turns; the best of each counts, since the host may be busy."""
    folder.mkdir(parents=True, exist_ok=True)
    server = start_sshd(folder / "sshd", make_keys("benchmark"))
    try:
        (server.folder / "site.yml").write_text(PLAY)
        rows = compare(server, folder, "on loopback")
        with distant(server.port, ROUND_TRIP) as port:
            rows += compare(replace(server, port=port), folder, f"{ROUND_TRIP * 1000:.0f} ms away")
    finally:
        server.stop()
    return rows


@dataclass(frozen=True, order=True)
class Cost:
    """What one run took: seconds on the clock, and of the processors, on this host and on the machine."""

    wall: float
    here: float
    there: float

    def __str__(self) -> str:
        return f"processor {self.here:.1f} s here, {self.there:.1f} s there"


def compare(server: Server, folder: Path, where: str) -> list[Row]:
    """Measure all of them on one machine."""
    ours: list[Cost] = []
    mitogens: list[Cost] = []
    by_hand: list[Cost] = []
    packers: list[Cost] = []
    for _ in range(ROUNDS):
        by_hand.append(cost(server, lambda: hand(server, folder / "hand")))
        ours.append(cost(server, lambda: bakery(server, mitogen=False)))
        mitogens.append(cost(server, lambda: bakery(server, mitogen=True)))
        if shutil.which("packer"):
            packers.append(cost(server, lambda: packer(server, folder / "packer")))
    case = f"a play of {TASKS} tasks, {where}"
    against = [("ansible-playbook, pipelining, ControlPersist", by_hand, Aim(1.05))]
    against += [("packer's ansible provisioner", packers, Aim(0.3))] if packers else []
    return [
        Row(f"{case}{how}", name, min(mine).wall, min(theirs).wall, aim, f"ours: {min(mine)}; theirs: {min(theirs)}")
        for how, mine in (("", ours), (", with Mitogen", mitogens))
        for name, theirs, aim in against
    ]


def cost(server: Server, run: Callable[[], float]) -> Cost:
    """Measure a run; what its sessions took on the machine is known when they have ended."""
    here, there = _processor(server)
    wall = run()
    deadline = time.monotonic() + SESSIONS_END
    while server.sessions() and time.monotonic() < deadline:
        time.sleep(0.1)
    now_here, now_there = _processor(server)
    return Cost(wall, now_here - here, now_there - there)


def _processor(server: Server) -> tuple[float, float]:
    """Return the processor seconds of this process and its ended children, and of the machine's ended sessions."""
    machine = psutil.Process(server.process.pid).cpu_times()
    return sum(os.times()[:4]), machine.children_user + machine.children_system


def bakery(server: Server, *, mitogen: bool) -> float:
    """Time `ansible(m, ...)`."""
    machine = server.machine()
    machine.run("true")
    try:
        started = time.perf_counter()
        done = ansible(machine, "site.yml", mitogen=mitogen)
        seconds = time.perf_counter() - started
    finally:
        access(machine).link.close()
    if len(done.items) != TASKS:
        raise Failed(f"{len(done.items)} of {TASKS} tasks ran")
    return seconds


def hand(server: Server, folder: Path) -> float:
    """Time ansible-playbook with a pinned host key and pipelining; ControlPersist is its default."""
    key = _key(server, folder)
    (folder / "known").write_text(known_hosts(server.endpoint))
    (folder / "ansible.cfg").write_text(CONFIG)
    arguments = f"-F none -o UserKnownHostsFile={folder}/known -o IdentitiesOnly=yes"
    (folder / "hosts").write_text(
        f"default ansible_host=127.0.0.1 ansible_port={server.port} ansible_user=root "
        f'ansible_ssh_private_key_file={key} ansible_ssh_common_args="{arguments}"\n'
    )
    words = [PLAYBOOK, "-i", "hosts", str(server.folder / "site.yml")]
    environ = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"), "LC_ALL": "C.UTF-8"}
    seconds = timed(words, folder, environ)
    end_masters(folder)  # the next run's connection is its own
    return seconds


def packer(server: Server, folder: Path) -> float:
    """Time `packer build` of a machine that is there already, with its ansible provisioner as it comes."""
    key = _key(server, folder)
    template = {
        "builders": [
            {
                "type": "null",
                "ssh_host": "127.0.0.1",
                "ssh_port": server.port,
                "ssh_username": "root",
                "ssh_private_key_file": str(key),
            }
        ],
        "provisioners": [
            {
                "type": "ansible",
                "playbook_file": str(server.folder / "site.yml"),
                "command": PLAYBOOK,
                "user": "root",
                # its proxy knows no newer host key than ssh-rsa, which OpenSSH 9 takes only when it is told to
                "extra_arguments": ["--ssh-extra-args", RSA],
                "ansible_env_vars": ["ANSIBLE_HOST_KEY_CHECKING=False", "LC_ALL=C.UTF-8"],
            }
        ],
    }
    (folder / "template.json").write_text(json.dumps(template))
    environ = {"CHECKPOINT_DISABLE": "1", "HOME": os.environ["HOME"], "PACKER_LOG": "1", "PACKER_LOG_PATH": "log"}
    seconds = timed(["packer", "build", "template.json"], folder, environ)
    if "SSH proxy: serving on" not in (folder / "log").read_text():
        raise Failed("packer went without its proxy")
    return seconds


def _key(server: Server, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(server.keys.user_private)
    return key
