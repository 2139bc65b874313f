"""Both services in this process on a manual clock, where a test can hold anybody at a point and lose any COMMIT.

The broker is the one in a file, in every world: it follows the clock that it is given.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from common.batching import Call
from common.clock import Clock
from common.messaging.port import (
    Broker,
    BrokerUnavailable,
    Checker,
    Confirm,
    DeadLetter,
    Decide,
    Handler,
    Message,
    Resolution,
)
from order_srv.domain.messages import Reback
from order_srv.domain.new_order import NewOrder
from order_srv.domain.order import Order
from order_srv.domain.order_state import CLOSE_CAUSES, Cause
from order_srv.use_cases.close_order import CloseOrder
from tests.support.books import Books
from tests.support.databases import url_of
from tests.support.holds import Holds
from tests.support.inventory_proxy import InventoryProxy, proxied
from tests.support.lossy_database import LossyDatabase
from tests.support.manual_clock import ManualClock
from tests.support.services import Services, running_inventory, running_order
from tests.support.tables import Standing, standings, unsettled
from tests.support.waiting import wait_until
from tests.support.worlds import SHORT_BROKER, world_of

T = TypeVar("T")

CREATING_GRACE: Final = timedelta(seconds=20)
PAY_WITHIN: Final = timedelta(seconds=600)
SWEEP_GRACE: Final = timedelta(seconds=5)
RETURN_AFTER: Final = timedelta(seconds=0.5)
CHECK_AFTER: Final = timedelta(seconds=2)  # a little more than the broker needs
A_MOMENT: Final = timedelta(seconds=1)
NOBODY_ASKS: Final = SHORT_BROKER.replace("check_after=1", "check_after=86400")

_MOMENTS: Final = 60
_A_WHILE: Final = timedelta(milliseconds=20)


@dataclass
class WatchedBroker(Broker):
    """The embedded broker, with an eye on what it is told about half messages.

    Attributes:
        sent, refused: The half messages that the broker took, or did not, oldest first.
        resolutions: What was said of the half messages that name an order, by order_sn and cause, in that order.
        problems: What should never have been said.
        broken: Which of its methods say BrokerUnavailable.
        takes: Whether a broken method takes the message for all that: only its answer is lost.
        check_back: What the service answers to the check-back of a half message.
    """

    broker: Broker
    folder: Path
    sent: list[Reback] = field(default_factory=list)
    refused: list[Reback] = field(default_factory=list)
    resolutions: dict[tuple[str, Cause], list[Resolution]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    takes: bool = False
    check_back: Checker = lambda _: Resolution.UNKNOWN

    def publish(self, message: Message) -> None:
        self.broker.publish(message)

    def publish_later(self, message: Message, delay: timedelta) -> None:
        if self.takes or "publish_later" not in self.broken:
            self.broker.publish_later(message, delay)
        self._fail_if_broken("publish_later")

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        if self.takes or "publish_later" not in self.broken:
            confirm = self.broker.begin_publish_later(message, delay)
        self._fail_if_broken("begin_publish_later")

        def confirmed() -> None:
            self._fail_if_broken("publish_later")
            confirm()

        return confirmed

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        if "in_transaction" in self.broken and self.takes:
            self.broker.in_transaction(message, lambda: Resolution.UNKNOWN)
        if "in_transaction" in self.broken:
            self.refused.append(Reback.from_message(message))
        self._fail_if_broken("in_transaction")
        self.sent.append(Reback.from_message(message))
        return self.broker.in_transaction(message, lambda: self._noted(message, decide))

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        self.broker.subscribe(topic, group, handler)

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self.check_back = lambda message: self._noted(message, partial(checker, message))
        self.broker.answer_check_backs(topic, self.check_back)

    def start(self) -> None:
        self.broker.start()

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        return self.broker.dead_letters(topic, group, limit)

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        self.broker.replay(topic, group, dead_letter_id)

    def close(self) -> None:
        self.broker.close()

    def said(self, order_sn: str, cause: Cause) -> list[Resolution]:
        """What was said so far of the half messages of a cause that name an order."""
        return list(self.resolutions[order_sn, cause])

    def _fail_if_broken(self, method: str) -> None:
        if method in self.broken:
            raise BrokerUnavailable(f"{method}: the broker is out of reach, or its answer was lost")

    def _noted(self, message: Message, decide: Decide) -> Resolution:
        reback = Reback.from_message(message)
        named = [each.order_sn for each in reback.orders]
        resolution, before = Resolution.UNKNOWN, standings(self.folder, named)  # an exception counts as UNKNOWN
        try:
            resolution = decide()
        finally:
            after = standings(self.folder, named)
            for order_sn in named:
                was, now = before.get(order_sn), after.get(order_sn)
                if resolution is Resolution.COMMIT and not (now and now.dead):
                    self.problems.append(f"{reback}: COMMIT, but {order_sn} is {now}")
                if resolution is Resolution.ROLLBACK and _owed_already(reback.cause, was, now):
                    self.problems.append(f"{reback}: ROLLBACK, but {order_sn} is {now}")
                self.resolutions[order_sn, reback.cause].append(resolution)
        return resolution


def _owed_already(cause: Cause, was: Standing | None, now: Standing | None) -> bool:
    """Whether an order owed its stock when its half message was decided, and was not closed by another just after."""
    if now is None or not (now.dead and now.owes):
        return False
    owed_before = was is not None and was.dead and was.owes
    return owed_before or now.state == "FAILED" or now.close_cause == CLOSE_CAUSES.get(cause)


@dataclass
class Stage:
    """Everything a test acts with; time passes only by `pass_time`, and nobody sweeps but `sweep`."""

    shop: Services
    proxy: InventoryProxy
    clock: ManualClock
    holds: Holds
    database: LossyDatabase
    broker: WatchedBroker
    callers: ThreadPoolExecutor

    @property
    def folder(self) -> Path:
        return self.shop.folder

    def pass_time(self, span: timedelta) -> None:
        self.clock.advance(span)

    def pass_time_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass as long as it takes: for what happens again some time after it failed."""

        def holds() -> bool:
            self.pass_time(_A_WHILE)
            return condition()

        wait_until(holds, what)

    def sweep(self) -> None:
        self.shop.order_service.sweeper.sweep()

    def calling(self, call: Callable[[], T]) -> "Future[T]":
        """Call in the background."""
        return self.callers.submit(call)

    def groups_taken(self) -> list[Sequence[Call[NewOrder, Order]]]:
        """The groups of creates, as they are taken from now on."""
        taken: list[Sequence[Call[NewOrder, Order]]] = []
        waiting = self.shop.order_service.use_cases.create_order.waiting
        execute = waiting._execute

        def noted(calls: Sequence[Call[NewOrder, Order]]) -> None:
            taken.append(calls)
            execute(calls)

        waiting._execute = noted
        return taken

    def another_replica_closes(self) -> CloseOrder:
        """What another replica closes orders with: its groups are its own."""
        ours = self.shop.order_service.use_cases.close_order
        return CloseOrder(
            orders=ours._orders,
            broker=ours._broker,
            clock=ours._clock,
            creating_grace=ours._creating_grace,
            owed_returns=ours._owed_returns,
            crash_hook=ours._crash_hook,
        )

    def newest_order_sn(self, user: int) -> str:
        return str(self.shop.orders_of(user)[0].order_sn)

    def timeout_comes(self) -> None:
        """Let an order's time be over, but not so long that the sweeper closes it."""
        self.pass_time(PAY_WITHIN + A_MOMENT)

    def settle(self) -> Books:
        """Let time pass in moments until all is at rest, and see that everything is as it should be."""
        for _ in range(_MOMENTS):
            self.sweep()
            if not unsettled(self.folder):
                break
            self.pass_time(A_MOMENT)
        assert not unsettled(self.folder)
        books = self.shop.assert_books_balance()
        assert not self.broker.problems
        return books


