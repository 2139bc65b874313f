"""The sales of many orders are read; where an answer does not hold them all, the rest is read again."""

import pytest

from common.errors import Unavailable
from reback.inventory.v1 import inventory_pb2 as pb
from tests.support.scripted_inventory import ScriptedInventory

RETURNED, SOLD = pb.SALE_STATE_RETURNED, pb.SALE_STATE_SOLD


def test_every_sale_is_read_however_many_answers_it_takes() -> None:
    sales = {"o1": RETURNED, "o3": SOLD, "o4": RETURNED, "o5": RETURNED}

    def two_at_a_time(request: pb.BatchGetSalesRequest) -> pb.BatchGetSalesResponse:
        now, later = request.order_sns[:2], request.order_sns[2:]
        found = [pb.Sale(order_sn=order_sn, state=sales[order_sn]) for order_sn in now if order_sn in sales]
        return pb.BatchGetSalesResponse(sales=found, unread_order_sns=later)

    inventory = ScriptedInventory(BatchGetSales=two_at_a_time)
    assert inventory.client().returned(["o1", "o2", "o3", "o4", "o5"]) == {"o1", "o4", "o5"}
    asked = [list(request.order_sns) for request in inventory.asked("BatchGetSales")]
    assert asked == [["o1", "o2", "o3", "o4", "o5"], ["o3", "o4", "o5"], ["o5"]]


def test_nobody_is_asked_about_nothing() -> None:
    inventory = ScriptedInventory()
    assert inventory.client().returned([]) == set()
    assert inventory.calls == []


def test_an_inventory_that_reads_none_of_them_is_not_asked_for_ever() -> None:
    def read_none(request: pb.BatchGetSalesRequest) -> pb.BatchGetSalesResponse:
        return pb.BatchGetSalesResponse(unread_order_sns=request.order_sns)

    inventory = ScriptedInventory(BatchGetSales=read_none)
    with pytest.raises(Unavailable, match="none of 2"):
        inventory.client().returned(["o1", "o2"])
    assert len(inventory.calls) == 1
