"""The order service's database on its own, without a service around it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from common.crash_points import no_crash
from common.database import Database
from order_srv.adapters.cart_repository import CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.adapters.order_repository import Opened, OrderRepository
from order_srv.adapters.payment_repository import PaymentRepository
from order_srv.adapters.sweep_repository import SweepRepository
from order_srv.bootstrap import MIGRATIONS
from order_srv.domain.order import Event, EventKind, Line, Order, Recipient
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import Payment, PaymentNotice
from order_srv.domain.pricing import Goods
from order_srv.use_cases.pay_order import PayOrder
from order_srv.use_cases.queries import Queries
from tests.support.databases import url_of
from tests.support.manual_clock import ManualClock

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
PAY_WITHIN: Final = timedelta(minutes=30)

_numbers = itertools.count(1)


class OrderBook:
    """Everything that reads and writes the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.orders = OrderRepository(database, return_after=timedelta())
        self.payments = PaymentRepository(database, crash_hook=no_crash)
        self.sweep = SweepRepository(database)
        self.goods = GoodsRepository(database)
        self.carts = CartRepository(database)
        self.queries = Queries(database)

    def add(self, user: int = 1, *, created: datetime = NOW) -> Order:
        """An order that is being created."""
        number = next(_numbers)
        order = Order(
            order_sn=f"{number:026}",
            user_id=user,
            state=State.CREATING,
            lines=(Line("tea", "Tea", 100, 2), Line("jam", "Jam", 50, 1)),
            total_cents=250,
            currency="EUR",
            recipient=Recipient("Ada", "1", "here"),
            note="",
            create_time=created,
            expire_time=created + PAY_WITHIN,
        )
        self.orders.add_all([(order, RequestKey(f"r{number}", "hash"))])
        return order

    def unpaid(self, user: int = 1, *, created: datetime = NOW) -> Order:
        order = self.add(user, created=created)
        opened = Opened(order, [Event(EventKind.SOLD, created)], from_cart=True)
        assert self.orders.settle_all({order.order_sn: opened}, created)[order.order_sn].state is State.UNPAID
        return order

    def pay(self, order: Order) -> Payment:
        notice = PaymentNotice(
            payment_id=f"p{next(_numbers)}",
            order_sn=order.order_sn,
            amount_cents=order.total_cents,
            currency=order.currency,
            pay_type="card",
            paid_time=NOW,
        )
        pay_order = PayOrder(orders=self.orders, payments=self.payments, clock=ManualClock(NOW), crash_hook=no_crash)
        return pay_order.pay(notice)[1]

    def cancel(self, order: Order) -> None:
        closed = self.orders.close_all(Cause.CANCEL, {order.order_sn: ""}, NOW)
        assert closed[order.order_sn].state is State.CLOSED

    def refund(self, order: Order) -> None:
        closed = self.orders.close_all(Cause.REFUND, {order.order_sn: ""}, NOW)
        assert closed[order.order_sn].state is State.CLOSED

    def put_goods(self, sku: str) -> None:
        self.goods.put(Goods(sku, sku, "", 100, "EUR", on_sale=True, create_time=NOW, update_time=NOW))

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """The connection that everything done meanwhile by this thread goes over."""
        with self.database.reading():
            yield self.database.engine.connection()

    def statements_of(self, work: Callable[[], object]) -> list[str]:
        """Every statement that the engine runs for `work`, with its values in it."""
        statements: list[str] = []
        with self.connection() as connection:
            connection.set_trace_callback(statements.append)
            try:
                work()
            finally:
                connection.set_trace_callback(None)
        return statements

    def instructions_of(self, work: Callable[[], object]) -> int:
        """How many instructions the engine runs for `work`."""
        count = 0

        def counted() -> int:
            nonlocal count
            count += 1
            return 0

        with self.connection() as connection:
            connection.set_progress_handler(counted, 1)
            try:
                work()
            finally:
                connection.set_progress_handler(None, 0)
        return count

    def plan_of(self, statement: str) -> list[str]:
        """How the engine carries a statement out, step by step."""
        with self.connection() as connection:
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


@contextmanager
def order_book(folder: Path) -> Iterator[OrderBook]:
    """A book in a folder, on the engine that the folder's databases are on."""
    database = Database(url_of(folder, "order"))
    database.migrate(MIGRATIONS)
    try:
        yield OrderBook(database)
    finally:
        database.close()
