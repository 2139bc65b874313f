"""The services with a rule of the order's life taken out: the test of that life must notice."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from common.database import Database
from order_srv.adapters.order_repository import OrderRepository
from order_srv.domain.order_state import Closing, State
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.order_life.faults import FaultyDatabase
from tests.component.order_life.inventory import Inventory


class TakesLostForUndone(OrderRepository):
    """Rule 1 taken out: a move whose COMMIT got no answer did not happen, and so the order is dead."""

    def __init__(self, database: Database, **more: Any) -> None:
        super().__init__(database, **more)
        assert isinstance(database, FaultyDatabase)
        self._faulty = database

    def open(self, *move: Any, **more: Any) -> State | None:
        return self._believed(lambda: super(TakesLostForUndone, self).open(*move, **more))

    def close(self, *move: Any) -> State | None:
        return self._believed(lambda: super(TakesLostForUndone, self).close(*move))

    def refund(self, *move: Any) -> State | None:
        return self._believed(lambda: super(TakesLostForUndone, self).refund(*move))

    def _believed(self, move: Callable[[], State | None]) -> State | None:
        before = self._faulty.unknown
        state = move()
        return state if self._faulty.unknown == before else State.FAILED


class TakesZeroRowsForDead(OrderRepository):
    """Rule 1 taken out: a move that touches no row tells that someone else was first and closed the order."""

    def close(self, order_sn: str, closing: Closing, now: datetime) -> State | None:
        return super().close(order_sn, closing, now) if self._is(order_sn, State.UNPAID) else State.CLOSED

    def refund(self, order_sn: str, closing: Closing, now: datetime) -> State | None:
        return super().refund(order_sn, closing, now) if self._is(order_sn, State.PAID) else State.CLOSED

    def _is(self, order_sn: str, state: State) -> bool:
        order = self.get(order_sn)
        return order is not None and order.state is state


NEVER_OWES: Final = """
    CREATE TRIGGER never_owes AFTER UPDATE OF return_due ON orders WHEN NEW.return_due IS NOT NULL
    BEGIN UPDATE orders SET return_due = NULL WHERE order_sn = NEW.order_sn; END
"""
"""Rule 2 taken out: a dead order does not owe its stock, the message alone brings it back."""


class TakesNoSaleForReturned(Inventory):
    """Rule 2 taken out: of an order that never sold there is nothing to come back."""

    def BatchGetSales(  # noqa: N802 - named by the proto
        self, request: pb.BatchGetSalesRequest, timeout: float
    ) -> pb.BatchGetSalesResponse:
        answer = super().BatchGetSales(request, timeout)
        for order_sn in set(request.order_sns) - {sale.order_sn for sale in answer.sales}:
            answer.sales.add(order_sn=order_sn, state=pb.SALE_STATE_RETURNED)
        return answer
