"""What the orders of one moment will be: their lines out of the request or the cart, at the prices of the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from common.clock import Clock
from order_srv.adapters.cart_repository import CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.domain.order import Order
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_sn import new_order_sn
from order_srv.domain.order_state import State
from order_srv.domain.pricing import MAX_LINES, Goods, NothingSelected, TooManyLines, price, summed


class CreatePricing:
    """Makes orders of requests.

    Args:
        goods: The price book.
        carts: Users' carts.
        clock: The one clock.
        pay_within: How long an order may stay UNPAID.
    """

    def __init__(self, *, goods: GoodsRepository, carts: CartRepository, clock: Clock, pay_within: timedelta) -> None:
        self.pay_within = pay_within
        self._goods = goods
        self._carts = carts
        self._clock = clock

    def price(self, requests: Sequence[OrderRequest]) -> list[Order | Exception]:
        """An order for each request, with one look into the price book; or why there is none.

        Raises:
            DatabaseUnavailable: Neither carts nor prices can be read.
        """
        now = self._clock.now()
        buying_carts = {request.user_id for request in requests if not request.lines}
        carts = self._carts.selected(buying_carts, limit=MAX_LINES + 1)
        wanted = [self._quantities(request, carts) for request in requests]
        goods = self._goods.find({sku for each in wanted if isinstance(each, dict) for sku in each})
        return [self._order(*each, goods, now) for each in zip(requests, wanted, strict=True)]

    def _quantities(
        self, request: OrderRequest, carts: Mapping[int, Sequence[tuple[str, int]]]
    ) -> dict[str, int] | Exception:
        lines = request.lines or carts.get(request.user_id, ())
        if not lines:
            return NothingSelected("no lines were given and nothing in the cart is selected")
        if len(lines) > MAX_LINES:
            return TooManyLines(f"more than {MAX_LINES} items of the cart are selected")
        return summed(lines)

    def _order(
        self, request: OrderRequest, quantities: dict[str, int] | Exception, goods: Mapping[str, Goods], now: datetime
    ) -> Order | Exception:
        if isinstance(quantities, Exception):
            return quantities
        try:
            priced = price(quantities, goods, request.expected_total_cents)
        except Exception as error:  # noqa: BLE001 one bad order of several fails alone
            return error
        return Order(
            order_sn=new_order_sn(now),
            user_id=request.user_id,
            state=State.CREATING,
            lines=priced.lines,
            total_cents=priced.total_cents,
            currency=priced.currency,
            recipient=request.recipient,
            note=request.note,
            create_time=now,
            expire_time=now + self.pay_within,
        )
