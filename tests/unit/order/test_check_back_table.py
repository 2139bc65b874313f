"""The check-back table of the design, cell by cell."""

from dataclasses import dataclass
from itertools import product

import pytest

from common.messaging.port import Resolution
from order_srv.domain.order_state import Cause, Move, State, move_for_check_back, resolution

COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN
CREATE, CLOSE, REFUND = Cause.CREATE, Cause.CLOSE, Cause.REFUND

YOUNG, OLD = False, True


@dataclass(frozen=True)
class Cell:
    """What is moved, and what the row says once nothing is left to move."""

    move: Move | None
    answer: Resolution


FAIL_IT = Cell(Move.FAIL, COMMIT)
CLOSE_IT = Cell(Move.CLOSE, COMMIT)
REFUND_IT = Cell(Move.REFUND, COMMIT)
ASK_AGAIN = Cell(None, UNKNOWN)
DROP = Cell(None, ROLLBACK)
DELIVER = Cell(None, COMMIT)

CAUSES = (CREATE, CLOSE, REFUND)
TABLE: dict[tuple[State, bool], tuple[Cell, Cell, Cell]] = {
    # the row says, past the grace     create     close      refund
    (State.CREATING, YOUNG): (ASK_AGAIN, ASK_AGAIN, ASK_AGAIN),
    (State.CREATING, OLD): (FAIL_IT, FAIL_IT, FAIL_IT),
    (State.UNPAID, YOUNG): (DROP, CLOSE_IT, DROP),
    (State.UNPAID, OLD): (DROP, CLOSE_IT, DROP),
    (State.PAID, YOUNG): (DROP, DROP, REFUND_IT),
    (State.PAID, OLD): (DROP, DROP, REFUND_IT),
    (State.FINISHED, YOUNG): (DROP, DROP, DROP),
    (State.FINISHED, OLD): (DROP, DROP, DROP),
    (State.FAILED, YOUNG): (DELIVER, DELIVER, DELIVER),
    (State.FAILED, OLD): (DELIVER, DELIVER, DELIVER),
    (State.CLOSED, YOUNG): (DELIVER, DELIVER, DELIVER),
    (State.CLOSED, OLD): (DELIVER, DELIVER, DELIVER),
}
CELLS = [
    pytest.param(state, cause, old, cell, id=f"{state}-{cause}-{'old' if old else 'young'}")
    for (state, old), cells in TABLE.items()
    for cause, cell in zip(CAUSES, cells, strict=True)
]

AFTER = {
    (Move.FAIL, State.CREATING): State.FAILED,
    (Move.CLOSE, State.UNPAID): State.CLOSED,
    (Move.REFUND, State.PAID): State.CLOSED,
}


def test_the_table_has_every_cell() -> None:
    assert set(TABLE) == set(product(State, (YOUNG, OLD)))
    assert set(CAUSES) == set(Cause)


@pytest.mark.parametrize(("state", "cause", "old", "cell"), CELLS)
def test_a_check_back_makes_the_move_of_the_table(state: State, cause: Cause, old: bool, cell: Cell) -> None:
    assert move_for_check_back(state, cause, past_creating_grace=old) is cell.move


@pytest.mark.parametrize(("state", "cause", "old", "cell"), CELLS)
def test_a_check_back_answers_by_the_row_after_its_move(state: State, cause: Cause, old: bool, cell: Cell) -> None:
    after = AFTER[cell.move, state] if cell.move else state
    assert resolution(after, cause) is cell.answer


@pytest.mark.parametrize(("state", "cause", "old", "cell"), CELLS)
def test_a_move_that_did_not_happen_is_not_known(state: State, cause: Cause, old: bool, cell: Cell) -> None:
    assert resolution(state, cause) is (UNKNOWN if cell.move else cell.answer)


@pytest.mark.parametrize("cause", Cause)
def test_without_a_row_nothing_is_known(cause: Cause) -> None:
    assert resolution(None, cause) is UNKNOWN


@pytest.mark.parametrize(("state", "cause"), list(product(State, Cause)))
def test_commit_is_said_only_of_a_row_that_is_dead_for_good(state: State, cause: Cause) -> None:
    assert (resolution(state, cause) is COMMIT) == (state in {State.FAILED, State.CLOSED})
