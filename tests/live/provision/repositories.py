"""Small repositories of packages, for managers that Debian has and that are not its own; served inside a container."""

from __future__ import annotations

from pathlib import Path

from bakery.machine.machine import Machine

TOOLS = "zypper pacman-package-manager makepkg file createrepo-c rpm libarchive-tools python3 openssl"
PORT = 9600
BUILD = r"""#!/bin/sh
# Four packages: two plain ones, one whose script takes its time, one whose script fails; as rpm, and for pacman.
set -eu
mkdir -p /srv/rpm /srv/pacman /root/build /etc/rpm
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros  # else in the home folder, where dnf and zypper do not look
cd /root/build
build() {  # NAME RPM-LINES SCRIPT
  printf 'Name: %s\nVersion: 1.2\nRelease: 3\nSummary: a package\nLicense: none\nBuildArch: noarch\n' "$1" >$1.spec
  printf '%b\n%%description\na package\n' "$2" >>$1.spec
  printf '%%install\nmkdir -p %%{buildroot}/usr/share\necho it is here >%%{buildroot}/usr/share/%s\n' "$1" >>$1.spec
  [ -z "$3" ] || printf '%%post\n%s\n' "$3" >>$1.spec
  printf '%%files\n/usr/share/%s\n' "$1" >>$1.spec
  rpmbuild --quiet --define "_topdir /root/build/rpm" -bb $1.spec
  mkdir -p $1/usr/share
  echo it is here >$1/usr/share/$1
  printf '%s\n' "pkgname = $1" "pkgbase = $1" "pkgver = 1.2-3" "pkgdesc = a package" "url = none" "builddate = 0" \
    "packager = x" "size = 11" "arch = any" "license = none" >$1/.PKGINFO
  scripts=
  [ -z "$3" ] || { printf 'post_install() {\n%s\n}\n' "$3" >$1/.INSTALL; scripts=.INSTALL; }
  (cd $1 && bsdtar -czf /srv/pacman/$1-1.2-3-any.pkg.tar.gz .PKGINFO $scripts usr)
}
build hello-bakery '' ''
build later-bakery '' ''
build slow-bakery 'Provides: installhint(reboot-needed)' 'touch /run/slow-begun; sleep 5; touch /run/slow-done'
build bad-bakery '' 'echo it is bad; (exit 3)'
cp rpm/RPMS/noarch/*.rpm /srv/rpm/
# What is Debian's own here has no rpm: one that provides what zypper and packages' scripts look for.
build system 'Provides: /bin/sh\nProvides: glibc' ''
rpm --install --nodeps rpm/RPMS/noarch/system-*.rpm
createrepo_c --quiet /srv/rpm
repo-add -q /srv/pacman/ours.db.tar.gz /srv/pacman/*.pkg.tar.gz
mkdir -p /etc/yum.repos.d /etc/zypp/repos.d
printf '[ours]\nname=ours\nbaseurl=http://127.0.0.1:9600/rpm\ngpgcheck=0\nenabled=1\n' >/etc/yum.repos.d/ours.repo
{ cat /etc/yum.repos.d/ours.repo; printf 'autorefresh=1\ntype=rpm-md\n'; } >/etc/zypp/repos.d/ours.repo
printf '[options]\nArchitecture = auto\nSigLevel = Never\n[ours]\nServer = http://127.0.0.1:9600/pacman\n' \
  >/etc/pacman.conf
"""
APK = r'''#!/usr/bin/python3
"""The same packages for apk, in a signed index: apk-package(5)."""
import gzip, hashlib, io, subprocess, tarfile
from pathlib import Path

SLOW = "touch /run/slow-begun; sleep 5; touch /run/slow-done"
SCRIPTS = {"slow-bakery": SLOW, "bad-bakery": "echo it is bad; exit 3"}
KEY, PUBLIC = Path("/root/build/ours.rsa"), Path("/etc/apk/keys/ours.rsa.pub")


def segment(files, last):
    """One gzip stream of a tar; only the last of a file has the end of an archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT if last else tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size = tarfile.REGTYPE if data else tarfile.DIRTYPE, 0o755, len(data)
            if last and data:
                info.pax_headers = {"APK-TOOLS.checksum.SHA1": hashlib.sha1(data).hexdigest()}
            tar.addfile(info, io.BytesIO(data))
        size = raw.tell()
    return gzip.compress(raw.getvalue() if last else raw.getvalue()[:size], mtime=0)


folder = Path("/srv/apk/x86_64")
for path in (folder, PUBLIC.parent, Path("/lib/apk/db")):
    path.mkdir(parents=True, exist_ok=True)
for name in ("hello-bakery", "later-bakery", "slow-bakery", "bad-bakery"):
    data = segment({"usr": b"", "usr/share": b"", f"usr/share/{name}": b"it is here\n"}, True)
    told = {"pkgname": name, "pkgver": "1.2-r3", "pkgdesc": "a package", "url": "none", "size": 11, "arch": "x86_64"}
    told |= {"license": "none", "origin": name, "datahash": hashlib.sha256(data).hexdigest()}
    control = {".PKGINFO": "".join(f"{key} = {value}\n" for key, value in told.items()).encode()}
    if name in SCRIPTS:
        control[".post-install"] = f"#!/bin/sh\n{SCRIPTS[name]}\n".encode()
    (folder / f"{name}-1.2-r3.apk").write_bytes(segment(control, False) + data)
subprocess.run(["openssl", "genrsa", "-out", KEY, "2048"], check=True)
subprocess.run(["openssl", "rsa", "-in", KEY, "-pubout", "-out", PUBLIC], check=True)
index = folder / "APKINDEX.tar.gz"
subprocess.run(["apk", "index", "--allow-untrusted", "--output", index, *folder.glob("*.apk")], check=True)
text = index.read_bytes()
signed = subprocess.run(["openssl", "dgst", "-sha1", "-sign", KEY], input=text, check=True, capture_output=True).stdout
index.write_bytes(segment({f".SIGN.RSA.{PUBLIC.name}": signed}, False) + text)
for path in ("/etc/apk/world", "/lib/apk/db/installed"):
    Path(path).touch()
Path("/etc/apk/arch").write_text("x86_64\n")
Path("/etc/apk/repositories").write_text("http://127.0.0.1:9600/apk\n")
'''
SERVER = r'''#!/usr/bin/python3
"""A web server that answers with the status that /srv/fault names, as long as there is one."""
import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if Path("/srv/fault").exists():
            self.send_error(int(Path("/srv/fault").read_text()))
        else:
            super().do_GET()


os.chdir("/srv")
ThreadingHTTPServer(("127.0.0.1", 9600), Handler).serve_forever()
'''


def set_up(m: Machine, dnf: str, apk: Path | None) -> None:
    """Install the managers, make the repositories and serve them.

    Args:
        m: a container with Debian.
        dnf: the package of the dnf that is tried.
        apk: a static apk of this architecture.
    """
    install = f"apt-get update && apt-get install --yes --no-install-recommends {dnf} {TOOLS}"
    m.run(install, env={"DEBIAN_FRONTEND": "noninteractive"}, hide=True)
    m.run("command -v dnf || ln -s dnf5 /usr/bin/dnf")  # as in Fedora
    m.script(BUILD, hide=True)
    if apk is not None:
        m.put(apk, "/usr/local/bin/apk", mode=0o755)
        m.script(APK, hide=True)
    m.write("/srv/server.py", SERVER, mode=0o755)
    m.run("systemd-run --unit=repositories /srv/server.py")
    m.wait_for(f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {PORT}))'")
