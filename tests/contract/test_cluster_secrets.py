"""Secrets on a cluster: over TLS straight to the worker, otherwise not at all; the scheduler never has one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.contract.clusterrig import ClusterProject, ClusterRig

pytestmark = pytest.mark.timeout(600)
VALUE = "correct-horse-4711"
DUMP = """
import sys
from distributed import Client, Security

address, cert, key, to = sys.argv[1:]
security = Security(require_encryption=True, tls_ca_file=cert, tls_client_cert=cert, tls_client_key=key)
with Client(address, security=security, set_as_default=False) as client:
    client.dump_cluster_state(to, exclude=(), format="yaml")
"""
SECRET = 'password: bakery.Secret = bakery.secret(env="DB_PASSWORD")'
WORK = 'm.write("/etc/password", v.password); print("it is", v.password.reveal())'


def certificates(folder: Path) -> tuple[str, ...]:
    """Make an authority that is its own certificate, for all of the cluster."""
    cert, key = map(str, certificate(folder))
    return ("--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRig]:
    folder = tmp_path_factory.mktemp("tls")
    with ClusterRig(folder, scheme="tls", certificates=certificates(folder)) as rig:
        rig.start_workers("w1")
        yield rig


def test_over_tls_a_secret_comes_to_the_build_and_stays_out_of_all_else(encrypted: ClusterRig, tmp_path: Path) -> None:
    project = ClusterProject(tmp_path, encrypted)
    project.write(variables=SECRET, work=f'{WORK}; m.run("sleep 4")')
    process = project.start("build", "--on", encrypted.address, *encrypted.certificates, environ={"DB_PASSWORD": VALUE})
    end = time.monotonic() + 90
    while not project.left() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.0)
    state = _state_of(encrypted, tmp_path)
    assert encrypted.scheduler is not None
    assert not _in_memory(encrypted.scheduler.pid, VALUE.encode())
    assert _in_memory(process.pid, VALUE.encode())  # where it must be, so that looking finds something
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert re.search(r"it is .*password", err)
    assert "many-here-1" in state
    for text in (out + err, state, encrypted.log("scheduler"), encrypted.log("w1")):
        assert VALUE not in text
    assert not _in_memory(encrypted.scheduler.pid, VALUE.encode())
    kept = [path for path in (tmp_path / "project/.bakery").rglob("*") if path.is_file()]
    kept += [path for path in (encrypted.folder / "cache-w1/worker").rglob("*") if path.is_file()]
    assert not [path for path in kept if VALUE.encode() in path.read_bytes()]


def _in_memory(pid: int, value: bytes) -> bool:
    """Say whether a process has a value anywhere in its memory."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            first, last = (int(word, 16) for word in place.split("-"))
            if not rights.startswith("rw") or "[vvar" in line:
                continue
            memory.seek(first)
            try:
                content = memory.read(last - first)
            except OSError:  # nobody reads what a device has put there
                continue
            if value in content:
                return True
    return False


def _state_of(rig: ClusterRig, folder: Path) -> str:
    """Return Dask's dump of scheduler and workers, as whoever has a certificate can ask for it.

    In a process of its own: loading distributed changes all exceptions of a process.
    """
    words = [rig.address, rig.certificates[1], rig.certificates[5], str(folder / "dump")]
    subprocess.run([sys.executable, "-c", DUMP, *words], check=True, timeout=120)
    return (folder / "dump.yaml").read_text(encoding="utf-8")


def test_a_stranger_is_not_let_in(encrypted: ClusterRig, tmp_path: Path) -> None:
    project = ClusterProject(tmp_path, encrypted)
    project.write()
    own = tmp_path / "own"
    own.mkdir()
    process = project.start("build", "--on", encrypted.address, *certificates(own))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert "no scheduler answers" in err


def test_without_tls_a_secret_does_not_travel_and_a_worker_that_has_it_makes_the_image(tmp_path: Path) -> None:
    with ClusterRig(tmp_path) as rig:
        rig.start_workers("without")
        project = ClusterProject(tmp_path / "p", rig)
        project.write(variables=SECRET, work=WORK)
        refused = project.bake(environ={"DB_PASSWORD": VALUE})
        assert refused.returncode == 4
        assert "without on" in refused.stderr
        assert "lacks the secret DB_PASSWORD in its environment" in refused.stderr
        rig.start_workers("with", words=("--secret", "DB_PASSWORD"), environ={"DB_PASSWORD": "another-value-9"})
        done = project.bake(environ={"DB_PASSWORD": VALUE})
        assert done.returncode == 0, done.stderr
        assert "made by with on" in done.stderr
        for text in (done.stderr, rig.log("scheduler"), rig.log("with"), rig.log("without")):
            assert "another-value-9" not in text
            assert VALUE not in text
        unset = project.bake("--refresh")  # nobody gave it here: the worker has it
        assert unset.returncode == 0, unset.stderr
