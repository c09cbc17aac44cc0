"""The words that start a container, and how they are found again in the process list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bakery.drivers.nspawn import hierarchy, host, processes
from bakery.drivers.nspawn.layers import mount_option
from bakery.drivers.nspawn.start import Container


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(host, "managed", lambda: False)
    return Container(
        name="bakery-r1-web-1",
        run="r1",
        folder=tmp_path / "container",
        lowers=(tmp_path / "base",),
        mode="booted",
        cgroups=(Path("/sys/fs/cgroup/bakery-r1-web-1"),),
    )


def launcher(container: Container) -> processes.Launcher:
    words = container.command
    at = next(n for n, word in enumerate(words) if word.endswith(processes.MARK))
    return processes.Launcher(pid=7, started="9", args=tuple(words[at + 1 :]))


def test_the_command_line_says_all_that_destroy_needs(container: Container) -> None:
    found = launcher(container)
    assert found.name == "bakery-r1-web-1"
    assert found.run == "r1"
    assert found.folder == container.folder
    assert found.cgroups == ("/sys/fs/cgroup/bakery-r1-web-1",)


def test_the_machine_runs_on_a_network_of_its_own(container: Container) -> None:
    assert f"--network-namespace-path={container.folder / 'net'}" in container.command


def test_systemds_name_for_it_fits_into_a_host_name_however_long_ours_is(container: Container) -> None:
    assert len(replace(container, name="x" * 200).label) < 64


def test_without_root_a_user_namespace_stands_in(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "rootless", lambda: True)
    assert replace(container, mode="plain").command[:3] == ["unshare", "--user", "--map-root-user"]


def test_the_hosts_systemd_makes_the_control_group_where_there_is_one(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "managed", lambda: True)
    words = replace(container, cgroups=()).command
    assert words[:2] == ["systemd-run", "--scope"]
    assert f"--unit={container.label}" in words


@pytest.mark.parametrize(("mode", "given"), [("booted", "1"), ("plain", None)])
def test_a_container_that_is_booted_is_shown_the_control_groups_that_it_needs(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: host.Mode, given: str | None
) -> None:
    seen: list[dict[str, str]] = []

    def start_process(_words: object, *, env: dict[str, str], **_: object) -> SimpleNamespace:
        seen.append(env)
        return SimpleNamespace(pid=7, wait=lambda: 0)

    monkeypatch.setattr("bakery.drivers.nspawn.start.start_process", start_process)
    monkeypatch.setattr(hierarchy, "host_has", lambda _kind: True)
    library = container.lowers[0] / "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert replace(container, mode=mode).start(tmp_path / "console") == 7
    assert [env.get("BAKERY_CGROUP2") for env in seen] == [given]


def test_folders_with_odd_names_survive_the_mount_options() -> None:
    assert mount_option([Path("/a:b"), Path("/c,d\\e")]) == "/a\\:b:/c\\,d\\\\e"


class TestProcesses:
    """Reading a /proc that we have written."""

    @pytest.fixture(autouse=True)
    def proc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "proc"
        folder.mkdir()
        monkeypatch.setattr(processes, "PROC", folder)
        return folder

    def add(self, proc: Path, pid: int, parent: int, levels: str, words: list[str] | None = None) -> None:
        entry = proc / str(pid)
        entry.mkdir()
        fields = ["S", str(parent), *["0"] * 17, str(pid * 10), "0"]
        (entry / "stat").write_text(f"{pid} (a) b) {' '.join(fields)}\n")
        (entry / "status").write_text(f"Name:\tx\nNSpid:\t{levels}\n")
        (entry / "cmdline").write_text("\0".join([*(words or ["sh"]), ""]))

    def test_the_containers_first_process_is_found_below_its_launcher(self, proc: Path) -> None:
        self.add(proc, 10, 1, "10")
        self.add(proc, 11, 10, "11\t1")
        self.add(proc, 12, 11, "12\t2")
        self.add(proc, 13, 12, "13\t3\t1")
        self.add(proc, 14, 13, "14\t4\t2")
        self.add(proc, 23, 1, "23\t3\t1")
        assert processes.leader(10) == 13

    def test_while_there_is_no_first_process_nothing_is_found(self, proc: Path) -> None:
        self.add(proc, 10, 1, "10")
        self.add(proc, 11, 10, "11\t1")
        assert processes.leader(10) is None

    def test_launchers_are_told_from_other_processes(self, proc: Path, container: Container) -> None:
        self.add(proc, 10, 1, "10", container.command)
        self.add(proc, 11, 10, "11\t1", ["sh", *container.command[-9:]])
        self.add(proc, 12, 1, "12", ["vim", "/x/nspawn/boot.sh"])
        assert [(found.pid, found.started, found.run) for found in processes.launchers()] == [(10, "100", "r1")]

    def test_a_process_with_a_reused_number_is_another_one(self, proc: Path) -> None:
        self.add(proc, 10, 1, "10")
        assert processes.alive(10, "100")
        assert not processes.alive(10, "99")
        assert not processes.alive(11, "110")
        assert not processes.alive(10, "")
