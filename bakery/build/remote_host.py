"""Running an image's smoke tests against a machine that is there already: `bake test --host ssh://root@web1`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.one_off import OneOffRun, build_of
from bakery.build.smoke_tests import SuiteChoice
from bakery.errors import ConnectError, SmokeError, UsageError
from bakery.events import Notice, PhaseEnded, PhaseStarted
from bakery.model import Artifact, Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext


@dataclass(frozen=True)
class RemoteHost:
    """A machine that we did not make: its key is the user's, its host key is one that the user knows already."""

    endpoint: Endpoint
    keys: Keys

    @classmethod
    def of(cls, url: str, *, identity: Path | None, known_hosts: Path) -> RemoteHost:
        """Read what the command line says.

        Args:
            url: `ssh://USER@HOST:PORT`; root and 22 where they are not said.
            identity: the private key, without a passphrase.
            known_hosts: where the host key is.

        Raises:
            UsageError: something of it is missing or wrong.
        """
        parts = urlsplit(url)
        if parts.scheme != "ssh" or not parts.hostname:
            raise UsageError(f"{url!r} is no ssh://USER@HOST[:PORT]")
        if parts.password:
            raise UsageError("a password in --host", hint="every user of this host can read it there; use --identity")
        port = parts.port or 22
        endpoint = Endpoint(
            host=parts.hostname,
            port=port,
            user=parts.username or "root",
            host_key=_known(known_hosts, parts.hostname, port),
            key=_checked(identity),
        )
        return cls(endpoint, Keys(user_private="", user_public="", host_private="", host_public=""))

    def test(self, visit: OneOffRun, image: str | None, choice: SuiteChoice | None = None) -> int:
        """Run the tests of an image there; built-in tests are about fresh machines, so they are left out.

        Args:
            visit: the run.
            image: whose tests; None where there is one alone.
            choice: what the user asks of suites besides.
        """
        build = build_of(Artifact(driver="", id="", name=""), visit.jobs.plan, image)
        return visit.go(build, "ssh", lambda run: self._smoke(run, visit.jobs[build.name], choice), needs_secrets=True)

    def _smoke(self, run: RunContext, job: Job, choice: SuiteChoice | None) -> None:
        import time

        from bakery.build.after_reboot import rebooting_tests
        from bakery.build.smoke_tests import absent_nodes, suite_run, summary, test_refs
        from bakery.smoke import SmokeJob
        from bakery.smoke.whole import run_all

        smoke_job = SmokeJob(
            imagefile=job.imagefile,
            builtin=frozenset(),
            endpoint=self.endpoint,
            keys=self.keys,
            tests=test_refs(job),
            variables=job.variables,
            junit=run.folder.path / "smoke.xml",
            build=job.name,
            strict_host=job.options.strict_host,
            name=job.build.spec,
            absent=absent_nodes(job),
            secrets={name: secret.reveal() for name, secret in job.secrets.items()},
        )
        if again := rebooting_tests(job):
            names = ", ".join(test.name for test in again)
            run.emit(Notice(build=job.name, message=f"this host is not rebooted: {names} run once"))
        started = time.monotonic()
        run.emit(PhaseStarted(build=job.name, phase="smoke"))
        work = WorkContext(cache=run.state.cache, cancel=run.cancel, emit=run.emit, build=job.name)
        terminal = choice.terminal if choice else None
        report = run_all(smoke_job, suite_run(job, run.state, choice), work, terminal=terminal)
        seconds = time.monotonic() - started
        run.emit(PhaseEnded(build=job.name, phase="smoke", seconds=seconds, outcome="ok" if report.ok else "failed"))
        if not report.ok:
            raise SmokeError(summary(report), hint="each failure is explained above")


def _known(path: Path, host: str, port: int) -> str:
    """Return the host's keys, a line each, as known_hosts has them (hashed names too)."""
    from paramiko import HostKeys

    name = host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004  SSH's own port is written without it
    host_keys = HostKeys(str(path)).lookup(name) if path.is_file() else None
    if not host_keys:
        raise UsageError(
            f"the host key of {name} is not in {path}",
            why="keys are never taken on trust",
            hint=f"after checking it: ssh-keyscan -p {port} {host} >> {path}",
        )
    return "\n".join(f"{kind} {host_keys[kind].get_base64()}" for kind in host_keys)


def _checked(identity: Path | None) -> str:
    """Return the path of a private key that can be used.

    Raises:
        UsageError: there is none.
    """
    from bakery.machine.transport.private_key import load

    if identity is None:
        raise UsageError("--host needs --identity FILE", hint="the private key that the machine accepts")
    try:
        load(identity.expanduser())
    except ConnectError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint) from error
    return str(identity.expanduser().absolute())
