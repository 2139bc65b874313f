"""The connection is lost at COMMIT, for each guarded move: the rows, held once more, decide.

Each is tried in four ways: the COMMIT took place or not, and the rows can be read after it or the database is down.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import grpc
import peewee
import pytest

from common.errors import Unavailable
from common.messaging.port import Resolution
from common.rpc.errors import to_domain_error
from order_srv.adapters.models import OrderRow, PaymentRow
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_TIMEOUT
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import Outcome
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import CHECK_AFTER, CREATING_GRACE, NOBODY_ASKS, PAY_WITHIN, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import lose_messages
from tests.support.rpc_errors import reason_of
from tests.support.services import create_request, pay_request
from tests.support.waiting import wait_until
from tests.support.worlds import World

ALL = 10
UNKNOWN_YET = {"OUTCOME_UNKNOWN", "COMMIT_UNKNOWN", "DATABASE_UNAVAILABLE"}


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder) as made:
        yield made


@pytest.fixture
def silent(timed_world: World) -> Iterator[Stage]:
    """With a broker that asks nothing."""
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["happened", "did not happen"])
def happens(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[False, True], ids=["row readable", "database down"])
def down(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def an_order_is(at: Stage, state: State) -> Callable[[], bool]:
    return there_is(at, OrderRow.state == state)


def there_is(at: Stage, what: peewee.Expression) -> Callable[[], bool]:
    """Whether there is an order of that kind, as the transaction sees it that is about to commit."""
    return lambda: bool(at.database.select(OrderRow.select().where(what)))


def answer(at: Stage, call: Callable[[], Any]) -> Any:
    """What a call answers, or the reason of its error; the database is up again after it."""
    try:
        return call()
    except grpc.RpcError as error:
        return to_domain_error(error).reason
    finally:
        assert at.database.lost, "the COMMIT never came"
        at.database.down = False


def creating(at: Stage, quantity: int = 3) -> Callable[[], pb.Order]:
    request = create_request(at.shop.new_user(), {at.shop.new_sku(ALL): quantity})
    return lambda: at.shop.order.CreateOrder(request)


def unpaid(at: Stage) -> pb.Order:
    return creating(at)()


def paid(at: Stage) -> pb.Order:
    return at.shop.pay(unpaid(at)).order


def only_sku(at: Stage) -> str:
    return at.shop.assert_books_balance().stocks[0].sku


def order_sns(at: Stage) -> list[str]:
    return [order.order_sn for user in at.shop.users for order in at.shop.orders_of(user)]


def past_the_grace(at: Stage) -> None:
    at.pass_time(CREATING_GRACE + CHECK_AFTER)
    at.settle()


def test_create_whose_insert_is_unclear_goes_no_further(at: Stage, happens: bool, down: bool) -> None:
    create = creating(at)
    at.database.lose_commit(an_order_is(at, State.CREATING), happens=happens, then_down=down)
    assert answer(at, create) in UNKNOWN_YET
    assert at.proxy.calls["Sell"] == 0
    assert not at.broker.resolutions
    past_the_grace(at)
    order = create()
    assert order.state == pb.ORDER_STATE_UNPAID
    assert create() == order
    assert at.settle().in_state(pb.ORDER_STATE_UNPAID) == [order]


def test_create_whose_move_to_unpaid_is_unclear_is_what_the_row_says(at: Stage, happens: bool, down: bool) -> None:
    create = creating(at)
    at.database.lose_commit(an_order_is(at, State.UNPAID), happens=happens, then_down=down)
    said = answer(at, create)
    (order_sn,) = order_sns(at)
    if not down:
        assert (said.order_sn, said.state) == (order_sn, pb.ORDER_STATE_UNPAID)
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.ROLLBACK]
    else:
        assert said in UNKNOWN_YET
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.UNKNOWN]
    past_the_grace(at)
    lives = happens or not down
    assert (create().order_sn == order_sn) == lives
    at.settle()
    assert at.shop.available(only_sku(at)) == ALL - 3
    assert Resolution.COMMIT not in at.broker.said(order_sn, Cause.CREATE) if lives else True


def test_create_whose_failure_is_unclear_gives_its_stock_back(at: Stage, happens: bool, down: bool) -> None:
    at.proxy.lose_answers("Sell", "BatchGetSales")
    create = creating(at)
    at.database.lose_commit(an_order_is(at, State.FAILED), happens=happens, then_down=down)
    said = answer(at, create)
    (order_sn,) = order_sns(at)
    if not down:
        assert said == "ORDER_FAILED"
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.COMMIT]
    else:
        assert said in UNKNOWN_YET
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.UNKNOWN]
    at.proxy.heal()
    past_the_grace(at)
    assert at.shop.available(only_sku(at)) == ALL
    assert at.shop.steps(order_sn).count("STOCK_RETURNED") == 1


def test_create_whose_refusal_is_unclear_sells_nothing(at: Stage, happens: bool, down: bool) -> None:
    create = creating(at, ALL + 1)
    at.database.lose_commit(an_order_is(at, State.FAILED), happens=happens, then_down=down)
    said = answer(at, create)
    (order_sn,) = order_sns(at)
    if not down:
        assert said == "NO_STOCK"
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.ROLLBACK]
    else:
        assert said in UNKNOWN_YET
        assert at.broker.said(order_sn, Cause.CREATE) == [Resolution.UNKNOWN]
    past_the_grace(at)
    assert answer(at, create) == "NO_STOCK"
    assert at.shop.available(only_sku(at)) == ALL


def test_cancel_whose_move_is_unclear_ends_closed(at: Stage, happens: bool, down: bool) -> None:
    order = unpaid(at)
    request = pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn, reason="not mine")
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    said = answer(at, lambda: at.shop.order.CancelOrder(request))
    assert_closed_as_the_row_says(at, order, Cause.CANCEL, said, sure=not down)
    assert at.shop.order.CancelOrder(request).close_cause == pb.CLOSE_CAUSE_CANCEL


def test_refund_whose_move_is_unclear_ends_closed(at: Stage, happens: bool, down: bool) -> None:
    order = paid(at)
    request = pb.RefundOrderRequest(order_sn=order.order_sn, reason="broken")
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    said = answer(at, lambda: at.shop.order.RefundOrder(request))
    assert_closed_as_the_row_says(at, order, Cause.REFUND, said, sure=not down)
    refunded = at.shop.order.RefundOrder(request)
    assert [each.outcome for each in refunded.payments] == [pb.PAYMENT_OUTCOME_REFUND_DUE]


def assert_closed_as_the_row_says(at: Stage, order: pb.Order, cause: Cause, said: Any, *, sure: bool) -> None:
    """At once where the row could tell; otherwise once the broker has asked."""
    if sure:
        assert said.state == pb.ORDER_STATE_CLOSED
    else:
        assert said in UNKNOWN_YET
        assert at.broker.said(order.order_sn, cause) == [Resolution.UNKNOWN]
        at.pass_time(CHECK_AFTER)
    wait_until(lambda: at.broker.said(order.order_sn, cause)[-1] is Resolution.COMMIT, "COMMIT")
    at.settle()
    assert at.shop.steps(order.order_sn).count("CLOSED") == 1
    assert at.shop.available(only_sku(at)) == ALL


def test_timeout_whose_move_is_unclear_closes_the_order_once(at: Stage, happens: bool, down: bool) -> None:
    order = unpaid(at)
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    at.pass_time(PAY_WITHIN + timedelta(seconds=1))
    wait_until(lambda: at.database.lost, "the timeout")
    at.database.down = False
    closed = pb.ORDER_STATE_CLOSED
    at.pass_time_until(lambda: at.shop.get(order).state == closed, "the message again, or the broker's question")
    assert at.shop.get(order).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()
    assert at.shop.steps(order.order_sn).count("CLOSED") == 1


def test_payment_whose_commit_is_unclear_is_recorded_once(at: Stage, happens: bool, down: bool) -> None:
    request = pay_request(unpaid(at))
    at.database.lose_commit(an_order_is(at, State.PAID), happens=happens, then_down=down)
    said = answer(at, lambda: at.shop.order.PayOrder(request))
    if down:
        assert said in UNKNOWN_YET
    else:
        assert said.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    order = at.shop.order.PayOrder(request).order
    assert (order.state, len(order.payments)) == (pb.ORDER_STATE_PAID, 1)
    at.settle()
    assert at.shop.steps(order.order_sn).count("PAID") == 1


def test_finish_whose_move_is_unclear_is_what_the_row_says(at: Stage, happens: bool, down: bool) -> None:
    order = paid(at)
    request = pb.FinishOrderRequest(order_sn=order.order_sn)
    at.database.lose_commit(an_order_is(at, State.FINISHED), happens=happens, then_down=down)
    said = answer(at, lambda: at.shop.order.FinishOrder(request))
    if not down:
        assert said.state == pb.ORDER_STATE_FINISHED
    else:
        assert said in UNKNOWN_YET
    assert at.shop.order.FinishOrder(request).state == pb.ORDER_STATE_FINISHED
    at.settle()
    assert at.shop.steps(order.order_sn).count("FINISHED") == 1


def test_refund_of_money_whose_commit_is_unclear_is_recorded_once(at: Stage, happens: bool, down: bool) -> None:
    order = paid(at)
    at.shop.order.RefundOrder(pb.RefundOrderRequest(order_sn=order.order_sn, reason="broken"))
    request = pb.MarkRefundedRequest(payment_id=order.payments[0].payment_id, refund_id="back")
    at.database.lose_commit(
        lambda: bool(at.database.select(PaymentRow.select().where(PaymentRow.outcome == Outcome.REFUNDED))),
        happens=happens,
        then_down=down,
    )
    said = answer(at, lambda: at.shop.order.MarkRefunded(request))
    if down:
        assert said in UNKNOWN_YET
    else:
        assert said.outcome == pb.PAYMENT_OUTCOME_REFUNDED
    assert at.shop.order.MarkRefunded(request).refund_id == "back"
    at.settle()
    assert at.shop.steps(order.order_sn).count("REFUNDED") == 1


def test_sweep_whose_close_is_unclear_goes_on_next_time(at: Stage, happens: bool, down: bool) -> None:
    order = unpaid(at)
    lose_messages(at.folder, ORDER_TIMEOUT)
    at.pass_time(PAY_WITHIN + SWEEP_GRACE + CHECK_AFTER)
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    assert_swept_once(at, order, "CLOSED", interrupted=down)


def test_sweep_whose_failure_is_unclear_goes_on_next_time(silent: Stage, happens: bool, down: bool) -> None:
    held = silent.holds.at(CrashPoint.CREATE_SOLD)
    create = silent.calling(creating(silent))
    held.wait()
    (order,) = silent.shop.orders_of(min(silent.shop.users))
    silent.pass_time(CREATING_GRACE + CHECK_AFTER)
    silent.database.lose_commit(an_order_is(silent, State.FAILED), happens=happens, then_down=down)
    assert_swept_once(silent, order, "FAILED", interrupted=down)
    held.release()
    assert reason_of(create) == "ORDER_FAILED"


@pytest.mark.parametrize("round_lost", ["noted as returned", "put off"])
def test_sweep_whose_note_is_unclear_goes_on_next_time(at: Stage, happens: bool, down: bool, round_lost: str) -> None:
    order = unpaid(at)
    lose_messages(at.folder, ORDER_TIMEOUT)
    at.pass_time(PAY_WITHIN + SWEEP_GRACE + CHECK_AFTER)
    if round_lost == "put off":
        at.proxy.lose_answers("Reback")
        noted = OrderRow.return_tries > 0
    else:
        noted = (OrderRow.state == State.CLOSED) & OrderRow.return_due.is_null()
    at.database.lose_commit(there_is(at, noted), happens=happens, then_down=down)
    assert_swept_once(at, order, "CLOSED", interrupted=True)


def assert_swept_once(at: Stage, order: pb.Order, step: str, *, interrupted: bool) -> None:
    """By one round, or by the next after one that was interrupted."""
    with pytest.raises(Unavailable) if interrupted else nullcontext():
        at.sweep()
    assert at.database.lost
    at.database.down = False
    at.proxy.heal()
    at.settle()
    steps = at.shop.steps(order.order_sn)
    assert (steps.count(step), steps.count("STOCK_RETURNED")) == (1, 1)
    assert at.shop.available(only_sku(at)) == ALL


def test_check_back_whose_move_is_unclear_is_asked_again(at: Stage, happens: bool, down: bool) -> None:
    order = unpaid(at)
    held = at.holds.at(CrashPoint.CLOSE_HALF_SENT)
    request = pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn, reason="not mine")
    cancels = at.calling(lambda: at.shop.order.CancelOrder(request))
    held.wait()
    at.database.lose_commit(an_order_is(at, State.CLOSED), happens=happens, then_down=down)
    at.pass_time(CHECK_AFTER)
    wait_until(lambda: at.database.lost, "the question")
    at.database.down = False
    at.pass_time_until(lambda: Resolution.COMMIT in at.broker.said(order.order_sn, Cause.CANCEL), "asked again")
    assert at.broker.said(order.order_sn, Cause.CANCEL)[0] is Resolution.UNKNOWN
    held.release()
    assert cancels.result().close_cause == pb.CLOSE_CAUSE_CANCEL
    at.settle()
    assert at.shop.steps(order.order_sn).count("CLOSED") == 1
