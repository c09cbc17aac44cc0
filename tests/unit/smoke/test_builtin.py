"""The tests that every image gets: what they ask, and what they say of the answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakery.model import Endpoint
from bakery.smoke import SmokeJob
from bakery.smoke.backend import host as make_host
from bakery.smoke.builtin import TESTS
from bakery.smoke.identity import Identity, fingerprint
from bakery.smoke.job import BeforeReboot
from bakery.smoke.shell import Shell
from bakery.state.ssh_keys import make_keys
from tests.unit.smoke.pipes import Answer, FakePipes

builtin = import_module("bakery.smoke.builtin")  # the room offers a function of that name
KEYS = make_keys("bakery-test")
OTHERS = make_keys("somebody")
JOB = SmokeJob(imagefile=Path("/i.py"), tests=(), endpoint=Endpoint(), keys=KEYS, junit=Path("/j.xml"))


class Machine:
    """A machine that answers a command by a part of it; the last foreseen is asked first."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str | Answer]] = [("", "")]
        self.asked: list[str] = []
        self.fed: list[str] = []
        self.job = JOB
        self.identity = Identity()
        self.host: Any = make_host("box", Shell(lambda: FakePipes(self.reply, 4096)))

    def says(self, part: str, answer: str | Answer) -> Machine:
        self.answers.insert(0, (part, answer))
        return self

    def reply(self, command: str) -> Answer:
        self.asked.append(command)
        found = next(answer for part, answer in self.answers if part in command)
        return (found.encode(), b"", 0) if isinstance(found, str) else found

    def feed(self, script: str) -> str:
        self.fed.append(script)
        return self.reply(script)[0].decode()

    def run(self, name: str) -> None:
        test = TESTS[name]
        given: dict[str, Any] = {"host": self.host, "bakery_session": self}
        test(**{name: given[name] for name in test.__code__.co_varnames[: test.__code__.co_argcount]})

    def fails(self, name: str) -> str:
        with pytest.raises(pytest.fail.Exception) as raised:
            self.run(name)
        assert raised.value.pytrace is False
        return str(raised.value)

    def skips(self, name: str) -> str:
        with pytest.raises(pytest.skip.Exception) as raised:
            self.run(name)
        return str(raised.value)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with systemd."""
    machine = Machine()
    machine.systemd = True  # type: ignore[attr-defined]  # for the line below
    monkeypatch.setattr(builtin, "_needs_systemd", _needs_systemd(machine))
    return machine


def _needs_systemd(machine: Any) -> Callable[[object], None]:
    def needs(_: object) -> None:
        if not machine.systemd:
            pytest.skip("the image has no systemd")

    return needs


def test_systemd_is_known_by_its_folder() -> None:
    directory = SimpleNamespace(is_directory=True)
    builtin._needs_systemd(SimpleNamespace(file=lambda _: directory))
    nothing = SimpleNamespace(file=lambda _: SimpleNamespace(is_directory=False))
    with pytest.raises(pytest.skip.Exception):
        builtin._needs_systemd(nothing)


@pytest.mark.parametrize("name", ["boot_is_finished", "no_failed_units"])
def test_what_asks_systemd_is_skipped_without_it(machine: Machine, name: str) -> None:
    machine.systemd = False  # type: ignore[attr-defined]  # see the fixture
    assert machine.skips(name) == "the image has no systemd"


def test_openrc_is_asked_for_what_failed_and_whether_it_still_starts(machine: Machine) -> None:
    machine.systemd = False  # type: ignore[attr-defined]  # see the fixture
    machine.says("rc-status", "openrc\n").says("rc.starting", "openrc\n")
    machine.run("no_failed_units")
    machine.run("boot_is_finished")
    machine.says("rc-status", "openrc\nsshd\ncrond\nsshd\n").says("rc.starting", "openrc\nntpd\n")
    assert machine.fails("no_failed_units") == "failed at boot: crond, sshd"
    assert machine.fails("boot_is_finished") == "OpenRC has not booted after 300 s: ntpd"


@pytest.mark.parametrize("state", ["running\n", "degraded\n"])
def test_a_machine_that_is_up_has_booted(machine: Machine, state: str) -> None:
    machine.says("is-system-running", (state.encode(), b"", int(state != "running\n"))).run("boot_is_finished")


@pytest.mark.parametrize(("state", "said"), [("starting", "starting"), ("", "silent")])
def test_a_machine_that_is_stuck_names_the_jobs_that_wait(machine: Machine, state: str, said: str) -> None:
    machine.says("is-system-running", (state.encode(), b"", 1)).says("list-jobs", "42 slow.service start running\n")
    assert machine.fails("boot_is_finished") == (
        f"the machine is {said}; jobs that still wait:\n42 slow.service start running\n"
    )


def test_units_that_failed_are_named_with_the_logs_of_some(machine: Machine) -> None:
    machine.run("no_failed_units")
    failed = [f"unit{number}.service loaded failed failed Number {number}" for number in range(7)]
    machine.says("systemctl --failed", "\n".join([*failed, ""])).says("systemctl status", "exit code 1\n")
    text = machine.fails("no_failed_units")
    assert text.startswith("failed at boot: unit0.service, unit1.service")
    assert text.count("exit code 1") == builtin.SHOWN


@pytest.mark.parametrize("options", ["", 'command="x",no-pty '])
def test_a_key_that_nobody_gave_to_this_machine_is_found_whatever_its_options(machine: Machine, options: str) -> None:
    own = f"/root/.ssh/authorized_keys: {KEYS.user_public}"
    machine.says("authorized_keys", f"{own}\n# a remark\n\n").run("no_build_key")
    other = f"/home/admin/.ssh/authorized_keys: {options}{OTHERS.user_public}"
    machine.says("authorized_keys", f"{own}\n{other}\n")
    assert machine.fails("no_build_key") == f"keys that nobody gave to this machine:\n{other}"


def test_a_secret_is_looked_for_by_its_lines_and_in_no_argument_list(machine: Machine) -> None:
    machine.job = replace(
        JOB, secrets={"pw": "hunter22", "pem": "-----BEGIN KEY-----\nlonglongline\n-----END KEY-----"}
    )
    machine.run("no_build_secret")
    assert "\nhunter22\nlonglongline\nend-of-the-secrets" in machine.fed[0]
    assert "BEGIN" not in machine.fed[0]
    machine.says("find /root", "/etc/motd\n/root/.netrc\n")
    assert machine.fails("no_build_secret") == "files that hold a secret of the build:\n/etc/motd\n/root/.netrc"


@pytest.mark.parametrize("secrets", [{}, {"pin": "12345"}, {"pem": "-----BEGIN KEY-----"}])
def test_secrets_that_cannot_be_told_from_other_text_are_not_looked_for(
    machine: Machine, secrets: dict[str, str]
) -> None:
    machine.job = replace(JOB, secrets=secrets)
    assert machine.skips("no_build_secret") == "the build has no secrets"
    assert machine.fed == []


@pytest.mark.parametrize(
    ("mine", "builders", "said"),
    [
        ("a", "b", ""),
        ("a", None, ""),
        ("a", "a", "a is the machine-id of the machine that built the image"),
        ("", "a", "/etc/machine-id is empty"),
        ("uninitialized", "a", "the first boot did not finish /etc/machine-id"),
    ],
)
def test_a_machine_id_is_born_on_its_machine(machine: Machine, mine: str, builders: str | None, said: str) -> None:
    machine.identity = Identity(machine_id=mine)
    machine.job = replace(JOB, builder=None if builders is None else Identity(machine_id=builders))
    if said:
        assert machine.fails("machine_id_is_new") == said
    else:
        machine.run("machine_id_is_new")


def test_an_image_without_a_machine_id_has_none_to_share(machine: Machine) -> None:
    assert "no /etc/machine-id" in machine.skips("machine_id_is_new")
    assert "no SSH host keys" in machine.skips("host_keys_are_new")


def test_only_the_key_that_this_machine_was_given_may_be_known_beforehand(machine: Machine) -> None:
    given = fingerprint(KEYS.host_public)
    machine.identity = Identity(host_keys=frozenset({given, "SHA256:new"}))
    machine.job = replace(JOB, builder=Identity(host_keys=frozenset({given, "SHA256:old"})))
    machine.run("host_keys_are_new")
    machine.identity = Identity(host_keys=frozenset({given, "SHA256:old"}))
    assert machine.fails("host_keys_are_new").endswith("has too:\nSHA256:old")
    machine.job = replace(JOB, builder=None)
    machine.run("host_keys_are_new")


class TestHostKeysAreMade:
    """Host keys on a machine that was given one, or none."""

    def test_a_machine_that_was_given_none_has_made_its_own(self, machine: Machine) -> None:
        machine.job = replace(JOB, keys=replace(KEYS, host_public=""))
        assert "though an sshd answers" in machine.fails("host_keys_are_made")
        machine.identity = Identity(host_keys=frozenset({"SHA256:new"}))
        machine.run("host_keys_are_made")

    def test_a_container_without_ssh_needs_none(self, machine: Machine) -> None:
        machine.job = replace(JOB, endpoint=Endpoint(transport="namespace"))
        assert "not reached by SSH" in machine.skips("host_keys_are_made")

    @pytest.mark.parametrize(
        ("units", "keys", "said"),
        [
            (["ssh-keys.service"], ["/etc/ssh/ssh_host_ed25519_key"], ""),
            (["ssh-keys.service"], [], "what was run again: ssh-keys.service"),
            ([], [], "no unit of this boot runs ssh-keygen"),
        ],
    )
    def test_what_makes_keys_at_boot_is_run_again(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, units: list[str], keys: list[str], said: str
    ) -> None:
        machine.identity = Identity(host_keys=frozenset({fingerprint(KEYS.host_public)}))
        monkeypatch.setattr(builtin, "keys_made_again", lambda _: (units, keys))
        machine.host = SimpleNamespace(file=lambda _: SimpleNamespace(exists=False))
        if said:
            assert said in machine.fails("host_keys_are_made")
            machine.host = SimpleNamespace(file=lambda _: SimpleNamespace(exists=True))
            assert "only cloud-init makes host keys" in machine.skips("host_keys_are_made")
        else:
            machine.run("host_keys_are_made")


@pytest.mark.parametrize(("off", "fine"), [(0, True), (119, True), (-119, True), (125, False), (-86400, False)])
def test_a_clock_that_tls_would_refuse_is_wrong(machine: Machine, off: int, fine: bool) -> None:
    machine.says("date +%s", f"{int(time.time()) + off}\n")
    if fine:
        machine.run("clock_is_right")
    else:
        assert machine.fails("clock_is_right").startswith(f"the clock is {off:+.0f}"[:16])


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("fs 4000000 1000000 /dev/vda1\ndisk 8388608\n", ""),
        ("fs 4000000 3900000 /dev/vda1\ndisk 8388608\n", "/dev/vda1 is full: 3808 of 3906 MiB are in use"),
        ("fs 2000000 1000000 /dev/vda1\ndisk 8388608\n", "/ did not grow: it covers 48% of 4096 MiB"),
        ("fs 2000000 1000000 /dev/vda1\ndisk 8388608\nothers 4194304\n", ""),
        ("fs 400000 100000 /dev/vda1\ndisk 2000000\n", ""),
    ],
)
def test_a_root_file_system_fills_its_disk_and_is_not_full(machine: Machine, said: str, failure: str) -> None:
    machine.says("df -Pk", said)
    if failure:
        assert machine.fails("root_has_room") == failure
    else:
        machine.run("root_has_room")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("fs - - overlay\n", "/ is no mount of its own"),
        ("fs 4000000 1000000 overlay\n", "/ is on overlay, not on a plain partition"),
        ("fs 4000000 1000000 tmpfs\ndisk 100\n", "/ is on tmpfs, not on a plain partition"),
    ],
)
def test_a_root_that_is_on_no_partition_is_said_so(machine: Machine, said: str, reason: str) -> None:
    assert machine.says("df -Pk", said).skips("root_has_room").startswith(reason)


OWNERS = "shadow 42\n41ed 0 0 /etc\n81a4 0 0 /etc/passwd\n81a0 0 42 /etc/shadow\n"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("", ""),
        ("81b6 0 0 /etc/passwd", "/etc/passwd"),
        ("81a4 1000 0 /etc/sudoers", "/etc/sudoers"),
        ("81a4 0 0 /etc/shadow", "/etc/shadow"),
        ("41ff 0 0 /etc", "/etc"),
        ("81ed 1001 1001 /usr/local/bin/tool", "/usr/local/bin/tool"),
    ],
)
def test_what_decides_who_is_root_is_roots_alone(machine: Machine, line: str, path: str) -> None:
    machine.says("stat -c", OWNERS + (f"{line}\n" if line else ""))
    if path:
        assert f"\n{path}: " in machine.fails("only_root_rules_the_system")
    else:
        machine.run("only_root_rules_the_system")
    assert any("/etc/shadow" in command for command in machine.asked)


@pytest.mark.parametrize(
    ("change", "answers", "lost"),
    [
        ({}, {}, ""),
        ({}, {"cat -- /srv/.bakery-sentinel": ""}, "/srv/.bakery-sentinel is not what was written before the reboot"),
        ({"machine_id": "other"}, {}, "the machine-id was one, and is other"),
        ({"host_keys": frozenset({"SHA256:b"})}, {}, "SSH host keys that are gone:\nSHA256:a"),
        ({"host_keys": frozenset({"SHA256:a", "SHA256:b"})}, {}, ""),
    ],
)
def test_a_machine_is_the_same_after_a_reboot(
    machine: Machine, change: dict[str, Any], answers: dict[str, str], lost: str
) -> None:
    before = Identity(machine_id="one", host_keys=frozenset({"SHA256:a"}))
    sentinels = ("/.bakery-sentinel", "/srv/.bakery-sentinel")
    machine.job = replace(JOB, before=BeforeReboot(identity=before, token="t0ken", sentinels=sentinels))
    machine.identity = replace(before, **change)
    machine.says("cat --", "t0ken\n")
    for part, answer in answers.items():
        machine.says(part, answer)
    if lost:
        assert machine.fails("survives_reboot") == f"what did not survive a reboot:\n{lost}"
    else:
        machine.run("survives_reboot")


def test_a_machine_that_was_not_rebooted_says_nothing_of_it(machine: Machine) -> None:
    assert machine.skips("survives_reboot") == "the machine was not rebooted"
