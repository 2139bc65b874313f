"""Timeout, cancel, payment, refund, finish, sweeper and check-back against each other, one held: both winners."""

from collections.abc import Iterator
from concurrent.futures import Future
from threading import Barrier
from typing import Any

import pytest

from common.messaging.port import Resolution
from order_srv.adapters.stock_client import StockClient
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_TIMEOUT
from order_srv.domain.order_state import Cause
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import CHECK_AFTER, NOBODY_ASKS, PAY_WITHIN, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import lose_messages
from tests.support.rpc_errors import reason_of
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import World

LEFT = 7
ALL = 10


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder) as made:
        yield made


@pytest.fixture
def silent(timed_world: World) -> Iterator[Stage]:
    """With a broker that asks nothing."""
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


def unpaid(at: Stage) -> pb.Order:
    """An order of 3 of 10 units."""
    return at.shop.create(at.shop.new_user(), {at.shop.new_sku(ALL): 3})


def paid(at: Stage) -> pb.Order:
    return at.shop.pay(unpaid(at)).order


def cancelling(at: Stage, order: pb.Order) -> Future[pb.Order]:
    request = pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn, reason="not mine")
    return at.calling(lambda: at.shop.order.CancelOrder(request))


def refunding(at: Stage, order: pb.Order, reason: str = "broken") -> Future[pb.Order]:
    return at.calling(lambda: at.shop.order.RefundOrder(pb.RefundOrderRequest(order_sn=order.order_sn, reason=reason)))


def finishing(at: Stage, order: pb.Order) -> Future[pb.Order]:
    return at.calling(lambda: at.shop.order.FinishOrder(pb.FinishOrderRequest(order_sn=order.order_sn)))


def paying(at: Stage, order: pb.Order) -> Future[pb.PayOrderResponse]:
    return at.calling(lambda: at.shop.pay(order))


def is_sure(at: Stage, order: pb.Order, cause: Cause) -> Resolution:
    """Wait for the answer that the broker got for good."""
    said = at.broker.said
    unsure = {Resolution.UNKNOWN}
    wait_until(lambda: bool(set(said(order.order_sn, cause)) - unsure), "the broker has its answer")
    return said(order.order_sn, cause)[-1]


def assert_closed_once(at: Stage, order: pb.Order, cause: "pb.CloseCause.ValueType") -> pb.Order:
    at.settle()
    now = at.shop.get(order)
    assert (now.state, now.close_cause) == (pb.ORDER_STATE_CLOSED, cause)
    steps = at.shop.steps(order.order_sn)
    assert (steps.count("CLOSED"), steps.count("STOCK_RETURNED")) == (1, 1)
    assert at.shop.available(order.lines[0].sku) == ALL
    return now


def assert_lives(at: Stage, order: pb.Order, state: "pb.OrderState.ValueType") -> pb.Order:
    at.settle()
    now = at.shop.get(order)
    assert now.state == state
    assert at.shop.available(order.lines[0].sku) == LEFT
    return now


def refund_reason(paid: Future[Any]) -> int:
    payment = paid.result().payment
    assert payment.outcome == pb.PAYMENT_OUTCOME_REFUND_DUE
    return int(payment.refund_reason)


# Timeout and payment


def test_payment_wins_over_a_timeout_that_did_not_move_yet(at: Stage) -> None:
    order, timeout = unpaid(at), at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    at.timeout_comes()
    timeout.wait()
    assert at.shop.pay(order).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED  # due, but not yet closed
    timeout.release()
    assert is_sure(at, order, Cause.TIMEOUT) is Resolution.ROLLBACK
    assert_lives(at, order, pb.ORDER_STATE_PAID)


def test_payment_after_a_timeout_that_moved_is_to_be_refunded(at: Stage) -> None:
    order, timeout = unpaid(at), at.holds.at(CrashPoint.CLOSE_MOVED)
    at.timeout_comes()
    timeout.wait()
    assert refund_reason(paying(at, order)) == pb.REFUND_REASON_CLOSED
    timeout.release()
    assert is_sure(at, order, Cause.TIMEOUT) is Resolution.COMMIT
    assert_closed_once(at, order, pb.CLOSE_CAUSE_TIMEOUT)


