"""What our user data run on a machine that has a seed disk, in a shell of this host."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import yaml

from bakery.drivers import cloudinit
from bakery.state.ssh_keys import make_keys

KEYS = make_keys("bakery-r")


def test_the_host_key_is_copied_from_the_seed_disk_once_and_for_root_alone(tmp_path: Path) -> None:
    (words,) = yaml.safe_load(cloudinit.user_data_for_seed(KEYS, user="debian"))["bootcmd"]
    assert words[:5] == ["cloud-init-per", "instance", "bakery-host-key", "sh", "-c"]
    etc, run, programs = tmp_path / "etc", tmp_path / "run", tmp_path / "bin"
    for folder in (etc, run, programs):
        folder.mkdir()
    (etc / "ssh_host_rsa_key").write_text("of the image")
    key = cloudinit.HOST_KEY
    mount = f'#!/bin/sh\n[ "$3" = LABEL=cidata ] && cd "$4" && echo key >{key} && echo public >{key}.pub\n'
    for name, script in (("mount", mount), ("umount", '#!/bin/sh\nrm "$1"/*\n')):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    line = words[5].replace("/etc/ssh", str(etc)).replace("/run/", f"{run}/")
    environ = {"PATH": f"{programs}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", line], env=environ, check=True)
    assert {path.name: path.read_text() for path in etc.iterdir()} == {key: "key\n", f"{key}.pub": "public\n"}
    assert stat.S_IMODE((etc / key).stat().st_mode) == 0o600
    assert list(run.iterdir()) == []
