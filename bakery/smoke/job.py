"""What a run of smoke tests is asked, and what it answers: frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from bakery.cache.inputs.external import Kind
from bakery.errors import UsageError
from bakery.imagefile.marks import location_of, name_of
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.suites import Suites
from bakery.model import Endpoint
from bakery.smoke.identity import Identity
from bakery.state.ssh_keys import Keys

Verdict = Literal["passed", "failed", "error", "skipped"]
Read: TypeAlias = tuple[Kind, str, tuple[int, ...] | None]
"""Kind and name of something that a test took in on this host, and how a file looked when it was first read."""

BUILTIN: Final[Mapping[str, str]] = {
    "boot_is_finished": "the machine came up and is not stuck on the way",
    "no_failed_units": "no service of the image fails at boot",
    "no_build_key": "nobody who built the image can log in to it",
    "no_build_secret": "no secret of the build lies in a file that usually holds some",
    "machine_id_is_new": "/etc/machine-id was born on this machine",
    "host_keys_are_new": "the SSH host keys were born on this machine",
    "host_keys_are_made": "a machine that nobody gives SSH host keys makes its own",
    "clock_is_right": "the clock agrees with this host's",
    "root_has_room": "the root file system fills its disk and is not full",
    "only_root_rules_the_system": "what decides who is root belongs to root, and nobody else can write it",
    "survives_reboot": "what was written stays through a reboot, and so do machine-id and SSH host keys",
}
"""The tests that every image gets, in the order in which they run; `bakery/smoke/builtin.py` holds them."""

AFTER_REBOOT: Final = frozenset({"boot_is_finished", "no_failed_units", "survives_reboot"})
"""Those that run on a machine that was rebooted, where a test of the image asks for a reboot."""


def at_first_boot(names: frozenset[str]) -> frozenset[str]:
    """Return those that say something of a machine that has booted once."""
    return names - {"survives_reboot"}


def builtin(option: object) -> frozenset[str]:
    """Say which built-in tests an image wants.

    Args:
        option: `builtin_tests=` of `@bakery.image`: True for all, False for none, or the wanted names.

    Raises:
        UsageError: a name that no built-in test has.
    """
    if isinstance(option, bool):
        return frozenset(BUILTIN) if option else frozenset()
    wanted = (
        frozenset(map(str, option)) if isinstance(option, (list, tuple, set, frozenset)) else frozenset({str(option)})
    )
    if unknown := sorted(wanted - set(BUILTIN)):
        raise UsageError(f"no built-in test is called {', '.join(unknown)}", hint=f"there are: {', '.join(BUILTIN)}")
    return wanted


@dataclass(frozen=True, kw_only=True)
class TestRef:
    """A test function of the imagefile, so that another process finds it again.

    Args:
        image: name of the image's function, as in `Recipe.image`.
        index: the test's place among that image's tests.
        name: the function's name.
        file: the file that defines it; a helper module's where the imagefile imports it.
        line: the line in it.
    """

    __test__ = False
    image: str
    index: int
    name: str
    file: Path
    line: int

    @classmethod
    def of(cls, recipe: Recipe, image: str, index: int) -> TestRef:
        """Refer to test number `index` of an image, as a plan's step does."""
        function = recipe.image(image).tests[index]
        where = location_of(function)
        return cls(image=image, index=index, name=name_of(function), file=where.file, line=where.line)


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """A run of pytest suites.

    Args:
        paths: folders, files and node ids, as pytest takes them in the imagefile's folder.
        arguments: pytest's, besides.
        names: what the image is called: these mean the machine under test in `testinfra_hosts`.
        options: the image's.
        nodes: names of machines that may run beside it: these mean them.
        cache: the folder of pytest's own cache, for `--lf`.
        collect_only: True where there is no machine yet, and only what would run is of interest.
    """

    paths: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    options: Suites = field(default_factory=Suites)
    nodes: tuple[str, ...] = ()
    cache: Path
    collect_only: bool = False

    @property
    def speaks(self) -> bool:
        """True where the user wants to see pytest's own words."""
        return any(argument.startswith(_SPEAKS) for argument in self.arguments)


