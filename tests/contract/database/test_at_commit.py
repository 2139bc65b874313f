"""Statements that go with COMMIT."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import peewee
import pytest

from common.database import CommitUnknown, Database, Overtaken, Statement
from tests.contract.database.harness import Harness
from tests.contract.database.notes import insert, new_note, numbers, put
from tests.support.waiting import TIMEOUT_S

ADD_ONE: Final = "UPDATE note SET number = number + 1 WHERE number < ?"


def write_with(
    database: Database, statements: list[Statement], *guarded: tuple[Statement, int], **options: Any
) -> None:
    database.write(lambda: database.at_commit(statements, guarded), **options)


def test_they_run_after_all_else_in_their_order(harness: Harness, database: Database) -> None:
    seen: list[dict[str, int]] = []

    def work() -> str:
        database.at_commit([new_note("b", 2), new_note("c", 3)], [((ADD_ONE, [3]), 2), ((ADD_ONE, [9]), 3)])
        insert(database, "a", 1)
        seen.append(numbers(database))
        return "done"

    assert database.write(work) == "done"
    assert seen == [{"a": 1}]
    assert numbers(harness.open()) == {"a": 3, "b": 4, "c": 4}


@pytest.mark.parametrize("finds", [0, 1, 3])
def test_one_that_finds_other_rows_than_it_has_to_undoes_everything(database: Database, finds: int) -> None:
    put(database, "a", 1)
    put(database, "b", 2)

    def work() -> None:
        insert(database, "c", 30)
        database.at_commit([new_note("d", 40)], [((ADD_ONE, [2]), 1), ((ADD_ONE, [20]), finds), ((ADD_ONE, [99]), 4)])

    with pytest.raises(Overtaken, match="not as it was read"):
        database.write(work)

    assert numbers(database) == {"a": 1, "b": 2}
    write_with(database, [new_note("c", 3)])
    assert numbers(database) == {"a": 1, "b": 2, "c": 3}


def test_it_may_be_what_work_is_repeated_for(database: Database) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        database.at_commit([new_note("a", len(tries))], [((ADD_ONE, [9]), len(tries) - 1)])

    database.write(work, repeat_on=Overtaken)

    assert numbers(database) == {"a": 3}
    assert len(tries) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_breaks_a_rule_undoes_everything_and_says_so(database: Database, place: int) -> None:
    put(database, "a", 1)
    statements = [new_note("b", 2), new_note("c", 3)]
    statements.insert(place, new_note("a", 9))

    with pytest.raises(peewee.IntegrityError):
        write_with(database, statements, ((ADD_ONE, [9]), 3))

    assert numbers(database) == {"a": 1}
    put(database, "b", 2)


def test_work_that_raises_leaves_none_for_the_next(database: Database) -> None:
    def work() -> None:
        database.at_commit([new_note("a", 1)])
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        database.write(work)

    put(database, "b", 2)
    assert numbers(database) == {"b": 2}


def test_one_whose_values_no_engine_takes_leaves_no_transaction(database: Database) -> None:
    with database.reading():
        with pytest.raises((OverflowError, peewee.DataError)):
            write_with(database, [new_note("a", 10**30)])
        assert not database.engine.in_transaction()

    write_with(database, [new_note("b", 2)])
    assert numbers(database) == {"b": 2}


def test_there_has_to_be_a_transaction_to_go_with(database: Database) -> None:
    put(database, "a", 1)
    with pytest.raises(AssertionError, match="no transaction"):
        database.at_commit([new_note("b", 2)])


def test_a_try_that_was_repeated_leaves_nothing_for_the_garbage_collector(database: Database) -> None:
    class Outcome:
        pass

    outcomes: list[weakref.ref[Outcome]] = []

    def work() -> Outcome:
        outcome = Outcome()
        outcomes.append(weakref.ref(outcome))
        database.at_commit([new_note("a", len(outcomes))], [((ADD_ONE, [9]), len(outcomes) - 1)])
        return outcome

    gc.disable()
    try:
        database.write(work, repeat_on=Overtaken)
        assert [outcome() for outcome in outcomes] == [None, None]
    finally:
        gc.enable()


def test_one_that_others_are_in_the_way_of_is_repeated_with_the_whole(harness: Harness, database: Database) -> None:
    put(database, "a", 1)
    patient = harness.open(busy_timeout=1)
    with ThreadPoolExecutor(1) as pool:
        with harness.in_the_way():
            writing = pool.submit(write_with, patient, [new_note("b", 2)], ((ADD_ONE, [9]), 2))
            with pytest.raises(TimeoutError):
                writing.result(1.2)  # by then the first try has failed
        writing.result(TIMEOUT_S)

    assert numbers(database) == {"a": 2, "b": 3}


@pytest.mark.parametrize("landed", [True, False])
def test_when_commit_gets_no_answer_nobody_knows_of_them_either(
    harness: Harness, database: Database, landed: bool
) -> None:
    harness.lose_commit(database, landed=landed)

    with pytest.raises(CommitUnknown):
        write_with(database, [new_note("a", 1)], ((ADD_ONE, [9]), 1))

    assert numbers(database) == ({"a": 2} if landed else {})
    write_with(database, [new_note("b", 2)])
    assert numbers(database)["b"] == 2
