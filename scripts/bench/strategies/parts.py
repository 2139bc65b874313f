"""The ways of selling side by side: for one hot sku, over many, by two processes together, and killed while they sell.

Every round goes through all ways, each beginning with another one, and what each wrote is counted after each load.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from reback.inventory.v1.inventory_pb2 import SetStockRequest
from scripts.bench.harness.cpus import cpu_of
from scripts.bench.harness.figures import Axis, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Measured, Plan
from scripts.bench.harness.recorder import Tally
from scripts.bench.harness.testbed import HOT, Site
from scripts.bench.harness.worlds import Servers
from scripts.bench.strategies.choice import CHOICES, REBACK, TITLES
from scripts.bench.strategies.fixture import OF_REBACK, Stand, small_stand
from scripts.lib.shop import PATIENCE_S

_PLENTY: Final = 1_000_000_000
_FEW: Final = "last-200"
_FEW_UNITS: Final = 200
_FIGHTING_CALLS: Final = 1000
_KILLED_AFTER_S: Final = 1.5
_CONNECTIONS: Final = 2000  # of the database: all ways are open at once, a connection a thread, and most do nothing
_TARGETS: Final[Mapping[str, Target]] = {
    "redis-lock": Target(at_least=12, aim=30),
    "conditional-update": Target(at_least=4, aim=6),
}


def ways_hot(site: Site) -> None:
    """Each way of selling alone with one hot sku; then callers fight for the last 200 units."""
    with _stands(site, replicas=1) as stands:
        tally = _compare(site, stands, site.full_speed(Kind.SELL, (HOT,)))
        _tell(site, tally, _TARGETS)
        oversold = _fight(site, stands)
        _plot(site, tally, "ways-hot", "One hot sku: the ways of selling side by side", oversold)


def ways_many(site: Site) -> None:
    """Each way of selling over many skus."""
    with _stands(site, replicas=1) as stands:
        tally = _compare(site, stands, site.full_speed(Kind.SELL, site.skus))
        _tell(site, tally, {})
        _plot(site, tally, "ways-many", f"{len(site.skus):,} skus: the ways of selling side by side", {})


def ways_two(site: Site) -> None:
    """Two processes of each way of selling with one hot sku; then callers fight for the last 200 units."""
    with _stands(site, replicas=2) as stands:
        tally = _compare(site, stands, site.full_speed(Kind.SELL, (HOT,)))
        _tell(site, tally, {})
        oversold = _fight(site, stands)
        _plot(site, tally, "ways-two", "One hot sku, two processes each: the ways of selling side by side", oversold)


def ways_killed(site: Site) -> None:
    """Each way of selling, killed while it sells: what callers were told and the tables do not know."""
    for name in TITLES:
        with _stand(site, name, 1) as stand:
            before = stand.books().written
            plan = replace(
                site.full_speed(Kind.SELL, (HOT,)), addresses=stand.addresses, seconds=_KILLED_AFTER_S, warm_up=0
            )
            running = site.start_load(plan)
            time.sleep(_KILLED_AFTER_S)
            stand.kill()
            told = running.result().answered
            written = stand.books().written - before
            lost = max(0, told - written)
            if name == REBACK:
                site.sold(plan, written - told)  # what was committed, and not told any more
            site.say(f"  {TITLES[name]}: {told:,} sold when it was killed, {lost:,} of them lost")
            site.figure(f"{TITLES[name]}: sold and lost when killed", lost, "sales", told)
            if lost and name != "redis-stock":
                site.results.faults.append(f"{site.part}: {TITLES[name]} lost {lost} sales")


@contextmanager
def _stands(site: Site, replicas: int) -> Iterator[Sequence[Stand]]:
    _servers(site).run_sql(f"SET GLOBAL max_connections = {_CONNECTIONS}")
    with ExitStack() as opened:
        yield [opened.enter_context(_stand(site, name, replicas)) for name in TITLES]


@contextmanager
def _stand(site: Site, name: str, replicas: int) -> Iterator[Stand]:
    if name != REBACK:
        units = dict.fromkeys((HOT, *site.skus), _PLENTY) | {_FEW: _FEW_UNITS}
        with small_stand(name, _servers(site), units, replicas) as stand:
            yield stand
        return
    site.shop.inventory.SetStock(SetStockRequest(sku=_FEW, quantity=_FEW_UNITS, reason="bench"), timeout=PATIENCE_S)
    with ExitStack() as opened:  # hidden ones: the site's own is not used, and can't be killed
        settings = [{"INVENTORY_CPU": cpu_of(number)} for number in range(replicas)]  # as the other ways
        more = [opened.enter_context(site.replica("inventory", each)) for each in settings]
        yield Stand(REBACK, more, site.database_url("inventory"), OF_REBACK, {})


def _servers(site: Site) -> Servers:
    if not isinstance(site.world, Servers):
        raise TypeError("the ways of selling are compared on servers")
    return site.world


def _compare(site: Site, stands: Sequence[Stand], plan: Plan) -> Tally:
    tally = Tally()
    for number in range(site.options.rounds):
        first = number % len(stands)
        for stand in (*stands[first:], *stands[:first]):
            measured = _load(site, stand, plan)
            title = TITLES[stand.name]
            tally.take(title, plan.how, measured)
            tally.note(f"{title}: sent away", 100 * measured.failures.total() / measured.calls)
            site.say(f"  round {number + 1}, {title}: {measured.rate:,.0f} a second")
    return tally


def _load(site: Site, stand: Stand, plan: Plan) -> Measured:
    """Load a stand, see that all it told is written, and let its processor time be that of a sale, refusals and all."""
    before, taken = stand.books().written, stand.processor_seconds()
    plan = replace(plan, addresses=stand.addresses)
    measured = site.load(plan)
    books = stand.books(before + measured.answered)
    measured.cpu["service"] = stand.processor_seconds() - taken
    if measured.answered:
        measured.cpu = {who: seconds * measured.calls / measured.answered for who, seconds in measured.cpu.items()}
    if books.written - before < measured.answered:
        lost = measured.answered - (books.written - before)
        site.results.faults.append(f"{site.part}: {TITLES[stand.name]} told {lost} sales that are not written")
    if _keeps(stand) and not books.balance:
        site.results.faults.append(f"{site.part}: the books of {TITLES[stand.name]} do not balance: {books}")
    return measured


def _keeps(stand: Stand) -> bool:
    """Whether it never oversells with as many processes as it has."""
    return stand.name == REBACK or CHOICES[stand.name].keeps[len(stand.addresses) - 1]


def _fight(site: Site, stands: Sequence[Stand]) -> Mapping[str, int]:
    """Callers fight for the last units; how many each way sold that never were there, by its name."""
    oversold = {}
    for stand in stands:
        title = TITLES[stand.name]
        plan = replace(site.full_speed(Kind.SELL, (_FEW,)), count=_FIGHTING_CALLS, warm_up=0.0)
        measured = _load(site, stand, plan)
        books = stand.books()
        oversold[stand.name] = books.oversold
        site.say(f"  the last {_FEW_UNITS}, {title}: {measured.answered} sold, {books.oversold} of them oversold")
        site.figure(f"{title}: oversold, of {_FEW_UNITS}", books.oversold, "units", measured.calls)
        if measured.answered < _FEW_UNITS:
            site.figure(f"{title}: sold, of {_FEW_UNITS}", measured.answered, "units", measured.calls)
        if not _keeps(stand):
            site.figure(f"{title}: units that its rows lost count of", books.adrift, "units", books.written)
    return oversold


def _tell(site: Site, tally: Tally, targets: Mapping[str, Target]) -> None:
    reback = TITLES[REBACK]
    site.results.loads += [tally.load(site.part, title) for title in TITLES.values()]
    for name, title in TITLES.items():
        if name != REBACK:
            site.figure(f"Reback ÷ {title}", tally.ratio(reback, title), "", target=targets.get(name))
        sent_away = tally.spread(f"{title}: sent away")
        if sent_away.high:
            site.figure(f"{title}: sent away though there is stock", sent_away, "%")


def _plot(site: Site, tally: Tally, name: str, says: str, oversold: Mapping[str, int]) -> None:
    points = []
    for way, title in TITLES.items():
        units = oversold.get(way, 0)
        note = f"{units} oversold when {_FEW_UNITS} were left" if units else ""
        points.append(Point.of(title, tally.spread(title), note, good=way == REBACK or all(CHOICES[way].keeps)))
    series = Series("sales a second", tuple(points))
    site.plot(Plot(name, says, "bars", Axis("way of selling"), Axis("sales a second"), (series,)))
