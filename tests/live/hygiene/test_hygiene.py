"""The hygiene gate on real disk images: what is planted is found, and a clean image is clean."""

from __future__ import annotations

import random
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bakery.disk import foreign_formats
from bakery.disk.inspect import Finding, Hygiene, grep, inspect, inspect_disks
from bakery.disk.inspect.scan import Pattern, scan, scan_windows
from bakery.errors import DriverError, Interrupted
from bakery.redaction.redactor import Redactor
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

pytestmark = pytest.mark.live

SECRET = "tr0ub4dor&3 'quoted' \"double\" <xml>\nsecond line of it"
ROOT = 6144 * 512


def look(
    disk: Path, form: str = "raw", options: Hygiene | None = None, secret: str = SECRET, cancel: Cancel | None = None
) -> tuple[Finding, ...]:
    redactor = Redactor()
    redactor.add(secret, "password")
    work = WorkContext(cache=disk.parent, cancel=cancel or Cancel())
    return inspect(disk, form, redactor.patterns(), options or Hygiene(), work)


def kinds(found: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.kind, finding.path) for finding in found}


def private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def test_grep_and_python_find_the_same(image: Any) -> None:
    rng = random.Random(3)
    alphabet = b"abc\n\0"
    needles = [bytes(rng.choice(b"abc") for _ in range(rng.randint(8, 12))) + b"\nab" for _ in range(12)]
    overlapping = needles[0][3:] + needles[1][:6]
    patterns = [Pattern(str(number), needle) for number, needle in enumerate([*needles, overlapping, needles[2][3:]])]
    disk = image.folder / "noise"
    disk.write_bytes(
        b"".join(bytes(rng.choice(alphabet) for _ in range(5000)) + rng.choice(needles) for _ in range(40))
    )
    image.disk = disk
    image.write(100, overlapping)
    image.write(150_000, b"\0" + needles[3] + needles[4] + b"\0")
    places = grep.places(disk, patterns, Cancel())
    assert places is not None
    plain = scan(disk, patterns, lambda _, __: None)
    assert scan_windows(disk, patterns, places) == plain
    assert len(plain) > 40


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_clean_image_has_no_findings(image: Any, form: str) -> None:
    disk = image.make()
    assert look(image.qcow2() if form == "qcow2" else disk, form) == ()
    assert not list(image.folder.glob(".inspect-*"))


def test_everything_that_should_not_be_there_is_named_by_its_path(image: Any) -> None:
    image.files |= {
        "root/.ssh/authorized_keys": b"# ours\nssh-ed25519 AAAAC3Nz build@host\n",
        "root/.bash_history": b"passwd\n",
        "etc/ssh/ssh_host_ed25519_key": b"key",
        "etc/dropbear/dropbear_rsa_host_key": b"key",
        "etc/machine-id": b"3d1219c7c4c5404aaa1f6d2a48adfda4\n",
        "var/lib/cloud/instances/i-1/user-data.txt": b"#cloud-config\n",
        "tmp/a b/left over": b"x",
        "var/tmp/more": b"",
        "swapfile": bytes(1 << 20),
        "etc/ssl/private/key.pem": private_key(),
        "usr/share/doc/example.pem": private_key(),
        "usr/bin/ssh": b"\x7fELF -----BEGIN OPENSSH PRIVATE KEY-----\n\x00",
    }
    image.home |= {
        "ann/.ssh/authorized_keys": b'command="x" ssh-rsa AAAAB3Nz ann\n',
        "ann/.python_history": b"1+1\n",
    }
    assert kinds(look(image.make())) == {
        ("authorized-keys", "/root/.ssh/authorized_keys"),
        ("authorized-keys", "/home/ann/.ssh/authorized_keys"),
        ("history", "/root/.bash_history"),
        ("history", "/home/ann/.python_history"),
        ("host-key", "/etc/ssh/ssh_host_ed25519_key"),
        ("host-key", "/etc/dropbear/dropbear_rsa_host_key"),
        ("machine-id", "/etc/machine-id"),
        ("cloud-init", "/var/lib/cloud/instances/i-1"),
        ("temporary", "/tmp/a b/left over"),
        ("temporary", "/var/tmp/more"),
        ("swap", "/swapfile"),
        ("private-key", "/etc/ssl/private/key.pem"),
    }


