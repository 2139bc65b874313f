"""Creates the orders of one moment as a group: one look-up of prices, one insert, one half message, one sell, one move.

    price ──► insert as CREATING ──► half message { timeout, sell ──► move to UNPAID or FAILED } ──► resolution
      │              │
      └─ refused     └─ the request made an order before: the caller sees to it

An order that is refused or fails leaves the others alone. The row of each order decides what its caller is told.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from common.batching import Call, copy_of
from common.clock import Clock
from common.crash_points import CrashHook
from common.database import CommitUnknown, DatabaseUnavailable
from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, Unavailable
from common.messaging.port import Broker, BrokerUnavailable, Resolution
from order_srv.adapters.order_repository import Failed, Opened, OrderRepository, RequestsTaken
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.adapters.sell_results import OrderToSell, Refused, SellResult, Sold
from order_srv.adapters.stock_client import StockClient
from order_srv.crash_points import CrashPoint
from order_srv.domain.errors import OrderFailed, OutcomeUnknown
from order_srv.domain.messages import NamedOrder, Reback, Timeout
from order_srv.domain.new_order import MOST_LINES, NewOrder
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, OrderStatus, State, decide
from order_srv.use_cases.create_pricing import CreatePricing

_AFTER_SELL_S: Final = 1.0  # of the deadline, reserved for the steps after the sell
_INSERTS: Final = 5  # tries to write a group down, of whose requests some made orders before
_LONGEST_FAILURE: Final = 64  # of a failure_reason
_PASSED_ON: Final = frozenset({"NO_STOCK", "SKU_NOT_FOUND", "OVERLOADED"})

log = structlog.get_logger(__name__)


class NotWritten(Exception):
    """It was refused before anything was written; perhaps it is a repeat, and bought what is missing now."""

    def __init__(self, refusal: DomainError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class HasEarlierOrder(Exception):
    """The request made an order before."""


@dataclass(slots=True)
class _Member:
    """One order of a group, and how far it came."""

    call: Call[NewOrder, Order]
    order: Order
    steps: list[Event] = field(default_factory=list)
    failure: str = ""
    owes: bool = True  # its stock, once it has failed
    refusal: DomainError | None = None

    @property
    def order_sn(self) -> str:
        return self.order.order_sn

    @property
    def row(self) -> tuple[Order, RequestKey]:
        request = self.call.item.request
        return self.order, RequestKey(request.request_id, request.content_hash())

    @property
    def name(self) -> NamedOrder:
        return NamedOrder(self.order_sn, traceparent=self.call.item.traceparent)

    def ending(self) -> Opened | Failed:
        if not self.failure:
            return Opened(self.order, self.steps, self.call.item.from_cart)
        return Failed(self.failure[:_LONGEST_FAILURE], owes=self.owes, steps=self.steps)


class CreateGroup:
    """Creates orders in groups.

    Args:
        orders: Orders.
        pricing: Makes orders of requests.
        stock: Inventory.
        broker: Carries the half message and the timeout.
        clock: The one clock.
        owed_returns: Told of what a group owes beside orders that live.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self,
        *,
        orders: OrderRepository,
        pricing: CreatePricing,
        stock: StockClient,
        broker: Broker,
        clock: Clock,
        owed_returns: OwedReturns,
        crash_hook: CrashHook,
    ) -> None:
        self._orders = orders
        self._pricing = pricing
        self._stock = stock
        self._broker = broker
        self._clock = clock
        self._owed_returns = owed_returns
        self._crash_hook = crash_hook

    def execute(self, calls: Sequence[Call[NewOrder, Order]]) -> None:
        """Create the orders of these calls, and settle each call.

        Raises:
            Unavailable: For every call that is not settled.
        """
        members = self._wanted(self._priced(calls))
        while members:  # carts had more lines than was guessed
            size = _most_together(members)
            some, members = members[:size], members[size:]
            try:
                self._create(some)
            except Exception as error:
                if not members:
                    raise
                for member in some:  # those who are left have a half message of their own
                    member.call.fail(copy_of(error))

    def _create(self, members: list[_Member]) -> None:
        members = self._written(members)
        if not members:
            return
        self._crash_hook(CrashPoint.CREATE_INSERTED)
        now = members[0].order.create_time
        reback = Reback(Cause.CREATE, now, tuple(member.name for member in members))
        try:
            self._broker.in_transaction(reback.to_message(), lambda: self._sold_and_moved(members))
        except BrokerUnavailable:
            self._crash_hook(CrashPoint.CREATE_HALF_NOT_SENT)
            failed = {member.order_sn: Failed("BROKER_UNAVAILABLE", owes=True) for member in members}
            with suppress(DatabaseUnavailable):  # the sweeper fails them later
                self._orders.settle_all(failed, self._clock.now())
            raise
        self._crash_hook(CrashPoint.CREATE_ANSWERED)

    # Before the half message

    def _priced(self, calls: Sequence[Call[NewOrder, Order]]) -> list[_Member]:
        """An order for each call whose goods can be bought as it says."""
        priced = self._pricing.price([call.item.request for call in calls])
        members: list[_Member] = []
        for call, order in zip(calls, priced, strict=True):
            if isinstance(order, Order):
                members.append(_Member(call, order))
            else:
                _refuse(call, order)
        return members

    def _wanted(self, members: Sequence[_Member]) -> list[_Member]:
        """Those that inventory may have enough for, and whose callers still wait."""
        for member in members:
            if member.call.item.deadline.passed:
                member.call.fail(DeadlineExceeded("the deadline passed before anything was written"))
        waiting = [member for member in members if not member.call.settled]
        if not waiting:
            return []
        quantities = {each.order_sn: {line.sku: line.quantity for line in each.order.lines} for each in waiting}
        short = self._stock.known_shortages(quantities, _shortest(waiting))
        for member in waiting:
            if member.order_sn in short:
                _refuse(member.call, short[member.order_sn])
        return [member for member in waiting if not member.call.settled]

    def _written(self, members: list[_Member]) -> list[_Member]:
        """Write them down as CREATING; those that are.

        Raises:
            DatabaseUnavailable: Nobody knows whether they are, so none may go any further.
        """
        for _ in range(_INSERTS):
            if not members:
                return []
            try:
                self._orders.add_all([member.row for member in members])
            except RequestsTaken as error:
                for member in members:
                    if member.call.item.key in error.taken:
                        member.call.fail(HasEarlierOrder())
                members = [member for member in members if not member.call.settled]
            except DatabaseUnavailable:
                raise
            except Exception as error:
                if len(members) == 1:
                    raise
                log.warning("a group could not be written: its orders are written one by one", exc_info=error)
                return [written for member in members for written in self._written_alone(member)]
            else:
                return members
        raise Unavailable("other replicas wrote the same requests again and again", reason="REQUESTS_CONTENDED")

    def _written_alone(self, member: _Member) -> list[_Member]:
        try:
            return self._written([member])
        except Exception as error:  # noqa: BLE001 the others go on
            member.call.fail(error)
            return []

    # Within the half message

    def _sold_and_moved(self, members: Sequence[_Member]) -> Resolution:
        """Set the timeout and sell, move each order to UNPAID or FAILED; the resolution is what the rows say."""
        self._crash_hook(CrashPoint.CREATE_HALF_SENT)
        try:
            self._sell(members)
        except BrokerUnavailable:
            self._crash_hook(CrashPoint.CREATE_TIMEOUT_NOT_SENT)
            for member in members:
                member.failure = member.failure or "TIMEOUT_NOT_SET"
        now = self._clock.now()
        try:
            rows = self._settled(members, now)
        except DatabaseUnavailable as error:
            order_sns = [member.order_sn for member in members]
            log.warning("the outcome of these orders is unknown", order_sns=order_sns, error=str(error))
            rows = {}
        self._crash_hook(CrashPoint.CREATE_MOVED)
        for member in members:
            self._answer(member, rows.get(member.order_sn))
        decision = decide(Cause.CREATE, {member.order_sn: rows.get(member.order_sn) for member in members}, now)
        self._owed_returns.hurry(decision.hurry, now)
        return decision.resolution

    def _sell(self, members: Sequence[_Member]) -> None:
        """Sell each order, and set the timeout of those that are sold.

        Raises:
            BrokerUnavailable: Perhaps there is no timeout.
        """
        expire_time = max(member.order.expire_time for member in members)
        # The timeout travels while inventory sells: should an order fail, it comes to one that is over.
        timeout = Timeout(expire_time, tuple(member.name for member in members)).to_message()
        left = max(expire_time - self._clock.now(), timedelta())
        timeout_is_set = self._broker.begin_publish_later(timeout, left)
        self._crash_hook(CrashPoint.CREATE_TIMEOUT_BEGUN)
        waited_for = [member for member in members if not member.call.item.deadline.passed]
        for member in members:
            # Inventory is not asked for an order whose caller is gone, so it owes nothing.
            member.failure, member.owes = "CALLER_GONE", False
        for member in waited_for:
            member.failure, member.owes = "STOCK_UNCLEAR", True
        results = self._sell_results(waited_for)
        now = self._clock.now()
        sold = [member for member in waited_for if isinstance(results.get(member.order_sn), Sold)]
        for member in waited_for:
            result = results.get(member.order_sn)
            if isinstance(result, Refused):
                member.refusal, member.failure, member.owes = result.error, result.error.reason, False
        for member in sold:
            member.failure = ""
            member.steps.append(Event(EventKind.SOLD, now))
        self._tell_crash_hook(members)
        if sold:
            timeout_is_set()
            self._crash_hook(CrashPoint.CREATE_TIMEOUT_SENT)
        now = self._clock.now()
        for member in sold:
            member.steps.append(Event(EventKind.TIMEOUT_SET, now, expire_time.isoformat()))

    def _sell_results(self, members: Sequence[_Member]) -> Mapping[str, SellResult]:
        """What became of each order's sell; one that is missing is unclear."""
        if not members:
            return {}
        orders = [OrderToSell(member.order_sn, member.order.lines) for member in members]
        try:
            return self._stock.sell_all(orders, _before_sell_ends(members))
        except Exception:  # they are failed and owe their stock: better than to leave them CREATING
            log.exception("sells failed", order_sns=[order.order_sn for order in orders])
            return {}

    def _settled(self, members: Sequence[_Member], now: datetime) -> Mapping[str, OrderStatus]:
        """Move the orders; where each stands after it, without those of which nobody knows.

        Raises:
            DatabaseUnavailable: Nobody knows it of any.
        """
        try:
            return self._orders.settle_all({member.order_sn: member.ending() for member in members}, now)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if len(members) == 1:
                raise
            log.warning("a group could not be moved: its orders are moved one by one", exc_info=error)
        rows: dict[str, OrderStatus] = {}
        for member in members:
            try:
                rows |= self._settled([member], now)
            except CommitUnknown:
                continue
            except DatabaseUnavailable:
                break
            except Exception:
                log.exception("an order could not be moved", order_sn=member.order_sn)
        return rows

    def _tell_crash_hook(self, members: Sequence[_Member]) -> None:
        if any(not member.failure for member in members):
            self._crash_hook(CrashPoint.CREATE_SOLD)
        if any(member.refusal is not None for member in members):
            self._crash_hook(CrashPoint.CREATE_REFUSED)
        if any(member.failure and member.refusal is None for member in members):
            self._crash_hook(CrashPoint.CREATE_UNCLEAR)

    def _answer(self, member: _Member, status: OrderStatus | None) -> None:
        """Tell the caller what the row says."""
        match None if status is None else status.state:
            case State.UNPAID:
                member.call.answer(replace(member.order, state=State.UNPAID))
            case State.FAILED if member.refusal is not None and member.refusal.reason in _PASSED_ON:
                member.call.fail(member.refusal)
            case State.FAILED:
                member.call.fail(OrderFailed(member.order_sn, member.failure or "OVERTAKEN"))
            case State.PAID | State.FINISHED | State.CLOSED:  # someone else was quick
                self._answer_in_full(member)
            case None | State.CREATING:
                member.call.fail(OutcomeUnknown(member.order_sn))

    def _answer_in_full(self, member: _Member) -> None:
        try:
            order = self._orders.get(member.order_sn)
        except DatabaseUnavailable as error:
            member.call.fail(error)
            return
        assert order is not None, "orders are never deleted"
        member.call.answer(order)


def _refuse(call: Call[NewOrder, Order], error: Exception) -> None:
    call.fail(NotWritten(error) if isinstance(error, DomainError) else error)


def _most_together(members: Sequence[_Member]) -> int:
    """How many of them, from the first on, inventory sells to at once."""
    lines = 0
    for place, member in enumerate(members):
        lines += len(member.order.lines)
        if lines > MOST_LINES:
            return place
    return len(members)


def _shortest(members: Sequence[_Member]) -> Deadline:
    return min((member.call.item.deadline for member in members), key=lambda deadline: deadline.at)


def _before_sell_ends(members: Sequence[_Member]) -> Deadline:
    """Until when a sell may take: what is left of the shortest deadline, less what the later steps need."""
    shortest = _shortest(members)
    kept_back = min(_AFTER_SELL_S, max(0.0, shortest.at - time.monotonic()) / 2)
    # One caller that hangs up ends the sell of its own order alone.
    return shortest.earlier_by(kept_back) if len(members) == 1 else Deadline(shortest.at - kept_back)
