"""The tables hold whatever the contract allows, and are what the code thinks they are."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import peewee
import pytest

from buf.validate import validate_pb2
from order_srv.adapters.models import TABLES
from order_srv.domain.order import EventKind
from order_srv.domain.order_sn import new_order_sn
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Outcome, RefundReason
from reback.order.v1 import order_pb2 as pb
from tests.support.order_book import NOW, OrderBook, order_book

LONGEST_REASON_CODE = 64


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def columns_of(book: OrderBook, table: str) -> dict[str, tuple[str, bool]]:
    """(type, may be NULL) of each column, as the database has it."""
    with book.connection() as connection:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {name: (kind, not (not_null or key)) for _, name, kind, not_null, _, key in rows}


def widths_of(book: OrderBook) -> dict[str, int]:
    """How many characters each text column takes."""
    widths = {}
    for table in TABLES:
        name = table._meta.table_name
        for column, (kind, _) in columns_of(book, name).items():
            if match := re.fullmatch(r"VARCHAR\((\d+)\)", kind):
                widths[f"{name}.{column}"] = int(match[1])
    return widths


def longest(message: Any, field: str) -> int:
    """What the contract allows."""
    rules = message.DESCRIPTOR.fields_by_name[field].GetOptions().Extensions[validate_pb2.field]
    assert rules.string.max_len, f"{message.DESCRIPTOR.name}.{field} has no limit"
    return int(rules.string.max_len)


def longest_of(kind: type[StrEnum]) -> int:
    return max(map(len, kind))


LONGEST_DETAIL = len(f"{CloseCause.TIMEOUT}: ") + longest(pb.CancelOrderRequest, "reason")
HASH = 64

NEEDED = {
    "orders.order_sn": max(longest(pb.GetOrderRequest, "order_sn"), len(new_order_sn(NOW))),
    "orders.request_id": longest(pb.CreateOrderRequest, "request_id"),
    "orders.request_hash": HASH,
    "orders.state": longest_of(State),
    "orders.currency": len("EUR"),
    "orders.recipient_name": longest(pb.Recipient, "name"),
    "orders.recipient_mobile": longest(pb.Recipient, "mobile"),
    "orders.recipient_address": longest(pb.Recipient, "address"),
    "orders.note": longest(pb.CreateOrderRequest, "note"),
    "orders.close_cause": longest_of(CloseCause),
    "orders.close_reason": max(longest(pb.CancelOrderRequest, "reason"), longest(pb.RefundOrderRequest, "reason")),
    "orders.failure_reason": LONGEST_REASON_CODE,
    "order_line.order_sn": longest(pb.GetOrderRequest, "order_sn"),
    "order_line.sku": longest(pb.CreateOrderLine, "sku"),
    "order_line.name": longest(pb.Goods, "name"),
    "order_event.order_sn": longest(pb.GetOrderTimelineRequest, "order_sn"),
    "order_event.kind": longest_of(EventKind),
    "order_event.detail": max(LONGEST_DETAIL, longest(pb.PayOrderRequest, "payment_id")),
    "payment.payment_id": longest(pb.PayOrderRequest, "payment_id"),
    "payment.order_sn": longest(pb.PayOrderRequest, "order_sn"),
    "payment.currency": len("EUR"),
    "payment.pay_type": longest(pb.PayOrderRequest, "pay_type"),
    "payment.outcome": longest_of(Outcome),
    "payment.refund_reason": longest_of(RefundReason),
    "payment.refund_id": longest(pb.MarkRefundedRequest, "refund_id"),
    "goods.sku": longest(pb.Goods, "sku"),
    "goods.name": longest(pb.Goods, "name"),
    "goods.image_url": longest(pb.Goods, "image_url"),
    "goods.currency": len("EUR"),
    "cart_item.sku": longest(pb.PutCartItemRequest, "sku"),
}


def test_pitfall_08_every_column_has_room_for_what_the_contract_allows(book: OrderBook) -> None:
    widths = widths_of(book)
    assert set(widths) == set(NEEDED), "each text column, and what goes into it"
    too_short = {column: (widths[column], needed) for column, needed in NEEDED.items() if widths[column] < needed}
    assert not too_short


def test_pitfall_08_quantities_money_and_times_have_64_bits() -> None:
    wide = ("_cents", "_time", "user_id", "quantity", "return_due")
    for table in TABLES:
        for field in table._meta.sorted_fields:
            if field.column_name.endswith(wide):
                assert isinstance(field, peewee.BigIntegerField), f"{table.__name__}.{field.column_name}"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_migrations_make_the_tables_that_the_code_reads_and_writes(
    book: OrderBook, table: type[peewee.Model]
) -> None:
    meta = table._meta
    in_code = {field.column_name: field for field in meta.sorted_fields}
    in_database = columns_of(book, meta.table_name)

    assert list(in_database) == list(in_code)
    for name, (kind, nullable) in in_database.items():
        field = in_code[name]
        if isinstance(field, peewee.CharField):
            assert kind == f"VARCHAR({field.max_length})", name
        if not field.primary_key:
            assert nullable == field.null, name


def test_every_table_of_records_says_when_a_row_was_made(book: OrderBook) -> None:
    for table in ("orders", "payment", "goods", "cart_item"):
        assert {"add_time", "update_time"} <= set(columns_of(book, table))
    assert "delete_time" in columns_of(book, "goods")


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE orders SET total_cents = -1",
        "UPDATE order_line SET quantity = 0",
        "UPDATE order_line SET price_cents = -1",
        "UPDATE payment SET amount_cents = -1",
        "UPDATE goods SET price_cents = -1",
        "UPDATE cart_item SET quantity = 0",
        "UPDATE orders SET request_id = 'the same'",
        "INSERT INTO payment SELECT * FROM payment",
        "INSERT INTO cart_item SELECT * FROM cart_item",
        "INSERT INTO order_line SELECT * FROM order_line",
    ],
)
def test_the_database_itself_refuses_what_can_not_be(book: OrderBook, broken: str) -> None:
    book.put_goods("tea")
    book.pay(book.unpaid())
    book.unpaid()
    with book.connection() as connection:
        connection.execute("INSERT INTO cart_item VALUES (1, 'tea', 1, 1, 0, 0)")
        connection.commit()
        with pytest.raises(Exception, match="constraint failed"):
            connection.execute(broken)
        connection.rollback()
