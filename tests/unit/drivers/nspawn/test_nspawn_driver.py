"""A container's life: launched, reached, saved, powered off, ended; over a process list in a folder."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bakery.disk import build, fit
from bakery.disk.bases.base import BaseTree
from bakery.drivers.nspawn import capture, checkpoints, driver, host, layers, processes, template_ahead
from bakery.drivers.nspawn.driver import NspawnDriver
from bakery.drivers.nspawn.source import Nspawn
from bakery.drivers.nspawn.start import Container
from bakery.errors import DriverError, NotYet
from bakery.events import Event, Notice
from bakery.model import Artifact, Checkpoint, Handle, Problem, Resource, Result, Where
from bakery.state.claim import Claim
from bakery.state.journal import Journal
from bakery.state.ledger import ClaimLedger
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from bakery.util.results import TimedOut
from tests.unit.clock import Clock
from tests.unit.drivers.nspawn.proc import Proc
from tests.unit.fake_tools import FakeTools

NAME = "bakery-r-1"


@dataclass(frozen=True)
class Tree:
    """A base that is a tree already."""

    path: Path
    problems: tuple[Problem, ...] = field(default=())

    def check(self) -> Iterator[Problem]:
        yield from self.problems

    def tree(self, work: WorkContext) -> BaseTree:
        del work
        return BaseTree(path=self.path, key="abcd", login="credentials")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    return Proc(tmp_path / "proc", monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    tools = FakeTools.install(monkeypatch, build, fit)
    return tools.answer("*du --summarize*", "1000000\t/x\n").answer("*rm --recursive *")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def claim(tmp_path: Path, clock: Clock, events: list[Event]) -> Claim:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Claim(
        cache=tmp_path / "cache",
        cancel=clock,
        emit=events.append,
        build="web@box",
        run="r",
        role="build",
        name=NAME,
        folder=folder,
        keys=make_keys("bakery-r"),
        tags={},
        images=tmp_path / "images",
        ledger=ClaimLedger(Journal(tmp_path / "run")),
        driver="nspawn",
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, proc: Proc) -> list[Container]:
    """Containers whose start was asked for; each is process 10 and those above it."""
    started: list[Container] = []

    def start(self: Container, console: Path) -> int:
        started.append(self)
        console.parent.mkdir(exist_ok=True)
        console.touch()
        return proc.container(self.name, folder=str(self.folder))

    def make_folders(self: Container, _keys: object) -> None:
        self.upper.mkdir(parents=True)

    monkeypatch.setattr(Container, "start", start)
    monkeypatch.setattr(Container, "make_folders", make_folders)
    monkeypatch.setattr(host, "mode", lambda _: "booted")
    monkeypatch.setattr(host, "managed", lambda: False)
    monkeypatch.setattr(host, "cgroup_parents", lambda: [Path("/sys/fs/cgroup/a")])
    monkeypatch.setattr(template_ahead, "begin", lambda *_: None)
    return started


@pytest.fixture
def base(tmp_path: Path) -> Tree:
    (tmp_path / "base" / "tree").mkdir(parents=True)
    return Tree(tmp_path / "base" / "tree")


@pytest.fixture
def handle(claim: Claim, started: list[Container], tools: FakeTools, base: Tree) -> Handle:
    """A container that runs."""
    return NspawnDriver().launch(Nspawn(base=base, accel="tcg"), claim)


# ---- launch -----------------------------------------------------------------------------------------------------


def test_the_base_s_disk_is_made_meanwhile_for_as_long_as_the_machine_is_there(
    claim: Claim, started: list[Container], tools: FakeTools, base: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Mock()
    begin = Mock(return_value=template)
    monkeypatch.setattr(template_ahead, "begin", begin)
    driver = NspawnDriver()
    handle = driver.launch(Nspawn(base=base, disk="1G", accel="tcg"), claim)
    begin.assert_called_once_with(base.path, capture.layout_of("abcd", 1 << 30), started[0].folder, claim)
    monkeypatch.setattr(processes, "end", lambda _: template.stop.assert_called_once_with())
    driver.destroy(handle.resource)
    driver.destroy(handle.resource)  # by another bake, which made none


def test_a_container_is_written_down_with_all_that_its_end_needs(
    handle: Handle, started: list[Container], base: Tree, tmp_path: Path
) -> None:
    (container,) = started
    assert container.lowers == (base.path,)
    assert container.cgroups == (Path("/sys/fs/cgroup/a", NAME),)
    assert handle.resource.data == {
        "folder": str(tmp_path / "machine" / "container"),
        "cgroups": [f"/sys/fs/cgroup/a/{NAME}"],
        "started": "100",
    }
    assert (handle.resource.id, handle.data["mode"], handle.data["disk"]) == ("10", "booted", 8 << 30)
    assert handle.settings["login"] == "credentials"


def test_a_host_that_makes_groups_itself_is_left_to_it(
    claim: Claim, started: list[Container], tools: FakeTools, base: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "managed", lambda: True)
    NspawnDriver().launch(Nspawn(base=base), claim)
    assert started[0].cgroups == ()


def test_a_plain_namespace_says_what_it_lacks(
    handle: Handle, claim: Claim, base: Tree, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "mode", lambda _: "plain")
    monkeypatch.setattr(host, "why_plain", lambda _: "the base has no systemd")
    assert (
        NspawnDriver().launch(Nspawn(base=base), replace(claim, folder=claim.folder / "other")).data["mode"] == "plain"
    )
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.message == "no systemd in this container: the base has no systemd"


def test_a_disk_that_the_base_does_not_fit_on_is_refused_first(
    claim: Claim, started: list[Container], tools: FakeTools, base: Tree
) -> None:
    tools.answer("*du --summarize*", f"{1 << 30}\t/x\n")
    with pytest.raises(DriverError, match="disk= is 512 MiB, and its base's files need"):
        NspawnDriver().launch(Nspawn(base=base, disk="512M"), claim)
    assert started == []


def test_an_image_is_a_disk_and_no_tree(claim: Claim) -> None:
    with pytest.raises(DriverError, match="a container cannot start from Artifact") as raised:
        NspawnDriver().launch(Artifact(driver="qemu", id="/x", name="x"), claim)
    assert "qemu driver" in raised.value.hint


def test_a_checkpoint_is_a_layer_above_the_base(
    claim: Claim, started: list[Container], base: Tree, tmp_path: Path
) -> None:
    folder = tmp_path / "step"
    (folder / checkpoints.LAYER).mkdir(parents=True)
    (folder / checkpoints.NAMES).write_text("[]")
    settings = {"tree": str(base.path), "key": "abcd", "disk": 1 << 30, "machine": {"memory": 1 << 29}}
    handle = NspawnDriver().launch(Checkpoint(driver="nspawn", key="k", folder=folder, settings=settings), claim)
    assert started[0].lowers == (folder / "layer", base.path)
    assert (handle.data["layer"], handle.data["disk"], handle.settings) == (
        str(folder / "layer"),
        1 << 30,
        {"memory": 1 << 29},
    )


def test_the_base_of_a_build_is_known_before_anything_is_launched(claim: Claim, tools: FakeTools, base: Tree) -> None:
    assert NspawnDriver().prepare(Nspawn(base=base), claim) == "abcd"


def test_a_host_is_looked_at_with_the_base(base: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Iterator[Problem]:
        yield from ()

    for place in ("nspawn.driver.host.problems", "nspawn.driver.build.check", "nspawn.driver.tools.missing"):
        monkeypatch.setattr(f"bakery.drivers.{place}", none)
    monkeypatch.setattr("bakery.disk.qemuimg.check", none)
    broken = replace(base, problems=(Problem(what="no mmdebstrap"),))
    assert [problem.what for problem in NspawnDriver().check(Nspawn(base=broken))] == ["no mmdebstrap"]


# ---- while it runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> list[str | Exception]:
    """What systemd in the container says, one question after the other."""
    says: list[str | Exception] = []

    def run(words: list[str], **_: Any) -> Any:
        # Without --root it would be this host's folder where the namespace has kept that as its own.
        assert words[:6] == ["nsenter", "--target", "12", "--all", "--root", "--wd"]
        answer = says.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Result(command="", exited=0, stdout=f"{answer}\n")

    monkeypatch.setattr(driver, "run_process", run)
    return says


@pytest.mark.parametrize("state", ["running", "degraded"])
def test_a_container_is_reached_by_its_first_process(handle: Handle, systemd: list[Any], state: str) -> None:
    systemd.append(state)
    endpoint = NspawnDriver().endpoint(handle)
    assert (endpoint.transport, endpoint.data) == ("namespace", {"pid": 12, "start": "100"})


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("starting", "systemd in the container: starting"),
        ("", "systemd in the container: not yet there"),
        (TimedOut(Result(command="", exited=-1)), "systemd in the container is starting services"),
    ],
)
def test_a_systemd_that_is_starting_is_waited_for(
    handle: Handle, systemd: list[Any], said: str | Exception, reason: str
) -> None:
    systemd.append(said)
    with pytest.raises(NotYet) as raised:
        NspawnDriver().endpoint(handle)
    assert raised.value.reason == reason


def test_a_systemd_that_gave_up_is_not(handle: Handle, systemd: list[Any]) -> None:
    systemd.append("maintenance")
    with pytest.raises(DriverError, match="emergency or rescue mode"):
        NspawnDriver().endpoint(handle)


def test_nspawn_itself_is_not_asked_as_if_it_were_systemd(handle: Handle, proc: Proc) -> None:
    proc.add(12, "/usr/bin/systemd-nspawn", "--boot", parent=11, levels="5\t1")
    with pytest.raises(NotYet, match="first process"):
        NspawnDriver().endpoint(handle)


def test_a_plain_namespace_is_entered_only_when_its_root_is_its_own(handle: Handle, proc: Proc) -> None:
    plain = replace(handle, data={**handle.data, "mode": "plain"})
    proc.add(12, "sh", "/x/nspawn/chroot.sh", parent=11, levels="5\t1")
    with pytest.raises(NotYet, match="root folder"):
        NspawnDriver().endpoint(plain)
    proc.add(12, "sleep", "infinity", parent=11, levels="5\t1")
    assert NspawnDriver().endpoint(plain).data["pid"] == 12


def test_a_launcher_without_a_first_process_is_waited_for(handle: Handle, proc: Proc) -> None:
    proc.end(12)
    with pytest.raises(NotYet, match="first process"):
        NspawnDriver().endpoint(handle)


@pytest.mark.parametrize("recycled", [False, True])
def test_a_container_that_ended_says_its_last_words(handle: Handle, proc: Proc, recycled: bool) -> None:
    (handle.folder / driver.CONSOLE).write_text("\r\n".join(f"line {number}" for number in range(40)))
    proc.end(10)
    if recycled:
        proc.add(10, "vim", started="999")
    with pytest.raises(DriverError, match="the container has ended") as raised:
        NspawnDriver().endpoint(handle)
    assert raised.value.why.splitlines() == [f"line {number}" for number in range(25, 40)]
    (handle.folder / driver.CONSOLE).unlink()
    with pytest.raises(DriverError) as raised:
        NspawnDriver().endpoint(handle)
    assert raised.value.why == "it wrote nothing"


# ---- the image --------------------------------------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []

    def write(to: Path, **options: Any) -> str:
        written.append(options)
        to.write_bytes(b"disk")
        return "sha"

    monkeypatch.setattr(capture, "write", write)
    return written


@pytest.mark.parametrize("mode", ["booted", "plain"])
def test_an_image_is_made_of_the_layers_once_the_services_have_stopped(
    handle: Handle, claim: Claim, proc: Proc, written: list[dict[str, Any]], mode: str
) -> None:
    def off(pid: int, _: signal.Signals) -> None:
        assert pid == 12
        for other in (13, 12, 11, 10):
            proc.end(other)

    proc.on_signal = off
    image = NspawnDriver().capture(replace(handle, data={**handle.data, "mode": mode}), "web", claim)
    assert proc.signals == [(12, driver.POWER_OFF if mode == "booted" else signal.SIGKILL)]
    assert image.path.name.startswith(".web.")
    assert image.format == "qcow2"
    assert written[0]["layers"] == [handle.folder / "container" / "upper"]
    assert written[0]["layout"].size == 8 << 30
    kept = NspawnDriver().keep(image, "web", claim)
    assert (kept.path.name, NspawnDriver().intact(kept)) == ("web.qcow2", True)
    NspawnDriver().delete(kept)
    assert not kept.path.exists()


def test_a_restored_machines_layer_is_below_its_own(
    handle: Handle, claim: Claim, proc: Proc, written: list[dict[str, Any]]
) -> None:
    proc.end(10)
    data = {**handle.data, "layer": "/step/layer"}
    raw = replace(handle, data=data, settings={**handle.settings, "format": "raw"})
    assert NspawnDriver().capture(raw, "web", claim).format == "raw"
    assert written[0]["layers"][1:] == [Path("/step/layer")]


def test_services_that_do_not_stop_are_told_with_the_console(
    handle: Handle, claim: Claim, clock: Clock, written: list[dict[str, Any]]
) -> None:
    started = clock.now
    with pytest.raises(DriverError, match="the container's power-off: timed out") as raised:
        NspawnDriver().capture(handle, "web", claim)
    assert str(driver.CONSOLE) in raised.value.hint
    assert clock.now - started >= driver.POWER_OFF_TIMEOUT
    assert written == []


# ---- checkpoints ------------------------------------------------------------------------------------------------


def test_a_step_is_saved_as_a_layer(
    handle: Handle, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(checkpoints, "_payload", lambda _: None)
    monkeypatch.setattr(layers, "MARGIN", 0)  # else all that was written a moment ago is copied
    upper = handle.folder / "container" / "upper"
    (upper / "etc").mkdir()
    (upper / "etc" / "motd").write_text("hello")
    os.link(upper / "etc" / "motd", upper / "etc" / "twin")
    (tmp_path / "step").mkdir()
    saved = NspawnDriver().checkpoint(handle, "key", tmp_path / "step", claim)
    assert saved is not None
    assert (tmp_path / "step" / "layer" / "etc" / "motd").read_text() == "hello"
    (names,) = json.loads((tmp_path / "step" / "names.json").read_text())
    assert {*names} == {"etc/motd", "etc/twin"}
    assert saved.settings == {
        "tree": handle.data["tree"],
        "key": "abcd",
        "disk": 8 << 30,
        "machine": dict(handle.settings),
    }
    noted = json.loads((handle.folder / "container" / "earlier.json").read_text())
    assert noted["layer"] == str(tmp_path / "step" / "layer")
    (tmp_path / "two").mkdir()
    NspawnDriver().checkpoint(handle, "next", tmp_path / "two", claim)
    first, second = ((tmp_path / name / "layer" / "etc" / "motd").stat() for name in ("step", "two"))
    assert first.st_ino == second.st_ino, "what has not changed is linked"


def test_a_clock_that_was_set_back_makes_all_be_copied(
    handle: Handle, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(checkpoints, "_payload", lambda _: None)
    (handle.folder / "container" / "upper" / "file").write_text("x")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    NspawnDriver().checkpoint(handle, "one", tmp_path / "one", claim)
    note = handle.folder / "container" / "earlier.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "since": 1 << 62}))
    NspawnDriver().checkpoint(handle, "two", tmp_path / "two", claim)
    files = [tmp_path / name / "layer" / "file" for name in ("one", "two")]
    assert files[0].stat().st_ino != files[1].stat().st_ino


def test_a_container_that_ended_is_not_saved(
    handle: Handle, claim: Claim, proc: Proc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    proc.end(12)
    with pytest.raises(DriverError, match="the container has ended"):
        NspawnDriver().checkpoint(handle, "k", tmp_path, claim)


def test_who_is_not_root_saves_nothing(handle: Handle, claim: Claim, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(host, "rootless", lambda: True)
    assert NspawnDriver().checkpoint(handle, "k", tmp_path, claim) is None


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    group = tmp_path / "group"
    group.mkdir()
    (group / "cgroup.freeze").write_text("0")
    (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    monkeypatch.setattr(checkpoints, "_payload", lambda _: group)
    return group


def test_all_of_a_container_stands_still_while_it_is_saved_and_runs_on(group: Path, clock: Clock) -> None:
    with checkpoints.frozen(12, clock):
        assert (group / "cgroup.freeze").read_text() == "1"
    assert (group / "cgroup.freeze").read_text() == "0"


def test_a_container_that_does_not_freeze_runs_on(group: Path, clock: Clock) -> None:
    (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(DriverError, match="freezing the container: timed out"), checkpoints.frozen(12, clock):
        pytest.fail("it is not frozen")
    assert (group / "cgroup.freeze").read_text() == "0"


# ---- the end ----------------------------------------------------------------------------------------------------


def test_ending_a_container_ends_all_of_it_and_removes_its_folder(
    handle: Handle, proc: Proc, tools: FakeTools, tmp_path: Path
) -> None:
    group = tmp_path / "cg"
    (group / "payload").mkdir(parents=True)
    resource = replace(handle.resource, data={**handle.resource.data, "cgroups": [str(group), "/sys/fs/cgroup/none"]})
    NspawnDriver().destroy(resource)
    assert [path.name for path in proc.folder.iterdir()] == ["self"]
    assert proc.signals[0] == (10, signal.SIGSTOP), "a launcher is stopped first, so that it starts no more children"
    assert not group.exists()
    assert tools.lines[-1].endswith(str(handle.folder / "container"))
    NspawnDriver().destroy(resource)


def test_a_process_that_survives_is_an_error(proc: Proc, clock: Clock) -> None:
    proc.survives = {proc.container(NAME) + 3}
    with pytest.raises(DriverError, match=f"the end of container {NAME}") as raised:
        processes.end(NAME)
    assert "state D" in raised.value.hint


def test_other_containers_are_left_alone(proc: Proc, clock: Clock) -> None:
    proc.container(NAME)
    proc.container("bakery-other-1", pid=30)
    proc.add(50, "vim", NAME)
    processes.end(NAME)
    assert sorted(int(path.name) for path in proc.folder.iterdir() if path.name != "self") == [30, 31, 32, 33, 50]


def test_a_control_group_that_is_busy_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg" / "cgroup.procs").touch()
    with pytest.raises(DriverError, match="removing the control group"):
        driver._remove_cgroup(tmp_path / "cg")


def test_an_image_that_was_not_kept_is_deleted(tmp_path: Path) -> None:
    (tmp_path / ".web.qcow2").touch()
    NspawnDriver().destroy(Resource(driver="nspawn", kind="file", key=str(tmp_path / ".web.qcow2")))
    assert list(tmp_path.iterdir()) == []


def test_containers_are_found_by_run_and_age(proc: Proc) -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    proc.container("bakery-a-1", run="a", folder="/a")
    proc.container("bakery-b-1", pid=30, run="b", folder="/b")
    proc.add(30, *_words(proc, 30), started=str(int((uptime - 0.5) * driver.TICKS)))
    found = {resource.run: resource for resource in NspawnDriver().find(Where())}
    assert sorted(found) == ["a", "b"]
    assert found["a"].data == {"folder": "/a", "cgroups": ["/cg/a", "/cg/b"], "started": "100"}
    assert [resource.run for resource in NspawnDriver().find(Where(run="b"))] == ["b"]
    assert [resource.run for resource in NspawnDriver().find(Where(older_than=60))] == ["a"]


def _words(proc: Proc, pid: int) -> list[str]:
    return (proc.folder / str(pid) / "cmdline").read_text().split("\0")[:-1]


def test_a_process_list_that_changes_while_it_is_read_is_no_error(proc: Proc) -> None:
    assert processes.stat(99) == ()
    assert processes.words_of(99) == [""]
    assert processes._levels(99) == []
    assert not processes.alive(99, "")
    proc.add(7, "x", state="Z")
    assert processes.started(7) == ""


def test_a_host_must_have_room_for_the_larger_of_container_and_test_machine(base: Tree) -> None:
    needs = NspawnDriver().needs(Nspawn(base=base, memory="3G", cpus=4, accel="tcg"))
    assert (needs.memory, needs.cpus) == (3 << 30, 4)
    small = NspawnDriver().needs(Nspawn(base=base, memory="256M", cpus=1, accel="tcg"))
    assert (small.memory, small.cpus) == (512 << 20, 1)
    assert NspawnDriver().needs(Checkpoint(driver="nspawn", key="k")) == driver.CONTAINER_NEEDS
    assert NspawnDriver().image_format(Nspawn(base=base, format="raw")) == "raw"
