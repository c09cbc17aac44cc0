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
from dataclasses import replace
from pathlib import Path

from bakery.machine.shell import known_hosts
from bakery.provision import ansible
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd
from benchmarks.bench import Failed, Row, timed
from benchmarks.distance import distant

TASKS = 100
ROUNDS = 2
ROUND_TRIP = 0.03
"""Seconds there and back: a region of the same continent."""
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


def compare(server: Server, folder: Path, where: str) -> list[Row]:
    """Measure all three on one machine."""
    ours: list[float] = []
    by_hand: list[float] = []
    packers: list[float] = []
    for _ in range(ROUNDS):
        by_hand.append(hand(server, folder / "hand"))
        ours.append(bakery(server))
        if shutil.which("packer"):
            packers.append(packer(server, folder / "packer"))
    case = f"a play of {TASKS} tasks, {where}"
    return [
        Row(case, "ansible-playbook, pipelining, ControlPersist", min(ours), min(by_hand), "1.05"),
        Row(case, "packer's ansible provisioner", min(ours), min(packers, default=None), "0.3"),
    ]


def bakery(server: Server) -> float:
    """Time `ansible(m, ...)`."""
    machine = server.machine()
    machine.run("true")
    started = time.perf_counter()
    done = ansible(machine, "site.yml")
    seconds = time.perf_counter() - started
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
    environ = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / f"cp-{time.monotonic_ns()}"), "LC_ALL": "C.UTF-8"}
    return timed(words, folder, environ)


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