_SPEAKS: Final = (
    *("-s", "-v", "-r", "-h", "--capture", "--durations", "--collect", "--co", "--setup", "--fixtures", "--markers"),
    *("--verbos", "--version", "--help", "--trace-config", "--show-capture", "--debug"),
)


@dataclass(frozen=True, kw_only=True)
class CloneAccess:
    """Another machine of the same image, and the keys to it."""

    endpoint: Endpoint
    keys: Keys


@dataclass(frozen=True, kw_only=True)
class BeforeReboot:
    """What was known of a machine before it was rebooted.

    Args:
        identity: who it was.
        token: what was written into each of
        sentinels: files that must survive.
    """

    identity: Identity
    token: str
    sentinels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SmokeJob:
    """Everything that one run of smoke tests needs.

    Args:
        imagefile: the user's file.
        tests: the user's tests to run, in order.
        builtin: names of the built-in tests to run before them.
        endpoint: where the machine is; its transport is `ssh` or `namespace`.
        keys: the keys of the machine under test.
        variables: the object that tests get as `v`; None where the imagefile has no variables.
        secrets: plain texts, by name, that must appear nowhere, neither in reports nor on the machine; those among
            the variables count without being listed here.
        builder: identity of the machine that the image was built on; None where it is not known.
        junit: where the JUnit report is written.
        timeout: seconds for all tests together.
        build: the build's name, for events.
        strict_host: whether testinfra's known wrong answers are put right.
        suite: the suites; None where the tests are functions of the imagefile.
        clones: other machines of the image, which run at the same time.
        name: what the machine is called among
        nodes: machines of other images, which run at the same time on one private network, by name.
        absent: names of such machines that do not run this time.
        before: what the machine was before its reboot; None where it was not rebooted.
    """

    imagefile: Path
    tests: tuple[TestRef, ...]
    builtin: frozenset[str] = at_first_boot(frozenset(BUILTIN))
    endpoint: Endpoint
    keys: Keys
    variables: Any = None
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    builder: Identity | None = None
    junit: Path
    timeout: float = 900.0
    build: str = ""
    strict_host: bool = True
    suite: SuiteRun | None = None
    clones: tuple[CloneAccess, ...] = ()
    name: str = ""
    nodes: Mapping[str, CloneAccess] = field(default_factory=dict[str, CloneAccess])
    absent: tuple[str, ...] = ()
    before: BeforeReboot | None = None


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """How one test ended; a parametrized test has one for each of its cases.

    Args:
        test: the function's name, with the case in brackets.
        outcome: `error` means that a fixture failed, not the test itself.
        seconds: set-up and tear-down included.
        location: `imagefile.py:42`: the test's line, or the failing line where there is one.
        text: pytest's explanation of a failure, or the reason of a skip.
    """

    __test__ = False
    test: str
    outcome: Verdict
    seconds: float
    location: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """How the tests of one machine ended.

    Args:
        results: in the order in which they ran.
        seconds: wall time, start of the child process included.
        identity: the machine's own, to be compared with that of another clone.
        round_trips: how often the machine was asked something.
        read: what the tests took in on this host: kind, name, and how a file looked.
    """

    results: tuple[TestResult, ...]
    seconds: float
    identity: Identity
    round_trips: int = 0
    read: tuple[Read, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing failed."""
        return not self.failures

    def __add__(self, other: SmokeReport) -> SmokeReport:
        """Return one report of two runs on one machine; who it is, the first has found out."""
        return SmokeReport(
            results=self.results + other.results,
            seconds=self.seconds + other.seconds,
            identity=self.identity,
            round_trips=self.round_trips + other.round_trips,
            read=tuple(dict.fromkeys(self.read + other.read)),
        )

    @property
    def failures(self) -> tuple[TestResult, ...]:
        """The results that make the image unfit."""
        return tuple(result for result in self.results if result.outcome in ("failed", "error"))