def test_timeout_that_meets_a_payment_in_its_transaction_leaves_the_order_paid(at: Stage) -> None:
    order = unpaid(at)
    payment, timeout = at.holds.at(CrashPoint.PAY_BEFORE_COMMIT), at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    at.timeout_comes()
    timeout.wait()
    being_paid = paying(at, order)
    payment.wait()
    timeout.release()  # it waits for the row
    payment.release()
    assert being_paid.result().payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    assert is_sure(at, order, Cause.TIMEOUT) is Resolution.ROLLBACK
    assert_lives(at, order, pb.ORDER_STATE_PAID)


# Timeout and cancel


@pytest.mark.parametrize("point", [CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED])
def test_one_of_timeout_and_cancel_closes_the_order_when_the_timeout_is_held(at: Stage, point: CrashPoint) -> None:
    order, timeout = unpaid(at), at.holds.at(point)
    at.timeout_comes()
    timeout.wait()
    cancelled = cancelling(at, order).result()
    timeout.release()
    timeout_moved = point is CrashPoint.CLOSE_MOVED
    cause = pb.CLOSE_CAUSE_TIMEOUT if timeout_moved else pb.CLOSE_CAUSE_CANCEL
    assert (cancelled.state, cancelled.close_cause) == (pb.ORDER_STATE_CLOSED, cause)
    assert_closed_once(at, order, cause)


@pytest.mark.parametrize("point", [CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED])
def test_one_of_timeout_and_cancel_closes_the_order_when_the_cancel_is_held(silent: Stage, point: CrashPoint) -> None:
    order, cancel = unpaid(silent), silent.holds.at(point)
    being_cancelled = cancelling(silent, order)
    cancel.wait()
    silent.timeout_comes()
    wait_until(lambda: silent.shop.get(order).state == pb.ORDER_STATE_CLOSED, "closed")
    cancel.release()
    cause = pb.CLOSE_CAUSE_CANCEL if point is CrashPoint.CLOSE_MOVED else pb.CLOSE_CAUSE_TIMEOUT
    assert being_cancelled.result().close_cause == cause
    assert_closed_once(silent, order, cause)


# Cancel and payment


def test_cancel_that_did_not_move_yet_is_told_of_the_payment(at: Stage) -> None:
    order, cancel = unpaid(at), at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    at.shop.pay(order)
    cancel.release()
    assert reason_of(being_cancelled) == "ORDER_PAID"
    assert is_sure(at, order, Cause.CANCEL) is Resolution.ROLLBACK
    assert_lives(at, order, pb.ORDER_STATE_PAID)


def test_payment_after_a_cancel_that_moved_is_to_be_refunded(at: Stage) -> None:
    order, cancel = unpaid(at), at.holds.at(CrashPoint.CLOSE_MOVED)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    assert refund_reason(paying(at, order)) == pb.REFUND_REASON_CLOSED
    cancel.release()
    assert being_cancelled.result().state == pb.ORDER_STATE_CLOSED
    assert_closed_once(at, order, pb.CLOSE_CAUSE_CANCEL)


def test_cancel_that_meets_a_payment_in_its_transaction_is_told_of_it(at: Stage) -> None:
    order, payment = unpaid(at), at.holds.at(CrashPoint.PAY_BEFORE_COMMIT)
    being_paid = paying(at, order)
    payment.wait()
    cancel = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    cancel.release()  # it waits for the row
    payment.release()
    assert being_paid.result().payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    assert reason_of(being_cancelled) == "ORDER_PAID"
    assert_lives(at, order, pb.ORDER_STATE_PAID)


# Refund, finish, and another refund


def test_refund_that_did_not_move_yet_is_told_that_the_order_is_finished(at: Stage) -> None:
    order, refund = paid(at), at.holds.at(CrashPoint.REFUND_HALF_SENT)
    being_refunded = refunding(at, order)
    refund.wait()
    assert finishing(at, order).result().state == pb.ORDER_STATE_FINISHED
    refund.release()
    assert reason_of(being_refunded) == "ORDER_FINISHED"
    assert is_sure(at, order, Cause.REFUND) is Resolution.ROLLBACK
    now = assert_lives(at, order, pb.ORDER_STATE_FINISHED)
    assert [each.outcome for each in now.payments] == [pb.PAYMENT_OUTCOME_APPLIED]


