"""A call that is cancelled or late leaves the queue: nothing is sold for a caller that is gone."""

import grpc
import pytest

from inventory_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import Door, sell_request
from tests.component.inventory.shop import Hold
from tests.support.rpc_errors import refusal_of
from tests.support.waiting import TIMEOUT_S, wait_until


def no_sale_of(door: Door, order_sn: str) -> bool:
    return refusal_of(door.stub.GetSale, pb.GetSaleRequest(order_sn=order_sn)).reason == "SALE_NOT_FOUND"


def test_a_call_cancelled_in_the_queue_sells_nothing(door: Door, hold: Hold) -> None:
    door.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    first = door.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()
    cancelled = door.stub.Sell.future(sell_request("gone", {"tea": 1}), timeout=TIMEOUT_S)
    wait_until(lambda: len(door.service.writer._queue) == 1, "the second sell is in the queue")

    cancelled.cancel()

    wait_until(lambda: len(door.service.writer._queue) == 0, "the cancelled sell has left the queue")
    hold.let_go()
    assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
    assert no_sale_of(door, "gone")
    assert door.units("tea") == (4, 1)


def test_a_call_whose_deadline_passes_in_the_queue_sells_nothing(door: Door, hold: Hold) -> None:
    door.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    first = door.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()

    with pytest.raises(grpc.RpcError) as error:
        door.stub.Sell(sell_request("late", {"tea": 1}), timeout=0.3)

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: len(door.service.writer._queue) == 0, "the late sell has left the queue")
    hold.let_go()
    assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
    assert no_sale_of(door, "late")
    assert door.units("tea") == (4, 1)


@pytest.mark.parametrize("point", [CrashPoint.BATCH_TAKEN, CrashPoint.LOCK_HELD, CrashPoint.ROWS_HELD])
def test_a_call_whose_deadline_passes_while_its_batch_waits_sells_nothing(
    door: Door, hold: Hold, point: CrashPoint
) -> None:
    door.stock_up(tea=5)
    hold.arm(point)
    late = door.stub.Sell.future(sell_request("late", {"tea": 1}), timeout=0.3)
    hold.wait()

    with pytest.raises(grpc.RpcError):
        late.result(TIMEOUT_S)

    hold.let_go()
    assert door.sell("after", {"tea": 1}).state == pb.SALE_STATE_SOLD
    assert no_sale_of(door, "late")
    assert door.units("tea") == (4, 1)
