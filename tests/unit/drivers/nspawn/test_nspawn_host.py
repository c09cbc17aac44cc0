"""Where control groups can be made, read from what the kernel says."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakery.drivers.nspawn import host
from bakery.model import Problem


def write(folder: Path, mounts: list[tuple[Path, str, str]], own: str) -> tuple[Path, Path]:
    lines = [f"{n} 31 0:{n} / {at} rw,relatime - {kind} {kind} {opts}" for n, (at, kind, opts) in enumerate(mounts)]
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    (folder / "cgroup").write_text(own)
    return folder / "mountinfo", folder / "cgroup"


def test_the_unified_hierarchy_is_enough(tmp_path: Path) -> None:
    group = tmp_path / "fs" / "user.slice"
    group.mkdir(parents=True)
    found = host.cgroup_parents(*write(tmp_path, [(tmp_path / "fs", "cgroup2", "rw")], "0::/user.slice\n"))
    assert found == [group]


def test_with_several_hierarchies_systemds_own_is_taken_too_and_the_controllers_are_not(tmp_path: Path) -> None:
    for name in ("unified", "systemd", "cpu"):
        (tmp_path / name).mkdir()
    mounts = [
        (tmp_path / "cpu", "cgroup", "rw,cpu"),
        (tmp_path / "systemd", "cgroup", "rw,name=systemd"),
        (tmp_path / "unified", "cgroup2", "rw"),
    ]
    found = host.cgroup_parents(*write(tmp_path, mounts, "3:cpu:/\n1:name=systemd:/\n0::/\n"))
    assert found == [tmp_path / "systemd", tmp_path / "unified"]


def test_a_group_that_is_not_there_is_no_place_for_another(tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    assert host.cgroup_parents(*write(tmp_path, [(tmp_path / "fs", "cgroup2", "rw")], "0::/gone\n")) == []


def test_a_base_without_systemd_is_not_booted_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(host, "managed", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/it")
    assert host.why_plain(tmp_path) == "the base has no systemd"
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd").touch()
    assert host.mode(tmp_path) == "booted"


def test_somebody_who_is_not_root_gets_a_plain_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "rootless", lambda: True)
    assert host.mode() == "plain"
    assert "root" in host.why_plain()


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    problems = {problem.what: problem for problem in host.problems()}
    assert problems["slirp4netns is not installed"].hint == "apt install slirp4netns"
    assert not problems["tasks will run without systemd inside"].fatal


# ---- what this host lacks --------------------------------------------------------------------------------------------


@dataclass
class Here:
    """A host where all is well, until a test takes something away."""

    files: dict[str, str]
    programs: set[str]

    def problems(self) -> dict[str, Problem]:
        """What would stop a container, by what it is."""
        return {problem.what: problem for problem in host.problems()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    programs = {*host.TOOLS, "systemd-nspawn", "systemd-run", "newuidmap"}
    files = {
        "/dev/net/tun": "",
        "/proc/filesystems": "nodev\toverlay\n",
        "/proc/self/status": "Name:\tbake\nCapEff:\t000001ffffffffff\n",
        "/etc/subuid": "builder:100000:65536\n",
        "/etc/subgid": "1000:100000:65536\n",
        "/proc/sys/user/max_user_namespaces": "15000\n",
    }
    made = Here(files, programs)

    def exists(path: Path) -> bool:
        return str(path) in files

    def read_text(path: Path) -> str:
        return files[str(path)]

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(shutil, "which", lambda name, **_: name if name in programs else None)
    monkeypatch.setattr("bakery.util.process_attributes.kept", list)
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(host, "managed", lambda: True)
    monkeypatch.setattr(host, "_user", lambda: "builder")
    monkeypatch.setattr("os.getuid", lambda: 1000)
    return made


def test_a_host_where_all_is_well_is_not_complained_about(here: Here) -> None:
    assert here.problems() == {}


@pytest.mark.parametrize(
    ("gone", "what", "hint"),
    [
        ("/dev/net/tun", "/dev/net/tun is missing", "modprobe tun"),
        ("slirp4netns", "slirp4netns is not installed", "apt install slirp4netns"),
        ("nsenter", "nsenter is not installed", "apt install util-linux"),
    ],
)
def test_what_is_missing_for_root_is_named_with_what_mends_it(here: Here, gone: str, what: str, hint: str) -> None:
    here.files.pop(gone, None)
    here.programs.discard(gone)
    problem = here.problems()[what]
    assert (problem.hint.startswith(hint), problem.fatal) == (True, True)


@pytest.mark.parametrize(
    ("effective", "lacking"),
    [
        ("00000000a80425fb", "CAP_SYS_ADMIN and CAP_NET_ADMIN"),  # what Docker leaves to root
        ("000001ffffdfffff", "CAP_SYS_ADMIN"),
        ("000001ffffffefff", "CAP_NET_ADMIN"),
    ],
)
def test_root_without_the_rights_of_root_is_told_before_anything_is_made(
    here: Here, effective: str, lacking: str
) -> None:
    here.files["/proc/self/status"] = f"CapPrm:\t000001ffffffffff\nCapEff:\t{effective}\n"
    problem = here.problems()["this process may not make the namespaces and mounts of a container"]
    assert problem.fatal
    assert f"without {lacking}," in problem.why


def test_a_kernel_without_overlays_may_have_them_as_a_module(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.files["/proc/filesystems"] = "ext4\n"
    assert here.problems()["this kernel has no overlay file system"].hint == "modprobe overlay"
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("overlay.ko.xz")]))
    assert here.problems() == {}


def test_limits_that_only_root_can_raise_are_told_and_stop_nobody(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.util.process_attributes.kept", lambda: ["open files 1024"])
    (problem,) = here.problems().values()
    assert (problem.what, problem.fatal) == ("this host limits what tasks can do: open files 1024", False)


def test_whoever_is_process_1_is_told_that_containers_may_not_end(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    (problem,) = here.problems().values()
    assert problem.what.startswith("bake is process 1 here")
    assert ("docker run --init" in problem.hint, problem.fatal) == (True, False)


@pytest.fixture
def rootless(here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(host, "rootless", lambda: True)
    return here


def test_somebody_with_ids_of_their_own_can_build_without_root(rootless: Here) -> None:
    (problem,) = rootless.problems().values()
    assert (problem.what, problem.fatal) == ("tasks will run without systemd inside", False)


@pytest.mark.parametrize("table", ["/etc/subuid", "/etc/subgid"])
@pytest.mark.parametrize("text", [None, "another:100000:65536\n", ""])
def test_who_has_no_ids_is_told_the_command(rootless: Here, table: str, text: str | None) -> None:
    rootless.files.pop(table)
    if text is not None:
        rootless.files[table] = text
    problem = rootless.problems()[f"{table} has no range for builder"]
    assert problem.hint == "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 builder"


def test_the_program_that_maps_them_is_needed(rootless: Here) -> None:
    rootless.programs.discard("newuidmap")
    assert "apt install uidmap" in rootless.problems()["newuidmap is not installed"].hint


@pytest.mark.parametrize("switch", ["kernel/unprivileged_userns_clone", "user/max_user_namespaces"])
def test_a_kernel_that_gives_namespaces_to_root_alone_says_by_which_switch(rootless: Here, switch: str) -> None:
    rootless.files[f"/proc/sys/{switch}"] = "0\n"
    problem = rootless.problems()["this kernel lets only root make user namespaces"]
    assert (problem.why, problem.hint) == (f"/proc/sys/{switch} is 0", "run bake as root")


def test_what_keeps_systemd_from_booting_is_told(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.programs.discard("systemd-nspawn")
    assert "systemd-container" in host.why_plain()
    here.programs.add("systemd-nspawn")
    monkeypatch.setattr(host, "managed", lambda: False)
    monkeypatch.setattr(host, "cgroup_parents", list)
    assert host.mode() == "plain"
    assert "no control group can be made here" in host.why_plain()
