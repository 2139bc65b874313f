"""A field that breaks its rule, over real gRPC: INVALID_ARGUMENT, naming the field, and nothing happens."""

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService
from tests.support.rpc_errors import refusal_of

LONG = "茶" * 65
LONG_REASON = "返" * 201
LONG_TOKEN = "x" * 1001


def line(sku: str = "tea", quantity: int = 1) -> pb.SaleLine:
    return pb.SaleLine(sku=sku, quantity=quantity)


def one_tea(order_sn: str) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[line()])


def many_lines(order_sn: str, lines: int) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[line(f"s{n}") for n in range(lines)])


def unknown_field(order_sn: str) -> pb.SellRequest:
    """A sell with a megabyte in a field of a later version."""
    sell = one_tea(order_sn)
    sell.MergeFromString(b"\xfa\x01" + b"\x80\x80\x40" + b"x" * 2**20)  # field 31, so many bytes
    return sell


def batch_sell(*sells: pb.SellRequest) -> pb.BatchSellRequest:
    return pb.BatchSellRequest(sells=sells)


CASES: list[tuple[str, Any, str]] = [
    ("SetStock", pb.SetStockRequest(sku="tea", quantity=1, request_id=LONG), "request_id"),
    ("SetStock", pb.SetStockRequest(quantity=1), "sku"),
    ("SetStock", pb.SetStockRequest(sku=LONG, quantity=1), "sku"),
    ("SetStock", pb.SetStockRequest(sku="tea", quantity=-1), "quantity"),
    ("SetStock", pb.SetStockRequest(sku="tea", quantity=2**31), "quantity"),
    ("SetStock", pb.SetStockRequest(sku="tea", quantity=1, reason=LONG_REASON), "reason"),
    ("SetStock", pb.SetStockRequest(sku="tea", quantity=1, expected_version=-1), "expected_version"),
    ("AdjustStock", pb.AdjustStockRequest(sku="tea", delta=1), "request_id"),
    ("AdjustStock", pb.AdjustStockRequest(request_id=LONG, sku="tea", delta=1), "request_id"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", delta=1), "sku"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", sku=LONG, delta=1), "sku"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", sku="tea"), "delta"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", sku="tea", delta=2**31), "delta"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", sku="tea", delta=-(2**31)), "delta"),
    ("AdjustStock", pb.AdjustStockRequest(request_id="r", sku="tea", delta=1, reason=LONG_REASON), "reason"),
    ("GetStock", pb.GetStockRequest(), "sku"),
    ("GetStock", pb.GetStockRequest(sku=LONG), "sku"),
    ("BatchGetStocks", pb.BatchGetStocksRequest(), "skus"),
    ("BatchGetStocks", pb.BatchGetStocksRequest(skus=["tea"] * 1001), "skus"),
    ("BatchGetStocks", pb.BatchGetStocksRequest(skus=["tea", ""]), "skus[1]"),
    ("BatchGetStocks", pb.BatchGetStocksRequest(skus=["tea", LONG]), "skus[1]"),
    ("ListStocks", pb.ListStocksRequest(sku_prefix=LONG), "sku_prefix"),
    ("ListStocks", pb.ListStocksRequest(page_size=-1), "page_size"),
    ("ListStocks", pb.ListStocksRequest(page_size=1001), "page_size"),
    ("ListStocks", pb.ListStocksRequest(page_token=LONG_TOKEN), "page_token"),
    ("ListStocks", pb.ListStocksRequest(page_token="page 2"), "page_token"),
    ("Sell", pb.SellRequest(lines=[line()]), "order_sn"),
    ("Sell", pb.SellRequest(order_sn=LONG, lines=[line()]), "order_sn"),
    ("Sell", pb.SellRequest(order_sn="o1"), "lines"),
    ("Sell", pb.SellRequest(order_sn="o1", lines=[line(f"s{n}") for n in range(101)]), "lines"),
    ("Sell", pb.SellRequest(order_sn="o1", lines=[line(), line("")]), "lines[1].sku"),
    ("Sell", pb.SellRequest(order_sn="o1", lines=[line(), line(LONG)]), "lines[1].sku"),
    ("Sell", pb.SellRequest(order_sn="o1", lines=[line(), line("tea", 2**31)]), "lines[1].quantity"),
    ("BatchSell", batch_sell(), "sells"),
    ("BatchSell", batch_sell(*(one_tea(f"o{n}") for n in range(65))), "sells"),
    ("BatchSell", batch_sell(*(many_lines(f"o{n}", 77) for n in range(13))), "sells"),
    ("BatchSell", batch_sell(one_tea("o1"), unknown_field("o2")), "sells"),
    ("BatchSell", batch_sell(one_tea("o1"), pb.SellRequest(lines=[line()])), "sells[1].order_sn"),
    ("BatchSell", batch_sell(one_tea("o1"), one_tea("o2"), one_tea("o1")), "sells[2].order_sn"),
    ("BatchSell", batch_sell(one_tea("o1"), pb.SellRequest(order_sn="o2")), "sells[1].lines"),
    ("BatchSell", batch_sell(one_tea("o1"), many_lines("o2", 101)), "sells[1].lines"),
    ("BatchSell", batch_sell(one_tea("o1"), pb.SellRequest(order_sn="o2", lines=[line("")])), "sells[1].lines[0].sku"),
    ("Reback", pb.RebackRequest(), "order_sn"),
    ("Reback", pb.RebackRequest(order_sn=LONG), "order_sn"),
    ("Reback", pb.RebackRequest(order_sn="o1", reason=LONG_REASON), "reason"),
    ("GetSale", pb.GetSaleRequest(), "order_sn"),
    ("GetSale", pb.GetSaleRequest(order_sn=LONG), "order_sn"),
    ("BatchGetSales", pb.BatchGetSalesRequest(), "order_sns"),
    ("BatchGetSales", pb.BatchGetSalesRequest(order_sns=["o1"] * 1001), "order_sns"),
    ("BatchGetSales", pb.BatchGetSalesRequest(order_sns=["o1", ""]), "order_sns[1]"),
    ("ListSales", pb.ListSalesRequest(state=9), "state"),  # type: ignore[arg-type]
    ("ListSales", pb.ListSalesRequest(created_before=Timestamp(seconds=2**60)), "created_before"),
    ("ListSales", pb.ListSalesRequest(created_before=Timestamp(nanos=-1)), "created_before"),
    ("ListSales", pb.ListSalesRequest(page_size=-1), "page_size"),
    ("ListSales", pb.ListSalesRequest(page_size=1001), "page_size"),
    ("ListSales", pb.ListSalesRequest(page_token=LONG_TOKEN), "page_token"),
    ("ListSales", pb.ListSalesRequest(page_token="page 2"), "page_token"),
    ("ListMovements", pb.ListMovementsRequest(), "subject"),
    ("ListMovements", pb.ListMovementsRequest(sku=""), "sku"),
    ("ListMovements", pb.ListMovementsRequest(sku=LONG), "sku"),
    ("ListMovements", pb.ListMovementsRequest(order_sn=""), "order_sn"),
    ("ListMovements", pb.ListMovementsRequest(order_sn=LONG), "order_sn"),
    ("ListMovements", pb.ListMovementsRequest(sku="tea", page_size=-1), "page_size"),
    ("ListMovements", pb.ListMovementsRequest(sku="tea", page_size=1001), "page_size"),
    ("ListMovements", pb.ListMovementsRequest(sku="tea", page_token=LONG_TOKEN), "page_token"),
    ("ListMovements", pb.ListMovementsRequest(sku="tea", page_token="page 2"), "page_token"),
    ("AuditStock", pb.AuditStockRequest(page_size=-1), "page_size"),
    ("AuditStock", pb.AuditStockRequest(page_size=1001), "page_size"),
    ("AuditStock", pb.AuditStockRequest(page_token=LONG_TOKEN), "page_token"),
    ("AuditStock", pb.AuditStockRequest(page_token="page 2"), "page_token"),
]


