"""Orders and payments: each method is one transaction.

After a move the row is read by a locking read: zero rows prove nothing, the statement may have been one's own,
committed just before the connection was lost. So a move answers with the state that the row is in, whoever brought it
there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import peewee

from common.batching import GroupCommit
from common.crash_points import CrashHook
from common.database import CommitUnknown, Database, DatabaseUnavailable, from_micros
from common.errors import DomainError
from order_srv.adapters import rows
from order_srv.adapters.models import OrderRow
from order_srv.adapters.order_writer import Add, Close, Open, OrderWriter
from order_srv.adapters.statements import ABANDONED, Statements
from order_srv.crash_points import CrashPoint
from order_srv.domain import refusal_codec
from order_srv.domain.order import Event, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, CloseCause, Closing, Move, State, move_for_check_back
from order_srv.domain.payment import Payment

T = TypeVar("T")

_TRIES: Final = 3  # of what is not known to be written
_STATUS: Final = "SELECT state, expire_time FROM orders WHERE order_sn = ?"


class RequestTaken(Exception):
    """The user's request_id belongs to another order already."""


@dataclass(frozen=True, slots=True)
class EarlierOrder:
    """The order that a request made before; `refusal` is set when it failed for a reason of business."""

    order_sn: str
    content_hash: str
    state: State
    refusal: DomainError | None


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """What a timeout asks of an order: its state, and until when it has to be paid."""

    state: State
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class OwedReturn:
    """A dead order whose stock was not yet seen to be back, and how often inventory was asked for it."""

    order_sn: str
    tries: int


