"""Work that finds out by itself whether it was done is run again where COMMIT got no answer."""

from collections.abc import Callable
from typing import Final

import peewee
import pytest

from common.database import CommitUnknown, Database, DatabaseUnavailable
from tests.contract.database.harness import Harness
from tests.contract.database.notes import insert, numbers

MOST_RUNS: Final = 3


class Work:
    """Writes a note unless it is there, and loses the connection at the COMMIT of its first runs.

    Attributes:
        found: What each run found.
        errors: Raised by the runs after the first, in turn.
    """

    def __init__(self, harness: Harness, database: Database, *, lost: int, landed: bool) -> None:
        self.found: list[dict[str, int]] = []
        self.errors: list[Exception] = []
        self._harness, self._database = harness, database
        self._lost, self._landed = lost, landed

    def __call__(self) -> int:
        before = numbers(self._database)
        self.found.append(before)
        if len(self.found) > 1 and self.errors:
            raise self.errors.pop(0)
        if "a" not in before:
            insert(self._database, "a", 1)
        else:
            self._database.execute(
                "UPDATE note SET number = number WHERE word = 'a'"
            )  # else there is no COMMIT to lose
        if len(self.found) <= self._lost:
            self._harness.lose_commit(self._database, landed=self._landed)
        return len(self.found)


NewWork = Callable[..., Work]


@pytest.fixture
def new_work(harness: Harness, database: Database) -> NewWork:
    def make(*, lost: int, landed: bool) -> Work:
        return Work(harness, database, lost=lost, landed=landed)

    return make


@pytest.mark.parametrize("landed", [True, False])
def test_work_whose_commit_got_no_answer_is_run_again_and_finds_what_became_of_it(
    database: Database, new_work: NewWork, landed: bool
) -> None:
    work = new_work(lost=1, landed=landed)
    assert database.write_again(work) == 2
    assert work.found == [{}, {"a": 1} if landed else {}]
    assert numbers(database) == {"a": 1}


@pytest.mark.parametrize("landed", [True, False])
def test_when_no_run_gets_an_answer_the_outcome_is_unknown(database: Database, new_work: NewWork, landed: bool) -> None:
    work = new_work(lost=100, landed=landed)
    with pytest.raises(CommitUnknown):
        database.write_again(work)
    assert len(work.found) == MOST_RUNS
    assert numbers(database) == ({"a": 1} if landed else {})


@pytest.mark.parametrize("error", [DatabaseUnavailable("down"), KeyError("its own"), peewee.IntegrityError("a rule")])
@pytest.mark.parametrize("landed", [True, False])
def test_a_later_run_that_fails_leaves_the_outcome_of_the_first_unknown(
    database: Database, new_work: NewWork, error: Exception, landed: bool
) -> None:
    work = new_work(lost=1, landed=landed)
    work.errors = [error]
    with pytest.raises(CommitUnknown):
        database.write_again(work)
    assert len(work.found) == 2
    assert numbers(database) == ({"a": 1} if landed else {})


@pytest.mark.parametrize("error", [DatabaseUnavailable("down"), KeyError("its own"), peewee.IntegrityError("a rule")])
def test_work_whose_first_run_fails_is_not_run_again(database: Database, error: Exception) -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        insert(database, "a", 1)
        raise error

    with pytest.raises(type(error)) as raised:
        database.write_again(work)
    assert not isinstance(raised.value, CommitUnknown)
    assert runs == [1]
    assert numbers(database) == {}


def test_each_run_is_repeated_for_the_errors_it_is_told_to(database: Database, new_work: NewWork) -> None:
    work = new_work(lost=1, landed=False)
    work.errors = [KeyError("again"), KeyError("and again")]
    assert database.write_again(work, repeat_on=KeyError) == 4
    assert numbers(database) == {"a": 1}
