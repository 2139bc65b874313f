import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest

from common.deadline import Deadline
from common.rpc.interceptor import current_deadline
from reback.inventory.v1 import inventory_pb2
from tests.component.rpc.conftest import GET_STOCK, Held, Serve, Served
from tests.support.waiting import TIMEOUT_S


class Seen:
    """A handler that notes its call's deadline."""

    def __init__(self) -> None:
        self.remaining = 0.0

    def __call__(self, request: Any, _: Any) -> inventory_pb2.Stock:
        self.remaining = current_deadline().remaining()
        return inventory_pb2.Stock(sku=request.sku)


def test_a_call_without_a_deadline_gets_ten_seconds(serve: Serve) -> None:
    seen = Seen()
    serve(seen).get(timeout=None)
    assert 5 < seen.remaining <= 10


def test_a_call_keeps_its_own_deadline(serve: Serve) -> None:
    seen = Seen()
    serve(seen).get(timeout=100)
    assert 90 < seen.remaining < 105  # a deadline travels rounded up


@pytest.mark.parametrize("asked", [None, 100])
def test_no_call_gets_more_than_its_methods_longest_deadline(serve: Serve, asked: float | None) -> None:
    seen = Seen()
    serve(seen, longest={GET_STOCK: timedelta(seconds=4)}).get(timeout=asked)
    assert 0 < seen.remaining <= 4


def test_a_longest_deadline_above_the_default_lengthens_only_what_was_asked_for(serve: Serve) -> None:
    seen = Seen()
    served = serve(seen, longest={GET_STOCK: timedelta(seconds=60)})
    served.get(timeout=None)
    assert seen.remaining <= 10
    served.get(timeout=100)
    assert 50 < seen.remaining <= 60


def test_outside_of_a_call_there_is_no_deadline() -> None:
    with pytest.raises(LookupError):
        current_deadline()


def test_a_caller_that_hangs_up_cancels_the_deadline(serve: Serve) -> None:
    begun, hung_up = threading.Event(), threading.Event()

    def handler(request: Any, _: Any) -> inventory_pb2.Stock:
        current_deadline().on_cancel(hung_up.set)
        begun.set()
        assert hung_up.wait(TIMEOUT_S)
        return inventory_pb2.Stock()

    served = serve(handler)
    call = served.stub.GetStock.future(inventory_pb2.GetStockRequest(sku="tea"), timeout=TIMEOUT_S)
    assert begun.wait(TIMEOUT_S)
    call.cancel()
    assert hung_up.wait(TIMEOUT_S)


def test_a_caller_whose_time_is_up_cancels_the_deadline(serve: Serve) -> None:
    hung_up = threading.Event()

    def handler(request: Any, _: Any) -> inventory_pb2.Stock:
        current_deadline().on_cancel(hung_up.set)
        assert hung_up.wait(TIMEOUT_S)
        return inventory_pb2.Stock()

    with pytest.raises(grpc.RpcError) as error:
        serve(handler).get(timeout=0.3)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert hung_up.wait(TIMEOUT_S)


def occupied(serve: Serve, held: Held, pool: ThreadPoolExecutor, **options: Any) -> Served:
    """A server whose one thread is busy."""
    served = serve(held, threads=1, **options)
    pool.submit(served.get, "first")
    assert held.begun.acquire(timeout=TIMEOUT_S)
    return served


def until_known_calls(served: Served, count: int) -> None:
    """Wait until the server knows of so many calls; only gRPC's insides tell."""
    end = time.monotonic() + TIMEOUT_S
    while len(served.server._server._state.rpc_states) != count:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_call_that_was_cancelled_while_it_waited_for_a_thread_never_runs(
    serve: Serve, held: Held, pool: ThreadPoolExecutor
) -> None:
    served = occupied(serve, held, pool)
    call = served.stub.GetStock.future(inventory_pb2.GetStockRequest(sku="cancelled"), timeout=TIMEOUT_S)
    until_known_calls(served, 2)
    call.cancel()
    until_known_calls(served, 1)
    held.go_on.set()
    assert served.get("last").sku == "last"
    assert served.inventory.calls == ["first", "last"]


def test_a_call_whose_deadline_passed_while_it_waited_for_a_thread_never_runs(
    serve: Serve, held: Held, pool: ThreadPoolExecutor
) -> None:
    served = occupied(serve, held, pool)
    with pytest.raises(grpc.RpcError) as error:
        served.get("late", timeout=0.2)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    held.go_on.set()
    assert served.get("last").sku == "last"
    assert served.inventory.calls == ["first", "last"]


def test_the_time_a_call_waits_for_a_thread_counts_when_it_has_no_deadline_too(
    serve: Serve, held: Held, pool: ThreadPoolExecutor
) -> None:
    served = occupied(serve, held, pool, longest={GET_STOCK: timedelta(seconds=1)})
    late = pool.submit(served.get, "late", timeout=None)
    arrived = Deadline.after(1.5)
    while not arrived.passed:  # the one wait that has to be as long as what is tested
        time.sleep(arrived.remaining())
    held.go_on.set()
    with pytest.raises(grpc.RpcError) as error:
        late.result(TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert served.inventory.calls == ["first"]


def test_a_flood_is_refused_at_once_and_not_queued_for_ever(serve: Serve, held: Held, pool: ThreadPoolExecutor) -> None:
    served = occupied(serve, held, pool, max_waiting=2)
    calls = [pool.submit(served.get, f"{n}") for n in range(10)]
    end = time.monotonic() + TIMEOUT_S
    while sum(call.done() for call in calls) < 8:
        assert time.monotonic() < end
        time.sleep(0.005)
    held.go_on.set()
    outcomes = [call.exception(TIMEOUT_S) for call in calls]
    codes = [each.code() for each in outcomes if isinstance(each, grpc.RpcError)]
    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 8
    assert len(served.inventory.calls) == 3
