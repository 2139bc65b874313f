"""Strategies of selling side by side: one hot sku, many skus, two processes together, and killed while they sell.

Every round measures all strategies and begins with another one. After each load the sales in the tables are counted.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from reback.inventory.v1.inventory_pb2 import SetStockRequest
from scripts.bench.harness.figures import Axis, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Measured, Plan
from scripts.bench.harness.recorder import Recorder
from scripts.bench.harness.testbed import HOT, Testbed
from scripts.bench.harness.worlds import Servers
from scripts.bench.strategies.choice import CHOICES, REBACK, TITLES
from scripts.bench.strategies.fixture import OF_REBACK, Fixture, small_fixture
from scripts.lib.cpus import cpu_of
from scripts.lib.shop import CALL_TIMEOUT_S

_PLENTY: Final = 1_000_000_000
_FEW: Final = "last-200"
_FEW_UNITS: Final = 200
_FIGHTING_CALLS: Final = 1000
_KILLED_AFTER_S: Final = 1.5
_CONNECTIONS: Final = 2000  # of the database: all strategies are open at once, one connection a thread
_TARGETS: Final[Mapping[str, Target]] = {
    "redis-lock": Target(at_least=12, aim=30),
    "conditional-update": Target(at_least=4, aim=6),
}


def strategies_hot(testbed: Testbed) -> None:
    """Each strategy of selling alone with one hot sku; then callers fight for the last 200 units."""
    with _fixtures(testbed, replicas=1) as fixtures:
        recorder = _compare(testbed, fixtures, testbed.full_speed(Kind.SELL, (HOT,)))
        _report(testbed, recorder, _TARGETS)
        oversold = _fight(testbed, fixtures)
        _plot(testbed, recorder, "ways-hot", "One hot sku: the ways of selling side by side", oversold)


def strategies_many(testbed: Testbed) -> None:
    """Each strategy of selling over many skus."""
    with _fixtures(testbed, replicas=1) as fixtures:
        recorder = _compare(testbed, fixtures, testbed.full_speed(Kind.SELL, testbed.skus))
        _report(testbed, recorder, {})
        _plot(testbed, recorder, "ways-many", f"{len(testbed.skus):,} skus: the ways of selling side by side", {})


def strategies_two(testbed: Testbed) -> None:
    """Two processes of each strategy with one hot sku; then callers fight for the last 200 units."""
    with _fixtures(testbed, replicas=2) as fixtures:
        recorder = _compare(testbed, fixtures, testbed.full_speed(Kind.SELL, (HOT,)))
        _report(testbed, recorder, {})
        oversold = _fight(testbed, fixtures)
        _plot(
            testbed, recorder, "ways-two", "One hot sku, two processes each: the ways of selling side by side", oversold
        )


def strategies_killed(testbed: Testbed) -> None:
    """Each strategy of selling, killed while it sells: which confirmed sales are not in the tables."""
    for name in TITLES:
        with _fixture(testbed, name, 1) as fixture:
            before = fixture.books().written
            plan = replace(
                testbed.full_speed(Kind.SELL, (HOT,)), addresses=fixture.addresses, seconds=_KILLED_AFTER_S, warm_up=0
            )
            running = testbed.start_load(plan)
            time.sleep(_KILLED_AFTER_S)
            fixture.kill()
            confirmed = running.result().answered
            written = fixture.books().written - before
            lost = max(0, confirmed - written)
            if name == REBACK:
                testbed.sold(plan, written - confirmed)  # committed, but no longer confirmed
            testbed.say(f"  {TITLES[name]}: {confirmed:,} sold when it was killed, {lost:,} of them lost")
            testbed.figure(f"{TITLES[name]}: sold and lost when killed", lost, "sales", confirmed)
            if lost and name != "redis-stock":
                testbed.results.faults.append(f"{testbed.part}: {TITLES[name]} lost {lost} sales")


@contextmanager
def _fixtures(testbed: Testbed, replicas: int) -> Iterator[Sequence[Fixture]]:
    _servers(testbed).run_sql(f"SET GLOBAL max_connections = {_CONNECTIONS}")
    with ExitStack() as opened:
        yield [opened.enter_context(_fixture(testbed, name, replicas)) for name in TITLES]


@contextmanager
def _fixture(testbed: Testbed, name: str, replicas: int) -> Iterator[Fixture]:
    if name != REBACK:
        units = dict.fromkeys((HOT, *testbed.skus), _PLENTY) | {_FEW: _FEW_UNITS}
        with small_fixture(name, _servers(testbed), units, replicas) as fixture:
            yield fixture
        return
    testbed.shop.inventory.SetStock(
        SetStockRequest(sku=_FEW, quantity=_FEW_UNITS, reason="bench"), timeout=CALL_TIMEOUT_S
    )
    with ExitStack() as opened:  # hidden ones: the testbed's own is not used, and can't be killed
        settings = [{"INVENTORY_CPU": cpu_of(number)} for number in range(replicas)]  # as the other strategies
        more = [opened.enter_context(testbed.replica("inventory", each)) for each in settings]
        yield Fixture(REBACK, more, testbed.database_url("inventory"), OF_REBACK, {})


def _servers(testbed: Testbed) -> Servers:
    if not isinstance(testbed.world, Servers):
        raise TypeError("strategies are compared on servers")
    return testbed.world


def _compare(testbed: Testbed, fixtures: Sequence[Fixture], plan: Plan) -> Recorder:
    recorder = Recorder()
    for number in range(testbed.options.rounds):
        first = number % len(fixtures)
        for fixture in (*fixtures[first:], *fixtures[:first]):
            measured = _load(testbed, fixture, plan)
            title = TITLES[fixture.name]
            recorder.take(title, plan.how, measured)
            recorder.note(f"{title}: sent away", 100 * measured.failures.total() / measured.calls)
            testbed.say(f"  round {number + 1}, {title}: {measured.rate:,.0f} a second")
    return recorder


def _load(testbed: Testbed, fixture: Fixture, plan: Plan) -> Measured:
    """Load a fixture, check that all it confirmed is written, and count refusals into the processor time of a sale."""
    before, taken = fixture.books().written, fixture.processor_seconds()
    plan = replace(plan, addresses=fixture.addresses)
    measured = testbed.load(plan)
    books = fixture.books(before + measured.answered)
    measured.cpu["service"] = fixture.processor_seconds() - taken
    if measured.answered:
        measured.cpu = {who: seconds * measured.calls / measured.answered for who, seconds in measured.cpu.items()}
    if books.written - before < measured.answered:
        lost = measured.answered - (books.written - before)
        testbed.results.faults.append(
            f"{testbed.part}: {TITLES[fixture.name]} confirmed {lost} sales that are not written"
        )
    if _keeps(fixture) and not books.balance:
        testbed.results.faults.append(f"{testbed.part}: the books of {TITLES[fixture.name]} do not balance: {books}")
    return measured


def _keeps(fixture: Fixture) -> bool:
    """Whether it never oversells with as many processes as it has."""
    return fixture.name == REBACK or CHOICES[fixture.name].keeps[len(fixture.addresses) - 1]


def _fight(testbed: Testbed, fixtures: Sequence[Fixture]) -> Mapping[str, int]:
    """Callers fight for the last units; how many each strategy sold that never were there, by its name."""
    oversold = {}
    for fixture in fixtures:
        title = TITLES[fixture.name]
        plan = replace(testbed.full_speed(Kind.SELL, (_FEW,)), count=_FIGHTING_CALLS, warm_up=0.0)
        measured = _load(testbed, fixture, plan)
        books = fixture.books()
        oversold[fixture.name] = books.oversold
        testbed.say(f"  the last {_FEW_UNITS}, {title}: {measured.answered} sold, {books.oversold} of them oversold")
        testbed.figure(f"{title}: oversold, of {_FEW_UNITS}", books.oversold, "units", measured.calls)
        if measured.answered < _FEW_UNITS:
            testbed.figure(f"{title}: sold, of {_FEW_UNITS}", measured.answered, "units", measured.calls)
        if not _keeps(fixture):
            testbed.figure(f"{title}: units that its rows lost count of", books.adrift, "units", books.written)
    return oversold


def _report(testbed: Testbed, recorder: Recorder, targets: Mapping[str, Target]) -> None:
    reback = TITLES[REBACK]
    testbed.results.loads += [recorder.load(testbed.part, title) for title in TITLES.values()]
    for name, title in TITLES.items():
        if name != REBACK:
            testbed.figure(f"Reback ÷ {title}", recorder.ratio(reback, title), "", target=targets.get(name))
        sent_away = recorder.spread(f"{title}: sent away")
        if sent_away.high:
            testbed.figure(f"{title}: sent away though there is stock", sent_away, "%")


def _plot(testbed: Testbed, recorder: Recorder, name: str, says: str, oversold: Mapping[str, int]) -> None:
    points = []
    for strategy, title in TITLES.items():
        units = oversold.get(strategy, 0)
        note = f"{units} oversold when {_FEW_UNITS} were left" if units else ""
        points.append(
            Point.of(title, recorder.spread(title), note, good=strategy == REBACK or all(CHOICES[strategy].keeps))
        )
    series = Series("sales a second", tuple(points))
    testbed.plot(Plot(name, says, "bars", Axis("way of selling"), Axis("sales a second"), (series,)))
