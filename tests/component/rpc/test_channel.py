import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import grpc
import pytest

from common.errors import Aborted, DomainError, FailedPrecondition, ResourceExhausted, Unavailable
from common.rpc.channel import NoInstance, open_channel
from common.rpc.errors import to_domain_error
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.component.rpc.conftest import SELL, Held, Registry, Serve
from tests.support.waiting import TIMEOUT_S


class Client:
    def __init__(self, registry: Registry) -> None:
        self.channel = open_channel(registry, "inventory-srv", never_repeated=[SELL])
        self._stub = inventory_pb2_grpc.InventoryServiceStub(self.channel)

    def get(self, sku: str = "tea", timeout: float = TIMEOUT_S) -> inventory_pb2.Stock:
        return self._stub.GetStock(inventory_pb2.GetStockRequest(sku=sku), timeout=timeout)

    def sell(self, timeout: float = TIMEOUT_S) -> inventory_pb2.Sale:
        lines = [inventory_pb2.SaleLine(sku="tea", quantity=1)]
        return self._stub.Sell(inventory_pb2.SellRequest(order_sn="1", lines=lines), timeout=timeout)

    @property
    def stub(self) -> inventory_pb2_grpc.InventoryServiceStub:
        return self._stub


Connect = Callable[..., Client]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def connect(registry: Registry) -> Iterator[Connect]:
    """A client of the instances at some addresses."""
    clients: list[Client] = []

    def start(*addresses: str) -> Client:
        registry.change(*addresses)
        clients.append(Client(registry))
        return clients[-1]

    yield start
    for client in clients:
        client.channel.close()


def refused(call: Callable[[], object]) -> DomainError:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return to_domain_error(error.value)


