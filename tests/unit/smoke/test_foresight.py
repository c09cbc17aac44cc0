"""What was asked in an earlier run is asked ahead, and no answer is older than a plain run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.smoke.foresight import LONGEST, Asked, Entry, Foresight, load, save
from bakery.smoke.prefetch import FRESH, LARGE, PrefetchedFacts
from bakery.smoke.shell import Reply
from tests.unit.smoke.pipes import FakeShell

ALL = {"a": ["cat a", "id root"], "b": ["cat b", "cat a"], "c": ["getent group root"]}


class Machine:
    """A machine on which all changes at each round trip: an answer tells which one it came by."""

    def __init__(
        self, earlier: dict[str, list[str | None]], name: str = "", foresight: Foresight | None = None
    ) -> None:
        known: dict[str, list[Entry]] = {
            test: [None if each is None else Asked(name, each) for each in asked] for test, asked in earlier.items()
        }
        self.now = 100.0
        self.trip = FakeShell(lambda command: Reply(0, b"%d %s" % (len(self.trip.asked), command.encode())))
        self.foresight = foresight or Foresight(known)
        self.facts = PrefetchedFacts(self.trip, lambda: self.now, foresight=self.foresight, machine=name)

    def begin(self, test: str, *following: str) -> None:
        self.foresight.begin(test, following)

    def ask(self, question: str) -> int:
        """Ask, and return the number of the round trip that the answer came by."""
        trip, _, answered = self.facts.ask(question, question, None, None).stdout.decode().partition(" ")
        assert answered == question
        return int(trip)


def machine(**earlier: list[str | None]) -> Machine:
    return Machine(earlier or {test: [*asked] for test, asked in ALL.items()})


def test_one_round_trip_carries_what_the_tests_asked_when_they_ran_last() -> None:
    there = machine()
    there.begin("a", "b", "c")
    answers = [there.ask("cat a"), there.ask("id root")]
    there.begin("b", "c")
    answers += [there.ask("cat b"), there.ask("cat a")]
    there.begin("c")
    answers += [there.ask("getent group root")]
    assert answers == [1, 1, 1, 1, 1]
    assert there.trip.asked == [("cat a", "id root", "cat b", "cat a", "getent group root")]


def test_a_first_run_asks_one_by_one_and_notes_all() -> None:
    there = Machine({})
    there.begin("a")
    assert [there.ask("cat a"), there.ask("id root")] == [1, 2]
    there.facts.change()
    assert there.foresight.now == {"a": [Asked("", "cat a"), Asked("", "id root"), None]}


def test_nothing_behind_a_command_that_may_change_something_is_asked_before_it() -> None:
    there = machine(a=["cat a", "id root", None, "cat b", "cat c"])
    there.begin("a")
    there.ask("cat a")
    assert there.trip.asked == [("cat a", "id root")]
    there.facts.change()
    assert there.ask("cat b") == 2
    assert there.trip.asked[-1] == ("cat b", "cat c")


def test_a_command_that_nobody_foresaw_makes_all_be_asked_anew() -> None:
    there = machine()
    there.begin("a", "b")
    there.ask("cat a")
    there.facts.change()
    assert there.ask("id root") == 2
    there.begin("b")
    assert there.ask("cat b") == 2


def test_an_answer_is_never_older_than_one_that_was_given_before() -> None:
    """A test waits for one thing, and then asks for another that came with it."""
    there = machine(a=["cat state", "cat result"])
    there.begin("a")
    assert [there.ask("cat state"), there.ask("cat state"), there.ask("cat state")] == [1, 2, 3]
    assert there.ask("cat result") == 3, "what was asked ahead of the wait is too old"


def test_a_question_that_a_test_repeats_always_goes_to_the_machine() -> None:
    there = machine(a=["cat a", "cat a", "cat a", "id root"])
    there.begin("a")
    assert [there.ask("cat a"), there.ask("cat a"), there.ask("cat a")] == [1, 2, 3]


def test_an_answer_is_for_the_test_that_it_was_foretold_for() -> None:
    there = machine()
    there.begin("a", "c", "b")
    there.ask("cat a")
    there.begin("b")
    assert there.ask("cat b") == 2, "the tests run in another order"


@pytest.mark.parametrize("how", ["old", "slept", "changed"])
def test_what_may_have_changed_is_asked_anew(how: str) -> None:
    there = machine()
    there.begin("a")
    there.ask("cat a")
    if how == "old":
        there.now += FRESH + 0.1
    elif how == "slept":
        there.facts.forget_states()
    else:
        there.facts.forget()
    assert there.ask("id root") == 2


def test_where_another_way_leads_to_the_machine_nothing_is_asked_ahead() -> None:
    there = machine()
    there.begin("a", "b")
    there.facts.believe_states = False
    assert [there.ask("cat a"), there.ask("id root")] == [1, 2]
    assert there.trip.asked == [("cat a",), ("id root",)]


def test_an_answer_of_one_machine_makes_older_ones_of_another_too_old() -> None:
    earlier: dict[str, list[Entry]] = {"a": [Asked("web", "cat a"), Asked("web", "cat b"), Asked("db", "cat state")]}
    shared = Foresight(earlier)
    web, db = Machine({}, "web", shared), Machine({}, "db", shared)
    web.begin("a")
    web.ask("cat a")
    assert db.ask("cat state") == 1
    assert web.ask("cat b") == 2


def test_a_file_is_asked_for_once_for_all_that_is_asked_of_it() -> None:
    stat = b"0\n0\n1\n1\n1\n1\n1\nroot:0:root:0:640:1700000000:1234:99\n"
    trip = FakeShell(lambda _: Reply(0, stat))
    asked: list[Entry] = [Asked("", "test -e /x"), Asked("", "stat -Lc %U /x"), Asked("", "stat -Lc %a /y")]
    foresight = Foresight({"a": asked})
    facts = PrefetchedFacts(trip, lambda: 100.0, foresight=foresight)
    foresight.begin("a", ())
    for entry in asked:
        assert entry is not None
        facts.ask(entry.question, entry.question, None, None)
    assert [len(each) for each in trip.asked] == [2]


def test_a_question_with_sudo_is_foretold_as_testinfra_words_it() -> None:
    line = "sudo -u app /bin/sh -c 'cat a'"
    assert Asked("", "cat a", "app").line == line
    there = FakeShell(lambda command: Reply(0, command.encode()))
    foresight = Foresight({"a": [Asked("", "id"), Asked("", "cat a", "app")]})
    facts = PrefetchedFacts(there, lambda: 100.0, foresight=foresight)
    foresight.begin("a", ())
    facts.ask("id", "id", None, None)
    assert facts.ask("cat a", line, "app", None).stdout == line.encode()
    assert there.asked == [("id", line)]


@pytest.mark.parametrize("why", ["long", "large", "slow", "other words"])
def test_what_is_dear_to_ask_is_not_asked_ahead(why: str) -> None:
    text = b"x" * (LARGE + 1) if why == "large" else b""
    now = [0.0]

    def reply(_: str) -> Reply:
        now[0] += 2 * FRESH if why == "slow" else 0
        return Reply(0, text)

    facts = PrefetchedFacts(FakeShell(reply), lambda: now[0], foresight=(foresight := Foresight()))
    foresight.begin("a", ())
    question = "cat " + "a" * LONGEST if why == "long" else "cat a"
    facts.ask(question, "su -c 'cat a' app" if why == "other words" else question, None, None)
    assert foresight.now == {"a": []}


def test_questions_are_kept_without_answers(tmp_path: Path) -> None:
    file = tmp_path / "new" / "questions.json"
    assert load(file) == {}
    old: dict[str, list[Entry]] = {"gone": [Asked("", "id")], "a": [Asked("", "ls")]}
    save(file, old, {"a": [Asked("", "cat a", ""), None], "b": []})
    assert load(file) == {"gone": [Asked("", "id")], "a": [Asked("", "cat a", ""), None]}


def test_what_is_no_question_is_not_asked_whatever_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"version": 1, "tests": {"a": [["", "rm -rf /", None]]}}))
    assert load(file) == {"a": [None]}
    file.write_text("{")
    assert load(file) == {}
