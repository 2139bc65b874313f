"""The sales of many orders are read; where an answer does not hold them all, the rest is read again."""

from typing import Any, cast

from order_srv.adapters.stock_client import StockClient
from reback.inventory.v1 import inventory_pb2 as pb

RETURNED, SOLD = pb.SALE_STATE_RETURNED, pb.SALE_STATE_SOLD


class Inventory:
    """Answers with two sales at a time."""

    def __init__(self, sales: dict[str, "pb.SaleState.ValueType"]) -> None:
        self._sales = sales
        self.asked: list[list[str]] = []

    def BatchGetSales(self, request: pb.BatchGetSalesRequest, timeout: float) -> Any:  # noqa: N802 as the stub has it
        self.asked.append(list(request.order_sns))
        now, later = request.order_sns[:2], request.order_sns[2:]
        sales = [pb.Sale(order_sn=sn, state=self._sales[sn]) for sn in now if sn in self._sales]
        return pb.BatchGetSalesResponse(sales=sales, unread_order_sns=later)


def test_every_sale_is_read_however_many_answers_it_takes() -> None:
    inventory = Inventory({"o1": RETURNED, "o3": SOLD, "o4": RETURNED, "o5": RETURNED})
    stock = StockClient(cast("Any", inventory))

    assert stock.returned(["o1", "o2", "o3", "o4", "o5"]) == {"o1", "o4", "o5"}
    assert inventory.asked == [["o1", "o2", "o3", "o4", "o5"], ["o3", "o4", "o5"], ["o5"]]


def test_nobody_is_asked_about_nothing() -> None:
    inventory = Inventory({})
    assert StockClient(cast("Any", inventory)).returned([]) == set()
    assert inventory.asked == []
