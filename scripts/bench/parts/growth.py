"""How the services fare when there is more: skus, orders that wait, lines an order, replicas, movements."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final

from scripts.bench.harness.figures import Axis, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.prefill import sku_names
from scripts.bench.harness.recorder import Tally
from scripts.bench.harness.testbed import Site
from scripts.bench.parts.growth_ledger import read_ledger
from scripts.bench.parts.growth_sweep import time_sweeps
from scripts.bench.parts.growth_testbed import Ground, Place, cost_of

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


def growth_skus(site: Site) -> None:
    """Sell over a thousand to a million skus, and read them."""
    with Ground(site) as ground:
        counts = _up_to(SKUS, site)
        places = {count: ground.place(f"skus{count}") for count in counts}
        for count, place in places.items():
            site.say(f"  {count:,} skus: filled in {place.timed(lambda: place.filling.skus(count)):.0f} s")  # noqa: B023
        tally = Tally()
        for number, (count, place) in _in_turns(site, places):
            skus = _some_of(count, number)
            ground.take(tally, f"Sell over {count:,} skus", place, _full_speed(site, Kind.SELL, skus))
            ground.take(tally, f"GetStock over {count:,} skus", place, _full_speed(site, Kind.GET, skus))
        _tell(site, tally)
        for call in ("Sell", "GetStock"):
            _tell_ratio(site, tally, f"{call} over {{:,}} skus", counts, _NOTHING_LOST if call == "Sell" else None)
        series = [_series(tally, f"{call} over {{:,}} skus", call, counts) for call in ("Sell", "GetStock")]
        site.plot(_plot("growth-skus", "Calls a second by how many skus there are", "skus", series))


def growth_waiting(site: Site) -> None:
    """Create orders while ten thousand to a million others wait for their payment, and sweep."""
    with Ground(site, {"ORDER_SWEEP_EVERY": "3600"}) as ground:  # the sweeps are ours
        counts = _up_to(WAITING, site)
        places = {count: ground.place(f"waiting{count}") for count in counts}
        for count, place in places.items():
            place.filling.skus(_FEW_SKUS)
            took = place.timed(lambda: place.filling.sales(count, waiting=True))  # noqa: B023 - called at once
            site.say(f"  {count:,} orders: filled in {took:.0f} s")
        tally, name = Tally(), "CreateOrder, {:,} others waiting"
        for _, (count, place) in _in_turns(site, places):
            ground.take(tally, name.format(count), place, _full_speed(site, Kind.CREATE, sku_names(_FEW_SKUS)))
        _tell(site, tally)
        _tell_ratio(site, tally, name, counts[1:] or counts, _NOTHING_LOST)  # from ten thousand on
        series = [_series(tally, name, "CreateOrder", counts)]
        site.plot(_plot("growth-waiting", "Orders a second by how many others wait", "orders that wait", series))
        time_sweeps(site, places)


def growth_lines(site: Site) -> None:
    """Sales and orders of one line to a hundred."""
    calls = {"Sell": Kind.SELL, "CreateOrder": Kind.CREATE}
    with Ground(site) as ground:
        place = ground.place("lines")
        place.filling.skus(_FEW_SKUS)
        tally, name = Tally(), "{}, {} lines"
        for _, (lines, _place) in _in_turns(site, dict.fromkeys(LINES, place)):
            for call, kind in calls.items():
                plan = _full_speed(site, kind, sku_names(_FEW_SKUS), lines)
                ground.take(tally, name.format(call, lines), place, plan)
        _tell(site, tally)
        series = [_series(tally, name.replace("{}", call, 1), call, LINES) for call in calls]
        site.plot(_plot("growth-lines", "Calls a second by lines an order", "lines an order", series))


def growth_replicas(site: Site) -> None:
    """One replica of each service, and two, on the same machine."""
    calls = {"Sell over 1,000 skus": Kind.SELL, "CreateOrder": Kind.CREATE}
    with Ground(site) as ground:
        places = {count: ground.place(f"replicas{count}", replicas=count) for count in REPLICAS}
        for place in places.values():
            place.filling.skus(_FEW_SKUS)
        tally, name = Tally(), "{}, replicas: {}"
        for _, (count, place) in _in_turns(site, places):
            for call, kind in calls.items():
                ground.take(tally, name.format(call, count), place, _full_speed(site, kind, sku_names(_FEW_SKUS)))
        _tell(site, tally)
        for call in calls:
            _tell_ratio(site, tally, name.replace("{}", call, 1), REPLICAS, None)
        series = [_series(tally, name.replace("{}", call, 1), call, REPLICAS) for call in calls]
        site.plot(_plot("growth-replicas", "Calls a second by replicas", "replicas", series, log=False))


def growth_ledger(site: Site) -> None:
    """Read and audit a ledger of ten thousand to a million movements."""
    with Ground(site) as ground:
        places = {count: ground.place(f"ledger{count}") for count in _up_to(LEDGER, site)}
        for count, place in places.items():
            place.filling.skus(1, "hot")
            place.filling.sales(count, "hot")
            place.filling.skus(_FEW_SKUS)
            place.filling.sales(count)
        read_ledger(site, places)


def _up_to(counts: Sequence[int], site: Site) -> tuple[int, ...]:
    """Those that the curves go up to."""
    return tuple(count for count in counts if count <= site.options.largest)


def _in_turns(site: Site, places: Mapping[int, Place]) -> Iterator[tuple[int, tuple[int, Place]]]:
    """Every place once a round, beginning with another each time: the largest is mostly followed by the smallest."""
    each = list(places.items())
    for number in range(site.options.rounds):
        first = number % len(each)
        for place in each[first:] + each[:first]:
            yield number, place


def _some_of(count: int, number: int) -> tuple[str, ...]:
    """Skus for one load of round `number`."""
    names = sku_names(count)
    return names if count <= _SKUS_OF_A_LOAD else tuple(Random(number).sample(names, _SKUS_OF_A_LOAD))  # noqa: S311


def _full_speed(site: Site, kind: Kind, skus: Sequence[str], lines: int = 1) -> Plan:
    callers = _CREATORS if kind is Kind.CREATE else _SELLERS
    seconds = site.options.seconds
    return Plan(kind, tuple(skus), range(1, 101), callers, _CONNECTIONS, _WARM_UP_S, seconds, lines=lines)


def _tell(site: Site, tally: Tally) -> None:
    site.results.loads.extend(tally.load(site.part, name) for name in tally.loads)
    for name in tally.loads:
        spread = tally.spread(name)
        site.figure(name, spread, "a second", len(spread.values))


def _tell_ratio(site: Site, tally: Tally, name: str, counts: Sequence[int], target: Target | None) -> None:
    """Of the largest to the smallest; nothing where the curve is cut so short that it has one point."""
    if len(counts) == 1:
        return
    least, most = name.format(counts[0]), name.format(counts[-1])
    site.figure(f"{most} ÷ {least}", tally.ratio(most, least), "", target=target)
    site.figure(f"processor time: {most} ÷ {least}", tally.ratio(cost_of(most), cost_of(least)), "")


def _series(tally: Tally, name: str, title: str, counts: Sequence[int]) -> Series:
    return Series(title, tuple(Point.of(count, tally.spread(name.format(count))) for count in counts))


def _plot(name: str, title: str, over: str, series: Sequence[Series], *, log: bool = True) -> Plot:
    return Plot(name, title, "lines", Axis(over, log=log), Axis("calls", "a second"), tuple(series))
