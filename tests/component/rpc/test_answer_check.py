"""An instance that takes calls and does not answer is left out, until it answers again."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from common.errors import FailedPrecondition, Unavailable
from common.rpc import answer_check
from common.rpc.answer_check import Probe
from common.rpc.channel import open_channel
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.component.rpc.conftest import GET_STOCK, SELL, Registry, Serve, Served
from tests.support.waiting import TIMEOUT_S, wait_until

PROBE = Probe(GET_STOCK, inventory_pb2.GetStockRequest(sku="probe").SerializeToString())
EXPIRES_S = 0.3
LEFT_OUT = "instances left out that do not answer"


class Client:
    """Calls these instances; each call is tried once."""

    def __init__(self, *addresses: str) -> None:
        self.registry = Registry()
        self.registry.change(*addresses)
        self.channel = open_channel(self.registry, "inventory-srv", never_repeated=[GET_STOCK, SELL], probe=PROBE)
        self._stub = inventory_pb2_grpc.InventoryServiceStub(self.channel)

    def get(self, timeout: float = TIMEOUT_S) -> int | str:
        """The process id of the server that answered, or the code of the error."""
        try:
            return self._stub.GetStock(inventory_pb2.GetStockRequest(sku="tea"), timeout=timeout).version
        except grpc.RpcError as error:
            return str(error.code().name)

    def sell(self, timeout: float = TIMEOUT_S) -> str:
        """The answer's order number, or the code of the error."""
        lines = [inventory_pb2.SaleLine(sku="tea", quantity=1)]
        try:
            return self._stub.Sell(inventory_pb2.SellRequest(order_sn="o1", lines=lines), timeout=timeout).order_sn
        except grpc.RpcError as error:
            return str(error.code().name)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Connect = Callable[..., Client]


@pytest.fixture
def connect(closing: ExitStack) -> Connect:
    def start(*addresses: str) -> Client:
        client = Client(*addresses)
        closing.callback(client.channel.close)
        return client

    return start