def test_finish_after_a_refund_that_moved_is_told_that_the_order_is_closed(at: Stage) -> None:
    order, refund = paid(at), at.holds.at(CrashPoint.REFUND_MOVED)
    being_refunded = refunding(at, order)
    refund.wait()
    assert reason_of(finishing(at, order)) == "ORDER_CLOSED"
    refund.release()
    assert being_refunded.result().state == pb.ORDER_STATE_CLOSED
    assert_closed_once(at, order, pb.CLOSE_CAUSE_REFUND)


@pytest.mark.parametrize("point", [CrashPoint.REFUND_HALF_SENT, CrashPoint.REFUND_MOVED])
def test_two_refunds_send_the_money_and_the_stock_back_once(at: Stage, point: CrashPoint) -> None:
    order, first = paid(at), at.holds.at(point)
    being_refunded = refunding(at, order, "first")
    first.wait()
    second = at.another_replica_closes().refund(order.order_sn, "second")
    first.release()
    moved_first = "first" if point is CrashPoint.REFUND_MOVED else "second"
    assert (second.close_reason, being_refunded.result().close_reason) == (moved_first, moved_first)
    now = assert_closed_once(at, order, pb.CLOSE_CAUSE_REFUND)
    assert [each.refund_reason for each in now.payments] == [pb.REFUND_REASON_ORDER_REFUNDED]
    assert at.shop.steps(order.order_sn).count("REFUND_DUE") == 1


def test_second_payment_during_a_refund_is_to_be_refunded_too(at: Stage) -> None:
    order, refund = paid(at), at.holds.at(CrashPoint.REFUND_HALF_SENT)
    being_refunded = refunding(at, order)
    refund.wait()
    assert refund_reason(paying(at, order)) == pb.REFUND_REASON_ALREADY_PAID
    refund.release()
    assert being_refunded.result().state == pb.ORDER_STATE_CLOSED
    now = assert_closed_once(at, order, pb.CLOSE_CAUSE_REFUND)
    assert {each.outcome for each in now.payments} == {pb.PAYMENT_OUTCOME_REFUND_DUE}


# The sweeper


def test_sweeper_wins_over_a_timeout_that_did_not_move_yet(silent: Stage) -> None:
    order, timeout = unpaid(silent), silent.holds.at(CrashPoint.CLOSE_HALF_SENT)
    silent.timeout_comes()
    timeout.wait()
    silent.pass_time(SWEEP_GRACE)
    silent.sweep()
    assert silent.shop.get(order).state == pb.ORDER_STATE_CLOSED
    timeout.release()
    assert is_sure(silent, order, Cause.TIMEOUT) is Resolution.ROLLBACK  # its stock is back
    assert_closed_once(silent, order, pb.CLOSE_CAUSE_TIMEOUT)


def test_sweeper_leaves_an_order_alone_that_the_timeout_moved(silent: Stage) -> None:
    order, timeout = unpaid(silent), silent.holds.at(CrashPoint.CLOSE_MOVED)
    silent.timeout_comes()
    timeout.wait()
    silent.pass_time(SWEEP_GRACE)
    silent.sweep()  # it gives the stock back that the held message does not
    assert silent.shop.available(order.lines[0].sku) == ALL
    timeout.release()
    assert is_sure(silent, order, Cause.TIMEOUT) is Resolution.COMMIT
    assert_closed_once(silent, order, pb.CLOSE_CAUSE_TIMEOUT)


def test_sweeper_that_meets_a_payment_in_its_transaction_leaves_the_order_paid(silent: Stage) -> None:
    order, timeout = unpaid(silent), silent.holds.at(CrashPoint.CLOSE_HALF_SENT)  # out of the way
    payment = silent.holds.at(CrashPoint.PAY_BEFORE_COMMIT)
    silent.timeout_comes()
    timeout.wait()
    silent.pass_time(SWEEP_GRACE)
    being_paid = paying(silent, order)
    payment.wait()
    sweeping = silent.calling(silent.sweep)  # it waits for the row
    payment.release()
    sweeping.result()
    timeout.release()
    assert being_paid.result().payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    assert_lives(silent, order, pb.ORDER_STATE_PAID)


