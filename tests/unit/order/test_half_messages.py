"""How a half message is resolved: the check-back table of one order cell by cell, then the rule of several orders."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations_with_replacement, permutations, product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messaging.port import Resolution
from order_srv.domain.order_state import (
    DEAD,
    Cause,
    Decision,
    Move,
    OrderStatus,
    State,
    decide,
    move_for_cause,
    move_for_check_back,
)

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE: Final = timedelta(seconds=60)
MOMENT: Final = timedelta(microseconds=1)

CREATE, TIMEOUT, CANCEL, REFUND = Cause.CREATE, Cause.TIMEOUT, Cause.CANCEL, Cause.REFUND
CREATING, UNPAID, PAID, FINISHED = State.CREATING, State.UNPAID, State.PAID, State.FINISHED
COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN


def status(state: State, *, owes: bool = False, due: bool = False, old: bool = False) -> OrderStatus:
    """A row at the very edge of being due, and of being CREATING for longer than the grace, or not."""
    created = NOW - GRACE - MOMENT if old else NOW - GRACE
    return OrderStatus(state, owes, created, NOW if due else NOW + MOMENT)


# One order: the move that a check-back makes, and what it answers after it

Cell = tuple[Move | None, Resolution]
FAIL_IT: Final = (Move.FAIL, COMMIT)
CLOSE_IT: Final = (Move.CLOSE, COMMIT)
REFUND_IT: Final = (Move.REFUND, COMMIT)
ASK_AGAIN: Final = (None, UNKNOWN)
DROP: Final = (None, ROLLBACK)
DELIVER: Final = (None, COMMIT)

BOTH: Final = (False, True)
YES, NO = (True,), (False,)
CAUSES: Final = (CREATE, TIMEOUT, CANCEL, REFUND)
TABLE: Final[
    list[tuple[State, tuple[bool, ...], tuple[bool, ...], tuple[bool, ...], tuple[Cell, Cell, Cell, Cell]]]
] = [
    # the row says  owes  due   past its grace   create     timeout    cancel     refund
    (CREATING, NO, BOTH, NO, (ASK_AGAIN, ASK_AGAIN, ASK_AGAIN, ASK_AGAIN)),
    (CREATING, NO, BOTH, YES, (FAIL_IT, FAIL_IT, FAIL_IT, FAIL_IT)),
    (UNPAID, NO, NO, BOTH, (DROP, DROP, CLOSE_IT, DROP)),
    (UNPAID, NO, YES, BOTH, (DROP, CLOSE_IT, CLOSE_IT, DROP)),
    (PAID, NO, BOTH, BOTH, (DROP, DROP, DROP, REFUND_IT)),
    (FINISHED, NO, BOTH, BOTH, (DROP, DROP, DROP, DROP)),
    (State.FAILED, YES, BOTH, BOTH, (DELIVER, DELIVER, DELIVER, DELIVER)),
    (State.FAILED, NO, BOTH, BOTH, (DROP, DROP, DROP, DROP)),
    (State.CLOSED, YES, BOTH, BOTH, (DELIVER, DELIVER, DELIVER, DELIVER)),
    (State.CLOSED, NO, BOTH, BOTH, (DROP, DROP, DROP, DROP)),
]
CELLS: Final = [
    (status(state, owes=owes, due=due, old=old), cause, cell)
    for state, owing, dues, olds, cells in TABLE
    for owes, due, old in product(owing, dues, olds)
    for cause, cell in zip(CAUSES, cells, strict=True)
]


def _named(row: OrderStatus, cause: Cause) -> str:
    what = {"owes": row.owes, "due": row.expire_time <= NOW, "old": row.create_time + GRACE < NOW}
    return "-".join([row.state, cause, *(each for each, so in what.items() if so)])


BY_CELL: Final = pytest.mark.parametrize(
    ("row", "cause", "cell"), CELLS, ids=[_named(row, cause) for row, cause, _ in CELLS]
)


def after(row: OrderStatus, move: Move | None) -> OrderStatus:
    """The row once the move is made; whoever kills an order writes down that it owes its stock."""
    return replace(row, state=State.FAILED if move is Move.FAIL else State.CLOSED, owes=True) if move else row


def test_the_table_has_every_cell_once() -> None:
    possible = [
        (status(state, owes=owes, due=due, old=old), cause)
        for state, owes, due, old, cause in product(State, BOTH, BOTH, BOTH, Cause)
        if not owes or state in DEAD  # the living owe nothing
    ]
    assert len(CELLS) == len(possible)
    assert {(row, cause) for row, cause, _ in CELLS} == set(possible)


@BY_CELL
def test_a_check_back_makes_the_move_of_the_table(row: OrderStatus, cause: Cause, cell: Cell) -> None:
    assert move_for_check_back(cause, row, NOW, GRACE) is cell[0]


@BY_CELL
def test_a_sender_makes_its_own_move_alone(row: OrderStatus, cause: Cause, cell: Cell) -> None:
    assert move_for_cause(cause, row, NOW) is (None if cell[0] is Move.FAIL else cell[0])


@BY_CELL
def test_the_row_after_the_move_is_the_answer(row: OrderStatus, cause: Cause, cell: Cell) -> None:
    assert decide(cause, {"o": after(row, cell[0])}, NOW) == Decision(cell[1])


@BY_CELL
def test_where_the_move_was_not_made_nothing_is_known(row: OrderStatus, cause: Cause, cell: Cell) -> None:
    assert decide(cause, {"o": row}, NOW) == Decision(UNKNOWN if cell[0] else cell[1])


@BY_CELL
def test_after_its_move_a_row_is_left_alone(row: OrderStatus, cause: Cause, cell: Cell) -> None:
    assert move_for_check_back(cause, after(row, cell[0]), NOW, GRACE) is None


@pytest.mark.parametrize("cause", Cause)
def test_without_a_row_nothing_is_known(cause: Cause) -> None:
    assert decide(cause, {"o": None}, NOW) == Decision(UNKNOWN)


# Several orders: the first of the four rules that says anything decides

MOVABLE_BY: Final = {TIMEOUT: status(UNPAID, due=True), CANCEL: status(UNPAID), REFUND: status(PAID)}
LIVE: Final = {CREATE: status(UNPAID), TIMEOUT: status(PAID), CANCEL: status(PAID), REFUND: status(FINISHED)}


def row_of(kind: str, cause: Cause) -> OrderStatus | None:
    """A row of this kind, as a half message of this cause sees it."""
    rows = {
        "creating": status(CREATING),
        "missing": None,
        "movable": MOVABLE_BY.get(cause, status(CREATING, old=True)),
        "live": LIVE[cause],
        "owing": status(State.FAILED if cause is CREATE else State.CLOSED, owes=True),
        "returned": status(State.CLOSED),
    }
    return rows[kind]


KINDS: Final = ("creating", "missing", "movable", "live", "owing", "returned")
PAIRS: Final = {
    #            creating  missing   movable   live      owing     returned
    "creating": ("ask", "ask", "ask", "ask", "ask", "ask"),
    "missing": ("ask", "ask", "ask", "ask", "ask", "ask"),
    "movable": ("ask", "ask", "ask", "ask", "ask", "ask"),
    "live": ("ask", "ask", "ask", "drop", "hurry", "drop"),
    "owing": ("ask", "ask", "ask", "hurry", "deliver", "deliver"),
    "returned": ("ask", "ask", "ask", "drop", "deliver", "drop"),
}
RESOLUTIONS: Final = {"ask": UNKNOWN, "hurry": UNKNOWN, "drop": ROLLBACK, "deliver": COMMIT}


def decided(cause: Cause, kinds: tuple[str, ...]) -> tuple[Resolution, list[str]]:
    """The resolution, and of which kinds those orders are that are hurried."""
    decision = decide(cause, {f"{n} {kind}": row_of(kind, cause) for n, kind in enumerate(kinds)}, NOW)
    return decision.resolution, [order_sn.split()[1] for order_sn in decision.hurry]


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(("first", "second"), list(product(KINDS, KINDS)))
def test_two_orders_are_decided_by_the_table_of_pairs(cause: Cause, first: str, second: str) -> None:
    answer = PAIRS[first][KINDS.index(second)]
    hurried = [kind for kind in (first, second) if kind == "owing"] if answer == "hurry" else []
    assert decided(cause, (first, second)) == (RESOLUTIONS[answer], hurried)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("kinds", list(combinations_with_replacement(KINDS, 3)))
def test_three_orders_are_decided_by_what_comes_first(cause: Cause, kinds: tuple[str, ...]) -> None:
    answers = {PAIRS[one][KINDS.index(other)] for one, other in permutations(kinds, 2)}
    answer = next(each for each in ("ask", "hurry", "deliver", "drop") if each in answers)
    hurried = [kind for kind in kinds if kind == "owing"] if answer == "hurry" else []
    assert {decided(cause, order)[0] for order in permutations(kinds)} == {RESOLUTIONS[answer]}
    assert decided(cause, kinds) == (RESOLUTIONS[answer], hurried)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("owing", "live", "creating"), (UNKNOWN, [])),  # 1 before 4: nothing is hurried yet
        (("owing", "live", "movable"), (UNKNOWN, [])),
        (("returned", "live", "missing"), (UNKNOWN, [])),  # 1 before 2
        (("owing", "owing", "missing"), (UNKNOWN, [])),  # 1 before 3: who is missing may live
        (("returned", "returned", "live"), (ROLLBACK, [])),  # 2 before 4
        (("owing", "returned", "owing"), (COMMIT, [])),  # 3: one that owes is enough, among the dead
        (("owing", "live", "owing"), (UNKNOWN, ["owing", "owing"])),  # 4
        (("owing", "live", "returned"), (UNKNOWN, ["owing"])),
    ],
)
def test_the_rules_are_tried_in_their_order(kinds: tuple[str, ...], expected: tuple[Resolution, list[str]]) -> None:
    for cause in (TIMEOUT, CANCEL, REFUND):
        assert decided(cause, kinds) == expected


# Any number of orders

times = st.sampled_from([NOW - GRACE - MOMENT, NOW - GRACE, NOW - MOMENT, NOW, NOW + MOMENT])
living = st.builds(OrderStatus, st.sampled_from(sorted(set(State) - DEAD)), st.just(value=False), times, times)
dead = st.builds(OrderStatus, st.sampled_from(sorted(DEAD)), st.booleans(), times, times)


def named(*rows: st.SearchStrategy[OrderStatus | None]) -> st.SearchStrategy[dict[str, OrderStatus | None]]:
    order_sns = st.integers(1, 9).map(str)
    return st.one_of(*(st.dictionaries(order_sns, each, min_size=1) for each in (*rows, st.one_of(*rows))))


all_rows = named(living, dead, st.none())
causes = st.sampled_from(Cause)


@given(causes, all_rows)
def test_commit_means_that_all_are_dead_and_one_owes_at_least(
    cause: Cause, rows: dict[str, OrderStatus | None]
) -> None:
    all_dead = all(row is not None and row.dead for row in rows.values())
    one_owes = any(row is not None and row.owes for row in rows.values())
    assert (decide(cause, rows, NOW).resolution is COMMIT) == (all_dead and one_owes)


@given(causes, all_rows)
def test_rollback_means_that_all_are_read_nobody_owes_and_nothing_is_left_to_move(
    cause: Cause, rows: dict[str, OrderStatus | None]
) -> None:
    settled = all(
        row is not None and not row.owes and row.state is not CREATING and move_for_cause(cause, row, NOW) is None
        for row in rows.values()
    )
    assert (decide(cause, rows, NOW).resolution is ROLLBACK) == settled


@given(causes, all_rows)
def test_hurried_are_exactly_those_that_owe_and_only_where_no_message_will_return_their_stock(
    cause: Cause, rows: dict[str, OrderStatus | None]
) -> None:
    decision = decide(cause, rows, NOW)
    if decision.hurry:
        assert decision.resolution is UNKNOWN
        assert list(decision.hurry) == [order_sn for order_sn, row in rows.items() if row is not None and row.owes]
        read = [row for row in rows.values() if row is not None]
        assert len(read) == len(rows)
        assert any(not row.dead for row in read)
        assert all(row.dead or (row.state is not CREATING and not move_for_cause(cause, row, NOW)) for row in read)


@given(causes, all_rows)
def test_every_order_is_looked_at(cause: Cause, rows: dict[str, OrderStatus | None]) -> None:
    one_more = rows | {"CREATING": status(CREATING)}
    assert decide(cause, one_more, NOW) == Decision(UNKNOWN)
    assert decide(cause, dict(reversed(one_more.items())), NOW) == Decision(UNKNOWN)


@given(causes, all_rows)
def test_when_all_moves_are_made_and_the_stock_is_back_the_broker_is_never_left_waiting(
    cause: Cause, rows: dict[str, OrderStatus | None]
) -> None:
    """A half message of orders that all exist comes to its end: nothing is asked for ever."""
    later = NOW + GRACE + MOMENT
    moved = {
        order_sn: after(row, move_for_check_back(cause, row, later, timedelta()))
        for order_sn, row in rows.items()
        if row is not None
    }
    decision = decide(cause, moved, later)
    if decision.resolution is UNKNOWN:
        assert decision.hurry
        returned = {order_sn: replace(row, owes=False) for order_sn, row in moved.items()}
        assert decide(cause, returned, later) == Decision(ROLLBACK)
