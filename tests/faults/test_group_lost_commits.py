"""The connection is lost at a COMMIT that several orders share: each row decides for itself, once it is read.

Each is tried in four ways: the COMMIT took place or not, and the rows can be read after it or the database is down.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from common.database import DatabaseUnavailable
from common.messaging.port import Resolution
from order_srv.adapters.models import OrderRow
from order_srv.domain.order_state import Cause, State
from reback.order.v1 import order_pb2 as pb
from tests.faults.group import (
    ALL,
    WANTED,
    Member,
    closing,
    creating,
    fail_alone,
    half_of,
    member,
    members,
    states_of,
    stock_of,
    told,
    wait_for_stock,
    with_orders,
)
from tests.faults.stage import A_MOMENT, CREATING_GRACE, NOBODY_ASKS, PAY_WITHIN, Stage, stage
from tests.support.order_messages import reback_message
from tests.support.waiting import wait_until
from tests.support.worlds import World

COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN
LEFT: Final = ALL - WANTED
UNKNOWN_YET: Final = {"OUTCOME_UNKNOWN", "COMMIT_UNKNOWN", "DATABASE_UNAVAILABLE"}


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["happened", "did not happen"])
def happens(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[False, True], ids=["rows readable", "database down"])
def down(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def an_order_is(at: Stage, state: State) -> Callable[[], bool]:
    """Whether there is an order in a state, as the transaction sees it that is about to commit."""
    return lambda: bool(at.database.select(OrderRow.select().where(OrderRow.state == state)))


def said(at: Stage, each: Member, cause: Cause) -> list[Resolution]:
    return at.broker.said(each.order_sn, cause)


def test_a_group_whose_insert_is_unclear_goes_no_further(at: Stage, happens: bool, down: bool) -> None:
    group = members(at)
    at.database.lose_commit(an_order_is(at, State.CREATING), happens=happens, then_down=down)
    assert set(told(creating(group))) <= UNKNOWN_YET
    at.database.down = False
    assert at.database.lost
    assert (at.proxy.calls["BatchSell"], at.proxy.calls["Sell"], at.broker.sent) == (0, 0, [])
    assert [len(at.shop.orders_of(each.user)) for each in group] == [int(happens)] * 3
    at.pass_time(CREATING_GRACE + A_MOMENT)
    at.settle()
    assert [each.create().state for each in group] == [pb.ORDER_STATE_UNPAID] * 3
    at.settle()
    assert stock_of(group) == [LEFT] * 3


def test_a_group_whose_move_is_unclear_is_told_what_each_row_says(at: Stage, happens: bool, down: bool) -> None:
    group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.leave_out(group[2].sku)
    at.database.lose_commit(an_order_is(at, State.UNPAID), happens=happens, then_down=down)
    answers = told(creating(group))
    at.database.down = False
    assert at.database.lost
    if down:
        assert set(answers) <= UNKNOWN_YET
        assert states_of(group) == (["UNPAID", "FAILED", "FAILED"] if happens else ["CREATING"] * 3)
    else:
        assert answers == ["UNPAID", "NO_STOCK", "ORDER_FAILED"]
        wait_for_stock(group, [LEFT, ALL, ALL])
    assert [said(at, each, Cause.CREATE) for each in group] == [[UNKNOWN]] * 3
    at.proxy.heal()
    at.pass_time(CREATING_GRACE + A_MOMENT)
    at.settle()
    lives = happens or not down
    assert states_of(group) == ["UNPAID" if lives else "FAILED", "FAILED", "FAILED"]
    assert stock_of(group) == [LEFT if lives else ALL, ALL, ALL]
    half = half_of(at, Cause.CREATE, group)
    assert at.broker.check_back(half) is ROLLBACK  # nobody owes any more
    at.settle()


def test_orders_that_others_moved_right_after_an_unclear_move_are_told_as_they_are(at: Stage) -> None:
    paid, cancelled, left = group = members(at)

    def others_act() -> None:
        paid.pay()
        cancelled.cancel()

    at.database.lose_commit(an_order_is(at, State.UNPAID), happens=True, then=others_act)
    assert told(creating(group)) == ["PAID", "CLOSED", "UNPAID"]
    assert [Resolution.COMMIT in said(at, each, Cause.CREATE) for each in group] == [False] * 3
    at.settle()
    assert states_of([paid, cancelled, left]) == ["PAID", "CLOSED", "UNPAID"]
    assert stock_of(group) == [LEFT, ALL, LEFT]


def test_an_order_that_another_failed_after_a_move_that_did_not_happen_fails_alone(at: Stage) -> None:
    first, failed, last = group = members(at)

    def another_fails_it() -> None:
        fail_alone(failed)

    at.database.lose_commit(an_order_is(at, State.UNPAID), happens=False, then=another_fails_it)
    assert told(creating(group)) == ["UNPAID", "ORDER_FAILED", "UNPAID"]
    wait_for_stock(group, [LEFT, ALL, LEFT])
    at.settle()
    assert states_of([first, failed, last]) == ["UNPAID", "FAILED", "UNPAID"]


@pytest.mark.parametrize("cause", [Cause.CANCEL, Cause.REFUND])
def test_a_group_whose_close_is_unclear_ends_closed(at: Stage, happens: bool, down: bool, cause: Cause) -> None:
    group = with_orders(at)
    if cause is Cause.REFUND:
        for each in group:
            each.pay()
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    answers = told(closing(at, cause, [each.cancel if cause is Cause.CANCEL else each.refund for each in group]))
    at.database.down = False
    assert at.database.lost
    if down:
        assert set(answers) <= UNKNOWN_YET
        assert [said(at, each, cause) for each in group] == [[UNKNOWN]] * 3
        assert at.broker.check_back(half_of(at, cause, group)) is COMMIT
    else:
        assert answers == ["CLOSED"] * 3
        assert [said(at, each, cause) for each in group] == [[COMMIT]] * 3
    at.pass_time(A_MOMENT)
    at.settle()
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1] * 3
    assert stock_of(group) == [ALL] * 3


def test_an_order_that_is_paid_after_a_close_that_did_not_happen_stays_paid(at: Stage) -> None:
    first, paid, last = group = with_orders(at)
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=False, then=paid.pay)
    calls = closing(at, Cause.CANCEL, [each.cancel for each in group])
    assert told(calls) == ["CLOSED", "ORDER_PAID", "CLOSED"]
    assert said(at, paid, Cause.CANCEL) == [UNKNOWN]
    wait_for_stock([first, paid, last], [ALL, LEFT, ALL])
    at.settle()


def test_a_timeout_whose_move_is_unclear_closes_each_of_its_orders_once(at: Stage, happens: bool, down: bool) -> None:
    group = with_orders(at)
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    at.pass_time(PAY_WITHIN + A_MOMENT)
    wait_until(lambda: at.database.lost, "the timeout")
    at.database.down = False
    at.pass_time_until(lambda: states_of(group) == ["CLOSED"] * 3, "it is closed, or comes again")
    at.settle()
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1] * 3
    assert stock_of(group) == [ALL] * 3


def test_a_check_back_of_a_group_whose_move_is_unclear_is_answered_the_next_time(
    at: Stage, happens: bool, down: bool
) -> None:
    group = with_orders(at)
    half = reback_message(Cause.CANCEL, at.clock.now(), *(each.order_sn for each in group))
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    with pytest.raises(DatabaseUnavailable):
        at.broker.check_back(half)
    at.database.down = False
    assert states_of(group) == ["CLOSED" if happens else "UNPAID"] * 3
    assert at.broker.check_back(half) is COMMIT
    at.pass_time(A_MOMENT)
    at.settle()
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1] * 3
