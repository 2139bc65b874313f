"""Orders created in one group: what befalls one of them leaves the others alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from common.messaging.port import Resolution
from order_srv.adapters import statements
from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause
from order_srv.domain.pricing import price
from reback.order.v1 import order_pb2 as pb
from tests.faults.group import (
    ALL,
    WANTED,
    Member,
    creating,
    fail_alone,
    half_of,
    member,
    member_with_cart,
    members,
    sale_of,
    states_of,
    stock_of,
    told,
    wait_for_stock,
)
from tests.faults.stage import A_MOMENT, CREATING_GRACE, NOBODY_ASKS, PAY_WITHIN, Stage, stage
from tests.support.rpc_errors import reason_of
from tests.support.waiting import wait_until
from tests.support.worlds import World

COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN
LEFT = ALL - WANTED


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    """With a broker that asks nothing, and a sweeper that is woken or does nothing."""
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


@pytest.fixture(params=[CrashPoint.CREATE_HALF_SENT, CrashPoint.CREATE_SOLD, CrashPoint.CREATE_TIMEOUT_SENT])
def before_the_move(request: pytest.FixtureRequest) -> CrashPoint:
    return CrashPoint(request.param)


def said(at: Stage, each: Member) -> list[Resolution]:
    return at.broker.said(each.order_sn, Cause.CREATE)


# Inventory's answers


def test_orders_that_are_all_sold_are_one_sell_one_timeout_and_one_half_message_that_is_dropped(at: Stage) -> None:
    group = members(at)
    assert told(creating(group)) == ["UNPAID"] * 3
    assert (at.proxy.calls["BatchSell"], at.proxy.calls["Sell"]) == (1, 0)
    half_of(at, Cause.CREATE, group)
    assert [said(at, each) for each in group] == [[ROLLBACK]] * 3
    at.pass_time(PAY_WITHIN + A_MOMENT)
    wait_until(lambda: states_of(group) == ["CLOSED"] * 3, "one timeout closes them all")
    half_of(at, Cause.TIMEOUT, group)
    at.settle()
    assert stock_of(group) == [ALL] * 3


def test_of_a_group_one_is_sold_one_refused_and_one_unclear(at: Stage) -> None:
    sold, refused, unclear = group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.leave_out(unclear.sku)
    assert told(creating(group)) == ["UNPAID", "NO_STOCK", "ORDER_FAILED"]
    assert at.proxy.calls["BatchSell"] == 1
    wait_for_stock([unclear], [ALL])  # by the sweeper, which was woken: it owes beside one that lives
    assert [said(at, each) for each in group] == [[UNKNOWN]] * 3
    at.settle()
    assert states_of(group) == ["UNPAID", "FAILED", "FAILED"]
    assert stock_of(group) == [LEFT, ALL, ALL]
    assert refused.order.failure_reason == "NO_STOCK"
    assert unclear.order.failure_reason == "STOCK_UNCLEAR"
    at.proxy.heal()
    assert sold.create() == sold.order
    assert unclear.create().state == pb.ORDER_STATE_UNPAID


def test_orders_that_are_all_refused_owe_nothing(at: Stage) -> None:
    group = [member(at, ALL + 1), member(at, ALL + 2)]
    assert told(creating(group)) == ["NO_STOCK", "NO_STOCK"]
    assert [said(at, each) for each in group] == [[ROLLBACK]] * 2
    at.settle()
    assert [sale_of(each) for each in group] == ["", ""]


def test_orders_that_are_all_dead_commit_and_each_gets_its_stock_back_by_the_message(at: Stage) -> None:
    group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.lose_answers("BatchSell", "BatchGetSales")
    assert told(creating(group)) == ["ORDER_FAILED"] * 3
    assert at.proxy.calls["BatchSell"] == 1  # never repeated
    assert [said(at, each) for each in group] == [[COMMIT]] * 3
    wait_for_stock(group, [ALL] * 3)
    assert [sale_of(each) for each in group] == ["RETURNED"] * 3  # of the refused one: a tombstone
    at.proxy.heal()
    at.settle()


def test_orders_whose_answer_is_lost_live_if_inventory_knows_their_sales(at: Stage) -> None:
    group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.lose_answers("BatchSell")
    assert told(creating(group)) == ["UNPAID", "ORDER_FAILED", "UNPAID"]
    assert at.proxy.calls["BatchSell"] == 1
    at.settle()
    assert group[1].order.failure_reason == "STOCK_UNCLEAR"  # what inventory does not say proves nothing
    assert stock_of(group) == [LEFT, ALL, LEFT]


def test_results_in_another_order_are_each_its_own_orders(at: Stage) -> None:
    group = [member(at), member(at, ALL + 1), member(at)]
    at.proxy.change_answers("BatchSell", lambda answer: answer.results.sort(key=lambda result: result.HasField("sale")))
    assert told(creating(group)) == ["UNPAID", "NO_STOCK", "UNPAID"]
    at.settle()
    assert stock_of(group) == [LEFT, ALL, LEFT]


def test_an_order_whose_result_comes_twice_is_unclear(at: Stage) -> None:
    doubled, other = group = members(at, 2)

    def double(answer: Any) -> None:
        answer.results.extend([each for each in answer.results if each.sale.lines[0].sku == doubled.sku])

    at.proxy.change_answers("BatchSell", double)
    at.proxy.lose_answers("BatchGetSales")
    assert told(creating(group)) == ["ORDER_FAILED", "UNPAID"]
    at.proxy.heal()
    at.settle()
    assert stock_of([doubled, other]) == [ALL, LEFT]


# Others who move an order of the group


def test_of_a_group_one_is_failed_meanwhile(at: Stage, before_the_move: CrashPoint) -> None:
    group, held = members(at), at.holds.at(before_the_move)
    calls = creating(group)
    held.wait()
    fail_alone(group[1])
    held.release()
    assert told(calls) == ["UNPAID", "ORDER_FAILED", "UNPAID"]
    wait_for_stock([group[1]], [ALL])
    assert said(at, group[0]) == [UNKNOWN]
    at.settle()
    assert states_of(group) == ["UNPAID", "FAILED", "UNPAID"]
    assert stock_of(group) == [LEFT, ALL, LEFT]


def test_a_group_that_the_sweeper_failed_is_told_so(at: Stage, before_the_move: CrashPoint) -> None:
    group, held = members(at), at.holds.at(before_the_move)
    calls = creating(group)
    held.wait()
    at.pass_time(CREATING_GRACE + A_MOMENT)
    at.sweep()
    held.release()
    assert told(calls) == ["ORDER_FAILED"] * 3
    at.settle()
    assert stock_of(group) == [ALL] * 3
    assert [at.shop.steps(each.order_sn).count("STOCK_RETURNED") for each in group] == [1] * 3


def test_orders_that_are_paid_and_cancelled_before_their_group_is_answered_leave_the_third_alone(at: Stage) -> None:
    paid, cancelled, left = group = members(at)
    held = at.holds.at(CrashPoint.CREATE_MOVED)
    calls = creating(group)
    held.wait()
    paid.pay()
    cancelled.cancel()
    held.release()
    assert told(calls) == ["UNPAID"] * 3  # as they were when they were moved
    at.settle()
    assert states_of(group) == ["PAID", "CLOSED", "UNPAID"]
    assert stock_of([paid, cancelled, left]) == [LEFT, ALL, LEFT]


# Callers


def gone(at: Stage, each: Member, point: CrashPoint, others: list[Member]) -> list[str]:
    """Let a caller hang up while its group is held at a point; what the others are told."""
    held, taken = at.holds.at(point), at.groups_taken()
    calls = creating(others, besides=1)
    hangs_up = at.shop.order.CreateOrder.future(each.request)
    held.wait()
    hangs_up.cancel()
    (call,) = [call for call in taken[0] if call.item.request.user_id == each.user]
    wait_until(lambda: call.deadline.passed, "the service knows that the caller is gone")
    held.release()
    return told(calls)


def test_a_caller_who_is_gone_before_the_sell_is_not_sold_to_and_owes_nothing(at: Stage) -> None:
    leaver, *others = members(at)
    assert gone(at, leaver, CrashPoint.CREATE_HALF_SENT, others) == ["UNPAID", "UNPAID"]
    assert said(at, leaver) == [ROLLBACK]
    at.settle()
    assert (leaver.state, leaver.order.failure_reason) == ("FAILED", "CALLER_GONE")
    assert sale_of(leaver) == ""  # inventory was told nothing of it
    assert stock_of(others) == [LEFT, LEFT]


def test_a_caller_who_is_gone_after_the_sell_finds_the_order_at_the_next_call(at: Stage) -> None:
    leaver, *others = members(at)
    assert gone(at, leaver, CrashPoint.CREATE_SOLD, others) == ["UNPAID", "UNPAID"]
    assert leaver.create() == leaver.order
    at.settle()
    assert states_of([leaver, *others]) == ["UNPAID"] * 3


def test_a_caller_who_is_gone_when_everything_is_sold_out_has_company(at: Stage) -> None:
    leaver, refused = members(at)[0], member(at, ALL + 1)
    assert gone(at, leaver, CrashPoint.CREATE_HALF_SENT, [refused]) == ["NO_STOCK"]
    assert said(at, leaver) == [ROLLBACK]
    at.settle()
    assert [sale_of(each) for each in (leaver, refused)] == ["", ""]


# Carts


def test_only_what_was_bought_leaves_a_cart(at: Stage) -> None:
    buyer, changer, refused = group = [member_with_cart(at, n) for n in (WANTED, WANTED, ALL + 1)]
    held = at.holds.at(CrashPoint.CREATE_SOLD)
    calls = creating(group)
    held.wait()
    changer.put_into_cart(WANTED + 1)
    held.release()
    assert told(calls) == ["UNPAID", "UNPAID", "NO_STOCK"]
    assert [each.cart for each in group] == [{}, {changer.sku: WANTED + 1}, {refused.sku: ALL + 1}]
    at.settle()
    assert stock_of([buyer, changer, refused]) == [LEFT, LEFT, ALL]


def test_carts_stay_when_nobody_knows_what_was_sold(at: Stage) -> None:
    group = [member_with_cart(at) for _ in range(2)]
    at.proxy.lose_answers("BatchSell", "BatchGetSales")
    assert told(creating(group)) == ["ORDER_FAILED"] * 2
    assert [each.cart for each in group] == [{each.sku: WANTED} for each in group]
    at.proxy.heal()
    at.settle()


# One that raises


def test_an_order_that_cannot_be_priced_fails_alone(at: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *others = members(at)

    def priced(quantities: Any, *rest: Any) -> Any:
        if poison.sku in quantities:
            raise ArithmeticError("poison")
        return price(quantities, *rest)

    monkeypatch.setattr("order_srv.use_cases.create_pricing.price", priced)
    assert told(creating([poison, *others])) == ["INTERNAL", "UNPAID", "UNPAID"]
    assert not at.shop.orders_of(poison.user)
    at.settle()
    assert stock_of(others) == [LEFT, LEFT]


def test_an_order_that_cannot_be_written_fails_alone(at: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *others = members(at)
    row = statements._order_row

    def written(order: Any, request: Any) -> Any:
        if order.user_id == poison.user:
            raise ArithmeticError("poison")
        return row(order, request)

    monkeypatch.setattr(statements, "_order_row", written)
    assert told(creating([poison, *others])) == ["INTERNAL", "UNPAID", "UNPAID"]
    assert not at.shop.orders_of(poison.user)
    at.settle()
    assert stock_of(others) == [LEFT, LEFT]


def test_an_order_that_cannot_be_moved_fails_alone_past_its_grace(at: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *_ = group = members(at)
    opened = statements.opened

    def moved(steps: Any, order: Any, **more: Any) -> Any:
        if order.user_id == poison.user:
            raise ArithmeticError("poison")
        return opened(steps, order, **more)

    monkeypatch.setattr(statements, "opened", moved)
    assert told(creating(group)) == ["OUTCOME_UNKNOWN", "UNPAID", "UNPAID"]
    assert (poison.state, said(at, poison)) == ("CREATING", [UNKNOWN])
    at.pass_time(CREATING_GRACE + A_MOMENT)
    at.settle()
    assert states_of(group) == ["FAILED", "UNPAID", "UNPAID"]
    assert stock_of(group) == [ALL, LEFT, LEFT]


# Requests


def test_a_repeat_in_a_group_gets_its_order_and_the_others_theirs(at: Stage) -> None:
    repeating, *others = members(at)
    first = repeating.create()
    calls = creating([repeating, *others])
    assert told(calls) == ["UNPAID"] * 3
    assert calls[0].result() == first
    at.settle()
    assert len(at.shop.orders_of(repeating.user)) == 1
    assert stock_of([repeating, *others]) == [LEFT] * 3


def test_a_repeat_of_an_unclear_order_is_a_new_one_only_when_the_first_has_failed(at: Stage) -> None:
    unclear, other = group = members(at, 2)
    at.proxy.leave_out(unclear.sku)
    held = at.holds.at(CrashPoint.CREATE_UNCLEAR)
    calls = creating(group)
    held.wait()
    repeat = at.calling(lambda: at.shop.order.CreateOrder(unclear.request, timeout=1.0))
    assert reason_of(repeat) in {"ORDER_CREATING", "DEADLINE_EXCEEDED"}  # by the client's own clock
    assert len(at.shop.orders_of(unclear.user)) == 1
    held.release()
    assert told(calls) == ["ORDER_FAILED", "UNPAID"]
    at.proxy.heal()
    assert unclear.create().state == pb.ORDER_STATE_UNPAID
    at.settle()
    assert stock_of([unclear, other]) == [LEFT, LEFT]


def test_one_request_twice_at_one_moment_is_one_order(at: Stage) -> None:
    doubled, other = members(at, 2)
    calls = creating([doubled, doubled, other])
    assert told(calls) == ["UNPAID"] * 3
    assert calls[0].result() == calls[1].result()
    at.settle()
    assert len(at.shop.orders_of(doubled.user)) == 1


def test_the_broker_that_does_not_take_the_half_message_fails_every_order_of_the_group(at: Stage) -> None:
    group = members(at)
    at.broker.broken.add("in_transaction")
    assert told(creating(group)) == ["BROKER_UNAVAILABLE"] * 3
    at.broker.broken.clear()
    assert states_of(group) == ["FAILED"] * 3
    assert at.proxy.calls["BatchSell"] == 0
    assert [each.create().state for each in group] == [pb.ORDER_STATE_UNPAID] * 3
    at.settle()


def test_the_timeout_that_is_not_set_fails_those_that_were_sold(at: Stage) -> None:
    group = [member(at), member(at, ALL + 1)]
    at.broker.broken.add("publish_later")
    assert told(creating(group)) == ["ORDER_FAILED", "NO_STOCK"]
    at.broker.broken.clear()
    assert [each.order.failure_reason for each in group] == ["TIMEOUT_NOT_SET", "NO_STOCK"]
    assert said(at, group[0]) == [COMMIT]
    at.settle()
    assert stock_of(group) == [ALL, ALL]
