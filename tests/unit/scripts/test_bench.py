"""The benchmark's arithmetic, its requests, and what it finds wrong in books."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from scripts.bench.harness import testbed
from scripts.bench.harness.books import fault
from scripts.bench.harness.figures import Figure, Spread, Target, percentile
from scripts.bench.harness.load import Kind, Measured, Plan, requests, requests_by_address
from scripts.bench.harness.loaders import Loaders
from scripts.bench.harness.options import Options
from scripts.bench.harness.recorder import Recorder
from scripts.bench.harness.worlds import Embedded


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
    assert Figure("part", "name", Spread.of([value]), "", 1, target).missed is missed


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (Target(at_least=0.5, aim=0.7), 0.49, "missed"),
        (Target(at_least=0.5, aim=0.7), 0.69, "met"),
        (Target(at_least=0.5, aim=0.7), 0.7, "aim met"),
        (Target(at_most=20, aim=10), 20.1, "missed"),
        (Target(at_most=20, aim=10), 10.1, "met"),
        (Target(at_most=20, aim=10), 10.0, "aim met"),
        (Target(at_least=1), 5.0, "met"),
    ],
)
def test_an_aim_lies_beyond_what_has_to_be_reached(target: Target, value: float, verdict: str) -> None:
    assert target.verdict(value) == verdict


def test_the_median_counts_and_the_range_is_told() -> None:
    spread = Spread.of([3.0, 1.0, 2.0, 10.0])
    assert (spread.median, spread.low, spread.high, spread.values) == (2.5, 1.0, 10.0, (3.0, 1.0, 2.0, 10.0))


def measured(*latencies: float, seconds: float = 1.0, failures: int = 0) -> Measured:
    one = Measured(answered=len(latencies), seconds=seconds, cpu={"service": 0.001, "load": 0.003})
    one.latencies.extend(latencies)
    one.failures = Counter({"UNAVAILABLE": failures} if failures else {})
    return one


def test_a_ratio_is_made_within_each_round() -> None:
    recorder = Recorder()
    for sold, empty in ((1, 2), (3, 4), (9, 10)):
        recorder.take("sell", "so", measured(*[0.1] * sold))
        recorder.take("empty", "so", measured(*[0.1] * empty))
    assert recorder.ratio("sell", "empty").values == (0.5, 0.75, 0.9)
    assert recorder.ratio("sell", "empty").median == 0.75


def test_a_load_has_its_rounds_side_by_side_and_its_latencies_together() -> None:
    recorder = Recorder()
    recorder.take("sell", "64 callers", measured(0.003, 0.001, 0.002, seconds=2.0))
    recorder.take("sell", "64 callers", measured(0.005, seconds=1.0, failures=1))
    load = recorder.load("stock", "sell")
    assert load.rate.values == (1.5, 1.0)
    assert load.p50.values == (2.0, 5.0)
    assert load.p999.values == (3.0, 5.0)
    assert list(load.cpu["load"].values) == pytest.approx([1000, 1500])
    assert load.calls == 4
    assert dict(load.distribution)[0.5] == 2.0
    assert dict(load.distribution)[0.9999] == 5.0


def test_a_load_of_which_no_call_succeeded_is_not_measured() -> None:
    with pytest.raises(RuntimeError, match="UNAVAILABLE"):
        Recorder().take("sell", "so", measured(failures=3))


@pytest.mark.parametrize(("whole", "count"), [(64, 1), (64, 3), (10_000, 7), (1, 4)])
def test_shares_add_up_to_the_whole(whole: int, count: int) -> None:
    shares = [testbed.share(whole, number, count) for number in range(count)]
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


def test_when_calls_were_answered_is_put_together() -> None:
    first, second = measured(0.1), measured(0.1)
    first.moments.extend([1.0, 3.0])
    second.moments.extend([2.0])
    first.add(second, one_after_the_other=False)
    assert sorted(first.moments) == [1.0, 2.0, 3.0]


def test_processor_time_of_several_is_added_up_round_by_round() -> None:
    recorder = Recorder()
    for service, engines in ((0.002, 0.001), (0.004, 0.0)):
        one = measured(0.1, 0.1)
        one.cpu = {"service": service, "engines": engines}
        recorder.take("create", "so", one)
    assert recorder.cpu("create", "service", "engines").values == pytest.approx((1500, 2000))
    assert recorder.cpu("create", "service", "redis").values == pytest.approx((1000, 2000)), (
        "who is not there took nothing"
    )


def new_testbed(folder: Path, agreed: dict[str, float] | None) -> testbed.Testbed:
    options = Options(1.0, 1, 1, 1, 1, 1, 1, skus=1, due_orders=1)
    return testbed.Testbed(
        "part", Embedded(), folder, loaders=Loaders(1), console=Console(), options=options, agreed=agreed
    )


def test_both_sides_of_a_comparison_keep_the_first_rate_in_all_turns(tmp_path: Path) -> None:
    agreed: dict[str, float] = {}
    old, new = (new_testbed(tmp_path, agreed) for _ in range(2))
    assert [old.agree("half", 100.0), new.agree("half", 300.0), new.agree("half", 400.0)] == [100.0] * 3
    assert new.agree("else", 5.0) == 5.0


def test_who_is_compared_with_nobody_takes_the_rate_of_each_round(tmp_path: Path) -> None:
    alone = new_testbed(tmp_path, None)
    assert [alone.agree("half", rate) for rate in (100.0, 300.0)] == [100.0, 300.0]


def made(plan: Plan, count: int) -> list[bytes]:
    next_request = requests(plan)
    return [next_request() for _ in range(count)]


def test_every_request_of_a_plan_has_a_key_of_its_own() -> None:
    plan = Plan(Kind.CREATE, ("tea", "mug"), range(1, 5), key="create-1-0")
    created = [pb.CreateOrderRequest.FromString(request) for request in made(plan, 100)]
    assert len({request.request_id for request in created}) == 100
    assert {request.user_id for request in created} == {1, 2, 3, 4}
    assert {line.sku for request in created for line in request.lines} == {"tea", "mug"}
    assert {request.recipient.name for request in created} == {"Bench"}
    sold = [stock_pb.SellRequest.FromString(each) for each in made(Plan(Kind.SELL, ("hot",), key="s"), 5)]
    assert [request.order_sn for request in sold] == [f"s-0000000{number}" for number in range(1, 6)]


def test_an_order_of_many_lines_has_different_skus() -> None:
    plan = Plan(Kind.SELL, tuple("abcdef"), lines=6, key="s")
    for request in made(plan, 10):
        assert sorted(line.sku for line in stock_pb.SellRequest.FromString(request).lines) == list("abcdef")


def test_orders_are_listed_of_the_users_of_the_plan() -> None:
    asked = [pb.ListOrdersRequest.FromString(each) for each in made(Plan(Kind.LIST_ORDERS, users=range(1, 4)), 50)]
    assert {request.user_id for request in asked} == {1, 2, 3}
    assert {request.page_size for request in asked} == {1}


def test_two_addresses_are_asked_for_a_sku_each() -> None:
    asked = requests_by_address(Plan(Kind.SELL, ("tea", "mug"), addresses=("a:1", "b:1"), apart=True, key="s"))
    for address, sku in (("a:1", "tea"), ("b:1", "mug")):
        sells = [stock_pb.SellRequest.FromString(asked[address]()) for _ in range(20)]
        assert {line.sku for sell in sells for line in sell.lines} == {sku}
    first, second = (stock_pb.SellRequest.FromString(asked[address]()).order_sn for address in ("a:1", "b:1"))
    assert first != second


def test_a_read_asks_for_a_sku_of_the_plan() -> None:
    asked = {stock_pb.GetStockRequest.FromString(each).sku for each in made(Plan(Kind.GET, ("tea", "mug")), 50)}
    assert asked == {"tea", "mug"}


def test_an_empty_call_has_an_empty_request() -> None:
    assert made(Plan(Kind.EMPTY), 2) == [b"", b""]


def order(state: "pb.OrderState.ValueType") -> pb.Order:
    return pb.Order(order_sn="1", state=state, lines=[pb.OrderLine(sku="tea", quantity=2)])


def sale(state: "stock_pb.SaleState.ValueType", quantity: int = 2) -> stock_pb.Sale:
    return stock_pb.Sale(order_sn="1", state=state, lines=[stock_pb.SaleLine(sku="tea", quantity=quantity)])


SOLD, RETURNED = stock_pb.SALE_STATE_SOLD, stock_pb.SALE_STATE_RETURNED


@pytest.mark.parametrize(
    ("state", "its_sale", "answer"),
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
    state: Any, its_sale: stock_pb.Sale | None, answer: str
) -> None:
    found = fault(order(state), its_sale)
    assert answer in found
    assert bool(found) == bool(answer)
