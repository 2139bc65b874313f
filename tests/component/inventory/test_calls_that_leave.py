"""A call that is cancelled or late leaves the queue: nothing is sold for a caller that is gone."""

from typing import Any

import grpc
import pytest

from common.deadline import Deadline
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Answer, Change
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService, sell_request
from tests.component.inventory.shop import Hold
from tests.support.rpc_errors import refusal_of
from tests.support.waiting import TIMEOUT_S, wait_until


def no_sale_of(running: RunningService, order_sn: str) -> bool:
    return refusal_of(running.stub.GetSale, pb.GetSaleRequest(order_sn=order_sn)).reason == "SALE_NOT_FOUND"


def deadlines_of(running: RunningService, monkeypatch: pytest.MonkeyPatch) -> list[Deadline]:
    """The deadline of every change from now on, as the service reads it."""
    deadlines: list[Deadline] = []
    carry_out: Any = running.service.writer.carry_out

    def remember(change: Change, deadline: Deadline) -> Answer:
        deadlines.append(deadline)
        answer: Answer = carry_out(change, deadline)
        return answer

    monkeypatch.setattr(running.service.writer, "carry_out", remember)
    return deadlines


def test_a_call_cancelled_in_the_queue_sells_nothing(running: RunningService, hold: Hold) -> None:
    running.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    first = running.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()
    cancelled = running.stub.Sell.future(sell_request("gone", {"tea": 1}), timeout=TIMEOUT_S)
    wait_until(lambda: len(running.service.writer._queue) == 1, "the second sell is in the queue")

    cancelled.cancel()

    wait_until(lambda: len(running.service.writer._queue) == 0, "the cancelled sell has left the queue")
    hold.let_go()
    assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
    assert no_sale_of(running, "gone")
    assert running.units("tea") == (4, 1)


def test_a_call_whose_deadline_passes_in_the_queue_sells_nothing(running: RunningService, hold: Hold) -> None:
    running.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    first = running.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()

    with pytest.raises(grpc.RpcError) as error:
        running.stub.Sell(sell_request("late", {"tea": 1}), timeout=0.3)

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: len(running.service.writer._queue) == 0, "the late sell has left the queue")
    hold.let_go()
    assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
    assert no_sale_of(running, "late")
    assert running.units("tea") == (4, 1)


@pytest.mark.parametrize("point", [CrashPoint.BATCH_TAKEN, CrashPoint.LOCK_HELD, CrashPoint.ROWS_HELD])
def test_a_call_whose_deadline_passes_while_its_batch_waits_sells_nothing(
    running: RunningService, hold: Hold, monkeypatch: pytest.MonkeyPatch, point: CrashPoint
) -> None:
    running.stock_up(tea=5)
    deadlines = deadlines_of(running, monkeypatch)
    hold.arm(point)
    late = running.stub.Sell.future(sell_request("late", {"tea": 1}), timeout=0.3)
    hold.wait()

    with pytest.raises(grpc.RpcError):
        late.result(TIMEOUT_S)

    # The service counts its 0.3 s from the call's arrival: a little later than the client.
    wait_until(lambda: deadlines[0].passed, "the deadline has passed in the service too")
    hold.let_go()
    assert running.sell("after", {"tea": 1}).state == pb.SALE_STATE_SOLD
    assert no_sale_of(running, "late")
    assert running.units("tea") == (4, 1)