class Process:
    """A server in a process of its own, which can be stopped in the middle of everything."""

    def __init__(self, closing: ExitStack) -> None:
        program = Path(__file__).with_name("slow_server.py")
        self._process = subprocess.Popen([sys.executable, str(program), "0", "4"], stdout=subprocess.PIPE, text=True)
        closing.callback(self._process.communicate)
        closing.callback(self._process.kill)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().removeprefix("ready on ").strip()

    def hang(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def answering(client: Client, calls: int = 8) -> Counter[int | str]:
    return Counter(client.get(EXPIRES_S) for _ in range(calls))


def two(closing: ExitStack, connect: Connect) -> tuple[Client, Process, Process]:
    """A client of two processes that both answer it."""
    well, hung = Process(closing), Process(closing)
    client = connect(well.address, hung.address)
    wait_until(lambda: set(answering(client)) == {well.pid, hung.pid}, "both answer")
    return client, well, hung


def test_one_of_two_that_hangs_costs_one_call_is_left_out_and_comes_back(closing: ExitStack, connect: Connect) -> None:
    client, well, hung = two(closing, connect)

    hung.hang()
    wait_until(lambda: client.get(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
    wait_until(lambda: set(answering(client)) == {well.pid}, "it is left out", timeout_s=5)
    assert answering(client, 200) == Counter({well.pid: 200})

    hung.go_on()
    wait_until(lambda: set(answering(client)) == {well.pid, hung.pid}, "both answer again")


def test_one_that_hangs_is_left_out_before_any_call_expires(
    closing: ExitStack, connect: Connect, pool: ThreadPoolExecutor
) -> None:
    client, well, hung = two(closing, connect)
    hung.hang()
    stuck: list[Future[int | str]] = []

    def is_left_out() -> bool:
        more = [pool.submit(client.get) for _ in range(2)]
        answered, waiting = wait(more, timeout=0.05)
        stuck.extend(waiting)
        return len(answered) == len(more) and len(stuck) > 0

    wait_until(is_left_out, "it is left out", timeout_s=TIMEOUT_S / 6)
    assert {call.result(TIMEOUT_S) for call in [pool.submit(client.get) for _ in range(20)]} == {well.pid}
    assert not any(call.done() for call in stuck)
    hung.go_on()


def test_the_only_instance_stays_in_use_though_it_hangs(closing: ExitStack, connect: Connect) -> None:
    hung = Process(closing)
    client = connect(hung.address)
    assert client.get() == hung.pid
    hung.hang()
    assert client.get(EXPIRES_S) == "DEADLINE_EXCEEDED"
    hung.go_on()
    assert client.get() == hung.pid


def test_one_that_was_left_out_is_used_when_it_is_the_last_in_the_registry(
    closing: ExitStack, connect: Connect
) -> None:
    client, well, hung = two(closing, connect)
    hung.hang()
    wait_until(lambda: client.get(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
    wait_until(lambda: set(answering(client)) == {well.pid}, "it is left out")
    client.registry.change(hung.address)
    assert client.channel._line.addresses == (hung.address,)  # type: ignore[attr-defined]
    hung.go_on()
    assert client.get() == hung.pid


class Holding:
    """A handler that holds calls back while it is told to."""

    def __init__(self) -> None:
        self.free = Event()
        self.free.set()

    def get_stock(self, request: Any, _: Any) -> inventory_pb2.Stock:
        assert self.free.wait(TIMEOUT_S)
        return inventory_pb2.Stock(sku=request.sku)

    def sell(self, request: Any, _: Any) -> inventory_pb2.Sale:
        assert self.free.wait(TIMEOUT_S)
        return inventory_pb2.Sale(order_sn=request.order_sn)


def sold(*served: Served) -> list[int]:
    """How many sells each has got."""
    return [each.inventory.calls.count("o1") for each in served]


def probed(*served: Served) -> list[int]:
    return [each.inventory.calls.count("probe") for each in served]


def both_sell(client: Client, *served: Served) -> bool:
    """Whether the next calls reach both."""
    before = sold(*served)
    for _ in range(4):
        client.sell(EXPIRES_S)
    return all(now > then for now, then in zip(sold(*served), before, strict=True))


def test_instances_that_are_all_silent_all_stay_in_use(serve: Serve, connect: Connect) -> None:
    holding = Holding()
    served = [serve(holding.get_stock, holding.sell, threads=64) for _ in range(2)]
    client = connect(*(each.server.address for each in served))
    wait_until(lambda: both_sell(client, *served), "both sell")
    holding.free.clear()
    with capture_logs() as logs:
        assert client.sell(EXPIRES_S) == "DEADLINE_EXCEEDED"
        wait_until(lambda: min(probed(*served)) > 0, "both were asked")
        assert both_sell(client, *served)
        holding.free.set()
    assert LEFT_OUT not in [entry["event"] for entry in logs]


def test_while_all_are_silent_the_one_that_was_left_out_does_not_come_back(
    closing: ExitStack, serve: Serve, connect: Connect
) -> None:
    holding = Holding()
    well, hung = serve(holding.get_stock, threads=64), Process(closing)
    client = connect(well.server.address, hung.address)
    wait_until(lambda: set(answering(client)) == {0, hung.pid}, "both answer")
    hung.hang()
    wait_until(lambda: client.get(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
    wait_until(lambda: set(answering(client)) == {0}, "it is left out")
    holding.free.clear()
    asked = probed(well)
    wait_until(lambda: probed(well) > [asked[0] + 2], "a whole round was silent")
    holding.free.set()
    assert client.channel._line.addresses == (well.server.address,)  # type: ignore[attr-defined]


def test_an_instance_that_answers_stays_in_use_though_a_call_expired_there(serve: Serve, connect: Connect) -> None:
    holding = Holding()
    served = [serve(None, holding.sell, threads=64) for _ in range(2)]
    client = connect(*(each.server.address for each in served))
    wait_until(lambda: both_sell(client, *served), "both sell")
    holding.free.clear()
    assert client.sell(EXPIRES_S) == "DEADLINE_EXCEEDED"
    wait_until(lambda: min(probed(*served)) > 0, "both were asked")
    assert both_sell(client, *served)
    holding.free.set()


def test_refusals_and_answers_put_nobody_in_doubt_and_cost_no_call(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_check, "_SLOW_S", TIMEOUT_S)  # no call is slow, however busy the machine

    def refuse(*_: Any) -> inventory_pb2.Sale:
        raise FailedPrecondition("short", reason="NO_STOCK")

    served = [serve(None, refuse), serve(None, refuse)]
    client = connect(*(each.server.address for each in served))
    assert {client.sell() for _ in range(300)} == {"FAILED_PRECONDITION"}
    assert min(sold(*served)) > 0
    served[0].server.drain()
    assert {client.sell() for _ in range(100)} == {"FAILED_PRECONDITION"}
    assert probed(*served) == [0, 0]


def test_an_instance_that_lost_its_database_is_left_out_too(serve: Serve, connect: Connect) -> None:
    holding = Holding()

    def unavailable(*_: Any) -> inventory_pb2.Stock:
        if not holding.free.is_set():
            raise Unavailable("the database is down")
        return inventory_pb2.Stock()

    well, unwell = serve(), serve(unavailable, holding.sell, threads=64)
    client = connect(well.server.address, unwell.server.address)
    wait_until(lambda: both_sell(client, well, unwell), "both sell")
    holding.free.clear()
    wait_until(lambda: client.sell(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
    wait_until(lambda: not both_sell(client, well, unwell), "it is left out", timeout_s=5)
    holding.free.set()
    wait_until(lambda: both_sell(client, well, unwell), "both sell again")


def test_a_closed_channel_asks_nobody_any_more(closing: ExitStack, connect: Connect) -> None:
    client, _, hung = two(closing, connect)
    hung.hang()
    wait_until(lambda: client.get(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
    check = client.channel._check  # type: ignore[attr-defined]
    client.channel.close()
    check._thread.join(TIMEOUT_S)
    assert not check._thread.is_alive()


def test_a_check_that_fails_is_logged_and_goes_on(closing: ExitStack, connect: Connect) -> None:
    client, well, hung = two(closing, connect)
    check, failures = client.channel._check, 2  # type: ignore[attr-defined]
    age = check._age

    def fails_at_first() -> float:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ArithmeticError("unexpected")
        return float(age())

    with capture_logs() as logs:
        check._age = fails_at_first
        hung.hang()
        wait_until(lambda: client.get(EXPIRES_S) == "DEADLINE_EXCEEDED", "a call expires")
        wait_until(lambda: set(answering(client)) == {well.pid}, "it is left out for all that")
    assert [entry["event"] for entry in logs].count("check of instances failed") == 2
