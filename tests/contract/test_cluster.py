"""Builds on a real cluster: Dask's scheduler and two workers, each a process of its own."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.cli.app import run
from tests.contract.clusterrig import ClusterProject, ClusterRig

CHAIN = """
@bakery.source
def on_top() -> Folder:
    return Folder(base=many, cloud={cloud!r})

@bakery.image(sources=[on_top], tasks=[], tests=[kind], builtin_tests=False)
def top():
    return "top"
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRig]:
    with ClusterRig(tmp_path_factory.mktemp("cluster")) as rig:
        rig.start_workers("w1", "w2", words=("--slots", "2", "--label", "licence:1"))
        yield rig


@pytest.fixture
def project(tmp_path: Path, rig: ClusterRig) -> ClusterProject:
    return ClusterProject(tmp_path, rig)


def test_images_are_made_on_workers_and_come_back_with_their_account(project: ClusterProject) -> None:
    project.write(image='matrix={"kind": ["a", "b"]}', disk="raw", work='print("I am", v.kind)')
    done = project.bake("--junit", "junit.xml")
    assert done.returncode == 0, done.stderr
    assert "I am a" in done.stderr
    catalogue = json.loads((project.folder / ".bakery/catalogue.json").read_text())["images"]
    assert {image["name"] for image in catalogue} == {"many-a", "many-b"}
    for image in catalogue:
        file = Path(image["id"])
        assert file.parent == project.folder / ".bakery/images/here"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == image["sha256"]
        assert image["verdict"] == "passed"
    assert done.stdout.splitlines() == [str(project.folder / f".bakery/images/here/many-{kind}.raw") for kind in "ab"]
    assert project.left() == []
    said = project.events()
    for name in ("many[kind=a]@here", "many[kind=b]@here"):
        own = [event for event in said if event["build"] == name]
        kinds = [event["type"] for event in own]
        assert kinds[0] == "build-started"
        assert kinds[-1] == "build-ended"
        assert [event["step"] for event in own if event["type"] == "step-ended"] == ["first", "work", "say"]
        assert any(event["type"] == "test-ended" and "kind" in event["test"] for event in own)
        assert kinds.index("step-started") < kinds.index("artifact-kept")
    assert any(event["type"] == "output" and "said by" in event["text"] for event in said)
    assert 'failures="0"' in (project.folder / "junit.xml").read_text()
    assert "/cache-w" not in json.dumps([event for event in said if event["type"] != "resource-changed"])

    again = project.bake()  # what the steps took in came back too: nothing has changed
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("up to date") == 2, again.stderr

    project.write(image='matrix={"kind": ["a", "b"]}', disk="raw", work='print("now", v.kind)')
    why, _ = project.start("why").communicate(timeout=60)
    assert why.count("task code changed") == 2, why  # told against what ran there
    assert "never ran" not in why, why


def test_a_chain_of_images_is_made_by_a_client_in_this_process(
    project: ClusterProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Make one image of another's, whose file goes to the worker by content; post steps run here."""
    monkeypatch.setenv("BAKERY_CACHE_DIR", project.environ["BAKERY_CACHE_DIR"])
    more = CHAIN.format(cloud=str(project.cloud.path))
    project.write(image="post=[say]", disk="raw", more=more)
    words = ["-C", str(project.folder), "build", "--on", project.rig.address]
    code = run([*words, "--manifest", "m.json", "--depfile", "d"])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert f"post: {project.folder}/.bakery/images/here/many-good.raw" in told.err
    assert sorted(project.images()) == ["many-good", "top"]
    assert "files/motd" in (project.folder / "d").read_text()
    assert project.left() == []
    assert run(["-C", str(project.folder), "cluster", "--on", project.rig.address]) == 0
    assert "of 2 slots" in capsys.readouterr().out
    assert run(["-C", str(project.folder), "gc", "--on", project.rig.address]) == 0


def test_a_build_that_no_worker_can_take_is_an_error_at_once(project: ClusterProject) -> None:
    project.write(source='labels=["licence:2"]')
    began = time.monotonic()
    done = project.bake()
    assert done.returncode == 4
    assert "no worker of the cluster can take many@here" in done.stderr
    assert "w1 on " in done.stderr
    assert "lacks 2 licence (it has 1)" in done.stderr
    assert time.monotonic() - began < 60
    counted = project.bake("--limit", "licence:2")  # then it is counted here, and no worker need have it
    assert counted.returncode == 0, counted.stderr


def test_a_task_that_fails_there_is_told_with_its_line_here(project: ClusterProject) -> None:
    project.write(work='m.run("exit 3")')
    done = project.bake()
    assert done.returncode == 7
    line = 1 + (project.folder / "imagefile.py").read_text().splitlines().index('    m.run("exit 3")')
    assert f"imagefile.py:{line}" in done.stderr
    assert "`exit 3` ended with exit code 3" in done.stderr
    assert (project.left(), project.images()) == ([], [])


@pytest.mark.parametrize("words", [("--on-failure", "keep"), ("--stop-at", "work"), ("--resume",)])
def test_what_needs_the_machine_here_is_refused(project: ClusterProject, words: tuple[str, ...]) -> None:
    project.write()
    if words == ("--resume",):
        project.write(work='raise ValueError("no")')
        assert project.bake().returncode == 7
    done = project.bake(*words)
    assert done.returncode == 2
    assert "does not go with --on" in done.stderr


def test_ctrl_c_ends_the_build_there_and_destroys_what_it_made(project: ClusterProject) -> None:
    project.write(work='m.run("sleep 120")')
    process = project.start("build", "--on", project.rig.address)
    until = time.monotonic() + 90
    while not project.left() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert (project.left(), project.images()) == ([], [])


def test_bake_cluster_shows_who_is_there(project: ClusterProject) -> None:
    project.write()
    process = project.start("cluster", "--on", project.rig.address, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    workers = {worker["name"]: worker for worker in json.loads(out)["workers"]}
    assert set(workers) == {"w1", "w2"}
    assert workers["w1"]["labels"] == {"licence": 1}
    assert workers["w1"]["accel"] in ("kvm", "tcg")
    assert workers["w1"]["bases"] == []
    assert "folder" in workers["w1"]["drivers"]


def test_a_scheduler_that_does_not_answer_is_an_error_of_its_own(project: ClusterProject) -> None:
    project.write()
    process = project.start("build", environ={"BAKERY_CLUSTER": "tcp://127.0.0.1:9"})
    _, err = process.communicate(timeout=90)
    assert process.returncode == 4
    assert "no scheduler answers at tcp://127.0.0.1:9" in err
