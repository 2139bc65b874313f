"""Every answer of every RPC fits into 4 MB, which clients take by default, however large what it tells of has become.

An answer is bounded by how many things it may hold, each as large as its texts may be; or, where that would not do, by
its bytes: then the page ends early, or names what was not read.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

import inventory_srv.bootstrap
from buf.validate import validate_pb2
from common.clock import SystemClock
from common.database import Database, to_micros
from common.paging import PAGE_BYTES
from common.rpc.errors import LARGEST_MAX_BYTES
from inventory_srv.domain import records
from inventory_srv.entrypoints.servicer import InventoryServicer
from inventory_srv.entrypoints.translation import sale_to_proto
from inventory_srv.use_cases import queries as stock_queries
from order_srv.domain.errors import SkuNotFound
from order_srv.domain.order import Line, Order, Recipient
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import MAX_PAYMENTS, Outcome, Payment, RefundReason
from order_srv.domain.pricing import Goods
from order_srv.entrypoints import translation
from order_srv.entrypoints.servicer import OrderServicer, UseCases
from order_srv.use_cases import price_book, queries
from order_srv.use_cases.price_book import PriceBook
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.support.databases import url_of
from tests.support.order_book import OrderBook, order_book

LIMIT: Final = 4 * 1024 * 1024
"""What gRPC's clients take unless they are told otherwise."""

METHODS: Final[list[MethodDescriptor]] = [
    method
    for contract, service in ((stock_pb, "InventoryService"), (pb, "OrderService"))
    for method in contract.DESCRIPTOR.services_by_name[service].methods
]

CONTEXT: Any = None  # of a call: these handlers ask nothing of it
WIDE: Final = "😀"  # no character takes more bytes
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)

CHARACTERS: Final = {
    "address": 500,
    "close_reason": 200,
    "currency": 3,
    "detail": 500,
    "failure_reason": 64,
    "image_url": 2_000,
    "mobile": 32,
    "name": 200,
    "next_page_token": 1_000,
    "note": 500,
    "order_sn": 64,
    "pay_type": 32,
    "payment_id": 64,
    "reason": 200,
    "refund_id": 64,
    "request_id": 64,
    "return_reason": 200,
    "sku": 64,
    "unread_order_sns": 64,
    "unread_skus": 64,
}
"""How long a text may be, by its field."""

MOST: Final = {"Order.lines": 100, "Order.payments": MAX_PAYMENTS, "Sale.lines": 100}
"""How many an answer may hold, by its field; of all others a thousand, the longest page."""

BY_BYTES: Final = {"BatchGetGoods", "BatchGetSales", "ListGoods", "ListOrders", "ListSales"}
"""RPCs whose answers end at `PAGE_BYTES`: a thousand of the largest would not fit."""

BY_COUNT: Final = {
    *("GetStock", "SetStock", "AdjustStock", "BatchGetStocks", "ListStocks", "ListMovements", "AuditStock"),
    *("Sell", "Reback", "GetSale"),
    *("PutGoods", "DeleteGoods", "PutCartItem", "ListCartItems", "DeleteCartItems"),
    *("CreateOrder", "GetOrder", "PayOrder", "CancelOrder", "RefundOrder", "FinishOrder"),
    *("ListPayments", "MarkRefunded", "GetOrderTimeline"),
}
"""RPCs whose answers hold so many things that a thousand of the largest fit."""

BY_REQUEST: Final = {"BatchSell"}
"""RPCs whose answers hold no more results than their requests ask for."""


