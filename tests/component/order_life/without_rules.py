"""The services with a rule of the order's life taken out: the test of that life must notice."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

import grpc

from common.database import CommitUnknown, Database
from common.errors import NotFound
from order_srv.adapters.order_repository import Failed, Opened, OrderRepository
from order_srv.adapters.sell_results import Refused, SellResult, read_results
from order_srv.domain.order import Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import (
    Cause,
    Decision,
    Move,
    OrderStatus,
    State,
    decide,
    move_for_cause,
)
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.order_life.faults import FaultyDatabase
from tests.component.order_life.inventory import CallFailed, Inventory

T = TypeVar("T")
Rows = Mapping[str, OrderStatus | None]
Statuses = dict[str, OrderStatus]

# What the rows say


class _Faulty(OrderRepository):
    """An `OrderRepository` that knows whether a COMMIT got no answer."""

    def __init__(self, database: Database, **more: Any) -> None:
        super().__init__(database, **more)
        assert isinstance(database, FaultyDatabase)
        self.database = database

    def settle_all(self, endings: Mapping[str, Opened | Failed], now: datetime) -> Statuses:
        before = self.database.unknown
        statuses = super().settle_all(endings, now)
        return statuses if self.database.unknown == before else self.believed(statuses)

    def close_all(self, cause: Cause, reasons: Mapping[str, str], now: datetime) -> Statuses:
        before = self.database.unknown
        statuses = super().close_all(cause, reasons, now)
        return statuses if self.database.unknown == before else self.believed(statuses)

    def believed(self, statuses: Statuses) -> Statuses:
        raise NotImplementedError


class TakesLostForUndone(_Faulty):
    """A move whose COMMIT got no answer did not happen, and so the orders have failed."""

    def believed(self, statuses: Statuses) -> Statuses:
        return {order_sn: replace(status, state=State.FAILED, owes=True) for order_sn, status in statuses.items()}


class TakesOneForAll(_Faulty):
    """Where a COMMIT got no answer, one row is read, and the others are as this one is."""

    def believed(self, statuses: Statuses) -> Statuses:
        return dict.fromkeys(statuses, next(iter(statuses.values()))) if statuses else {}


class TakesZeroRowsForDead(OrderRepository):
    """An order that is not in the state for a move was closed by someone else who was first."""

    def close_all(self, cause: Cause, reasons: Mapping[str, str], now: datetime) -> Statuses:
        before = self.statuses(list(reasons))
        after = super().close_all(cause, reasons, now)
        moved = {order_sn for order_sn, status in before.items() if move_for_cause(cause, status, now)}
        return {order_sn: status if order_sn in moved else _died(status) for order_sn, status in after.items()}


class GoesOnAfterAnUnknownInsert(OrderRepository):
    """Orders that may not be there are sold."""

    def add_all(self, orders: Sequence[tuple[Order, RequestKey]]) -> None:
        with suppress(CommitUnknown):
            super().add_all(orders)


class FreesTheRequestFirst(OrderRepository):
    """The request of an order that is about to fail may be made again at once."""

    def __init__(self, database: Database, **more: Any) -> None:
        super().__init__(database, **more)
        self.database = database

    def settle_all(self, endings: Mapping[str, Opened | Failed], now: datetime) -> Statuses:
        free = "UPDATE orders SET request_id = NULL WHERE order_sn = ?"
        for order_sn, ending in endings.items():
            if isinstance(ending, Failed):
                self.database.write(lambda order_sn=order_sn: self.database.execute(free, (order_sn,)))  # type: ignore[misc]
        return super().settle_all(endings, now)


def _died(status: OrderStatus) -> OrderStatus:
    return replace(status, state=State.CLOSED, owes=True)


# What the broker is told

Decide = Callable[[Cause, Rows, datetime], Decision]


def deciding(rule: Decide) -> dict[str, object]:
    """What is `replaced` in a world in which every half message is resolved so."""
    entrypoints = ("use_cases.create_group", "use_cases.close_order", "entrypoints.check_back")
    return {f"order_srv.{each}.decide": rule for each in entrypoints}


def _seen_as(changed: Callable[[Rows], Rows]) -> Decide:
    return lambda cause, rows, now: decide(cause, changed(rows), now)


def _dead_alone(rows: Rows) -> Rows:
    return {order_sn: row for order_sn, row in rows.items() if row is not None and row.owes} or rows


def _creating_dead(rows: Rows) -> Rows:
    creating = {order_sn: row for order_sn, row in rows.items() if row is not None and row.state is State.CREATING}
    return {**rows, **{order_sn: _died(row) for order_sn, row in creating.items()}}


one_dead_order_is_enough = _seen_as(_dead_alone)
creating_is_dead = _seen_as(_creating_dead)
the_first_order_is_enough = _seen_as(lambda rows: dict(list(rows.items())[:1]))
what_was_not_read_does_not_count = _seen_as(lambda rows: {key: row for key, row in rows.items() if row is not None})


def one_living_order_is_enough(cause: Cause, rows: Rows, now: datetime) -> Decision:
    """A message that can't be delivered is dropped, whatever its dead orders owe."""
    living = {order_sn: row for order_sn, row in rows.items() if row is not None and not row.dead}
    return decide(cause, living or rows, now)


