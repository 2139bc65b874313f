"""The story: four acts that show what Reback does, each claim checked against what the services say."""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from common.rpc.errors import to_domain_error
from reback.inventory.v1.inventory_pb2 import (
    SALE_STATE_RETURNED,
    SALE_STATE_SOLD,
    BatchGetStocksRequest,
    GetSaleRequest,
    ListMovementsRequest,
    Movement,
)
from reback.order.v1 import order_pb2 as pb
from scripts.lib.shop import CALL_TIMEOUT_S, Shop
from scripts.lib.story_goods import stock_up_for_story

SETTINGS: Final = {"ORDER_PAY_WITHIN": "3", "ORDER_SWEEP_EVERY": "0.25", "ORDER_RETURN_AFTER": "0.25"}
"""Settings of the order service during the story: short times, so that a person can watch."""

USER_ID: Final = 1
_RECIPIENT: Final = pb.Recipient(name="Ada Byron", mobile="+44 20 7946 0000", address="12 St James's Square, London")
_SETTLED_WITHIN: Final = timedelta(seconds=20)
_POLL_S: Final = 0.05
_QUANTITY: Final = 2  # what an act buys


class Progress(Enum):
    """How far an act is."""

    WAITING = "waiting"
    PLAYING = "playing"
    HELD = "held"
    BROKEN = "broken"


@dataclass
class Claim:
    """Something that the story claims, and whether it holds."""

    text: str
    holds: bool


@dataclass
class Act:
    """One scene.

    Attributes:
        title: What happens in it.
        order_sn: The order it is about, once there is one.
        state: What became of that order, for a person.
        claims: What was seen.
        timeline: The steps that the order took, oldest first.
    """

    title: str
    progress: Progress = Progress.WAITING
    order_sn: str = ""
    state: str = ""
    claims: list[Claim] = field(default_factory=list)
    timeline: list[pb.OrderEvent] = field(default_factory=list)


@dataclass
class StockSeen:
    """The stock of one sku when the story began, and now."""

    sku: str
    available_first: int
    sold_first: int
    available: int
    sold: int


