"""Orders closed in one group, by timeout, cancel or refund: what befalls one of them leaves the others alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Final

import pytest

from common.messaging.port import Resolution
from order_srv.adapters import statements
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_TIMEOUT, NamedOrder, Timeout
from order_srv.domain.order_state import Cause
from order_srv.entrypoints.consumers import GROUP
from reback.order.v1 import order_pb2 as pb
from tests.faults.group import (
    ALL,
    WANTED,
    Member,
    closing,
    creating,
    half_of,
    members,
    states_of,
    stock_of,
    told,
    wait_for_stock,
    with_orders,
)
from tests.faults.stage import A_MOMENT, CREATING_GRACE, NOBODY_ASKS, PAY_WITHIN, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import lose_messages, messages
from tests.support.gathering import closing_groups
from tests.support.holds import Hold
from tests.support.order_messages import timeout_message
from tests.support.tables import let_orders_be_due, rows
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import World

COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN
LEFT: Final = ALL - WANTED


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    """With a broker that asks nothing, and a sweeper that is woken or does nothing."""
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


def said(at: Stage, each: Member, cause: Cause) -> list[Resolution]:
    return at.broker.said(each.order_sn, cause)


def timeout_comes(at: Stage, *order_sns: str) -> None:
    """A timeout of these orders is handled."""
    at.broker.publish(timeout_message(at.clock.now(), *order_sns))
    wait_until(lambda: not messages(at.folder, ORDER_TIMEOUT, at.clock.now()), "it is handled")
    assert not at.broker.dead_letters(ORDER_TIMEOUT, GROUP)


# Cancels


def test_cancels_of_one_moment_share_a_half_message_that_gives_each_its_stock_back(at: Stage) -> None:
    group = with_orders(at)
    assert told(closing(at, Cause.CANCEL, [each.cancel for each in group])) == ["CLOSED"] * 3
    half_of(at, Cause.CANCEL, group)
    assert [said(at, each, Cause.CANCEL) for each in group] == [[COMMIT]] * 3
    wait_for_stock(group, [ALL] * 3)
    at.settle()
    assert [at.shop.steps(each.order_sn).count("STOCK_RETURNED") for each in group] == [1] * 3


def test_of_the_orders_that_are_cancelled_one_is_paid_and_one_timed_out_meanwhile(at: Stage) -> None:
    cancelled, paid, timed_out = group = with_orders(at)
    held = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    calls = closing(at, Cause.CANCEL, [each.cancel for each in group])
    held.wait()
    paid.pay()
    let_orders_be_due(at.folder, timed_out.order_sn)
    at.another_replica_closes().time_out(Timeout(at.clock.now(), (NamedOrder(timed_out.order_sn),)))
    held.release()
    assert told(calls) == ["CLOSED", "ORDER_PAID", "CLOSED"]
    assert timed_out.order.close_cause == pb.CLOSE_CAUSE_TIMEOUT
    assert said(at, cancelled, Cause.CANCEL) == [UNKNOWN]
    wait_for_stock(group, [ALL, LEFT, ALL])
    at.settle()
    assert states_of(group) == ["CLOSED", "PAID", "CLOSED"]
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1, 0, 1]


def test_cancels_that_were_all_too_late_are_dropped(at: Stage) -> None:
    group = with_orders(at)
    held = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    calls = closing(at, Cause.CANCEL, [each.cancel for each in group])
    held.wait()
    for each in group:
        each.pay()
    held.release()
    assert told(calls) == ["ORDER_PAID"] * 3
    assert [said(at, each, Cause.CANCEL) for each in group] == [[ROLLBACK]] * 3
    at.settle()
    assert stock_of(group) == [LEFT] * 3


def test_one_order_cancelled_twice_in_a_group_is_closed_once(at: Stage) -> None:
    first, second = group = with_orders(at, 2)
    calls = closing(at, Cause.CANCEL, [first.cancel, second.cancel, first.cancel])
    assert told(calls) == ["CLOSED"] * 3
    half_of(at, Cause.CANCEL, group)
    at.settle()
    assert at.shop.steps(first.order_sn).count("CLOSED") == 1


def test_a_half_message_of_cancels_that_is_not_sent_leaves_every_order_as_it_was(at: Stage) -> None:
    group = with_orders(at)
    at.broker.broken.add("in_transaction")
    assert told(closing(at, Cause.CANCEL, [each.cancel for each in group])) == ["BROKER_UNAVAILABLE"] * 3
    at.broker.broken.clear()
    assert states_of(group) == ["UNPAID"] * 3
    assert [each.cancel().state for each in group] == [pb.ORDER_STATE_CLOSED] * 3
    at.settle()


def test_an_order_that_cannot_be_closed_fails_alone(at: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first, poison, last = group = with_orders(at)
    closed = statements.closed

    def or_poison(source: Any, closing: Any, *rest: Any) -> Any:
        if closing.reason == "poison":
            raise ArithmeticError(closing.reason)
        return closed(source, closing, *rest)

    monkeypatch.setattr(statements, "closed", or_poison)
    calls = closing(at, Cause.CANCEL, [first.cancel, lambda: poison.cancel("poison"), last.cancel])
    assert told(calls) == ["CLOSED", "INTERNAL", "CLOSED"]
    assert states_of(group) == ["CLOSED", "UNPAID", "CLOSED"]
    wait_for_stock(group, [ALL, LEFT, ALL])
    at.pass_time(A_MOMENT)
    at.settle()


# Refunds


def test_of_the_orders_that_are_refunded_one_is_finished_meanwhile(at: Stage) -> None:
    refunded, finished, other = group = with_orders(at)
    for each in group:
        each.pay()
    held = at.holds.at(CrashPoint.REFUND_HALF_SENT)
    calls = closing(at, Cause.REFUND, [each.refund for each in group])
    held.wait()
    finished.finish()
    held.release()
    assert told(calls) == ["CLOSED", "ORDER_FINISHED", "CLOSED"]
    assert said(at, refunded, Cause.REFUND) == [UNKNOWN]
    wait_for_stock(group, [ALL, LEFT, ALL])
    at.settle()
    due, applied = pb.PAYMENT_OUTCOME_REFUND_DUE, pb.PAYMENT_OUTCOME_APPLIED
    assert [[payment.outcome for payment in each.order.payments] for each in group] == [[due], [applied], [due]]
    assert other.order.close_cause == pb.CLOSE_CAUSE_REFUND


# Timeouts


def test_of_the_orders_of_a_timeout_the_due_one_is_closed_and_the_others_have_their_time(at: Stage) -> None:
    due, paid, later = group = with_orders(at)
    (creating_one,) = waiting = members(at, 1)
    held = at.holds.at(CrashPoint.CREATE_SOLD)
    calls = creating(waiting)
    held.wait()
    lose_messages(at.folder, ORDER_TIMEOUT)
    paid.pay()
    let_orders_be_due(at.folder, due.order_sn, paid.order_sn)
    timeout_comes(at, *(each.order_sn for each in (*group, creating_one)), "nobody's")
    assert [*states_of(group), creating_one.state] == ["CLOSED", "PAID", "UNPAID", "CREATING"]
    half_of(at, Cause.TIMEOUT, [due])  # names only what it closes
    held.release()
    assert told(calls) == ["UNPAID"]
    at.pass_time(PAY_WITHIN + CREATING_GRACE + A_MOMENT)
    wait_until(lambda: [later.state, creating_one.state] == ["CLOSED", "CLOSED"], "they come again")
    at.settle()
    assert stock_of([*group, creating_one]) == [ALL, LEFT, ALL, ALL]


def test_an_order_of_a_timeout_that_is_paid_while_the_others_are_closed_stays_paid(at: Stage) -> None:
    first, paid, last = group = with_orders(at)
    held = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    at.pass_time(PAY_WITHIN + A_MOMENT)
    held.wait()
    paid.pay()
    held.release()
    wait_until(lambda: states_of(group) == ["CLOSED", "PAID", "CLOSED"], "the others are closed")
    wait_for_stock(group, [ALL, LEFT, ALL])  # by the sweeper, which was woken
    assert said(at, first, Cause.TIMEOUT) == [UNKNOWN]
    at.settle()
    assert last.order.close_cause == pb.CLOSE_CAUSE_TIMEOUT


def test_an_order_of_a_timeout_whose_time_was_extended_meanwhile_keeps_it(at: Stage) -> None:
    closed, extended = group = with_orders(at, 2)
    held = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    at.pass_time(PAY_WITHIN + A_MOMENT)
    held.wait()
    longer = "UPDATE orders SET expire_time = expire_time + ? WHERE order_sn = ?"
    rows(at.folder, "order", longer, int(PAY_WITHIN.total_seconds()) * 1_000_000, extended.order_sn)
    held.release()
    wait_for_stock(group, [ALL, LEFT])
    assert states_of(group) == ["CLOSED", "UNPAID"]
    at.pass_time(PAY_WITHIN - 2 * A_MOMENT)
    assert extended.state == "UNPAID"
    at.pass_time(3 * A_MOMENT)
    wait_until(lambda: extended.state == "CLOSED", "its own time is over")
    at.settle()
    assert closed.order.close_cause == pb.CLOSE_CAUSE_TIMEOUT


def test_a_timeout_whose_half_message_is_not_sent_closes_its_orders_when_it_comes_again(at: Stage) -> None:
    group = with_orders(at)
    at.broker.broken.add("in_transaction")
    at.pass_time(PAY_WITHIN + A_MOMENT)
    wait_until(lambda: len(at.broker.refused) > 0, "a half message that was not sent")
    at.broker.broken.clear()
    at.pass_time_until(lambda: states_of(group) == ["CLOSED"] * 3, "it comes again")
    at.settle()
    assert stock_of(group) == [ALL] * 3


@pytest.mark.parametrize("point", [CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED])
def test_a_group_of_timeouts_that_the_sweeper_overtakes_is_closed_once(at: Stage, point: CrashPoint) -> None:
    group, held = with_orders(at), at.holds.at(point)
    at.pass_time(PAY_WITHIN + A_MOMENT)
    held.wait()
    at.pass_time(SWEEP_GRACE)
    at.sweep()
    assert stock_of(group) == [ALL] * 3
    held.release()
    wait_until(lambda: bool(said(at, group[0], Cause.TIMEOUT)), "an answer to the broker")
    at.settle()
    assert [at.shop.steps(each.order_sn).count("CLOSED") for each in group] == [1] * 3
    assert [at.shop.steps(each.order_sn).count("STOCK_RETURNED") for each in group] == [1] * 3


# One that hangs


def due(each: Member) -> None:
    """Have a timeout of its order handled by the service, wherever the broker is."""
    let_orders_be_due(each.at.folder, each.order_sn)
    timeout = Timeout(each.at.clock.now(), (NamedOrder(each.order_sn),))
    each.at.shop.order_service.use_cases.close_order.time_out(timeout)


CLOSES: Final[dict[Cause, Callable[[Member], object]]] = {
    Cause.CANCEL: Member.cancel,
    Cause.REFUND: Member.refund,
    Cause.TIMEOUT: due,
}


def to_be_closed(at: Stage, cause: Cause, count: int) -> list[Member]:
    group = with_orders(at, count)
    if cause is Cause.REFUND:
        for each in group:
            each.pay()
    return group


def hanging(at: Stage, cause: Cause, each: Member) -> tuple[Hold, Future[object]]:
    """Begin to close an order; its half message hangs until the hold is released."""
    point = CrashPoint.REFUND_HALF_SENT if cause is Cause.REFUND else CrashPoint.CLOSE_HALF_SENT
    held = at.holds.at(point)
    call = at.calling(lambda: CLOSES[cause](each))
    held.wait()
    return held, call


@pytest.mark.parametrize("cause", CLOSES)
def test_a_half_message_that_hangs_holds_up_no_other_close(at: Stage, cause: Cause) -> None:
    first, *others = group = to_be_closed(at, cause, 3)
    held, call = hanging(at, cause, first)
    others_close = [at.calling(lambda each=each: CLOSES[cause](each)) for each in others]  # type: ignore[misc]
    for other in others_close:
        other.result(TIMEOUT_S)
    assert [each.state for each in others] == ["CLOSED", "CLOSED"]
    assert not call.done()
    held.release()
    call.result(TIMEOUT_S)
    at.settle()
    assert stock_of(group) == [ALL] * 3


@pytest.mark.parametrize("cause", [Cause.CANCEL, Cause.REFUND])
def test_a_close_whose_caller_waits_no_longer_waits_no_longer_itself(at: Stage, cause: Cause) -> None:
    first, second = group = to_be_closed(at, cause, 2)
    groups = closing_groups(at.shop.order_service, cause)
    groups._at_once = 1  # as if all that may be under way hang
    held, call = hanging(at, cause, first)
    close = second.refund if cause is Cause.REFUND else second.cancel
    waits = at.calling(lambda: close(timeout=1.0))
    wait_until(lambda: len(groups) == 1, "it waits for the one that hangs")
    assert told([waits]) == ["DEADLINE_EXCEEDED"]
    wait_until(lambda: len(groups) == 0, "its thread is free")
    assert not call.done()
    held.release()
    call.result(TIMEOUT_S)
    assert second.state == ("PAID" if cause is Cause.REFUND else "UNPAID")
    at.settle()
    assert stock_of(group) == [ALL, LEFT]
