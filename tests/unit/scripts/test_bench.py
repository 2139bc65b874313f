"""The benchmark's arithmetic, and what it finds wrong in books."""

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from scripts.bench.books import fault
from scripts.bench.load import Kind, Measured, Plan, requests
from scripts.bench.report import Figure, Target, percentile
from scripts.bench.site import share


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1)])
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(part: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], part) == expected


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("target", "value", "missed"),
    [
        (None, 0.0, False),
        (Target(at_least=250), 250.0, False),
        (Target(at_least=250), 249.9, True),
        (Target(at_most=150), 150.0, False),
        (Target(at_most=150), 150.1, True),
        (Target(at_least=0), -0.1, True),
    ],
)
def test_a_figure_misses_its_target_only_beyond_it(target: Target | None, value: float, missed: bool) -> None:
    assert Figure("part", "name", value, "", 1, target).missed is missed


@pytest.mark.parametrize(("whole", "count"), [(64, 1), (64, 3), (10_000, 7), (1, 4)])
def test_shares_add_up_to_the_whole(whole: int, count: int) -> None:
    shares = [share(whole, number, count) for number in range(count)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1


def test_what_two_processes_saw_adds_up() -> None:
    first, second = Measured(answered=2, seconds=3.0), Measured(answered=1, seconds=2.0)
    first.latencies.extend([0.1, 0.2])
    second.latencies.extend([0.3])
    second.failures = Counter({"UNAVAILABLE": 1})
    first.add(second, one_after_the_other=False)
    assert (list(first.latencies), first.answered, first.seconds) == ([0.1, 0.2, 0.3], 3, 3.0)
    assert first.failures == {"UNAVAILABLE": 1}
    first.add(second, one_after_the_other=True)
    assert first.seconds == 5.0


def test_every_request_of_a_plan_has_a_key_of_its_own() -> None:
    plan = Plan(Kind.CREATE, ("tea", "mug"), range(1, 5), key="create-1-0")
    made = [pb.CreateOrderRequest.FromString(request) for request in islice(requests(plan), 100)]
    assert len({request.request_id for request in made}) == 100
    assert {request.user_id for request in made} == {1, 2, 3, 4}
    assert {line.sku for request in made for line in request.lines} == {"tea", "mug"}
    sold = [stock_pb.SellRequest.FromString(each) for each in islice(requests(Plan(Kind.SELL, ("hot",), key="s")), 5)]
    assert len({request.order_sn for request in sold}) == 5


def order(state: "pb.OrderState.ValueType") -> pb.Order:
    return pb.Order(order_sn="1", state=state, lines=[pb.OrderLine(sku="tea", quantity=2)])


def sale(state: "stock_pb.SaleState.ValueType", quantity: int = 2) -> stock_pb.Sale:
    return stock_pb.Sale(order_sn="1", state=state, lines=[stock_pb.SaleLine(sku="tea", quantity=quantity)])


SOLD, RETURNED = stock_pb.SALE_STATE_SOLD, stock_pb.SALE_STATE_RETURNED


@pytest.mark.parametrize(
    ("state", "its_sale", "told"),
    [
        (pb.ORDER_STATE_UNPAID, sale(SOLD), ""),
        (pb.ORDER_STATE_FINISHED, sale(SOLD), ""),
        (pb.ORDER_STATE_CLOSED, sale(RETURNED), ""),
        (pb.ORDER_STATE_FAILED, None, ""),
        (pb.ORDER_STATE_PAID, None, "stock is not sold"),
        (pb.ORDER_STATE_UNPAID, sale(RETURNED), "stock is not sold"),
        (pb.ORDER_STATE_UNPAID, sale(SOLD, 1), "something else was sold"),
        (pb.ORDER_STATE_CLOSED, sale(SOLD), "still sold"),
        (pb.ORDER_STATE_FAILED, sale(SOLD), "still sold"),
        (pb.ORDER_STATE_CREATING, None, "no state to rest in"),
    ],
)
def test_an_order_and_its_sale_that_do_not_fit_are_a_fault(
    state: Any, its_sale: stock_pb.Sale | None, told: str
) -> None:
    found = fault(order(state), its_sale)
    assert told in found
    assert bool(found) == bool(told)