class Failing:
    """A handler that raises so often before it answers."""

    def __init__(self, error: Exception, times: int = 1_000_000) -> None:
        self._error = error
        self._left = times

    def __call__(self, *_: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise self._error
        return inventory_pb2.Stock(sku="tea")


def test_unavailable_is_repeated_until_it_works(serve: Serve, connect: Connect) -> None:
    served = serve(Failing(Unavailable("not yet"), times=3))
    assert connect(served.server.address).get().sku == "tea"
    assert len(served.inventory.calls) == 4


def test_a_repeat_that_never_works_ends_with_the_servers_own_words(serve: Serve, connect: Connect) -> None:
    served = serve(Failing(Unavailable("not yet", reason="DATABASE_UNAVAILABLE")))
    error = refused(connect(served.server.address).get)
    assert (type(error), error.reason) == (Unavailable, "DATABASE_UNAVAILABLE")
    assert len(served.inventory.calls) == 5


def test_repeats_end_with_the_deadline(serve: Serve, connect: Connect) -> None:
    served = serve(Failing(Unavailable("not yet")))
    begun = time.monotonic()
    refused(lambda: connect(served.server.address).get(timeout=0.3))
    assert time.monotonic() - begun < TIMEOUT_S / 3
    assert len(served.inventory.calls) < 5


@pytest.mark.parametrize("kind", [Aborted, FailedPrecondition, ResourceExhausted, RuntimeError])
def test_nothing_but_unavailable_is_repeated(serve: Serve, connect: Connect, kind: type[Exception]) -> None:
    served = serve(Failing(kind("no")))
    refused(connect(served.server.address).get)
    assert len(served.inventory.calls) == 1


def cancelled_by_the_server(_: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.CANCELLED, "stopping")


def test_what_a_stopping_server_cancels_is_repeated_too_unless_it_must_not(serve: Serve, connect: Connect) -> None:
    served = serve(cancelled_by_the_server, cancelled_by_the_server)
    client = connect(served.server.address)
    assert refused(client.sell).reason == "CANCELLED"
    assert len(served.inventory.calls) == 1
    assert refused(client.get).reason == "CANCELLED"
    assert len(served.inventory.calls) == 1 + 5


def test_what_the_caller_cancels_is_not_repeated(serve: Serve, connect: Connect, held: Held) -> None:
    served = serve(held)
    request = inventory_pb2.GetStockRequest(sku="tea")
    call = connect(served.server.address).stub.GetStock.future(request, timeout=TIMEOUT_S)
    assert held.begun.acquire(timeout=TIMEOUT_S)
    call.cancel()
    assert not held.begun.acquire(timeout=0.5)
    held.go_on.set()
    assert len(served.inventory.calls) == 1


def test_what_must_never_be_repeated_is_tried_once(serve: Serve, connect: Connect) -> None:
    served = serve(sell=Failing(Unavailable("who knows")))
    error = refused(connect(served.server.address).sell)
    assert (type(error), error.message) == (Unavailable, "who knows")
    assert len(served.inventory.calls) == 1


def test_calls_go_round_the_instances(serve: Serve, connect: Connect) -> None:
    instances = [serve(), serve(), serve()]
    client = connect(*(each.server.address for each in instances))
    end = time.monotonic() + TIMEOUT_S
    while not all(each.inventory.calls for each in instances):  # a connection may take a moment
        client.get()
        assert time.monotonic() < end
    before = Counter({n: len(each.inventory.calls) for n, each in enumerate(instances)})
    for _ in range(30):
        client.get()
    after = Counter({n: len(each.inventory.calls) for n, each in enumerate(instances)})
    assert after - before == Counter({0: 10, 1: 10, 2: 10})


def test_an_instance_that_is_down_is_not_called(serve: Serve, connect: Connect) -> None:
    gone, there = serve(), serve()
    client = connect(gone.server.address, there.server.address)
    gone.server.drain()
    for _ in range(20):
        assert client.get().sku == "tea"


def test_an_instance_that_comes_back_is_used_again(serve: Serve, connect: Connect) -> None:
    first = serve()
    client = connect(first.server.address)
    client.get()
    first.server.drain()
    assert refused(client.sell).reason == "UNAVAILABLE"
    serve(listen=first.server.address)
    end = time.monotonic() + TIMEOUT_S
    while True:
        try:
            client.sell()
            break
        except grpc.RpcError:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_the_pauses_before_connecting_again_never_grow_beyond_a_second(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        client = connect(f"127.0.0.1:{listener.getsockname()[1]}")
        request = inventory_pb2.GetStockRequest(sku="tea")
        call = client.stub.GetStock.future(request, timeout=TIMEOUT_S, wait_for_ready=True)
        tries = []
        for _ in range(9):
            listener.accept()[0].close()
            tries.append(time.monotonic())
        call.cancel()
    # 2.5: 1 s, a fifth more by chance, and a busy machine; left alone they are 1, 1.6, 2.6, 4.1, 6.6 … seconds
    assert max(later - earlier for earlier, later in pairwise(tries)) < 2.5


def test_a_call_to_an_instance_that_is_just_starting_waits_for_it(
    serve: Serve, connect: Connect, pool: ThreadPoolExecutor
) -> None:
    first = serve()
    first.server.drain()
    client = connect(first.server.address)
    refused(client.sell)
    early = pool.submit(client.get)
    serve(listen=first.server.address)
    assert early.result(TIMEOUT_S).sku == "tea"


def test_when_the_list_changes_new_calls_go_to_the_new_and_the_old_end_in_peace(
    serve: Serve, connect: Connect, registry: Registry, held: Held, pool: ThreadPoolExecutor
) -> None:
    old, new = serve(held), serve()
    client = connect(old.server.address)
    slow = pool.submit(client.get, "slow")
    assert held.begun.acquire(timeout=TIMEOUT_S)
    old_line = client.channel._line  # type: ignore[attr-defined]
    registry.change(new.server.address)
    assert client.get("quick").sku == "quick"
    assert new.inventory.calls == ["quick"]
    assert not slow.done()
    held.go_on.set()
    assert slow.result(TIMEOUT_S).sku == "slow"
    with pytest.raises(ValueError, match="closed"):  # nothing is left of the old connection
        old_line._channel.unary_unary("/any/method")(b"", timeout=1)


def test_calls_never_notice_that_the_list_changes(
    serve: Serve, connect: Connect, registry: Registry, pool: ThreadPoolExecutor
) -> None:
    addresses = [serve().server.address for _ in range(3)]
    client = connect(addresses[0])
    stop = threading.Event()

    def keep_calling() -> int:
        done = 0
        while not stop.is_set():
            client.sell()
            done += 1
        return done

    callers = [pool.submit(keep_calling) for _ in range(8)]
    for n in range(60):
        registry.change(addresses[n % 3], addresses[(n + 1) % 3])
        client.sell()
    stop.set()
    assert all(caller.result(TIMEOUT_S) > 0 for caller in callers)


def test_nobody_known_is_unavailable_until_somebody_is(serve: Serve, connect: Connect, registry: Registry) -> None:
    client = connect()
    with pytest.raises(NoInstance, match="inventory-srv"):
        client.get()
    assert type(refused(client.get)) is Unavailable
    registry.change(serve().server.address)
    assert client.get().sku == "tea"


def test_the_last_good_list_stays_when_the_registry_knows_nobody(
    serve: Serve, connect: Connect, registry: Registry
) -> None:
    client = connect(serve().server.address)
    registry.change()
    assert client.get().sku == "tea"


def test_host_names_work_for_one_and_for_several(serve: Serve, connect: Connect) -> None:
    first, second = serve(), serve()
    port = first.server.address.split(":")[1]
    assert connect(f"localhost:{port}").get().sku == "tea"
    client = connect(f"localhost:{port}", second.server.address)
    end = time.monotonic() + TIMEOUT_S
    while not second.inventory.calls or len(first.inventory.calls) < 2:
        client.get()
        assert time.monotonic() < end


def test_a_host_name_that_nobody_knows_stops_the_start_but_not_a_running_service(
    serve: Serve, connect: Connect, registry: Registry
) -> None:
    address = serve().server.address
    with pytest.raises(socket.gaierror):
        connect(address, "no.such.host.invalid:1")
    registry._watchers.clear()
    client = connect(address)
    registry.change(address, "no.such.host.invalid:1")
    assert client.get().sku == "tea"


def test_a_call_without_a_timeout_is_a_mistake(serve: Serve, connect: Connect) -> None:
    client = connect(serve().server.address)
    with pytest.raises(ValueError, match="timeout"):
        client.stub.GetStock(inventory_pb2.GetStockRequest(sku="tea"))


def test_a_call_may_be_made_in_any_of_grpcs_ways(serve: Serve, connect: Connect) -> None:
    client = connect(serve().server.address)
    request = inventory_pb2.GetStockRequest(sku="tea")
    stock, call = client.stub.GetStock.with_call(request, timeout=TIMEOUT_S)
    assert (stock.sku, call.code()) == ("tea", grpc.StatusCode.OK)
    assert client.stub.GetStock.future(request, timeout=TIMEOUT_S).result(TIMEOUT_S).sku == "tea"


def test_a_closed_channel_takes_no_calls(serve: Serve, connect: Connect, registry: Registry) -> None:
    client = connect(serve().server.address)
    client.channel.close()
    client.channel.close()
    registry.change("127.0.0.1:1")
    with pytest.raises(ValueError, match="closed"):
        client.get()
