"""Builds in a container by somebody who is not root.

The user exists inside a mount namespace only, in which files of the test's own lie over this host's tables of users.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import bakery
from bakery.drivers.nspawn import host
from tests.live.baking import Done, Project, clean
from tests.live.content import listing

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]
UID = 47110
PACKAGE = Path(bakery.__file__).parents[1]
USER = "bakery-test"
TABLES = {
    "passwd": f"root:x:0:0::/root:/bin/sh\n{USER}:x:{UID}:{UID}::/nonexistent:/bin/sh\n",
    "group": f"root:x:0:\n{USER}:x:{UID}:\n",
    "subuid": f"{USER}:3000000:65536\n",
    "subgid": f"{USER}:3000000:65536\n",
}
AS_USER = """\
set -eu
tables=$1 stash=$2 hidden=$3 uid=$4
shift 4
for table in "$tables"/*; do
    mount --bind "$table" "/etc/${table##*/}"
done
if [ -n "$hidden" ]; then  # Python or bakery lies in a folder that only root may enter: show no more of it than these
    mount -t tmpfs -o mode=755 tmpfs "$stash"
    for needed in $NEEDED; do
        mkdir -p "$stash$needed"
        mount --rbind "$needed" "$stash$needed"
    done
    mount -t tmpfs -o mode=755 tmpfs "$hidden"
    for needed in $NEEDED; do
        mkdir -p "$needed"
        mount --rbind "$stash$needed" "$needed"
    done
fi
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
"""
IMAGEFILE = """
import bakery
from bakery.drivers import Debian, Nspawn

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))

@bakery.task
def hello(m):
    m.run("test $(id -u) = 0")
    m.run("useradd --create-home app && install -d -o app -g app -m 2750 /srv/app && echo 1 >/srv/app/data")
    m.run("apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx-light")

@bakery.test
def hello_was_there(host):
    assert host.service("nginx").is_running
    assert host.file("/srv/app").user == "app"
    assert host.file("/srv/app").mode == 0o2750
    assert host.file("/usr/bin/su").mode == 0o4755
    assert host.file("/").user == "root"

@bakery.image(sources=[container])
def web():
    return None
"""


class Someone:
    """A project of a user who is not root.

    Args:
        folder: for the project, its cache and the tables.
        subordinate: whether ids are set aside for the user.
    """

    def __init__(self, folder: Path, *, subordinate: bool) -> None:
        self.project = Project(folder / "project", folder / "cache")
        self.project.environ |= {"HOME": str(folder / "home"), "USER": USER, "PYTHONPATH": str(PACKAGE)}
        self.project.write(IMAGEFILE)
        self.project.environ["NEEDED"] = " ".join(map(str, needed()))
        self.tables, self.stash = folder / "tables", folder / "stash"
        self.tables.mkdir()
        self.stash.mkdir()
        for name, text in TABLES.items():
            (self.tables / name).write_text(text if subordinate or not name.startswith("sub") else "")
        for parent in (folder / "cache", folder / "home"):
            parent.mkdir()
        subprocess.run(
            ["chown", "--recursive", f"{UID}:{UID}", self.project.folder, folder / "cache", folder / "home"], check=True
        )

    def words(self, *words: str) -> list[str]:
        place = [str(self.tables), str(self.stash), hidden(), str(UID)]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh", *place, *words]

    def bake(self, *words: str, timeout: float = 600) -> Done:
        done = subprocess.run(
            self.words(*self.project.words(*words)),
            env=self.project.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd="/",
        )
        return Done(done.returncode, done.stdout, done.stderr, 0)


def needed() -> list[Path]:
    """What `bake` runs on that lies in a folder of root's."""
    places = {PACKAGE, Path(sys.prefix), Path(sys.base_prefix).resolve()}
    return sorted(place for place in places if hidden() and place.is_relative_to(hidden()))


def hidden() -> str:
    """The folder that only root may enter and in which Python or bakery lies; empty where there is none."""
    for place in (PACKAGE, Path(sys.prefix), Path(sys.base_prefix).resolve()):
        for parent in reversed(place.parents):
            if not parent.stat().st_mode & 0o001:
                return str(parent)
    return ""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others than root can reach; pytest closes its own whenever one more of it starts."""
    folder = Path(tempfile.mkdtemp(prefix="bakery-someone-"))
    folder.chmod(0o711)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)  # with files of ids that Python's clean-up may not know


def test_without_ids_of_their_own_the_user_is_told_what_to_ask_for(open_folder: Path) -> None:
    someone = Someone(open_folder, subordinate=False)
    done = someone.bake()
    clean(done, 4, f"/etc/subuid has no range for {USER}", "usermod --add-subuids")
    assert someone.project.left() == set()


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_a_user_builds_in_a_plain_namespace_and_the_image_is_tested_in_a_machine(open_folder: Path) -> None:
    someone = Someone(open_folder, subordinate=True)
    done = someone.bake(timeout=1700)
    clean(done, 0, "tasks will run without systemd inside")
    tests = {event["test"]: event["outcome"] for event in someone.project.events() if event["type"] == "test-ended"}
    assert tests["hello_was_there"] == "passed"
    assert "failed" not in tests.values()
    assert someone.project.left() == {"file .bakery/images/container/web.qcow2"}


TWICE = IMAGEFILE.replace(
    "&& DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx-light", ""
)
ROOTS = ("/etc", "/etc/passwd", "/etc/shadow", "/usr/bin/passwd", "/usr/bin/su", "/bin", "/var/lib/dpkg/status")


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_a_users_cache_gives_root_an_image_whose_files_are_roots_and_stays_the_users(
    open_folder: Path, tmp_path: Path
) -> None:
    """`bake` by a user, `sudo -E bake` in the same folder with the same cache, and `bake` by the user once more."""
    someone = Someone(open_folder, subordinate=True)
    project = someone.project
    project.write(TWICE)
    clean(someone.bake("build", "--no-test", timeout=900), 0)
    images = [_owners(project, tmp_path)]
    project.environ |= {"SUDO_UID": str(UID), "SUDO_GID": str(UID), "SUDO_USER": USER}
    clean(project.bake("build", "--no-test", "--no-cache", timeout=900), 0)
    images.append(_owners(project, tmp_path))
    for name in ("SUDO_UID", "SUDO_GID", "SUDO_USER"):
        del project.environ[name]
    for words in (("build", "--no-test", "--no-cache"), ("gc",), ("report",), ("images", "--check")):
        clean(someone.bake(*words, timeout=900), 0)
    images.append(_owners(project, tmp_path))
    assert images == [dict.fromkeys(ROOTS, (0, 0)) | {"/etc/shadow": (0, 42)}] * 3
    assert project.left() == {"file .bakery/images/container/web.qcow2"}


def _owners(project: Project, folder: Path) -> dict[str, tuple[int, int]]:
    """Whose some files of the image are."""
    files = listing(project.folder / ".bakery/images/container/web.qcow2", folder / "disk.raw")
    return {name: files[name].owner for name in ROOTS}
