"""Both services in one process on a manual clock: real use cases and databases, a broker that does as it is told.

Nothing happens by itself: no network, no timer, no thread but the stock writer's and, for one call at a time, the
sweeper's, which work only while somebody waits for them. So a run is told by its actions alone, and the same actions
give the same run.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from unittest.mock import patch

from common.batching import Call
from common.database import to_micros
from common.deadline import Deadline
from common.errors import Aborted, DomainError, Unavailable
from common.lock.local import LocalLock
from common.messaging.port import Resolution
from inventory_srv.entrypoints.consumers import GROUP, TOPIC, OrderRebackConsumer
from inventory_srv.use_cases.audit import Audit
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from order_srv.adapters import stock_client
from order_srv.adapters.cart_repository import CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.adapters.order_repository import OrderRepository
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.adapters.payment_repository import PaymentRepository
from order_srv.adapters.stock_client import StockClient
from order_srv.adapters.sweep_repository import SweepRepository
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_REBACK, Reback
from order_srv.domain.new_order import NewOrder
from order_srv.domain.order import Order
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import State
from order_srv.entrypoints import consumers, sweeper
from order_srv.entrypoints.check_back import CheckBack
from order_srv.entrypoints.sweeper import Sweeper
from order_srv.use_cases import create_pricing
from order_srv.use_cases.cart import Cart
from order_srv.use_cases.close_order import CloseOrder
from order_srv.use_cases.create_group import CreateGroup
from order_srv.use_cases.create_order import CreateOrder
from order_srv.use_cases.create_pricing import CreatePricing
from order_srv.use_cases.finish_order import FinishOrder
from order_srv.use_cases.pay_order import PayOrder
from tests.component.order_life.books import Books, OrderBook, Reader
from tests.component.order_life.environment import CREATING_GRACE, Ground
from tests.component.order_life.faults import Action, Crash, FaultyDatabase, Poisoned, Weather
from tests.component.order_life.inventory import TIMEOUT_S, Inventory
from tests.component.order_life.model import Model
from tests.support.manual_clock import ManualClock
from tests.support.scripted_broker import Engine, Half, Parcel, ScriptedBroker

PAY_WITHIN: Final = timedelta(minutes=30)
SWEEP_GRACE: Final = timedelta(seconds=30)
RETURN_AFTER: Final = timedelta(seconds=30)

THE_SAME: Final = -1
"""The number of the order that the call is about which waits meanwhile."""

_SHORT_TIMEOUT_S: Final = 0.19  # short of what CreateOrder takes for "near the deadline": no wait for another's create
_ROUNDS: Final = 30  # in which everything must come to rest
_AFTER_MOVES: Final = frozenset(
    {CrashPoint.CREATE_MOVED, CrashPoint.CLOSE_MOVED, CrashPoint.REFUND_MOVED, CrashPoint.CHECK_BACK_MOVED}
)
"""Between what the rows said and what the broker is told."""
_A_LONG_TIME: Final = timedelta(hours=1)  # more than any grace and any pause


class World:
    """Everything there is.

    Args:
        ground: Where the databases are.
        repository, inventory: The usual ones, or some with a rule taken out.
        replaced: Functions with a rule taken out, by the names of those that they stand for.

    Attributes:
        happened: How often what happened.
        callers: Those of the create that came last.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        repository: type[OrderRepository] = OrderRepository,
        inventory: type[Inventory] = Inventory,
        replaced: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._closing = ExitStack()
        self._urls = self._closing.enter_context(ground.fresh())
        self.happened: Counter[str] = Counter()
        self.clock = ManualClock()
        self.weather = Weather()
        self.engine = Engine(self.clock, told=self._told_broker)
        self.model = Model()
        self.callers: list[Deadline] = []
        self._about = ""
        self._changes = itertools.count(1)
        self._be_told_by_its_actions_alone()
        for name, function in replaced.items():
            self._closing.enter_context(patch(name, function))
        self._open_inventory(inventory)
        self._open_order(repository)
        self._reader = self._closing.enter_context(Reader(self._urls))

    def run(self, action: Action) -> None:
        """Let something happen, with what goes wrong during it.

        Raises:
            AssertionError: It was answered by an error that nothing explains.
        """
        with self.weather.during(action.faults):
            try:
                action.run(self)
            except Crash:
                self.happened["crash"] += 1
            except AssertionError:
                self.check()  # the books tell more than an odd answer
                raise
            except Poisoned:
                self.happened["poisoned"] += 1
            except DomainError as error:
                self.answered_error(action, error)
            else:
                self.happened[type(action).__name__] += 1

    def answered_error(self, action: Action, error: DomainError) -> None:
        """A caller was answered by an error.

        Raises:
            AssertionError: Nothing explains it.
        """
        self.happened[f"{type(action).__name__}: {error.reason}"] += 1
        if not action.faults:
            self._must_be_explained(action, error)

    def crash_hook(self, point: str) -> None:
        """Let others act at a point of the order service, then perhaps kill it there."""
        self.happened[f"at {point}"] += 1
        for action in self.weather.meanwhile_at(point):
            self.happened[f"meanwhile at {point}"] += 1
            self.run(action)
            if point in _AFTER_MOVES:
                self.weather.overtake()
        if self.weather.crashes_at(point):
            self.happened[f"crash at {point}"] += 1
            raise Crash(point)

    def books(self) -> Books:
        """What both databases say now."""
        return self._reader.read()

    def order(self, number: int, likely: State) -> OrderBook | None:
        """The order that the number points at: first those in the likely state, oldest first; None: there is none.

        `THE_SAME` is the one that the call is about which waits meanwhile; for a create, the newest.
        """
        return next(iter(self.orders([number], likely)), None)

    def orders(self, numbers: Sequence[int], likely: State) -> list[OrderBook]:
        """Those that the numbers point at, each once."""
        orders = list(self.books().orders.values())
        if not orders:
            self._about = ""
            return []
        the_same = next((order for order in orders if order.order_sn == self._about), orders[-1])
        among = sorted(orders, key=lambda order: order.state is not likely)
        chosen = [the_same if number == THE_SAME else among[number % len(among)] for number in numbers]
        self._about = chosen[0].order_sn
        return list({order.order_sn: order for order in chosen}.values())

    def new_request_id(self) -> str:
        return f"change-{next(self._changes)}"

    def about_to_create(self) -> None:
        self._about = ""
        self.callers.clear()

    def call(self, request: OrderRequest) -> Call[NewOrder, Order]:
        """A caller that waits."""
        deadline = self.deadline(request.user_id, request.request_id)
        return Call(NewOrder(request, deadline), deadline)

    def deadline(self, user_id: int, request_id: str) -> Deadline:
        """A caller's deadline: no time for another's create, which goes on only when this call is over."""
        earlier = self._orders.earlier_order(user_id, request_id)
        soon = earlier is not None and earlier.state is State.CREATING
        self.callers.append(Deadline.after(_SHORT_TIMEOUT_S if soon else TIMEOUT_S))
        return self.callers[-1]

    def extend(self, order_sn: str, time: timedelta) -> None:
        """Give an order more time to be paid, or less, while it is not."""
        later = "UPDATE orders SET expire_time = expire_time + ? WHERE order_sn = ? AND state = 'UNPAID'"
        self._database.write(lambda: self._database.execute(later, (time // timedelta(microseconds=1), order_sn)))

    def come_to_rest(self) -> None:
        """Let everything that is on its way arrive, and time pass, until nothing is left to do.

        The sweeper goes first, so that what is late comes after it looked.
        """
        for _ in range(_ROUNDS):
            self.clock.advance(_A_LONG_TIME)
            self.sweeper.sweep()
            self.let_late_calls_arrive()
            for half in self.engine.open_halves():
                self.engine.ask(half)
            for parcel in self.engine.due(at_once=1):
                self._deliver(parcel)
            if self._at_rest():
                return
        raise AssertionError("no rest after so many rounds: something is asked, delivered or owed for ever")

    def check(self) -> Books:
        """What must be true at any time; the books that were looked at."""
        books = self.books()
        self.model.check(books)
        return books

    def check_at_rest(self) -> None:
        """What must be true when nothing is left to do."""
        self.model.check_at_rest(self.check(), self._audit.page(1000, "").differences)

    def close(self) -> None:
        self._closing.close()

    def _at_rest(self) -> bool:
        busy = self.engine.parcels or self.inventory.late or self.engine.open_halves()
        orders = self.books().orders.values()
        to_be_ended = {State.CREATING, State.UNPAID}
        return not busy and not any(order.return_due or order.state in to_be_ended for order in orders)

    def let_late_calls_arrive(self) -> None:
        while self.inventory.late:
            try:
                self.inventory.carry_out(self.inventory.late.pop())
            except DomainError as refusal:
                self.happened[f"late: {refusal.reason}"] += 1

    def _deliver(self, parcel: Parcel) -> None:
        error = self.engine.deliver(parcel)
        assert error is None, f"nothing goes wrong, and {parcel.message} can't be handled: {error!r}"

    def _told_broker(self, half: Half, resolution: Resolution) -> None:
        self.happened[f"the broker was told {resolution.value}"] += 1
        self.model.told_broker(
            Reback.from_message(half.message),
            resolution,
            self._reader.orders(),
            now=to_micros(self.clock.now()),
            overtaken=self.weather.overtaken,
            could_write=not self.weather.loses_commits,
        )

    def _wake_sweeper(self) -> None:
        self.happened["the sweeper was woken"] += 1

    def _must_be_explained(self, action: Action, error: DomainError) -> None:
        """Nothing went wrong: only a create that died on its way may still keep others out."""
        unexplained = isinstance(error, Unavailable | Aborted) and error.reason != "ORDER_CREATING"
        assert not unexplained, f"nothing went wrong, yet {action} was answered {error.reason}: {error}"

    def _be_told_by_its_actions_alone(self) -> None:
        numbers = itertools.count(1)

        def next_order_sn(now: datetime) -> str:
            order_sn = f"{now:%m%d%H%M%S}-{next(numbers):04}"
            self.weather.is_about(order_sn)
            return order_sn

        class _Time:
            """The second that the stock client remembers a refusal for passes with the clock."""

            monotonic = staticmethod(lambda: self.clock.now().timestamp())

        self._closing.enter_context(patch.object(create_pricing, "new_order_sn", next_order_sn))
        self._closing.enter_context(patch.object(stock_client, "time", _Time))
        self._closing.enter_context(patch.object(sweeper, "_AT_ONCE", 1))

    def _open_inventory(self, kind: type[Inventory]) -> None:
        database = FaultyDatabase(self._urls.inventory, self.weather.stock_commit)
        self._closing.callback(database.close)
        writer = StockWriter(database, LocalLock(), self.clock)
        writer.start()
        self._closing.callback(writer.close)
        self.inventory = kind(writer, Queries(database), self.weather.call)
        self._audit = Audit(database)
        broker = ScriptedBroker(self.engine)
        broker.subscribe(TOPIC, GROUP, OrderRebackConsumer(writer).handle)
        broker.start()

    def _open_order(self, repository: type[OrderRepository]) -> None:
        database = FaultyDatabase(self._urls.order, self.weather.commit, self.crash_hook, self.weather.poisons)
        self._closing.callback(database.close)
        self._database = database
        broker = ScriptedBroker(self.engine, sending=self.weather.send, answer_lost=self.weather.answer_lost)
        self._orders = repository(database, return_after=RETURN_AFTER)
        goods, carts = GoodsRepository(database), CartRepository(database)
        pricing = CreatePricing(goods=goods, carts=carts, clock=self.clock, pay_within=PAY_WITHIN)
        stock = StockClient(self.inventory)  # type: ignore[arg-type]  # what the client calls of a stub
        watched: dict[str, Any] = {"clock": self.clock, "crash_hook": self.crash_hook}
        owed = OwedReturns(self._orders, self._wake_sweeper)
        common: dict[str, Any] = {**watched, "orders": self._orders}
        closing: dict[str, Any] = {**common, "owed_returns": owed, "creating_grace": CREATING_GRACE}
        self.create_group = CreateGroup(**common, pricing=pricing, stock=stock, broker=broker, owed_returns=owed)
        self.create_order = CreateOrder(orders=self._orders, group=self.create_group, waiters=1)
        self.close_order = CloseOrder(**closing, broker=broker)
        self.pay_order = PayOrder(**common, payments=PaymentRepository(database, crash_hook=self.crash_hook))
        self.finish_order = FinishOrder(orders=self._orders, clock=self.clock)
        self.cart = Cart(carts=carts, goods=goods, clock=self.clock)
        sweeps = SweepRepository(database)
        self.sweeper = Sweeper(
            **watched, orders=sweeps, stock=stock, every=SWEEP_GRACE, grace=SWEEP_GRACE, creating_grace=CREATING_GRACE
        )
        broker.answer_check_backs(ORDER_REBACK, CheckBack(**closing).answer)
        consumers.subscribe(broker, self.close_order)
        broker.start()