def nothing_is_hurried(cause: Cause, rows: Rows, now: datetime) -> Decision:
    return Decision(decide(cause, rows, now).resolution)


def closes_whatever_the_time(cause: Cause, status: OrderStatus, now: datetime) -> Move | None:
    if cause is Cause.TIMEOUT and status.state is State.UNPAID:
        return Move.CLOSE
    return move_for_cause(cause, status, now)


NEVER_LOOKS_AT_THE_TIME: Final = {"order_srv.adapters.order_repository.move_for_cause": closes_whatever_the_time}


# What inventory says


def left_out_is_refused(order_sns: Sequence[str], answer: pb.BatchSellResponse) -> dict[str, SellResult]:
    answered = {result.order_sn for result in answer.results}
    refused = {order_sn: Refused(NotFound("not in the answer")) for order_sn in order_sns if order_sn not in answered}
    return read_results(order_sns, answer) | refused


def results_are_by_position(order_sns: Sequence[str], answer: pb.BatchSellResponse) -> dict[str, SellResult]:
    results = [read_results([each.order_sn], pb.BatchSellResponse(results=[each])) for each in answer.results]
    by_position = {order_sn: next(iter(each.values())) for order_sn, each in zip(order_sns, results, strict=False)}
    return read_results(order_sns, answer) | by_position


def reading_results(rule: Callable[[Sequence[str], pb.BatchSellResponse], dict[str, SellResult]]) -> dict[str, object]:
    """What is `replaced` in a world in which a BatchSell's answer is read so."""
    return {"order_srv.adapters.stock_client.read_results": rule}


class RepeatsSells(Inventory):
    """The channel repeats a sell that it got no answer to."""

    def Sell(self, request: pb.SellRequest, timeout: float) -> pb.Sale:  # noqa: N802 - named by the proto
        return _repeated(lambda: super(RepeatsSells, self).Sell(request, timeout))

    def BatchSell(self, request: pb.BatchSellRequest, timeout: float) -> pb.BatchSellResponse:  # noqa: N802
        return _repeated(lambda: super(RepeatsSells, self).BatchSell(request, timeout))


def _repeated(call: Callable[[], T]) -> T:
    try:
        return call()
    except CallFailed as error:
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            return call()
        raise


NEVER_OWES: Final = """
    CREATE TRIGGER never_owes AFTER UPDATE OF return_due ON orders WHEN NEW.return_due IS NOT NULL
    BEGIN UPDATE orders SET return_due = NULL WHERE order_sn = NEW.order_sn; END
"""
"""A dead order does not owe its stock, the message alone brings it back."""


class TakesNoSaleForReturned(Inventory):
    """Of an order that never sold there is nothing to come back."""

    def BatchGetSales(  # noqa: N802 - named by the proto
        self, request: pb.BatchGetSalesRequest, timeout: float
    ) -> pb.BatchGetSalesResponse:
        answer = super().BatchGetSales(request, timeout)
        for order_sn in set(request.order_sns) - {sale.order_sn for sale in answer.sales}:
            answer.sales.add(order_sn=order_sn, state=pb.SALE_STATE_RETURNED)
        return answer


class LeavesNoTombstones(Inventory):
    """A reback that comes before its sell leaves nothing behind."""

    def Reback(self, request: pb.RebackRequest, timeout: float) -> pb.Sale:  # noqa: N802 - named by the proto
        if not super().BatchGetSales(pb.BatchGetSalesRequest(order_sns=[request.order_sn]), timeout).sales:
            return pb.Sale(order_sn=request.order_sn, state=pb.SALE_STATE_RETURNED)
        return super().Reback(request, timeout)
