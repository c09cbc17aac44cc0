"""The fault matrix: what `bake` says, how it ends and what it leaves, when vSphere refuses, forgets or falls silent.

A front between pyvmomi and vcsim makes the faults; what a build needs a guest for has a real one. `-s` prints a row for
each: fault, what was said, exit code, what is left.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from bakery.testing.aws.tiny import tiny_guest
from tests.appliances import package, write_ova
from tests.contract.vcsim import Fault, Reply, SoapRequest, VCenterStandIn
from tests.contract.vcsim_tasks import ENDLESS
from tests.live.baking import TINY

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]

VIM: Any = vim
FAULTS = VIM.fault
IMAGEFILE = (
    TINY.replace("import Qemu", "import Appliance, Qemu, VSphere")
    .replace(
        "@bakery.task",
        """@bakery.source
def center() -> VSphere:
    return VSphere({options}, cluster="DC0_C0", folder="faulty", network="VM Network", poll=0.2)


@bakery.task""",
    )
    .replace("@bakery.image(builtin_tests=False)", "@bakery.image(sources=[center], builtin_tests=False)")
)
CLONED = 'base="tiny"'
IMPORTED = 'base=Appliance(str(Path(__file__).with_name("base.ova")))'


@dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        fault: what goes wrong.
        make: returns what answers the calls.
        exit_code: of `bake build`.
        said: a pattern of what it says.
        options: of the source.
        called: methods that must have been called in the end.
    """

    fault: str
    make: Callable[[], Fault]
    exit_code: int
    said: str
    options: str = CLONED
    called: tuple[str, ...] = ()


def always(method: str, reply: Reply, *, having: str = "") -> Callable[[], Fault]:
    """Answer each call of a method so, or each that has some text in it."""
    return lambda: lambda call: reply if call.method == method and having in call.body else None


def once(*methods: str, reply: Reply) -> Callable[[], Fault]:
    """Answer the first call of each method so."""

    def make() -> Fault:
        left = set(methods)

        def fault(call: SoapRequest) -> Reply | None:
            if call.method not in left:
                return None
            left.discard(call.method)
            return reply

        return fault

    return make


def words(kind: str, **values: Any) -> Any:
    return getattr(FAULTS, kind)(msg=f"{kind} of a test", **values)


BUSY = words("TaskInProgress", task=VIM.Task("task-0"))
TAKEN = words("DuplicateName", name="tiny", object=VIM.Folder("group-v1"))
CASES = (
    Case(
        "a task ends in an error",
        always("CloneVM_Task", Reply(task=words("CannotAccessFile", file="[ds] tiny.vmdk"))),
        5,
        r"did not clone tiny.*CannotAccessFile of a test.*tiny\.vmdk",
    ),
    Case(
        "the datastore is full",
        always("CloneVM_Task", Reply(task=words("NoDiskSpace", datastore="LocalDS_0"))),
        5,
        "NoDiskSpace of a test.*datastore=... with more room",
    ),
    Case(
        "a clone never ends",
        always("CloneVM_Task", Reply(task=ENDLESS)),
        5,
        r"clone tiny.*timed out.*30 %",
        options=f"{CLONED}, launch_timeout=3",
        called=("CancelTask",),
    ),
    Case(
        "an import's lease times out",
        always("HttpNfcLeaseComplete", Reply(fault=words("Timedout"))),
        5,
        "finish the import.*Timedout of a test",
        options=IMPORTED,
        called=("HttpNfcLeaseAbort",),
    ),
    Case(
        "somebody takes the machine's name",
        always("CloneVM_Task", Reply(fault=TAKEN)),
        5,
        "DuplicateName of a test",
    ),
    Case(
        "the host goes into maintenance",
        always("PowerOnVM_Task", Reply(task=words("InvalidHostState", host=VIM.HostSystem("host-1")))),
        5,
        "power the machine on.*InvalidHostState of a test",
    ),
    Case("no answer ever", always("CloneVM_Task", Reply(dropped=True)), 5, "did not clone tiny.*no answer"),
    Case(
        "the privilege is taken away meanwhile",
        always("PowerOnVM_Task", Reply(fault=words("NoPermission", privilegeId="VirtualMachine.Interact.PowerOn"))),
        5,
        "NoPermission of a test.*privilegeId VirtualMachine.Interact.PowerOn",
    ),
    Case(
        "the session expires, twice",
        once("PowerOnVM_Task", "MarkAsTemplate", reply=Reply(expired=True)),
        0,
        "tiny@center",
        called=("Login",),
    ),
    Case("a task ends in an error for now", once("ReconfigVM_Task", reply=Reply(task=BUSY)), 0, "tiny@center"),
    Case("the answer to a clone is lost", once("CloneVM_Task", reply=Reply(lost=True)), 0, "tiny@center"),
    Case(
        "the answers to power and template are lost",
        once("PowerOnVM_Task", "ShutdownGuest", "MarkAsTemplate", "Rename_Task", reply=Reply(lost=True)),
        0,
        "tiny@center",
    ),
    Case(
        "somebody takes the image's name meanwhile",
        always("Rename_Task", Reply(fault=TAKEN), having=">tiny</newName>"),
        5,
        "DuplicateName of a test",
    ),
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", guests=disk) as front:
        yield front


def bake(project: Path, front: VCenterStandIn, *line: str) -> subprocess.CompletedProcess[str]:
    cache = os.environ.get("BAKERY_TEST_CACHE", str(project / "cache"))
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(project), *line],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **front.environment, "BAKERY_CACHE_DIR": cache, "NO_COLOR": "1"},
        timeout=800,
    )