def test_what_configuration_management_left_is_named(image: Any) -> None:
    image.files |= {
        "var/lib/puppet/ssl/private_keys/build.example.pem": b"key",
        "etc/chef/client.pem": b"key",
        "etc/salt/minion_id": b"build",
        "etc/salt/pki/minion/minion.pem": b"key",
        "var/cache/salt/minion/highstate.cache.p": b"pillar",
        "root/.ansible/tmp/ansible-tmp-1/AnsiballZ_command.py": b"x",
        "root/.ansible_async/j123.456": b'{"stdout": "x"}',
        "etc/puppet/puppet.conf": b"[main]\n",
        "etc/salt/minion": b"file_client: local\n",
    }
    assert kinds(look(image.make())) == {
        ("client-identity", "/var/lib/puppet/ssl/private_keys/build.example.pem"),
        ("client-identity", "/etc/chef/client.pem"),
        ("client-identity", "/etc/salt/minion_id"),
        ("client-identity", "/etc/salt/pki/minion/minion.pem"),
        ("client-identity", "/var/cache/salt/minion/highstate.cache.p"),
        ("temporary", "/root/.ansible/tmp/ansible-tmp-1"),
        ("temporary", "/root/.ansible_async/j123.456"),
    }


def test_every_form_of_a_secret_is_found_in_files(image: Any) -> None:
    redactor = Redactor()
    redactor.add(SECRET, "password")
    forms = [form for _, form in redactor.patterns()]
    for number, form in enumerate(forms):
        image.files[f"srv/form{number:03}"] = b"before " + form + b" after"
    found = look(image.make())
    assert {finding.path for finding in found if finding.kind == "secret"} == {
        f"/srv/form{number:03}" for number in range(len(forms))
    }
    assert all(SECRET not in str(finding) for finding in found)


def test_secrets_outside_of_files_are_found(image: Any) -> None:
    needle = SECRET.encode()
    image.files["etc/deleted"] = b"x" * 5000 + needle
    disk = image.make()
    image.change("rm /etc/deleted")
    image.write(3000 * 512, needle)  # the BIOS boot partition
    image.write(71 << 20, needle)  # behind the last partition
    image.write((108_544 + 20_000) * 512, needle)  # free space of /home
    assert {finding.path for finding in look(disk)} == {
        "free space or metadata of partition 2",
        "free space or metadata of partition 3",
        "partition 1",
        "outside of all partitions",
    }


