"""What may be true of the books, whatever went wrong: a few lines for each promise.

It knows what was asked and answered, and what the books said before.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from common.messaging.port import Resolution
from order_srv.domain.messages import Reback
from order_srv.domain.order import Order
from order_srv.domain.order_state import Cause, CloseCause, State
from order_srv.domain.payment import Outcome, Payment, RefundReason
from tests.component.order_life.books import Books, OrderBook

LIVE: Final = frozenset({State.UNPAID, State.PAID, State.FINISHED})
DEAD: Final = frozenset({State.CLOSED, State.FAILED})

_LATER: Final[dict[State, frozenset[State]]] = {
    State.CREATING: frozenset(State),
    State.UNPAID: frozenset({State.UNPAID, State.PAID, State.FINISHED, State.CLOSED}),
    State.PAID: frozenset({State.PAID, State.FINISHED, State.CLOSED}),
    State.FINISHED: frozenset({State.FINISHED}),
    State.CLOSED: frozenset({State.CLOSED}),
    State.FAILED: frozenset({State.FAILED}),
}
"""Which states an order can be in that was seen in a state before."""


class Model:
    """What was asked, answered and seen."""

    def __init__(self) -> None:
        self._seen: dict[str, State] = {}
        self._units: dict[str, int] = {}
        self._asked_to_pay: set[tuple[str, str, int]] = set()
        self._took: dict[str, tuple[str, int]] = {}
        self._answered: dict[tuple[int, str], str] = {}
        self._put_in_cart: dict[tuple[int, str], int] = {}
        self._told_wrongly: list[str] = []

    # What was asked and answered

    def units_are(self, sku: str, units: int) -> None:
        """SetStock was answered: so many units are available or sold."""
        self._units[sku] = units

    def units_changed(self, sku: str, delta: int) -> None:
        self._units[sku] += delta

    def put_in_cart(self, user_id: int, sku: str, quantity: int) -> None:
        self._put_in_cart[user_id, sku] = quantity

    def asked_to_pay(self, payment_id: str, order_sn: str, amount_cents: int) -> None:
        self._asked_to_pay.add((payment_id, order_sn, amount_cents))

    def took_payment(self, payment: Payment) -> None:
        """PayOrder was answered: this money is in the books for ever."""
        self._took[payment.payment_id] = (payment.order_sn, payment.amount_cents)

    def answered_create(self, user_id: int, request_id: str, order: Order) -> None:
        """CreateOrder was answered with an order: it never is with another one."""
        first = self._answered.setdefault((user_id, request_id), order.order_sn)
        assert first == order.order_sn, f"{request_id} of user {user_id} made {first}, and now {order.order_sn}"

    def refused_as_repeated(self, user_id: int, request_id: str, books: Books) -> None:
        """CreateOrder was refused, for another content made an order before. One that failed left nothing behind."""
        made = [order for order in books.orders.values() if (order.user_id, order.note) == (user_id, request_id)]
        alive = [order for order in made if order.state is not State.FAILED]
        assert alive, f"{request_id} of user {user_id} is refused as a repeat of what failed: {made}"

    def refused_for_stock(self, lines: Sequence[tuple[str, int]], books: Books) -> None:
        """CreateOrder was refused, for there is too little now; that there was too little once does not count."""
        short = [sku for sku, quantity in lines if books.stocks[sku][0] < quantity]
        assert short, f"{lines} is refused for lack of stock: {books.stocks}"

    def told_broker(
        self,
        reback: Reback,
        resolution: Resolution,
        orders: Mapping[str, OrderBook],
        *,
        now: int,
        overtaken: bool,
        could_write: bool,
    ) -> None:
        """The broker was told this of a half message, when the orders were so.

        Args:
            now: In microseconds since 1970.
            overtaken: Others did something since the rows were read.
            could_write: Whoever told it could write what it wanted to.
        """
        named = [orders.get(each.order_sn) for each in reback.orders]
        read = [order for order in named if order is not None]
        owing = [order for order in read if order.return_due is not None]
        if resolution is Resolution.COMMIT:
            for each, order in zip(reback.orders, named, strict=True):
                state = order.state if order else "not there"
                self._must_be_told(state in DEAD, f"to give the stock of {each.order_sn} back, which is {state}")
        if resolution is Resolution.ROLLBACK and not overtaken:
            for order in owing:
                self._must_be_told(False, f"to forget {order.order_sn}, which is {order.state} and owes its stock")
        open_still = len(read) < len(named) or any(_may_move(reback.cause, order, now) for order in read)
        beside_living = owing and any(order.state in LIVE for order in read)
        if resolution is Resolution.UNKNOWN and beside_living and not (open_still or overtaken) and could_write:
            for order in owing:
                asked_for = (order.return_due or 0) <= now or order.return_tries > 0
                self._must_be_told(asked_for, f"to ask again of {order.order_sn}, whose stock nobody returns now")

    def _must_be_told(self, fine: bool, what: str) -> None:
        """Remember it for `check`: who talks to the broker would take an error for the broker's."""
        if not fine:
            self._told_wrongly.append(f"the broker was told {what}")

    # What must be true after every step

    def check(self, books: Books) -> None:
        """Compare the books with what may be true of them.

        Raises:
            AssertionError: A promise is broken.
        """
        assert not self._told_wrongly, self._told_wrongly[0]
        for order in books.orders.values():
            self._check_order(order, books)
        self._check_requests(books)
        self._check_stock(books)
        self._check_money(books)
        self._check_carts(books)

    def _check_order(self, order: OrderBook, books: Books) -> None:
        before = self._seen.get(order.order_sn, State.CREATING)
        assert order.state in _LATER[before], f"{order.order_sn} was {before} and is {order.state}"
        self._seen[order.order_sn] = order.state
        sale = books.sales.get(order.order_sn)
        if order.state in LIVE:
            assert sale is not None, f"oversold: {order.order_sn} is {order.state} and holds nothing"
            assert not sale.returned, f"oversold: {order.order_sn} is {order.state} and its stock went back"
            assert sale.lines == order.lines, f"{order.order_sn} holds {sale.lines}, not {order.lines}"
        if order.close_cause is CloseCause.TIMEOUT:
            assert order.close_time is not None
            assert order.close_time >= order.expire_time, f"{order.order_sn} was timed out too early"

    def _check_requests(self, books: Books) -> None:
        made: set[tuple[int, str]] = set()
        for order in books.orders.values():
            request = (order.user_id, order.note)
            failed = order.state is State.FAILED
            assert failed == (order.request_id is None), f"{order.order_sn} is {order.state}: {order.request_id=}"
            if not failed:
                assert request not in made, f"two orders for {order.note} of user {order.user_id}"
                made.add(request)
        for (user_id, request_id), order_sn in self._answered.items():
            state = books.orders[order_sn].state
            assert state in LIVE | {State.CLOSED}, f"{request_id} of user {user_id} was told of {order_sn}: {state}"

    def _check_stock(self, books: Books) -> None:
        for sku, (available, sold) in books.stocks.items():
            assert min(available, sold) >= 0, f"{sku}: {available} available, {sold} sold"
            units = self._units[sku]
            assert available + sold == units, f"{sku}: {available} available + {sold} sold, of {units} units"

    def _check_money(self, books: Books) -> None:
        for payment_id, content in self._took.items():
            payment = books.payments.get(payment_id)
            assert payment is not None, f"money dropped: {payment_id} was taken and is not in the books"
            assert (payment.order_sn, payment.amount_cents) == content, f"{payment_id} is not as it was taken"
        applied: dict[str, list[int]] = {}
        for payment in books.payments.values():
            asked = (payment.payment_id, payment.order_sn, payment.amount_cents)
            assert asked in self._asked_to_pay, f"money from nowhere: {payment}"
            assert (payment.outcome is Outcome.APPLIED) == (payment.refund_reason is None), str(payment)
            if payment.outcome is Outcome.APPLIED or payment.refund_reason is RefundReason.ORDER_REFUNDED:
                applied.setdefault(payment.order_sn, []).append(payment.amount_cents)
            if payment.outcome is Outcome.APPLIED:
                state = books.orders[payment.order_sn].state
                assert state in {State.PAID, State.FINISHED}, f"{payment.order_sn} is {state}, and {payment} applied"
        for order in books.orders.values():
            paid = order.state in {State.PAID, State.FINISHED} or order.close_cause is CloseCause.REFUND
            wanted = [order.total_cents] if paid else []
            assert applied.get(order.order_sn, []) == wanted, f"{order.order_sn} is {order.state}: {applied} applied"

    def _check_carts(self, books: Books) -> None:
        for (user_id, sku), quantity in self._put_in_cart.items():
            if (user_id, sku) in books.carts:
                assert books.carts[user_id, sku] == quantity
                continue
            bought = any(
                order.user_id == user_id and order.lines.get(sku) == quantity and order.state in LIVE | {State.CLOSED}
                for order in books.orders.values()
            )
            assert bought, f"{quantity} of {sku} left the cart of user {user_id}, and nobody bought them"

    # What must be true when nothing is left to do

    def check_at_rest(self, books: Books, differences: Sequence[object]) -> None:
        """Nothing leaks: whatever died gave its stock back."""
        assert not differences, f"the audit says: {differences}"
        for order in books.orders.values():
            sale = books.sales.get(order.order_sn)
            if order.state in DEAD:
                assert sale is None or sale.returned, f"leaked: {order.order_sn} is {order.state} and holds its stock"
            if order.state is State.CLOSED:
                assert sale is not None, f"{order.order_sn} was sold, and inventory does not know of it"
        assert not books.sales.keys() - books.orders.keys(), "a sale is nobody's order"


def _may_move(cause: Cause, order: OrderBook, now: int) -> bool:
    """Whether the order may still be moved for a half message of this cause."""
    match order.state:
        case State.CREATING:
            return True
        case State.UNPAID:
            return cause is Cause.CANCEL or (cause is Cause.TIMEOUT and order.expire_time <= now)
        case State.PAID:
            return cause is Cause.REFUND
    return False
