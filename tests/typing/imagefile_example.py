"""Web server images: Debian with nginx, hardened, and tested on a machine booted from the finished image."""

import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Qemu


@bakery.variables
class Vars:
    release: str = bakery.var(default="bookworm", help="Debian release to start from")
    workers: int = bakery.var(default=2, help="nginx worker processes")


@bakery.source
def laptop(v: Vars) -> Qemu:
    """A virtual machine on this host."""
    return Qemu(base=Debian(v.release), memory="1G", disk="4G")


@bakery.task
def nginx(m: Machine, v: Vars) -> None:
    """Install nginx and our site."""
    m.run("apt-get update && apt-get install --yes nginx-light", env={"DEBIAN_FRONTEND": "noninteractive"})
    m.write("/var/www/html/index.html", "<h1>Baked.</h1>\n")
    m.run(["sed", "-i", f"s/^worker_processes .*/worker_processes {v.workers};/", "/etc/nginx/nginx.conf"])
    m.run("systemctl enable nginx")


@bakery.task
def harden(m: Machine) -> None:
    """Keys only over SSH."""
    m.write("/etc/ssh/sshd_config.d/10-keys-only.conf", "PasswordAuthentication no\n")


@bakery.test
def nginx_answers(host: Host) -> None:
    """nginx starts at boot and serves our page."""
    assert host.service("nginx").is_enabled
    assert host.service("nginx").is_running
    assert host.socket("tcp://0.0.0.0:80").is_listening
    assert host.file("/var/www/html/index.html").contains("Baked")


@bakery.test
def right_release(host: Host, v: Vars) -> None:
    assert host.system_info.codename == v.release


@bakery.image(sources=[laptop], tasks=[nginx, harden], tests=[nginx_answers, right_release])
def web(v: Vars) -> str:
    """Debian with nginx, hardened for the public internet."""
    return f"web-{v.release}"