def test_payment_after_the_sweeper_moved_is_to_be_refunded(silent: Stage) -> None:
    order, timeout = unpaid(silent), silent.holds.at(CrashPoint.CLOSE_HALF_SENT)  # out of the way
    sweeper = silent.holds.at(CrashPoint.SWEEP_CLOSED)
    silent.timeout_comes()
    timeout.wait()
    silent.pass_time(SWEEP_GRACE)
    sweeping = silent.calling(silent.sweep)
    sweeper.wait()
    assert refund_reason(paying(silent, order)) == pb.REFUND_REASON_CLOSED
    sweeper.release()
    sweeping.result()
    timeout.release()
    assert_closed_once(silent, order, pb.CLOSE_CAUSE_TIMEOUT)


@pytest.mark.parametrize("point", [CrashPoint.SWEEP_CLOSED, CrashPoint.SWEEP_REBACKED])
def test_two_sweepers_return_the_stock_of_each_order_once(silent: Stage, point: CrashPoint) -> None:
    orders, sweeper = [unpaid(silent) for _ in range(3)], silent.holds.at(point)
    lose_messages(silent.folder, ORDER_TIMEOUT)
    silent.pass_time(PAY_WITHIN + SWEEP_GRACE + CHECK_AFTER)
    first = silent.calling(silent.sweep)
    sweeper.wait()
    silent.sweep()  # as another replica would
    sweeper.release()
    first.result()
    for order in orders:
        assert_closed_once(silent, order, pb.CLOSE_CAUSE_TIMEOUT)


def test_sweeper_asks_for_the_stock_of_many_orders_at_once(silent: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, together, reback = [unpaid(silent) for _ in range(3)], Barrier(3), StockClient.reback

    def meet(stock: StockClient, order_sn: str, reason: str) -> None:
        together.wait(TIMEOUT_S)
        reback(stock, order_sn, reason)

    monkeypatch.setattr(StockClient, "reback", meet)
    lose_messages(silent.folder, ORDER_TIMEOUT)
    silent.pass_time(PAY_WITHIN + SWEEP_GRACE + CHECK_AFTER)

    silent.sweep()

    for order in orders:
        assert_closed_once(silent, order, pb.CLOSE_CAUSE_TIMEOUT)


# The broker's question


def test_check_back_finishes_a_cancel_that_did_not_move_yet(at: Stage) -> None:
    order, cancel = unpaid(at), at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    at.pass_time(CHECK_AFTER)
    assert is_sure(at, order, Cause.CANCEL) is Resolution.COMMIT
    cancel.release()
    cancelled = being_cancelled.result()
    assert (cancelled.state, cancelled.close_reason) == (pb.ORDER_STATE_CLOSED, "not mine")
    assert_closed_once(at, order, pb.CLOSE_CAUSE_CANCEL)


def test_check_back_finishes_a_refund_that_did_not_move_yet(at: Stage) -> None:
    order, refund = paid(at), at.holds.at(CrashPoint.REFUND_HALF_SENT)
    being_refunded = refunding(at, order)
    refund.wait()
    at.pass_time(CHECK_AFTER)
    assert is_sure(at, order, Cause.REFUND) is Resolution.COMMIT
    refund.release()
    assert being_refunded.result().close_reason == "broken"
    now = assert_closed_once(at, order, pb.CLOSE_CAUSE_REFUND)
    assert [each.refund_reason for each in now.payments] == [pb.REFUND_REASON_ORDER_REFUNDED]


def test_check_back_of_a_cancel_that_lost_to_a_payment_rolls_back(at: Stage) -> None:
    order, cancel = unpaid(at), at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    at.shop.pay(order)
    at.pass_time(CHECK_AFTER)
    assert is_sure(at, order, Cause.CANCEL) is Resolution.ROLLBACK
    cancel.release()
    assert reason_of(being_cancelled) == "ORDER_PAID"
    assert_lives(at, order, pb.ORDER_STATE_PAID)


@pytest.mark.parametrize("point", [CrashPoint.CLOSE_MOVED, CrashPoint.CLOSE_ANSWERED])
def test_check_back_after_the_move_says_what_the_canceller_says(at: Stage, point: CrashPoint) -> None:
    order, cancel = unpaid(at), at.holds.at(point)
    being_cancelled = cancelling(at, order)
    cancel.wait()
    at.pass_time(CHECK_AFTER)
    assert is_sure(at, order, Cause.CANCEL) is Resolution.COMMIT
    cancel.release()
    assert being_cancelled.result().state == pb.ORDER_STATE_CLOSED
    assert_closed_once(at, order, pb.CLOSE_CAUSE_CANCEL)