class OrderRepository:
    """Orders and payments.

    Args:
        database: Where they are.
        return_after: How long after an order died the sweeper asks whether its stock is back.
        crash_hook: Called at each crash point.

    Attributes:
        writer: Merges what many threads write at the same moment; here for tests.
    """

    def __init__(self, database: Database, *, return_after: timedelta, crash_hook: CrashHook) -> None:
        self._database = database
        self._statements = Statements(database)
        self._earlier = GroupCommit(self._earlier_together, shared_errors=DatabaseUnavailable)
        self.writer = OrderWriter(database, return_after)
        self._return_after = return_after
        self._crash_hook = crash_hook

    def get(self, order_sn: str) -> Order | None:
        """Read one order as it is now."""
        with self._database.snapshot():
            found = self._database.select(OrderRow.select().where(OrderRow.order_sn == order_sn))
            return rows.load(self._database, found)[0] if found else None

    def standing(self, order_sn: str) -> OrderStatus | None:
        """Where one order stands, read quickly; None: there is none."""
        with self._database.reading():
            found = self._database.execute(_STATUS, (order_sn,)).fetchone()
        return None if found is None else OrderStatus(State(found[0]), from_micros(found[1]))

    # Create

    def earlier_order(self, user_id: int, request_id: str) -> EarlierOrder | None:
        """Look a request up."""
        return self._earlier.submit((user_id, request_id))

    def _earlier_together(self, requests: Sequence[tuple[int, str]]) -> list[EarlierOrder | None]:
        with self._database.reading():
            found = self._statements.earlier(requests)
        earlier = {
            (user_id, request_id): EarlierOrder(
                order_sn, content_hash, State(state), refusal_codec.load(failure) if failure else None
            )
            for user_id, request_id, order_sn, content_hash, state, failure in found
        }
        return [earlier.get(request) for request in requests]

    def add(self, order: Order, request: RequestKey) -> None:
        """Write a new order down as CREATING.

        Raises:
            RequestTaken: Another order has this request_id.
            CommitUnknown: It may or may not be there.
        """
        try:
            written = self.writer.write(Add(order, request))
        except peewee.IntegrityError as error:  # another replica was faster
            raise RequestTaken from error
        if written is None:
            raise RequestTaken

    def open(self, order: Order, steps: Sequence[Event], now: datetime, *, from_cart: bool) -> State | None:
        """Move CREATING to UNPAID, and what was bought from the cart out of it.

        Returns:
            The state that the row is in after it; None: it is not known.
        """
        return self._move_merged(order.order_sn, Open(order, steps, now, from_cart))

    def fail(self, order_sn: str, reason: str, now: datetime, steps: Sequence[Event] = ()) -> State | None:
        """Move CREATING to FAILED after `steps`, owing its stock; the state after it, None when it is not known."""
        return_due = now + self._return_after
        return self._settle(order_sn, lambda: self._statements.fail_order(order_sn, reason, now, return_due, steps))

    def refuse(self, order_sn: str, refusal: DomainError, now: datetime) -> tuple[State | None, bool]:
        """Move CREATING to FAILED, owing nothing: inventory took nothing and never will.

        Returns:
            The state after it, None when it is not known; and whether the order failed by this refusal. Where another
            was first, it owes its stock as any failed order does, and the broker may know that already.
        """

        def read_state() -> tuple[State | None, bool]:
            row = self._statements.order(order_sn)
            return (None, False) if row is None else (State(row.state), row.failure_reason == refusal.reason)

        move = partial(self._statements.refuse_order, order_sn, refusal, now)
        return self._move_then_read(move, read_state) or (None, False)

    # Close

    def close(self, order_sn: str, closing: Closing, now: datetime) -> State | None:
        """Move UNPAID to CLOSED; the state after it, None when it is not known."""
        return self._move_merged(order_sn, Close(order_sn, closing, now))

    def refund(self, order_sn: str, closing: Closing, now: datetime) -> State | None:
        """Move PAID to CLOSED and its payment to REFUND_DUE; the state after it, None when it is not known."""
        return self._settle(
            order_sn, lambda: self._statements.refund_order(order_sn, closing, now, now + self._return_after)
        )

    def answer_check_back(
        self, order_sn: str, cause: Cause, closing: Closing, now: datetime, *, creating_grace: timedelta
    ) -> State | None:
        """Make the move that a check-back asks for, if any, and write down that the broker asked.

        Args:
            order_sn: Which order.
            cause: Of the half message.
            closing: What the half message wants the order closed by.
            now: When.
            creating_grace: How long an order may be CREATING.

        Returns:
            The state that the row is in after it; None: there is no row.

        Raises:
            DatabaseUnavailable: The row can't be read, or the outcome is not known: the broker will ask again.
        """
        do = self._statements
        return_due = now + self._return_after

        def work() -> State | None:
            row = do.order(order_sn)
            if row is None:
                return None
            do.note_check_back(order_sn, cause.value, now)
            past_grace = row.add_time + creating_grace < now
            match move_for_check_back(State(row.state), cause, past_creating_grace=past_grace):
                case Move.FAIL:
                    do.fail_order(order_sn, ABANDONED, now, return_due)
                case Move.CLOSE:
                    do.close_order(order_sn, closing, now, return_due)
                case Move.REFUND:
                    do.refund_order(order_sn, closing, now, return_due)
                case None:
                    pass
            return do.state(order_sn)

        return self._database.write(work)

    # Pay and finish

    def pay(self, payment: Payment) -> Payment:
        """Record a payment once, together with the order's move to PAID when it can be applied.

        Args:
            payment: Its outcome is decided here.

        Returns:
            The payment as it stands now; for a repeat, the one recorded before.

        Raises:
            OrderNotFound, DifferentContent: As they say.
            Unavailable: The order is being created, or the outcome is not known.
        """

        def work() -> Payment:
            recorded = self._statements.record_payment(payment)
            self._crash_hook(CrashPoint.PAY_BEFORE_COMMIT)
            return recorded

        return self._write_once(work, repeat_on=(peewee.IntegrityError,))

    def finish(self, order_sn: str, now: datetime) -> State | None:
        """Move PAID to FINISHED; the state after it, None when it is not known."""
        return self._settle(order_sn, lambda: self._statements.finish_order(order_sn, now))

    def mark_refunded(self, payment_id: str, refund_id: str, now: datetime) -> Payment | None:
        """Move a payment from REFUND_DUE to REFUNDED; the payment as it is after it, None when there is none."""
        return self._write_once(lambda: self._statements.mark_refunded(payment_id, refund_id, now))

    # Sweep

    def close_overdue(self, expired_before: datetime, now: datetime, limit: int) -> list[str]:
        """Close a page of UNPAID orders whose time is long over; they owe their stock at once."""
        overdue = (OrderRow.state == State.UNPAID) & (OrderRow.expire_time < expired_before)
        closing = Closing(CloseCause.TIMEOUT)

        def work() -> list[str]:
            page = self._statements.locked_page(overdue, OrderRow.expire_time, limit)
            return [sn for sn in page if self._statements.close_order(sn, closing, now, now)]

        return self._database.write(work)

    def fail_abandoned(self, created_before: datetime, now: datetime, limit: int) -> list[str]:
        """Fail a page of orders that stayed CREATING past their grace; they owe their stock at once."""
        abandoned = (OrderRow.state == State.CREATING) & (OrderRow.add_time < created_before)

        def work() -> list[str]:
            page = self._statements.locked_page(abandoned, OrderRow.add_time, limit)
            return [sn for sn in page if self._statements.fail_order(sn, ABANDONED, now, now)]

        return self._database.write(work)

    def owed_returns(self, now: datetime, limit: int) -> list[OwedReturn]:
        """A page of dead orders whose stock is due to be checked, longest due first."""
        with self._database.reading():
            due = (
                OrderRow.select(OrderRow.order_sn, OrderRow.return_tries)
                .where(OrderRow.return_due <= now)
                .order_by(OrderRow.return_due)
                .limit(limit)
            )
            return [OwedReturn(row.order_sn, row.return_tries) for row in self._database.select(due)]

    def stock_returned(self, order_sns: Sequence[str], now: datetime) -> None:
        """Clear what these orders owe: inventory said that their sales are RETURNED."""
        if order_sns:
            self._database.write(lambda: self._statements.note_returned(order_sns, now))

    def put_off_return(self, order_sn: str, until: datetime) -> None:
        """Ask inventory about this order again later."""
        self._database.write(lambda: self._statements.put_off_return(order_sn, until))

    def _write_once(self, work: Callable[[], T], *, repeat_on: tuple[type[Exception], ...] = ()) -> T:
        """Do work that finds out by its key whether it was done before; so where that is not known, it starts over."""
        for _ in range(_TRIES - 1):
            try:
                return self._database.write(work, repeat_on=repeat_on)
            except CommitUnknown:
                continue
        return self._database.write(work, repeat_on=repeat_on)

    # After a move

    def _move_merged(self, order_sn: str, wanted: Open | Close) -> State | None:
        try:
            return self.writer.write(wanted)
        except DatabaseUnavailable:
            return self._read_state_again(lambda: self._statements.state(order_sn))

    def _settle(self, order_sn: str, move: Callable[[], object]) -> State | None:
        return self._move_then_read(move, lambda: self._statements.state(order_sn))

    def _move_then_read(self, move: Callable[[], object], read_state: Callable[[], T]) -> T | None:
        """Make a move and tell what a locking read says after it; None: it can't be read."""

        def moved() -> T:
            move()
            return read_state()

        try:
            return self._database.write(moved)
        except DatabaseUnavailable:
            return self._read_state_again(read_state)

    def _read_state_again(self, read_state: Callable[[], T]) -> T | None:
        try:
            return self._database.write(read_state)
        except DatabaseUnavailable:
            return None
