"""Scripts, templates and packages on a real Debian."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import packages, template

pytestmark = pytest.mark.live
HOLD = r"""#!/usr/bin/perl
use Fcntl;
exit if fork;
open STDOUT, ">/dev/null"; open STDERR, ">/dev/null";
open F, ">>", $ARGV[0]; fcntl F, F_SETLK, pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0) or die; sleep 3;
"""


def test_packages_waits_for_every_lock_of_apt(m: Machine) -> None:
    m.run(
        "apt-get purge --yes --quiet hello; find /var/lib/apt/lists -name '*_Packages*' -delete", warn=True, hide=True
    )
    for lock in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend"):
        m.script(HOLD, lock)
        packages(m, "hello")
    assert m.run(["hello"], hide=True).stdout == "Hello, world!\n"
    started = time.monotonic()
    with pytest.raises(TaskError, match="no such version of it: no-such-package"):
        packages(m, "no-such-package")
    assert time.monotonic() - started < 10


def test_scripts_templates_and_folders(m: Machine, write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write("site/conf.j2", "name {{ name }}\n{% for p in ports %}\nport {{ p }}\n{% endfor %}\n")
    write("site/keep", "k").chmod(0o640)
    write("site/drop.tmp", "d")
    (tmp_path / "site" / "link").symlink_to("keep")
    template(m, "site/conf.j2", "/etc/site.conf", mode=0o600, owner="daemon", name="x", ports=[1, 2])
    assert m.run("stat -c '%a %U' /etc/site.conf; cat /etc/site.conf").stdout == "600 daemon\nname x\nport 1\nport 2\n"
    m.put("site", "/srv/site", exclude=["*.tmp"], owner="games")
    listed = m.run("cd /srv/site && stat -c '%n %A %U' *; readlink link").stdout
    assert listed == "conf.j2 -rw-r--r-- games\nkeep -rw-r----- games\nlink lrwxrwxrwx games\nkeep\n"
    said = m.script("#!/bin/sh\necho $BAKERY_IMAGE $BAKERY_SOURCE $BAKERY_RUN $1; exit 4\n", "a", valid_exit_codes=[4])
    assert (said.stdout, said.exited) == ("web container r1 a\n", 4)
    m.get("/etc/site.conf", m.run_folder)
    assert (tmp_path / "run" / "site.conf").read_text().startswith("name x")
