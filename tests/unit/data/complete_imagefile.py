"""Web server images: Debian with nginx, hardened, tested, shared."""

import json
from pathlib import Path

import bakery
from bakery import Artifact, Host, Machine
from bakery.drivers import Debian, Ec2, Newest, OpenStack, Qemu


@bakery.variables
class Vars:
    release: str = bakery.var(default="bookworm", help="Debian release to start from")
    region: str = "eu-central-1"
    workers: int = 4
    admin_password: bakery.Secret = bakery.secret(env="WEB_ADMIN_PASSWORD")


@bakery.source
def laptop(v: Vars) -> Qemu:
    """A local virtual machine."""
    return Qemu(base=Debian(v.release), memory="2G", disk="8G")


@bakery.source
def aws(v: Vars) -> Ec2:
    """A throw-away instance in the build account."""
    return Ec2(
        base=Newest(owner="136693071363", name="debian-12-amd64-*"),
        region=v.region,
        instance_type="t3.small",
        share_with=("111122223333",),
        tags={"team": "web"},
    )


@bakery.task(retries=2, timeout=600)
def base(m: Machine) -> None:
    """Bring the system up to date."""
    m.run("apt-get update && apt-get --yes dist-upgrade", env={"DEBIAN_FRONTEND": "noninteractive"})


@bakery.task
def nginx(m: Machine, v: Vars) -> None:
    """Install nginx and our site."""
    m.run("apt-get install --yes nginx")
    m.put("files/site.conf", "/etc/nginx/sites-enabled/default")
    m.write("/etc/nginx/conf.d/workers.conf", f"worker_processes {v.workers};\n")
    m.run("systemctl enable nginx")


@bakery.task
def harden(m: Machine, v: Vars) -> None:
    """Keys only over SSH; a break-glass console password."""
    m.write("/etc/ssh/sshd_config.d/10-keys-only.conf", "PasswordAuthentication no\n")
    m.run("chpasswd", input=v.admin_password.map(lambda text: f"root:{text}"))


@bakery.test
def nginx_answers(host: Host) -> None:
    """nginx starts at boot and listens."""
    assert host.service("nginx").is_enabled
    assert host.socket("tcp://0.0.0.0:80").is_listening


@bakery.test
def right_release(host: Host, v: Vars) -> None:
    assert host.system_info.codename == v.release


@bakery.post(only=[aws])
def publish(artifact: Artifact, v: Vars) -> None:
    """Write the image's id where Terraform reads it."""
    Path(f"web-{v.release}.auto.tfvars.json").write_text(json.dumps({"web_ami": artifact.id}))


@bakery.image(
    sources=[laptop, aws],
    matrix={"release": ["bullseye", "bookworm"]},
    tasks=[base, nginx, harden],
    tests=[nginx_answers, right_release],
    post=[publish],
)
def web(v: Vars) -> str:
    """Debian with nginx, hardened for the public internet."""
    return f"web-{v.release}"