class Story:
    """Plays the acts, one after the other.

    Args:
        shop: Where; its order service runs with `SETTINGS`.
        on_change: Called whenever there is something new to show.
    """

    def __init__(self, shop: Shop, on_change: Callable[["Story"], None] = lambda _story: None) -> None:
        self._shop = shop
        self._tell = on_change
        self.stocks: list[StockSeen] = []
        self.acts = [
            Act("An order sells stock and is paid"),
            Act("One is not paid: its stock comes back"),
            Act("One asks for too much"),
            Act("One is sent twice, at the same moment"),
        ]

    @property
    def held(self) -> bool:
        """Whether every act was played and every claim is so."""
        return all(act.progress is Progress.HELD for act in self.acts)

    def play(self) -> None:
        """Play it.

        Raises:
            grpc.RpcError: A service did not answer as it should.
        """
        self.stocks = [
            StockSeen(stock.sku, stock.available, stock.sold, stock.available, stock.sold)
            for stock in stock_up_for_story(self._shop)
        ]
        plays = (self._sold_and_paid, self._not_paid, self._too_much, self._sent_twice)
        for act, stock, play in zip(self.acts, self.stocks, plays, strict=True):
            act.progress = Progress.PLAYING
            self._tell(self)
            play(act, stock)
            act.progress = Progress.HELD if all(claim.holds for claim in act.claims) else Progress.BROKEN
            self._tell(self)

    def _sold_and_paid(self, act: Act, stock: StockSeen) -> None:
        quantity = _QUANTITY
        order = self._create(act, stock, quantity)
        self._claim_sold(act, stock, quantity)
        self._pay(act, order)
        self._look(act)

    def _not_paid(self, act: Act, stock: StockSeen) -> None:
        quantity = _QUANTITY
        order = self._create(act, stock, quantity)
        self._claim_sold(act, stock, quantity)
        order = self._wait_until_closed(act, order)
        late = order.close_time.ToDatetime() - order.expire_time.ToDatetime()
        on_time = order.close_cause == pb.CLOSE_CAUSE_TIMEOUT and late >= timedelta()
        self._claim(act, f"not paid in time, so it is closed ({late / timedelta(milliseconds=1):.0f} ms late)", on_time)
        back = self._eventually(lambda: self._sale_state(act) == SALE_STATE_RETURNED)
        moves = self._movements(act)
        told = f"its {quantity} of {stock.sku} are back: {_left(moves, stock)} available again"
        self._claim(act, told, back and [move.delta for move in moves] == [quantity, -quantity])
        confirmed = self._eventually(lambda: self._has_step(act, pb.ORDER_EVENT_KIND_STOCK_RETURNED))
        self._claim(act, "inventory has confirmed it: the order owes nothing", confirmed)

    def _too_much(self, act: Act, stock: StockSeen) -> None:
        asked = stock.available + 1
        try:
            self._create(act, stock, stock.available, 1)  # two lines of one sku are summed
        except grpc.RpcError as error:
            refusal = to_domain_error(error)
            told = "; ".join(f"{violation.subject}: {violation.description}" for violation in refusal.violations)
            act.state = f"refused: {refusal.reason}"
            expected = f"{stock.sku}: asked {asked}, available {stock.available}"
            self._claim(act, told or refusal.message, refusal.reason == "NO_STOCK" and told == expected)
        else:
            self._claim(act, f"asked for {asked} and got them", holds=False)
        before = stock.available
        self._look(act)
        self._claim(act, f"nothing was taken: {stock.available} still available", stock.available == before)

    def _sent_twice(self, act: Act, stock: StockSeen) -> None:
        quantity = _QUANTITY
        request = self._request(stock, quantity)
        with ThreadPoolExecutor(2) as senders:
            calls = [senders.submit(self._shop.order.CreateOrder, request, timeout=CALL_TIMEOUT_S) for _ in range(2)]
            first, second = (call.result() for call in calls)
        act.order_sn, act.state = first.order_sn, _state(first)
        self._claim(act, "both calls got the same order", first.order_sn == second.order_sn)
        self._claim_sold(act, stock, quantity)
        self._pay(act, first)
        self._look(act)

    def _request(self, stock: StockSeen, *quantities: int) -> pb.CreateOrderRequest:
        return pb.CreateOrderRequest(
            user_id=USER_ID,
            request_id=str(uuid.uuid4()),
            lines=[pb.CreateOrderLine(sku=stock.sku, quantity=quantity) for quantity in quantities],
            recipient=_RECIPIENT,
        )

    def _create(self, act: Act, stock: StockSeen, *quantities: int) -> pb.Order:
        order = self._shop.order.CreateOrder(self._request(stock, *quantities), timeout=CALL_TIMEOUT_S)
        act.order_sn, act.state = order.order_sn, _state(order)
        self._look(act)
        return order

    def _pay(self, act: Act, order: pb.Order) -> None:
        now = Timestamp()
        now.GetCurrentTime()
        paid = self._shop.order.PayOrder(
            pb.PayOrderRequest(
                order_sn=order.order_sn,
                payment_id=str(uuid.uuid4()),
                amount_cents=order.total_cents,
                currency=order.currency,
                pay_type="card",
                paid_time=now,
            ),
            timeout=CALL_TIMEOUT_S,
        )
        act.state = _state(paid.order)
        applied = paid.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED and paid.order.state == pb.ORDER_STATE_PAID
        told = f"paid in full ({order.total_cents} {order.currency} cents), so its stock stays sold"
        self._claim(act, told, applied and self._sale_state(act) == SALE_STATE_SOLD)

    def _wait_until_closed(self, act: Act, order: pb.Order) -> pb.Order:
        """The order as it is once it is closed; as it is after a long while when it never was."""
        request = pb.GetOrderRequest(user_id=order.user_id, order_sn=order.order_sn)
        give_up = order.expire_time.ToDatetime() - order.create_time.ToDatetime() + _SETTLED_WITHIN
        deadline = time.monotonic() + give_up.total_seconds()
        while order.state != pb.ORDER_STATE_CLOSED and time.monotonic() < deadline:
            left = order.expire_time.seconds + order.expire_time.nanos / 1e9 - time.time()
            act.state = f"{_state(order)}, {max(left, 0):.1f} s left"
            self._tell(self)
            time.sleep(_POLL_S)
            order = self._shop.order.GetOrder(request, timeout=CALL_TIMEOUT_S)
        act.state = _state(order)
        self._look(act)
        return order

    def _claim_sold(self, act: Act, stock: StockSeen, quantity: int) -> None:
        self._look(act)
        moves = self._movements(act)
        left = _left(moves, stock)
        told = f"{quantity} of {stock.sku} sold: {left + quantity} available before, {left} now"
        self._claim(act, told, [move.delta for move in moves] == [-quantity])

    def _claim(self, act: Act, text: str, holds: bool) -> None:  # noqa: FBT001 claims read as a sentence
        act.claims.append(Claim(text, holds))
        self._look(act)

    def _look(self, act: Act) -> None:
        """Bring what is shown up to date."""
        if act.order_sn:
            request = pb.GetOrderTimelineRequest(order_sn=act.order_sn)
            act.timeline = list(self._shop.order.GetOrderTimeline(request, timeout=CALL_TIMEOUT_S).events)
        asked = BatchGetStocksRequest(skus=[stock.sku for stock in self.stocks])
        answer = self._shop.inventory.BatchGetStocks(asked, timeout=CALL_TIMEOUT_S)
        for seen, stock in zip(self.stocks, answer.stocks, strict=True):
            seen.available, seen.sold = stock.available, stock.sold
        self._tell(self)

    def _movements(self, act: Act) -> list[Movement]:
        """What the order did to the stock, newest first."""
        request = ListMovementsRequest(order_sn=act.order_sn)
        return list(self._shop.inventory.ListMovements(request, timeout=CALL_TIMEOUT_S).movements)

    def _sale_state(self, act: Act) -> int:
        return self._shop.inventory.GetSale(GetSaleRequest(order_sn=act.order_sn), timeout=CALL_TIMEOUT_S).state

    def _has_step(self, act: Act, kind: pb.OrderEventKind.ValueType) -> bool:
        self._look(act)
        return any(event.kind == kind for event in act.timeline)

    def _eventually(self, holds: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _SETTLED_WITHIN.total_seconds()
        while not holds():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


def _left(movements: Sequence[Movement], stock: StockSeen) -> int:
    """What could be sold after the newest movement."""
    return movements[0].available_after if movements else stock.available


def _state(order: pb.Order) -> str:
    return pb.OrderState.Name(order.state).removeprefix("ORDER_STATE_")