@contextmanager
def stage(
    folder: Path,
    broker_parameters: str = SHORT_BROKER,
    *,
    clock: ManualClock | None = None,
    broker_clock: Clock | None = None,
    **settings: Any,
) -> Iterator[Stage]:
    """Both services on one manual clock; the order service's broker may have another one."""
    clock, holds = clock or ManualClock(), Holds()
    broker_settings = world_of(folder).broker(broker_parameters)
    database = LossyDatabase(url_of(folder, "order"))
    broker = WatchedBroker(world_of(folder).open_broker(broker_clock or clock, broker_parameters), folder)
    quiet = {
        "pay_within": PAY_WITHIN,
        "creating_grace": CREATING_GRACE,
        "sweep_every": 3600,
        "sweep_grace": SWEEP_GRACE,
        "return_after": RETURN_AFTER,
    }
    with (
        ThreadPoolExecutor(32) as callers,
        running_inventory(folder, broker_settings, clock=clock, crash_hook=holds) as inventory,
        proxied(inventory.address) as proxy,
        running_order(
            folder, proxy.address, quiet | settings, clock=clock, crash_hook=holds, database=database, broker=broker
        ) as order,
    ):
        shop = Services(folder, inventory, order)
        try:
            yield Stage(shop, proxy, clock, holds, database, broker, callers)
        finally:
            database.down = False
            holds.release_all()
            shop.close()
