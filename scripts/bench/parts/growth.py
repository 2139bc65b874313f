"""How the services fare when there is more: skus, orders that wait, lines an order, replicas, movements."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final

from scripts.bench.harness.figures import Axis, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.prefill import sku_names
from scripts.bench.harness.recorder import Recorder
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.growth_ledger import read_ledger
from scripts.bench.parts.growth_sweep import time_sweeps
from scripts.bench.parts.growth_testbed import GrowthTestbed, Place, cost_of

SKUS: Final = (1_000, 10_000, 100_000, 1_000_000)
WAITING: Final = (1_000, 10_000, 100_000, 1_000_000)
LINES: Final = (1, 3, 10, 30, 100)
REPLICAS: Final = (1, 2)
LEDGER: Final = (1_000, 10_000, 100_000, 1_000_000)

_FEW_SKUS: Final = 1_000
_SELLERS: Final = 64
_CREATORS: Final = 32
_CONNECTIONS: Final = 4
_WARM_UP_S: Final = 1.0
_SKUS_OF_A_LOAD: Final = 20_000  # others each time: more than it calls
_NOTHING_LOST: Final = Target(at_least=0.9, aim=1.0)


def growth_skus(testbed: Testbed) -> None:
    """Sell over a thousand to a million skus, and read them."""
    with GrowthTestbed(testbed) as growth:
        counts = _up_to(SKUS, testbed)
        places = {count: growth.place(f"skus{count}") for count in counts}
        for count, place in places.items():
            testbed.say(f"  {count:,} skus: filled in {place.timed(lambda: place.prefill.skus(count)):.0f} s")  # noqa: B023
        recorder = Recorder()
        for number, (count, place) in _in_turns(testbed, places):
            skus = _some_of(count, number)
            growth.measure(recorder, f"Sell over {count:,} skus", place, _full_speed(testbed, Kind.SELL, skus))
            growth.measure(recorder, f"GetStock over {count:,} skus", place, _full_speed(testbed, Kind.GET, skus))
        _report(testbed, recorder)
        for call in ("Sell", "GetStock"):
            _report_ratio(
                testbed, recorder, f"{call} over {{:,}} skus", counts, _NOTHING_LOST if call == "Sell" else None
            )
        series = [_series(recorder, f"{call} over {{:,}} skus", call, counts) for call in ("Sell", "GetStock")]
        testbed.plot(_plot("growth-skus", "Calls a second by how many skus there are", "skus", series))


def growth_waiting(testbed: Testbed) -> None:
    """Create orders while ten thousand to a million others wait for their payment, and sweep."""
    with GrowthTestbed(testbed, {"ORDER_SWEEP_EVERY": "3600"}) as growth:  # the sweeps are ours
        counts = _up_to(WAITING, testbed)
        places = {count: growth.place(f"waiting{count}") for count in counts}
        for count, place in places.items():
            place.prefill.skus(_FEW_SKUS)
            took = place.timed(lambda: place.prefill.sales(count, waiting=True))  # noqa: B023 - called at once
            testbed.say(f"  {count:,} orders: filled in {took:.0f} s")
        recorder, name = Recorder(), "CreateOrder, {:,} others waiting"
        for _, (count, place) in _in_turns(testbed, places):
            growth.measure(recorder, name.format(count), place, _full_speed(testbed, Kind.CREATE, sku_names(_FEW_SKUS)))
        _report(testbed, recorder)
        _report_ratio(testbed, recorder, name, counts[1:] or counts, _NOTHING_LOST)  # from ten thousand on
        series = [_series(recorder, name, "CreateOrder", counts)]
        testbed.plot(_plot("growth-waiting", "Orders a second by how many others wait", "orders that wait", series))
        time_sweeps(testbed, places)


def growth_lines(testbed: Testbed) -> None:
    """Sales and orders of one line to a hundred."""
    calls = {"Sell": Kind.SELL, "CreateOrder": Kind.CREATE}
    with GrowthTestbed(testbed) as growth:
        place = growth.place("lines")
        place.prefill.skus(_FEW_SKUS)
        recorder, name = Recorder(), "{}, {} lines"
        for _, (lines, _place) in _in_turns(testbed, dict.fromkeys(LINES, place)):
            for call, kind in calls.items():
                plan = _full_speed(testbed, kind, sku_names(_FEW_SKUS), lines)
                growth.measure(recorder, name.format(call, lines), place, plan)
        _report(testbed, recorder)
        series = [_series(recorder, name.replace("{}", call, 1), call, LINES) for call in calls]
        testbed.plot(_plot("growth-lines", "Calls a second by lines an order", "lines an order", series))


def growth_replicas(testbed: Testbed) -> None:
    """One replica of each service, and two, on the same machine."""
    calls = {"Sell over 1,000 skus": Kind.SELL, "CreateOrder": Kind.CREATE}
    with GrowthTestbed(testbed) as growth:
        places = {count: growth.place(f"replicas{count}", replicas=count) for count in REPLICAS}
        for place in places.values():
            place.prefill.skus(_FEW_SKUS)
        recorder, name = Recorder(), "{}, replicas: {}"
        for _, (count, place) in _in_turns(testbed, places):
            for call, kind in calls.items():
                growth.measure(
                    recorder, name.format(call, count), place, _full_speed(testbed, kind, sku_names(_FEW_SKUS))
                )
        _report(testbed, recorder)
        for call in calls:
            _report_ratio(testbed, recorder, name.replace("{}", call, 1), REPLICAS, None)
        series = [_series(recorder, name.replace("{}", call, 1), call, REPLICAS) for call in calls]
        testbed.plot(_plot("growth-replicas", "Calls a second by replicas", "replicas", series, log=False))


def growth_ledger(testbed: Testbed) -> None:
    """Read and audit a ledger of ten thousand to a million movements."""
    with GrowthTestbed(testbed) as growth:
        places = {count: growth.place(f"ledger{count}") for count in _up_to(LEDGER, testbed)}
        for count, place in places.items():
            place.prefill.skus(1, "hot")
            place.prefill.sales(count, "hot")
            place.prefill.skus(_FEW_SKUS)
            place.prefill.sales(count)
        read_ledger(testbed, places)


def _up_to(counts: Sequence[int], testbed: Testbed) -> tuple[int, ...]:
    """Those that the curves go up to."""
    return tuple(count for count in counts if count <= testbed.options.largest)


def _in_turns(testbed: Testbed, places: Mapping[int, Place]) -> Iterator[tuple[int, tuple[int, Place]]]:
    """Every place once a round, beginning with another each time: the largest is mostly followed by the smallest."""
    each = list(places.items())
    for number in range(testbed.options.rounds):
        first = number % len(each)
        for place in each[first:] + each[:first]:
            yield number, place


def _some_of(count: int, number: int) -> tuple[str, ...]:
    """Skus for one load of round `number`."""
    names = sku_names(count)
    return names if count <= _SKUS_OF_A_LOAD else tuple(Random(number).sample(names, _SKUS_OF_A_LOAD))  # noqa: S311


def _full_speed(testbed: Testbed, kind: Kind, skus: Sequence[str], lines: int = 1) -> Plan:
    callers = _CREATORS if kind is Kind.CREATE else _SELLERS
    seconds = testbed.options.seconds
    return Plan(kind, tuple(skus), range(1, 101), callers, _CONNECTIONS, _WARM_UP_S, seconds, lines=lines)


def _report(testbed: Testbed, recorder: Recorder) -> None:
    testbed.results.loads.extend(recorder.load(testbed.part, name) for name in recorder.loads)
    for name in recorder.loads:
        spread = recorder.spread(name)
        testbed.figure(name, spread, "a second", len(spread.values))


def _report_ratio(
    testbed: Testbed, recorder: Recorder, name: str, counts: Sequence[int], target: Target | None
) -> None:
    """Of the largest to the smallest; nothing where the curve is cut so short that it has one point."""
    if len(counts) == 1:
        return
    least, most = name.format(counts[0]), name.format(counts[-1])
    testbed.figure(f"{most} ÷ {least}", recorder.ratio(most, least), "", target=target)
    testbed.figure(f"processor time: {most} ÷ {least}", recorder.ratio(cost_of(most), cost_of(least)), "")


def _series(recorder: Recorder, name: str, title: str, counts: Sequence[int]) -> Series:
    return Series(title, tuple(Point.of(count, recorder.spread(name.format(count))) for count in counts))


def _plot(name: str, title: str, over: str, series: Sequence[Series], *, log: bool = True) -> Plot:
    return Plot(name, title, "lines", Axis(over, log=log), Axis("calls", "a second"), tuple(series))
