"""Check-backs of half messages that name several orders: early, late and twice, while their sender is held or gone.

The sweeper makes no rounds of its own here, and no return is due by itself: what comes back was made due by one.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest

from common.messaging.port import Resolution
from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause
from tests.faults.group import (
    ALL,
    WANTED,
    Member,
    closing,
    creating,
    half_of,
    member,
    members,
    states_of,
    stock_of,
    told,
    wait_for_stock,
    with_orders,
)
from tests.faults.stage import A_MOMENT, CREATING_GRACE, NOBODY_ASKS, Stage, stage
from tests.support.order_messages import reback_message
from tests.support.tables import let_orders_be_due, rows, standings
from tests.support.waiting import wait_until
from tests.support.worlds import World

COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN
LEFT: Final = ALL - WANTED


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder, NOBODY_ASKS, return_after=timedelta(hours=1)) as made:
        yield made


def asked(at: Stage, cause: Cause, some: list[Member]) -> Resolution:
    """What a check-back of a half message that names these orders is answered."""
    message = reback_message(cause, at.clock.now(), *(each.order_sn for each in some))
    return at.broker.check_back(message)


def wait_until_nothing_is_owed(at: Stage, some: list[Member]) -> None:
    order_sns = [each.order_sn for each in some]
    wait_until(lambda: not any(each.owes for each in standings(at.folder, order_sns).values()), "nothing is owed")


# Create


def test_early_check_back_of_a_group_changes_nothing(at: Stage) -> None:
    group, held = members(at), at.holds.at(CrashPoint.CREATE_SOLD)
    calls = creating(group)
    held.wait()
    assert asked(at, Cause.CREATE, group) is UNKNOWN
    assert states_of(group) == ["CREATING"] * 3
    held.release()
    assert told(calls) == ["UNPAID"] * 3
    at.settle()


def test_late_check_back_of_a_group_that_was_left_creating_gives_all_its_stock_back_by_the_message(at: Stage) -> None:
    group, held = members(at), at.holds.at(CrashPoint.CREATE_SOLD)
    calls = creating(group)
    held.wait()
    at.pass_time(CREATING_GRACE + A_MOMENT)
    assert [asked(at, Cause.CREATE, group), asked(at, Cause.CREATE, group)] == [COMMIT, COMMIT]
    held.release()
    assert told(calls) == ["ORDER_FAILED"] * 3
    wait_for_stock(group, [ALL] * 3)  # the sender's COMMIT delivers it
    at.pass_time(timedelta(hours=1))
    at.settle()
    assert asked(at, Cause.CREATE, group) is ROLLBACK  # it owes nothing any more


def test_check_back_that_finds_a_dead_order_owing_beside_a_live_one_has_it_returned_at_once(at: Stage) -> None:
    lives, refused, unclear = group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.leave_out(unclear.sku)
    held = at.holds.at(CrashPoint.CREATE_MOVED)
    calls = creating(group)
    held.wait()
    at.proxy.heal()
    assert unclear.available == LEFT
    assert asked(at, Cause.CREATE, group) is UNKNOWN
    wait_for_stock([lives, refused, unclear], [LEFT, ALL, ALL])
    wait_until_nothing_is_owed(at, group)
    assert asked(at, Cause.CREATE, group) is ROLLBACK
    held.release()
    assert told(calls) == ["UNPAID", "NO_STOCK", "ORDER_FAILED"]
    at.settle()


def test_an_order_that_is_created_keeps_a_dead_one_beside_it_from_a_commit(at: Stage) -> None:
    (dead,) = with_orders(at, 1)
    dead.cancel()
    waiting, held = members(at, 1), at.holds.at(CrashPoint.CREATE_SOLD)
    calls = creating(waiting)
    held.wait()
    assert asked(at, Cause.CREATE, [dead, *waiting]) is UNKNOWN
    held.release()
    assert told(calls) == ["UNPAID"]
    at.pass_time(timedelta(hours=1))
    at.settle()


def test_a_missing_order_keeps_dead_ones_beside_it_from_a_commit(at: Stage) -> None:
    group = with_orders(at, 2)
    told(closing(at, Cause.CANCEL, [each.cancel for each in group]))
    sns = [each.order_sn for each in group]
    assert at.broker.check_back(reback_message(Cause.CANCEL, at.clock.now(), *sns, "nobody's")) is UNKNOWN
    at.pass_time(timedelta(hours=1))
    at.settle()


# A return that was asked for before


def refuse() -> None:
    raise ArithmeticError("inventory is ill")


def test_a_return_that_inventory_did_not_answer_keeps_its_pause(at: Stage) -> None:
    cancelled, paid = group = with_orders(at, 2)
    paid.pay()
    at.proxy.before["Reback"] = refuse
    assert asked(at, Cause.CANCEL, group) is UNKNOWN
    tries = "SELECT return_tries, return_due FROM orders WHERE order_sn = ?"
    wait_until(lambda: rows(at.folder, "order", tries, cancelled.order_sn)[0][0] > 0, "the sweeper tried")
    put_off = rows(at.folder, "order", tries, cancelled.order_sn)
    assert asked(at, Cause.CANCEL, group) is UNKNOWN
    assert rows(at.folder, "order", tries, cancelled.order_sn) == put_off
    at.proxy.heal()
    at.pass_time(timedelta(hours=1))
    at.settle()
    assert stock_of(group) == [ALL, LEFT]


# Close


def test_check_back_finishes_the_cancels_of_a_sender_that_is_gone(at: Stage) -> None:
    group = with_orders(at)
    assert asked(at, Cause.CANCEL, group) is COMMIT
    assert states_of(group) == ["CLOSED"] * 3
    assert asked(at, Cause.CANCEL, group) is COMMIT
    at.pass_time(timedelta(hours=1))
    at.settle()
    assert asked(at, Cause.CANCEL, group) is ROLLBACK
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1] * 3


def test_check_back_of_cancels_of_which_one_was_paid_gives_the_others_stock_back(at: Stage) -> None:
    first, paid, last = group = with_orders(at)
    paid.pay()
    assert asked(at, Cause.CANCEL, group) is UNKNOWN
    assert states_of(group) == ["CLOSED", "PAID", "CLOSED"]
    wait_for_stock(group, [ALL, LEFT, ALL])
    wait_until_nothing_is_owed(at, [first, last])
    assert asked(at, Cause.CANCEL, group) is ROLLBACK
    at.settle()


def test_check_back_of_timeouts_closes_only_what_is_due(at: Stage) -> None:
    due, later = group = with_orders(at, 2)
    let_orders_be_due(at.folder, due.order_sn)
    assert asked(at, Cause.TIMEOUT, group) is UNKNOWN
    assert states_of(group) == ["CLOSED", "UNPAID"]
    wait_for_stock([due, later], [ALL, LEFT])
    wait_until_nothing_is_owed(at, group)
    assert asked(at, Cause.TIMEOUT, group) is ROLLBACK
    at.settle()


def test_check_back_of_refunds_closes_those_that_are_paid(at: Stage) -> None:
    refunded, finished = group = with_orders(at, 2)
    for each in group:
        each.pay()
    finished.finish()
    assert asked(at, Cause.REFUND, group) is UNKNOWN
    assert states_of(group) == ["CLOSED", "FINISHED"]
    wait_for_stock([refunded, finished], [ALL, LEFT])
    at.settle()


def test_check_back_while_the_group_is_closed_says_what_its_sender_says(at: Stage) -> None:
    group, held = with_orders(at), at.holds.at(CrashPoint.CLOSE_MOVED)
    calls = closing(at, Cause.CANCEL, [each.cancel for each in group])
    held.wait()
    assert at.broker.check_back(half_of(at, Cause.CANCEL, group)) is COMMIT
    held.release()
    assert told(calls) == ["CLOSED"] * 3
    assert set(at.broker.said(group[0].order_sn, Cause.CANCEL)) == {COMMIT}
    wait_for_stock(group, [ALL] * 3)
    at.pass_time(timedelta(hours=1))
    at.settle()


def test_a_check_back_is_noted_once_for_each_order_and_message(at: Stage) -> None:
    group = with_orders(at, 2)
    half = half_of(at, Cause.CREATE, group)
    assert [at.broker.check_back(half), at.broker.check_back(half)] == [ROLLBACK, ROLLBACK]
    assert [at.shop.steps(each.order_sn).count("ASKED_BY_BROKER") for each in group] == [1, 1]
    at.settle()
