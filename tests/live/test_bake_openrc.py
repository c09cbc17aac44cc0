"""A system that boots with OpenRC, baked as a user does: the tests' tiny guest with Debian's OpenRC in it.

It is like Alpine in having busybox as init, shell and tools, and OpenRC for services; Alpine itself was not tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from bakery.testing.aws import tiny
from bakery.util import tools
from tests.live.baking import TINY, Project, clean, shared

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap"),
]
ROOT = 25 << 20
"""Where the tiny guest's root file system begins."""
SERVICE = """\
#!/sbin/openrc-run
command=/bin/sleep
command_args=99999
command_background=true
pidfile=/run/app.pid
"""
SSHD = """\
#!/sbin/openrc-run
command=/usr/sbin/dropbear
command_args="-r /etc/dropbear/dropbear_ed25519_host_key -r /etc/dropbear/dropbear_ecdsa_host_key"
pidfile=/var/run/dropbear.pid
depend() { after app broken; }
"""
INSTALL = r"""
mkdir "$3"; mount -o "loop,offset=$4" "$1" "$3"
cd "$2"
cp -a --parents lib/rc lib/x86_64-linux-gnu sbin/openrc* sbin/rc* bin/rc-* etc/rc.conf etc/conf.d lib64 "$3" || :
cp -a --parents usr/lib/x86_64-linux-gnu/lib*.so* "$3" || :
mkdir -p "$3"/etc/runlevels/sysinit "$3"/etc/runlevels/boot "$3"/etc/runlevels/default "$3"/var/lib/misc "$3"/var/run
sed -i '/^dropbear -r/d' "$3/etc/init.d/rcS"
printf '%s' "$5" >"$3/etc/init.d/sshd"; chmod 755 "$3/etc/init.d/sshd"
ln -s /etc/init.d/sshd "$3/etc/runlevels/default/sshd"
sed -i '1a ::wait:/sbin/openrc sysinit\n::wait:/sbin/openrc boot\n::wait:/sbin/openrc default' "$3/etc/inittab"
"""
TASKS = """
    assert m.facts.init == "init"
    m.write("/etc/init.d/app", {service!r}, mode=0o755)
    m.run("rc-update add app default && rc-service app start")
"""
TESTS = """
    assert host.service("app").is_running
    assert host.service("app").is_enabled
    assert host.run("rc-status default").rc == 0
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openrc")
    packed, raw, tree = folder / "tiny.qcow2", folder / "disk.raw", folder / "tree"
    subprocess.run(["bash", tiny.SCRIPT, packed], check=True, capture_output=True, env={**os.environ, "ROOT_MB": "160"})
    subprocess.run(["qemu-img", "convert", "-O", "raw", packed, raw], check=True)
    words = ["mmdebstrap", "--quiet", "--variant=extract", "--include=openrc", "bookworm", str(tree)]
    subprocess.run(words, check=True, capture_output=True)
    line = [*tools.alone(), "sh", "-ec", INSTALL, "sh", str(raw), str(tree), f"{folder}/point", str(ROOT), SSHD]
    subprocess.run(line, check=True, capture_output=True, env={**os.environ, "PATH": tools.search_path()})
    return raw


@pytest.fixture
def place(tmp_path: Path, disk: Path) -> Project:
    made = Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"), {"OPENRC": str(disk)})
    text = TINY.replace(
        'disk = str(tiny_guest(Path(os.environ["BAKERY_CACHE_DIR"]) / "tiny"))', "disk = os.environ['OPENRC']"
    )
    text = text.replace('format="qcow2")', 'format="raw")').replace("builtin_tests=False", "builtin_tests=WANTED")
    text = text.replace('    m.run("echo hello >/root/hello")\n', TASKS.format(service=SERVICE))
    text = text.replace('    assert host.file("/root/hello").contains("hello")\n', TESTS)
    made.write(f"WANTED = ['boot_is_finished', 'no_failed_units', 'no_build_key', 'clock_is_right']\n{text}")
    return made


def test_a_service_of_openrc_runs_on_a_machine_of_the_image(place: Project) -> None:
    told = clean(place.bake("build", timeout=900), 0)
    assert "boot_is_finished" not in told, "a test that passed is not named"
    passed = [event["test"] for event in place.events() if event.get("outcome") == "passed"]
    assert {"boot_is_finished", "no_failed_units"} <= {name.rpartition("::")[2] for name in passed}


def test_a_service_that_fails_at_boot_makes_the_image_unfit(place: Project) -> None:
    text = place.file.read_text()
    broken = "#!/sbin/openrc-run\nstart() {\n    return 1\n}\n"
    more = f'    m.write("/etc/init.d/broken", {broken!r}, mode=0o755)\n    m.run("rc-update add broken default")\n'
    place.write(text.replace('    m.run("rc-update add app', f'{more}    m.run("rc-update add app'))
    told = clean(place.bake("build", timeout=900), 8)
    assert "failed at boot: broken" in told
