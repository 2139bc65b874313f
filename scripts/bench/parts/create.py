"""Creating orders: as fast as so many callers can, at half of the most that they reach, and so many a second."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, EMBEDDED
from scripts.bench.parts.stock import distribution

CREATE: Final = "CreateOrder"
_AT_HALF: Final = "CreateOrder, at half of its most"
_HALF: Final = 0.5
_LONGER: Final = 4
"""Times as long as at full speed: of some hundred calls the 99th percentile would be the second or third worst."""
_PACED_LONGER: Final = 2
_MANY: Final = 64
_P99_AT_HALF: Final = {EMBEDDED: Target(at_most=60, aim=30), CLUSTER: Target(at_most=90, aim=60)}
_PROCESSOR_TIME: Final = Target(at_most=1100, aim=800)
"""Microseconds an order in the cluster by 64 callers, of all processes but the load's."""


def by_callers(count: int) -> str:
    """The name of the load in which so many callers create orders."""
    return f"{CREATE}, {count} caller{'s' if count > 1 else ''}"


def create(testbed: Testbed) -> Iterator[None]:
    """Create orders as fast as 1 to 128 callers can, and at half of the most that they reach."""
    warm_up(testbed)
    counts = testbed.options.at_callers
    rounds = Rounds(testbed, books=False)  # one look in the end: it reads every order
    for _ in rounds:
        yield
        rounds.loads(
            {by_callers(count): testbed.full_speed(Kind.CREATE, testbed.skus, callers=count) for count in counts}
        )
        most = max(rounds.recorder.spread(by_callers(count)).values[-1] for count in counts)
        at_half = testbed.paced(Kind.CREATE, testbed.skus, testbed.agree(_AT_HALF, most * _HALF))
        rounds.load(_AT_HALF, replace(at_half, seconds=_LONGER * at_half.seconds))
    rounds.report()
    for count in counts:
        _report_processor_time(testbed, rounds, count)
    rounds.p99("CreateOrder at half of its most, p99", _AT_HALF, _P99_AT_HALF[testbed.world.name])
    shown = (*map(by_callers, counts), _AT_HALF)
    testbed.plot(distribution("latency-create", [rounds.recorder.load(testbed.part, name) for name in shown]))


def paced(testbed: Testbed) -> Iterator[None]:
    """Create so many orders a second, each due at its own moment."""
    warm_up(testbed)
    rates = {f"{CREATE}, {rate:g} a second": rate for rate in testbed.options.at_rates}
    rounds = Rounds(testbed, books=False)
    for _ in rounds:
        yield
        plans = {name: testbed.paced(Kind.CREATE, testbed.skus, rate) for name, rate in rates.items()}
        rounds.loads({name: replace(plan, seconds=_PACED_LONGER * plan.seconds) for name, plan in plans.items()})
    rounds.report()
    testbed.plot(distribution("latency-paced", [rounds.recorder.load(testbed.part, name) for name in rates]))


def order_replicas(testbed: Testbed) -> Iterator[None]:
    """Two replicas of the order service together, beside one of them alone."""
    warm_up(testbed)
    one, two = f"{CREATE}, one replica", f"{CREATE}, two replicas"
    rounds = Rounds(testbed, books=False)
    with testbed.replica("order", {}, found=True) as second:
        first = next(address for address in testbed.orders if address != second)
        for _ in rounds:
            yield
            plan = testbed.full_speed(Kind.CREATE, testbed.skus, callers=testbed.options.callers)
            rounds.loads({one: replace(plan, addresses=(first,)), two: replace(plan, addresses=(first, second))})
    rounds.report()
    rounds.ratio("two replicas of the order service ÷ one", two, one)


def warm_up(testbed: Testbed) -> None:
    """Create orders and measure nothing: a broker that was just started compiles what it runs, on the same cores."""
    testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus), seconds=testbed.options.warm_up))


def _report_processor_time(testbed: Testbed, rounds: Rounds, count: int) -> None:
    name = by_callers(count)
    target = _PROCESSOR_TIME if count == _MANY and testbed.world.name == CLUSTER else None
    rounds.cpu(f"{name}: processor time of all but the load", name, "service", "engines", target=target)
    for program in ("order_srv", "inventory_srv"):
        rounds.cpu(f"{name}: processor time of {program}", name, program)
