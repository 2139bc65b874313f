"""Selling one hot sku and many, being refused, reading: at full speed, at half of it, alone, by two replicas."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import grpc

from scripts.bench.harness.figures import Axis, Load, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import HOT, SOLD_OUT, Testbed

EMPTY: Final = "empty call"
SELL_HOT: Final = "Sell, one hot sku"
REFUSED: Final = "Sell, sold out: refused"
GET: Final = "GetStock"
AT_HALF: Final = "Sell, one hot sku, at half of its most"
_ALONE: Final = "Sell, one caller"
_ALONE_UNMERGED: Final = "Sell, one caller, INVENTORY_BATCH=1"
_ONE: Final = "Sell, one hot sku, one replica"
_TWO: Final = "Sell, one hot sku, two replicas"
_APART: Final = "Sell, two skus, a replica each"
_HALF: Final = 0.5


def sell_many(testbed: Testbed) -> str:
    """The name of the load that sells all skus but the hot one."""
    return f"Sell, {len(testbed.skus):,} skus"


def stock(testbed: Testbed) -> Iterator[None]:
    """Sell and read as fast as the callers can, beside an empty call through the same interceptors."""
    many, get_hot = sell_many(testbed), f"{GET}, one hot sku"
    rounds = Rounds(testbed)
    for _ in rounds:
        yield
        rounds.loads(
            {
                EMPTY: testbed.full_speed(Kind.EMPTY),
                SELL_HOT: testbed.full_speed(Kind.SELL, (HOT,)),
                many: testbed.full_speed(Kind.SELL, testbed.skus),
                REFUSED: _refused(testbed),
                GET: testbed.full_speed(Kind.GET, testbed.skus),
                get_hot: testbed.full_speed(Kind.GET, (HOT,)),
            }
        )
        half = testbed.agree(AT_HALF, rounds.recorder.spread(SELL_HOT).values[-1] * _HALF)
        rounds.load(AT_HALF, testbed.paced(Kind.SELL, (HOT,), half))
    rounds.report()
    rounds.ratio("Sell of one hot sku ÷ empty call", SELL_HOT, EMPTY, Target(at_least=0.5, aim=0.7))
    rounds.ratio(f"Sell over {len(testbed.skus):,} skus ÷ empty call", many, EMPTY, Target(at_least=0.45, aim=0.65))
    rounds.ratio("refused for lack of stock ÷ empty call", REFUSED, EMPTY, Target(at_least=0.65, aim=0.85))
    rounds.ratio("GetStock ÷ empty call", GET, EMPTY)
    rounds.ratio("GetStock of one hot sku ÷ empty call", get_hot, EMPTY)
    rounds.p99("Sell at half of its most, p99", AT_HALF, Target(at_most=20, aim=10))
    testbed.plot(
        distribution("latency-stock", [rounds.recorder.load(testbed.part, name) for name in (EMPTY, SELL_HOT, AT_HALF)])
    )


def alone(testbed: Testbed) -> Iterator[None]:
    """One caller with nobody beside it: what merging costs who has nobody to be merged with."""
    rounds = Rounds(testbed)
    with testbed.replica("inventory", {"INVENTORY_BATCH": "1"}) as unmerged:
        for _ in rounds:
            yield
            one = testbed.full_speed(Kind.SELL, testbed.skus, callers=1)
            rounds.loads({_ALONE: _at(one, testbed.inventories[0]), _ALONE_UNMERGED: _at(one, unmerged)})
    rounds.report()
    target = Target(at_most=1.1, aim=1)
    rounds.latency_ratio("lone Sell: merging ÷ INVENTORY_BATCH=1, p50", _ALONE, _ALONE_UNMERGED, target)


def replicas(testbed: Testbed) -> Iterator[None]:
    """Two replicas of inventory together, beside one of them alone, and beside two that sell a sku each."""
    many = sell_many(testbed)
    rounds = Rounds(testbed)
    with testbed.replica("inventory", {}, found=True) as second:
        first = next(address for address in testbed.inventories if address != second)
        both = (first, second)
        for _ in rounds:
            yield
            hot, wide = testbed.full_speed(Kind.SELL, (HOT,)), testbed.full_speed(Kind.SELL, testbed.skus)
            rounds.loads(
                {
                    _ONE: _at(hot, first),
                    _TWO: _at(hot, *both),
                    _APART: replace(_at(hot, *both), skus=(HOT, testbed.skus[0]), apart=True),
                    f"{many}, one replica": _at(wide, first),
                    f"{many}, two replicas": _at(wide, *both),
                }
            )
    rounds.report()
    rounds.ratio("two replicas together ÷ one, hot sku", _TWO, _ONE, Target(at_least=0.9, aim=1.1))
    rounds.ratio("two replicas, a sku each ÷ one replica, hot sku", _APART, _ONE)
    rounds.ratio("two replicas together, hot sku ÷ a sku each", _TWO, _APART)
    name = f"two replicas together ÷ one, {len(testbed.skus):,} skus"
    rounds.ratio(name, f"{many}, two replicas", f"{many}, one replica")


def distribution(name: str, loads: list[Load]) -> Plot:
    """How long calls took, by the share of them that took no longer."""
    series = tuple(
        Series(f"{load.name} ({load.how})", tuple(Point(share, took) for share, took in load.distribution))
        for load in loads
    )
    x, y = Axis("calls answered within", "% of all"), Axis("latency", "ms", log=True)
    return Plot(name, "How long a call takes", "percentiles", x, y, series)


def _refused(testbed: Testbed) -> Plan:
    return replace(testbed.full_speed(Kind.SELL, (SOLD_OUT,)), expect=grpc.StatusCode.FAILED_PRECONDITION)


def _at(plan: Plan, *addresses: str) -> Plan:
    return replace(plan, addresses=addresses)
