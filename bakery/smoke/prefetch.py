"""What is known of the machine already, so that an assert need not ask again.

testinfra asks in shell commands; most of them are a handful of well-known words. Those are answered from facts that
were fetched together, in one round trip; and what a suite asked when it ran last is asked ahead of it, behind a
question that has to go to the machine anyhow. The answers are those of a plain run that is at most a second quicker:

- Whatever is not known to be a mere question may change anything. It runs alone, and every fact is forgotten, those of
  other machines too.
- States that change by themselves (services, sockets, files) are good for one second, and for one answer to each
  question, so that a loop that waits for something always asks the machine.
- No answer is older than one that was given before: when the machine is asked something anew, older states are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from bakery.smoke.fact_groups import FactGroup, Verbatim, group_of
from bakery.smoke.foresight import LONGEST, Asked, Foresight
from bakery.smoke.shell import CommandTimeoutError, Pending, Reply, Request
from bakery.util.results import Lost

FRESH: Final = 1.0
"""Seconds for which a state that changes by itself is believed."""
CHEAP: Final = 0.05
"""Seconds: a group of states that takes longer to fetch is fetched once; later questions go to the machine alone."""
COSTLY: Final = frozenset({"units"})
"""States of which many more are fetched than a question is about. The first question goes alone, and tells whether the
machine is quick enough: an emulated one takes 5 s for the states of all its units, and 0.3 s for one.
"""
FIRST, LEAST, MOST = 16, 4, 64
"""How much is asked ahead: it grows while all of it is used in time, and shrinks when answers grow old."""
LARGE: Final = 1 << 18
"""Bytes of an answer that is not asked for ahead."""


class AskingShell(Protocol):
    """The shell of a machine."""

    def begin(self, *requests: Request) -> list[Pending]:
        """Send questions; see `Shell`."""
        ...

    def take(self, pending: Pending) -> Reply:
        """Return an answer; see `Shell`."""
        ...

    def ask_with(
        self, requests: list[Request], ahead: list[Request], timeout: float | None
    ) -> tuple[list[Reply], list[Pending]]:
        """Ask, and send questions behind; see `Shell`."""
        ...


@dataclass
class _Fetched:
    """Answers that come, or came, together.

    Args:
        group: reads them.
        pending: what was sent.
        order: the round trip's number.
        at: when it was sent.
        cost: seconds that it took; 0 where nobody waited.
        alone: True where the group is one question, for the shell that tests use.
        planned: the questions that it is for, and the turn of the test that will ask each.
        given: those that were answered.
    """

    group: FactGroup
    order: int
    at: float
    pending: list[Pending] = field(default_factory=list[Pending])
    cost: float = 0.0
    alone: bool = False
    planned: dict[str, int] = field(default_factory=dict[str, int])
    given: set[str] = field(default_factory=set[str])
    answers: Mapping[str, Reply] | None = None


class PrefetchedFacts:
    """Answers questions about a machine, from memory where that is right.

    Args:
        shell: asks the machine.
        clock: seconds, always rising.
        foresight: what its tests asked earlier.
        machine: its name there.
        interpreter: the program that runs commands of tests, asked for once it is needed.
        away: returns the seconds of a round trip, asked for once they are needed.
    """

    def __init__(
        self,
        shell: AskingShell,
        clock: Callable[[], float] = time.monotonic,
        *,
        foresight: Foresight | None = None,
        machine: str = "",
        interpreter: Callable[[], str] = lambda: "/bin/sh",
        away: Callable[[], float] = float,
    ) -> None:
        self._shell = shell
        self._clock = clock
        self._foresight = foresight or Foresight()
        self._machine = machine
        self._interpreter = interpreter
        self._lasting: dict[str, _Fetched] = {}
        self._states: dict[str, list[_Fetched]] = {}
        self._away = away
        self._dear: set[str] = set()
        self._weighed: dict[str, bool] = {}
        self._window = FIRST
        self.believe_states = True
        """False where something else than our questions may change the machine: all but what it is goes to it then."""

    def change(self) -> None:
        """Note that a command runs which may change something."""
        self._foresight.note(None)
        self.forget()

    def forget(self) -> None:
        """Ask the machine again for everything: something may have changed."""
        self._lasting.clear()
        self._dear.clear()
        self._weighed = {name: quick for name, quick in self._weighed.items() if quick}
        self.forget_states()

    def forget_states(self) -> None:
        """Ask again for what changes by itself, and may just have done so."""
        self._states.clear()

    def ask(self, question: str, line: str, sudo: str | None, timeout: float | None) -> Reply:
        """Answer a question, from memory or by the machine.

        Args:
            question: what is known to change nothing,
            line: and how it is run.
            sudo: as whom; see `Asked`.
            timeout: seconds.

        Raises:
            CommandTimeoutError: it took longer; it and its children were ended.
        """
        asked, began = Asked(self._machine, question, sudo), self._clock()
        self._foresight.note(asked)
        known = self.answer(question) if sudo is None else self._foretold(_alone(asked), line)
        if known is not None:
            self._ask_on()
            reply, took = known, self._clock() - began
        else:
            order = self._foresight.given = self._foresight.next_order()
            [reply] = self._send([Request(line, self._interpreter())], timeout, order)
            took = self._clock() - began
            if sudo is None:
                self._weigh(question, took)
        slow = took > FRESH
        if slow or len(line) > LONGEST or len(reply.stdout) > LARGE or asked.line != line:
            self._foresight.unsay()
        return reply

    def answer(self, question: str) -> Reply | None:
        """Return the answer to a question without sudo, or None where the machine itself must be asked."""
        name, group, lasting = group_of(question)
        if name != "system" and not self.believe_states:
            return None
        if group is not None and lasting:
            fetched = self._lasting.get(name) or self._fetch(name, group, lasting=True)
            if (reply := self._read(fetched).get(question)) is not None:
                return reply
            group = None
        reply = self._foretold(_alone(Asked(self._machine, question)), question) or self._foretold(name, question)
        if reply is not None or group is None or name in self._dear or self._was_given(name, question):
            return reply
        if name in COSTLY and not self._weighed.get(name):
            return None
        fetched = self._fetch(name, group, lasting=False)
        if fetched.cost > CHEAP:
            self._dear.add(name)
        return self._give(fetched, question)

    def _weigh(self, question: str, seconds: float) -> None:
        """Find out, by one question, whether the machine is quick enough to be asked for all of its kind."""
        name, _, _ = group_of(question)
        if name in COSTLY and name not in self._weighed:
            with suppress(Lost):  # the next question will tell
                self._weighed[name] = seconds - self._away() <= CHEAP

    # ---- states -----------------------------------------------------------------------------------------------

    def _foretold(self, name: str, line: str) -> Reply | None:
        """Return an answer that has come already, or is on its way."""
        if not self.believe_states:
            return None
        turn = self._foresight.turn
        for fetched in self._states.get(name, ()):
            mine = fetched.planned.get(line, turn) == turn
            if (
                mine
                and line not in fetched.given
                and self._holds(fetched)
                and (reply := self._give(fetched, line)) is not None
            ):
                return reply
        return None

    def _holds(self, fetched: _Fetched) -> bool:
        """Say whether answers are fresh, and none that was given is newer."""
        return fetched.order >= self._foresight.given and self._clock() - fetched.at <= FRESH

    def _was_given(self, name: str, line: str) -> bool:
        return any(line in each.given and self._holds(each) for each in self._states.get(name, ()))

    def _give(self, fetched: _Fetched, line: str) -> Reply | None:
        reply = self._read(fetched).get(line)
        if reply is not None:
            fetched.given.add(line)
            self._foresight.given = max(self._foresight.given, fetched.order)
        return reply

    def _read(self, fetched: _Fetched) -> Mapping[str, Reply]:
        if fetched.answers is None:
            try:
                fetched.answers = fetched.group.read([self._shell.take(each) for each in fetched.pending])
            except (Lost, CommandTimeoutError):
                self.forget()  # what was sent ahead is gone; the machine will be asked, and that will tell
                fetched.answers = {}
        return fetched.answers

    # ---- round trips ------------------------------------------------------------------------------------------

    def _fetch(self, name: str, group: FactGroup, *, lasting: bool) -> _Fetched:
        began = self._clock()
        order = self._foresight.given = self._foresight.next_order()
        fetched = _Fetched(group, order, began)
        if lasting:
            self._lasting[name] = fetched
        else:
            self._states.setdefault(name, []).append(fetched)
        replies = self._send([Request(command) for command in group.commands()], None, order)
        fetched.cost, fetched.answers = self._clock() - began, group.read(replies)
        return fetched

    def _send(self, requests: list[Request], timeout: float | None, order: int) -> list[Reply]:
        """Ask something, and behind it what will be asked next."""
        ahead = self._plan(order)
        try:
            replies, pending = self._shell.ask_with(requests, self._requests(ahead), timeout)
        except BaseException:
            self.forget()
            raise
        _hand_out(pending, ahead)
        return replies

    def _ask_on(self) -> None:
        """Send more ahead when half of it is used up."""
        left = sum(len(each.planned.keys() - each.given) for held in self._states.values() for each in held)
        if not self.believe_states or left >= self._window // 2:
            return
        if ahead := self._plan(self._foresight.next_order()):
            self._window = min(MOST, self._window + LEAST)
            _hand_out(self._shell.begin(*self._requests(ahead)), ahead)

    def _requests(self, ahead: list[_Fetched]) -> list[Request]:
        return [
            Request(command, self._interpreter()) if each.alone else Request(command)
            for each in ahead
            for command in each.group.commands()
        ]

    def _plan(self, order: int) -> list[_Fetched]:
        """Choose what to ask ahead, and enter it among what is known."""
        self._drop_old()
        plan: list[_Fetched] = []
        if not self.believe_states:
            return plan
        seen = {(self._foresight.turn, each) for each in self._foresight.asked}
        for turn, asked in self._foresight.upcoming(self._machine):
            name, group, lasting = self._place(asked)
            if lasting:
                if name not in self._lasting:
                    plan.append(_Fetched(group, order, self._clock()))
                    self._lasting[name] = plan[-1]
                continue
            if (turn, asked) in seen or len(plan) >= self._window:
                break  # a test that asks the same once more waits for something
            seen.add((turn, asked))
            if (held := self._room(name, asked.line, turn)) is None:
                held = _Fetched(group, order, self._clock(), alone=name == _alone(asked))
                plan.append(held)
                self._states.setdefault(name, []).append(held)
            held.planned[asked.line] = turn
        return plan

    def _place(self, asked: Asked) -> tuple[str, FactGroup, bool]:
        """Say what is asked ahead for a question: the facts' name, the group, and whether that lasts."""
        name, group, lasting = group_of(asked.question) if asked.sudo is None else ("", None, False)
        known = self._lasting[name].answers if name in self._lasting else None
        if group is not None and (name.startswith("file ") or (lasting and (known is None or asked.line in known))):
            return name, group, lasting
        return _alone(asked), Verbatim((asked.line,)), False

    def _room(self, name: str, line: str, turn: int) -> _Fetched | None:
        """Return what is held already and may answer a question, of a test that will ask it."""
        for held in self._states.get(name, ()):
            if held.order >= self._foresight.given and line not in held.given and held.planned.get(line, turn) == turn:
                return held
        return None

    def _drop_old(self) -> None:
        """Forget states that will not be used any more; ask less ahead where they grew old unused."""
        turn = self._foresight.turn
        for name, known in [*self._states.items()]:
            held = [each for each in known if self._holds(each)]
            for each in known:
                old = self._clock() - each.at > FRESH
                if old and any(when >= turn for line, when in each.planned.items() if line not in each.given):
                    self._window = max(LEAST, self._window - 1)
            if held:
                self._states[name] = held
            else:
                del self._states[name]


def _alone(asked: Asked) -> str:
    """Name the facts that are one question's answer."""
    return f"alone {asked.line}"


def _hand_out(pending: list[Pending], ahead: list[_Fetched]) -> None:
    """Tell each what it waits for."""
    replies = iter(pending)
    for fetched in ahead:
        fetched.pending = [next(replies) for _ in fetched.group.commands()]