def test_a_field_that_breaks_its_rule_is_named_and_nothing_happens(running: RunningService) -> None:
    for rpc, request, field in CASES:
        refusal = refusal_of(getattr(running.stub, rpc), request)

        answer = (refusal.code, refusal.reason, refusal.domain, refusal.fields)
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "inventory", [field]), (rpc, field)

    assert not running.stub.ListStocks(pb.ListStocksRequest()).stocks
    assert not running.stub.ListSales(pb.ListSalesRequest()).sales


def test_every_rpc_has_its_fields_tried() -> None:
    service = pb.DESCRIPTOR.services_by_name["InventoryService"]
    tried = {(rpc, field.partition("[")[0]) for rpc, _, field in CASES}

    for method in service.methods:
        for field in method.input_type.fields:
            assert (method.name, field.name) in tried, f"{method.name}.{field.name}"


@pytest.mark.parametrize("quantity", [0, -1, -(2**31)])
def test_pitfall_07_a_quantity_below_one_is_refused(running: RunningService, quantity: int) -> None:
    running.stock_up(tea=5)

    refusal = refusal_of(running.stub.Sell, pb.SellRequest(order_sn="o1", lines=[line(), line("tea", quantity)]))

    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["lines[1].quantity"])
    assert running.units("tea") == (5, 0)


def test_every_bad_field_of_a_request_is_named(running: RunningService) -> None:
    refusal = refusal_of(running.stub.Sell, pb.SellRequest(lines=[line("", 0), line(LONG, 1)]))

    assert sorted(refusal.fields or ()) == ["lines[0].quantity", "lines[0].sku", "lines[1].sku", "order_sn"]


@pytest.mark.parametrize(
    ("rpc", "make_request"),
    [
        ("ListStocks", pb.ListStocksRequest),
        ("ListSales", pb.ListSalesRequest),
        ("ListMovements", lambda **page: pb.ListMovementsRequest(sku="s00", **page)),
        ("AuditStock", pb.AuditStockRequest),
    ],
)
def test_pitfall_16_every_list_has_a_limit_an_order_and_pages(
    running: RunningService, rpc: str, make_request: Any
) -> None:
    for n in range(60):
        running.stock_up(**{f"s{n:02}": 1})
        running.reback(f"o{n:02}")
        running.stub.AdjustStock(pb.AdjustStockRequest(request_id=f"r{n}", sku="s00", delta=1))
    call = getattr(running.stub, rpc)

    def size_of(page: Any) -> int:
        if rpc == "AuditStock":
            return int(page.skus_checked)
        return len(getattr(page, rpc.removeprefix("List").lower()))

    assert size_of(call(make_request())) == 50
    assert size_of(call(make_request(page_size=7))) == 7
    assert refusal_of(call, make_request(page_size=1001)).fields == ["page_size"]
    first = call(make_request(page_size=1000))
    assert first.next_page_token == ""
    token = ""
    sizes: list[int] = []
    while token or not sizes:
        page = call(make_request(page_size=25, page_token=token))
        sizes.append(size_of(page))
        token = page.next_page_token
    assert sum(sizes) == size_of(first)
