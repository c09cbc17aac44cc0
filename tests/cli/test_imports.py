"""What is cheap stays cheap: no library of a provider, a transport or a screen is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from .conftest import Place

HEAVY = (
    "boto3",
    "botocore",
    "openstack",
    "keystoneauth1",
    "rich",
    "fabric",
    "invoke",
    "paramiko",
    "cryptography",
    "httpx",
    "jinja2",
    "pytest",
    "testinfra",
    "qemu",
    "pycdlib",
    "hypothesis",
    "moto",
)
CHECK = f"import sys; print(*sorted(set(sys.modules) & set({HEAVY!r})))"


@pytest.mark.parametrize(
    "code",
    [
        "import bakery",
        "import bakery.drivers",
        "from bakery import Artifact, Host, Hygiene, Seal, Secret, image, post, source, task, test, var, variables",
        "from bakery.drivers import CloudImage, Debian, Ec2, Newest, Nspawn, OpenStack, Qemu",
        "import bakery.drivers.nspawn.driver, bakery.drivers.virtualbox.driver, bakery.drivers.vsphere.driver",
        "from bakery.cli import main; main(['list'])",
        "from bakery.cli import main; main(['plan'])",
    ],
)
def test_no_heavy_library_is_loaded(empty: Place, code: str) -> None:
    empty.bake("init")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{CHECK}"], cwd=empty.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


def test_a_build_off_a_terminal_loads_nothing_that_draws_or_speaks_http(empty: Place) -> None:
    text = textwrap.dedent(
        """
        import bakery
        from bakery.testing.folder.driver import Folder

        @bakery.source
        def here() -> Folder:
            return Folder(base=None, cloud="cloud")

        @bakery.task
        def nothing(m):
            m.run("true")

        @bakery.image
        def thing(): ...
        """
    )
    empty.write(text)
    empty.bake("build", "--no-test")
    heavy = ("rich", "http.client", "email.message", "urllib.request", "importlib.metadata", "_strptime", "paramiko")
    code = (
        "import atexit, sys; from bakery.cli import main\n"
        f"atexit.register(lambda: print('loaded:', *sorted(set(sys.modules) & set({heavy!r}))))\n"
        "main(['build', '--no-test'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty.folder, capture_output=True, text=True, check=True)
    assert "up to date" in done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_a_suites_process_loads_no_module_of_testinfra_that_a_plain_run_has_not() -> None:
    """Suites of Molecule's look whether `testinfra.utils.ansible_runner` is there."""
    loaded = "import sys; print(*sorted(name for name in sys.modules if name.startswith('testinfra.')))"
    plain, ours = (
        subprocess.run([sys.executable, "-c", f"{code}; {loaded}"], capture_output=True, text=True, check=True).stdout
        for code in ("import testinfra.plugin, testinfra.modules.socket", "import bakery.smoke.suites.plugin")
    )
    assert "ansible_runner" not in plain + ours