def test_a_host_without_gnu_grep_finds_the_same(image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image.home["ann/notes"] = SECRET.encode()
    disk = image.make()
    image.write(3000 * 512, SECRET.encode())
    quick = look(disk)
    monkeypatch.setattr(grep, "places", lambda *_: None)
    assert look(disk) == quick
    assert len(quick) == 2


def test_a_secret_across_the_border_of_two_chunks_is_found_once(image: Any) -> None:
    image.files["srv/big"] = random.Random(1).randbytes(8 << 20)
    disk = image.make()
    image.write((20 << 20) - 7, b"border-secret-value")
    found = look(disk, secret="border-secret-value")
    assert [finding.detail for finding in found] == ["holds the secret password, once"]


def test_a_secret_in_a_compressed_image_is_found(image: Any) -> None:
    image.home["ann/notes"] = SECRET.encode()
    image.make()
    assert ("secret", "/home/ann/notes") in kinds(look(image.qcow2(), "qcow2"))


def test_a_lost_private_key_is_a_warning_and_a_known_one_is_fatal(image: Any) -> None:
    key, known = private_key(), private_key()
    disk = image.make()
    image.write(ROOT + (40 << 20), key)
    image.write(ROOT + (41 << 20), known)
    found = look(disk, secret=known.decode())
    assert {finding.fatal for finding in found if finding.kind == "secret"} == {True}
    assert [(f.fatal, f.detail) for f in found if f.kind == "private-key"] == [(False, "holds a private key, 2 times")]


def test_what_may_stay_is_not_reported(image: Any) -> None:
    image.home["ann/.ssh/authorized_keys"] = b"ssh-rsa AAAAB3Nz admin\n"
    image.files["root/.bash_history"] = b"x\n"
    disk = image.make()
    assert look(disk, options=Hygiene(off=frozenset({"history"}), allow=("/home/*/.ssh/*",))) == ()


def test_a_file_system_that_cannot_be_read_is_said_plainly_and_searched_all_the_same(image: Any) -> None:
    disk = image.folder / "xfs.raw"
    data = bytearray(16 << 20)
    data[0:4] = b"XFSB"  # enough for blkid to call it xfs or nothing at all
    data[9 << 20 : (9 << 20) + len(SECRET)] = SECRET.encode()
    disk.write_bytes(data)
    found = kinds(look(disk))
    assert ("secret", "the disk") in found
    assert ("not-inspected", "the disk") in found


def test_an_image_that_is_none_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(b"QFI\xfb broken")
    with pytest.raises(DriverError, match="reading the image with qemu-img failed"):
        look(broken, "qcow2")


def test_cancelling_ends_the_search(image: Any) -> None:
    disk = image.make()
    cancel = Cancel()
    cancel.set("Ctrl-C")
    with pytest.raises(Interrupted):
        look(disk, cancel=cancel)


def test_owners_and_modes_that_let_others_rule_the_system_are_named(image: Any) -> None:
    image.files |= {"etc/sudoers.d/app": b"app ALL=(ALL) NOPASSWD: ALL\n", "usr/bin/sh": b"x", "srv/www/": b""}
    disk = image.make()
    for command in (
        "sif /etc uid 1000",
        "sif /etc/sudoers.d/app mode 0100666",
        "sif /usr/bin/sh mode 0104755",
        "sif /usr/bin uid 1000000",
        "sif /srv/www mode 040777",
    ):
        image.change(command)
    assert kinds(look(disk)) == {
        ("owner", "/etc"),
        ("owner", "/usr/bin"),
        ("mode", "/etc/sudoers.d/app"),
        ("setuid", "/usr/bin/sh"),
        ("world-writable", "/srv/www"),
    }
    allowed = Hygiene(off=frozenset({"owner", "setuid"}), allow=("/etc/sudoers.d/*", "/srv/*"))
    assert look(disk, options=allowed) == ()


def test_the_root_folder_itself_must_be_roots(image: Any) -> None:
    disk = image.make()
    image.change("sif / uid 100000")
    (finding,) = look(disk)
    assert (finding.kind, finding.path) == ("owner", "/")
    assert "100000" in finding.detail


def test_all_disks_of_an_appliance_are_looked_into_as_one_system(image: Any, tmp_path: Path) -> None:
    image.files["etc/fstab"] = b"LABEL=root / ext4 defaults 0 1\nLABEL=data /srv ext4 defaults 0 2\n"
    disk, work = image.make(), WorkContext(cache=tmp_path)
    data = tmp_path / "data"
    (data / "www").mkdir(parents=True)
    (data / "www" / "token").write_bytes(b"hunter22-and-more")
    second = tmp_path / "second.raw"
    with second.open("wb") as file:
        file.truncate(64 << 20)
    words = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", "data", "-d", str(data), "-E", "root_owner=0:0", str(second)]
    subprocess.run(words, check=True)
    with second.open("r+b") as file:
        file.seek(60 << 20)
        file.write(b"hunter22-and-more")
    appliance = tmp_path / "web.ova"
    with tarfile.open(appliance, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, raw in enumerate((disk, second), start=1):
            packed = tmp_path / f"web-disk{number}.vmdk"
            to = ["-O", "vmdk", "-o", "subformat=streamOptimized", str(raw), str(packed)]
            subprocess.run(["qemu-img", "convert", "-f", "raw", *to], check=True)
            archive.add(packed, packed.name)
    patterns = [("password", b"hunter22-and-more")]
    with foreign_formats.readable(appliance, "ova", tmp_path, work) as disks:
        found = inspect_disks(disks, patterns, Hygiene(folder=tmp_path), work)
    assert kinds(found) == {("secret", "/srv/www/token"), ("secret", "free space or metadata of disk 2")}
