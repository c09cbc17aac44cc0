"""The claims of a build: under each, things are made at a provider, and each is destroyed unless it is handed on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bakery.build.build_events import BuildEvents
from bakery.build.logins import login_for
from bakery.errors import CleanupError
from bakery.events import Waiting
from bakery.state.claim import Claim
from bakery.state.destroy import destroy_all
from bakery.state.ledger import ClaimLedger
from bakery.state.ssh_keys import NO_KEYS, make_keys
from bakery.util.files import slug

if TYPE_CHECKING:
    from bakery.build.context import RunContext
    from bakery.build.job import Job


KEYLESS: Final = frozenset({"image", "keep"})
"""Roles under which no machine is started."""


class Claims:
    """Makes claims, and destroys what was made under them.

    Args:
        run: the run.
        job: returns the build, as it is bound now.
        events: says what goes on.
        part: tells several scopes of one build apart.
    """

    def __init__(self, run: RunContext, job: Callable[[], Job], events: BuildEvents, part: str = "") -> None:
        self._run = run
        self._job = job
        self._events = events
        self._part = part
        self._ledgers: list[ClaimLedger] = []
        self.errors: list[CleanupError] = []

    @property
    def slug(self) -> str:
        """The build's name, as folders and things at providers can be called."""
        name = "-".join(filter(None, (self._job().name, self._part, self._run.attempt)))
        return slug(name)

    def new(self, role: str, driver: str, of: Job | None = None) -> tuple[Claim, ClaimLedger]:
        """Make the right to make things, with a private folder, and fresh keys where a machine is made.

        Args:
            role: what for: `build`, `smoke`, `clone`, `node`, `image`, `keep`.
            driver: who makes them.
            of: the build that says how the machine is entered; the claims' own when not given.
        """
        run, job = self._run, self._job()
        ledger = ClaimLedger(run.journal)
        self._ledgers.append(ledger)
        number = len(self._ledgers)
        folder = run.folder.path / "machines" / f"{self.slug}-{number}"
        folder.mkdir(parents=True, mode=0o700)
        expires = datetime.now(UTC) + timedelta(seconds=run.options.expire)
        claim = Claim(
            cache=run.state.cache,
            cancel=run.cancel,
            emit=run.emit,
            offline=run.options.offline,
            build=job.name,
            redact=run.redactor,
            run=run.folder.id,
            role=role,
            name=f"bakery-{run.folder.id}-{self.slug}-{number}"[:200],
            folder=folder,
            tags={"bakery:run": run.folder.id, "bakery:build": job.name, "bakery:expires": f"{expires:%FT%TZ}"},
            driver=driver,
            launch_timeout=run.options.connect_timeout,
            keys=NO_KEYS if role in KEYLESS else make_keys(f"bakery-{run.folder.id}"),
            ledger=ledger,
            images=run.state.images_folder / job.build.source,
            login=login_for(of or job, role, driver),
            networked=role in ("smoke", "node") and bool(job.build.nodes),
        )
        run.redactor.add(claim.keys.user_private, "build key")  # nothing, where there are none
        run.redactor.add(claim.keys.host_private, "host key")
        claim.images.mkdir(parents=True, exist_ok=True)
        return claim, ledger

    def destroy(self, ledger: ClaimLedger) -> None:
        """Destroy what was made under a claim; what cannot be destroyed is noted in `errors`."""
        resources, ledger.resources = list(ledger.resources.values()), {}
        if not resources:
            return
        with self._run.cancel, self._events.phase("clean-up"):
            self.errors += destroy_all(
                resources,
                driver=self._run.drivers.get,
                journal=self._run.journal,
                cancel=self._run.cancel,
                notify=lambda what: self._events.emit(Waiting(what=f"destroying {what}")),
            )

    def destroy_all(self) -> None:
        """Destroy what was made under any claim, the newest first."""
        for ledger in reversed(self._ledgers):
            self.destroy(ledger)