def largest(message_class: type[Message]) -> Message:
    """A message with the longest texts, the widest numbers and as many parts as it may have."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            count = MOST.get(f"{message.DESCRIPTOR.name}.{field.name}", 1_000)
            getattr(message, field.name).extend([_largest_value(field)] * count)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(_largest_value(field))
        else:
            setattr(message, field.name, _largest_value(field))
    return message


def _largest_value(field: Any) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_MESSAGE:
            return largest(GetMessageClass(field.message_type))
        case FieldDescriptor.TYPE_STRING:
            return WIDE * CHARACTERS[field.name]
        case FieldDescriptor.TYPE_BOOL:
            return True
        case FieldDescriptor.TYPE_ENUM:
            return max(field.enum_type.values_by_number)
        case FieldDescriptor.TYPE_INT32:
            return -1  # ten bytes, as any negative number
        case FieldDescriptor.TYPE_INT64:
            return -1
    raise AssertionError(f"{field.full_name} is of a kind that is not known here")


def test_every_rpc_is_bounded_in_one_of_the_two_ways() -> None:
    assert sorted(method.name for method in METHODS) == sorted([*BY_BYTES, *BY_COUNT, *BY_REQUEST])


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method.name in BY_COUNT], ids=lambda each: each.name
)
def test_an_answer_that_is_bounded_by_count_fits(method: MethodDescriptor) -> None:
    assert largest(GetMessageClass(method.output_type)).ByteSize() < LIMIT


def test_an_answer_with_the_largest_result_for_each_sell_fits() -> None:
    sells = stock_pb.BatchSellRequest.DESCRIPTOR.fields_by_name["sells"].GetOptions()
    most = sells.Extensions[validate_pb2.field].repeated.max_items
    sold = stock_pb.SellResult(order_sn=WIDE * 64)
    sold.sale.MergeFromString(largest(stock_pb.Sale).SerializeToString())
    failed = stock_pb.SellResult(order_sn=WIDE * 64, error=Status(message="x" * LARGEST_MAX_BYTES))

    for result in (sold, failed):
        assert stock_pb.BatchSellResponse(results=[result] * most).ByteSize() < LIMIT


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method.name in BY_BYTES], ids=lambda each: each.name
)
def test_an_answer_that_is_bounded_by_bytes_would_not_fit_else(method: MethodDescriptor) -> None:
    assert largest(GetMessageClass(method.output_type)).ByteSize() > LIMIT


# What ends an answer is never taken for smaller than it is


@pytest.mark.parametrize("text", ["", "x", WIDE])
@pytest.mark.parametrize(("lines", "payments"), [(1, 0), (100, 0), (1, MAX_PAYMENTS), (100, MAX_PAYMENTS)])
def test_no_order_is_larger_than_its_estimate(text: str, lines: int, payments: int) -> None:
    order = an_order(text, lines, payments)
    assert translation.order_to_proto(order).ByteSize() + 5 <= queries.bytes_of(order)


@pytest.mark.parametrize("text", ["", "x", WIDE])
def test_no_goods_are_larger_than_their_estimate(text: str) -> None:
    goods = Goods(text * 64, text * 200, text * 2_000, 10**11, "EUR", on_sale=True, create_time=NOW, update_time=NOW)
    assert translation.goods_to_proto(goods).ByteSize() + 5 <= price_book.bytes_of(goods)


@pytest.mark.parametrize("text", ["", "x", WIDE])
@pytest.mark.parametrize("lines", [0, 1, 100])
def test_no_sale_is_larger_than_its_estimate(text: str, lines: int) -> None:
    of_lines = tuple(records.Line(text * 64, 2**62) for _ in range(lines))
    sale = records.Sale(text * 64, records.SaleState.RETURNED, of_lines, NOW, NOW, text * 200)
    assert sale_to_proto(sale).ByteSize() + 5 <= stock_queries.bytes_of(sale)


def an_order(text: str, lines: int, payments: int) -> Order:
    payment = Payment(
        payment_id=text * 64,
        order_sn=text * 64,
        amount_cents=2**62,
        currency="EUR",
        pay_type=text * 32,
        paid_time=NOW,
        outcome=Outcome.REFUNDED,
        create_time=NOW,
        refund_reason=RefundReason.ORDER_REFUNDED,
        refund_id=text * 64,
        refund_time=NOW,
    )
    return Order(
        order_sn=text * 64,
        user_id=2**62,
        state=State.CLOSED,
        lines=(Line(text * 64, text * 200, 2**40, 2**40),) * lines,
        total_cents=2**53 - 1,
        currency="EUR",
        recipient=Recipient(text * 200, text * 32, text * 500),
        note=text * 500,
        create_time=NOW,
        expire_time=NOW,
        pay_time=NOW,
        close_time=NOW,
        close_cause=CloseCause.REFUND,
        close_reason=text * 200,
        failure_reason=text * 64,
        payments=(payment,) * payments,
        more_payments=True,
    )


# The five, with more than fits


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


@pytest.fixture
def orders(book: OrderBook) -> OrderServicer:
    goods = PriceBook(goods=book.goods, clock=SystemClock())
    rest: Any = dict.fromkeys(("cart", "create_order", "close_order", "pay_order", "finish_order"))
    return OrderServicer(UseCases(goods=goods, queries=book.queries, **rest))


@pytest.fixture
def stock_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(url_of(tmp_path, "inventory"))
    database.migrate(inventory_srv.bootstrap.MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def stocks(stock_database: Database) -> InventoryServicer:
    rest: Any = None
    return InventoryServicer(rest, stock_queries.Queries(stock_database), rest)


def fits(answer: Message) -> None:
    assert answer.ByteSize() < LIMIT


def put_long_goods(book: OrderBook, count: int) -> list[str]:
    columns = "goods (sku, name, image_url, price_cents, currency, on_sale, add_time, update_time)"
    skus = [f"{WIDE * 60}{number:04}" for number in range(count)]
    entries = [(sku, WIDE * 200, WIDE * 2_000, 100, "EUR", 1, 0, 0) for sku in skus]
    book.database.write(lambda: book.database.insert_many(columns, entries))
    return skus


def test_a_thousand_long_goods_are_had_by_asking_again_for_those_unread(book: OrderBook, orders: OrderServicer) -> None:
    skus = put_long_goods(book, 1_000)
    asked, read, answers = skus[::-1], list[str](), 0
    while asked:
        answer = orders.BatchGetGoods(pb.BatchGetGoodsRequest(skus=asked), CONTEXT)
        fits(answer)
        read += [goods.sku for goods in answer.goods]
        assert [*(goods.sku for goods in answer.goods), *answer.unread_skus] == asked
        asked, answers = list(answer.unread_skus), answers + 1
    assert read == skus[::-1]
    assert answers == 1_000 * 9_200 // PAGE_BYTES + 1


def test_goods_that_are_missing_are_named_before_any_are_read(book: OrderBook, orders: OrderServicer) -> None:
    skus = put_long_goods(book, 400)
    with pytest.raises(SkuNotFound, match="nowhere"):
        orders.BatchGetGoods(pb.BatchGetGoodsRequest(skus=[*skus, "nowhere"]), CONTEXT)


def test_pages_of_long_goods_fit(book: OrderBook, orders: OrderServicer) -> None:
    skus = put_long_goods(book, 700)
    listed = [goods.sku for page in pages(orders.ListGoods, pb.ListGoodsRequest) for goods in page.goods]
    assert listed == skus


def test_pages_of_large_orders_fit(book: OrderBook, orders: OrderServicer) -> None:
    pattern = book.unpaid()
    lines = tuple(Line(f"{WIDE * 60}{number:03}", WIDE * 200, 100, 1) for number in range(100))
    made = [replace(pattern, order_sn=f"large{number:03}", lines=lines) for number in range(120)]
    for order in made:
        book.orders.add_all([(order, RequestKey(order.order_sn, "hash"))])
    listed = list(pages(orders.ListOrders, pb.ListOrdersRequest, user_id=pattern.user_id))
    assert min(page.ByteSize() for page in listed[:-1]) > LIMIT / 2, "no smaller than they need be"
    assert [order.order_sn for page in listed for order in page.orders] == sorted(
        [pattern.order_sn, *(order.order_sn for order in made)], reverse=True
    )


def sell_long(database: Database, count: int) -> list[str]:
    order_sns = [f"{WIDE * 60}{number:04}" for number in range(count)]
    sales = [(sn, "SOLD", "", to_micros(NOW), to_micros(NOW)) for sn in order_sns]
    lines = [(sn, f"{WIDE * 60}{number:03}", 1) for sn in order_sns for number in range(100)]

    def work() -> None:
        database.insert_many("sale (order_sn, state, return_reason, add_time, update_time)", sales)
        database.insert_many("sale_line (order_sn, sku, quantity)", lines)

    database.write(work)
    return order_sns


def test_two_hundred_long_sales_are_had_by_asking_again_for_those_unread(
    stock_database: Database, stocks: InventoryServicer
) -> None:
    made = sell_long(stock_database, 200)
    order_sns = [sn for order_sn in made for sn in (order_sn, f"none {order_sn[-4:]}")]
    asked, read, answers = order_sns, list[str](), 0
    while asked:
        answer = stocks.BatchGetSales(stock_pb.BatchGetSalesRequest(order_sns=asked), CONTEXT)
        fits(answer)
        read += [sale.order_sn for sale in answer.sales]
        asked, answers = list(answer.unread_order_sns), answers + 1
    assert read == made
    assert answers == 2


def test_pages_of_long_sales_fit(stock_database: Database, stocks: InventoryServicer) -> None:
    made = sell_long(stock_database, 200)
    listed = [sale.order_sn for page in pages(stocks.ListSales, stock_pb.ListSalesRequest) for sale in page.sales]
    assert sorted(listed) == made


def pages(call: Callable[[Any, Any], Any], request_class: Callable[..., Any], **fields: Any) -> Iterator[Any]:
    """Every page of a list, in pages as long as may be; each fits."""
    token, more = "", True
    while more:
        page = call(request_class(page_size=1_000, page_token=token, **fields), CONTEXT)
        fits(page)
        yield page
        token = page.next_page_token
        more = bool(token)