def project(folder: Path, options: str) -> Path:
    (folder / "imagefile.py").write_text(IMAGEFILE.replace("{options}", options))
    raw, disk = folder / "disk.raw", folder / "disk.vmdk"
    with raw.open("wb") as file:
        file.truncate(1 << 20)
    words = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", str(raw), str(disk)]
    subprocess.run(words, check=True)
    write_ova(folder / "base.ova", package(disk.read_bytes()))
    return folder


def check(done: subprocess.CompletedProcess[str], case: tuple[str, int, str], left: set[str]) -> None:
    """Print the row of a case, and compare it with what must come."""
    fault, exit_code, said = case
    text = " ".join((done.stderr + done.stdout).split())
    found = re.search(said, text)
    shown = done.stderr.partition("error: ")[2].splitlines()[:2] or [found[0] if found else ""]
    print(f"| {fault} | {' '.join(' '.join(shown).split())[:200]} | {done.returncode} | {len(left)} |")  # noqa: T201  figures
    assert (done.returncode, left) == (exit_code, set()), done.stderr + done.stdout
    assert found, done.stderr


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_a_fault_is_survived_or_said_and_leaves_nothing(front: VCenterStandIn, tmp_path: Path, case: Case) -> None:
    project(tmp_path, case.options)
    before, calls = front.exists(), len(front.calls)
    front.fault = case.make()
    try:
        done = bake(tmp_path, front, "build")
    finally:
        front.fault = lambda _: None
    if done.returncode == 0:
        gone = bake(tmp_path, front, "rm", "--yes", "tiny")
        assert gone.returncode == 0, gone.stderr
        remove_folder(front)
    check(done, (case.fault, case.exit_code, case.said), front.exists() ^ before)
    assert set(case.called) <= {call.method for call in front.calls[calls:]}


def remove_folder(front: VCenterStandIn) -> None:
    from bakery.drivers.vsphere.api import inventory

    front.wait(inventory.read(front.center).find("folder", "faulty").ref.Destroy_Task())


def test_a_host_in_maintenance_is_said_before_anything_is_made(front: VCenterStandIn, tmp_path: Path) -> None:
    from bakery.drivers.vsphere.api import inventory

    project(tmp_path, f'{CLONED}, host="DC0_C0_H1"')
    host = inventory.read(front.center).find("host", "DC0_C0_H1").ref
    before = front.exists()
    front.wait(host.EnterMaintenanceMode_Task(timeout=0))
    try:
        done = bake(tmp_path, front, "build")
    finally:
        front.wait(host.ExitMaintenanceMode_Task(timeout=0))
    check(done, ("the host is in maintenance", 4, "DC0_C0_H1 is in maintenance mode"), front.exists() ^ before)
