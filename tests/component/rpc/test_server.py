import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from common.rpc.server import CannotListen, Server
from tests.component.rpc.conftest import GET_STOCK, SERVICE, Held, Serve, Served
from tests.support.waiting import TIMEOUT_S

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(served: Served) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(served.channel)


def reflected(served: Served) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=TIMEOUT_S)
    return [service.name for service in answer.list_services_response.service]


def test_port_0_takes_a_free_port_and_tells_it(serve: Serve) -> None:
    first, second = serve(), serve()
    assert first.server.address.startswith("127.0.0.1:")
    assert first.server.address not in ("127.0.0.1:0", second.server.address)
    assert first.get("tea").sku == second.get("tea").sku == "tea"


def test_a_taken_address_is_named(serve: Serve) -> None:
    address = serve().server.address
    second = Server("inventory", address)
    with pytest.raises(CannotListen, match=address):
        second.start()
    second.drain()


@pytest.mark.parametrize("address", ["192.0.2.1:50051", "no.such.host.invalid:50051"])
def test_an_address_of_another_machine_is_named(address: str) -> None:
    server = Server("inventory", address)
    with pytest.raises(CannotListen, match=address):
        server.start()
    server.drain()


@pytest.mark.parametrize("service", ["", SERVICE, "grpc.health.v1.Health"])
def test_every_service_is_healthy_while_it_serves(serve: Serve, service: str) -> None:
    answer = health(serve()).Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
    assert answer.status == SERVING


def test_one_name_can_be_unwell_while_the_server_serves(serve: Serve) -> None:
    served = serve()
    for serving in (False, True):
        served.server.tell_health("broker", serving=serving)

        answer = {
            name: health(served).Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S).status
            for name in ("", SERVICE, "broker")
        }
        assert answer == {"": SERVING, SERVICE: SERVING, "broker": SERVING if serving else NOT_SERVING}


def test_the_health_of_an_unknown_service_is_not_found(serve: Serve) -> None:
    with pytest.raises(grpc.RpcError) as error:
        health(serve()).Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_clients_can_ask_what_services_there_are(serve: Serve) -> None:
    assert set(reflected(serve())) == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_without_reflection_nobody_learns_what_services_there_are(serve: Serve) -> None:
    with pytest.raises(grpc.RpcError) as error:
        reflected(serve(reflection=False))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_oversized_request_is_refused(serve: Serve) -> None:
    served = serve()
    with pytest.raises(grpc.RpcError) as error:
        served.channel.unary_unary(GET_STOCK)(b"x" * (5 * 1024 * 1024), timeout=TIMEOUT_S)  # type: ignore[arg-type]
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert served.inventory.calls == []


def test_a_drain_finishes_what_was_accepted_and_refuses_what_comes_later(
    serve: Serve, held: Held, pool: ThreadPoolExecutor
) -> None:
    served = serve(held, threads=4)
    accepted = [pool.submit(served.get, f"accepted-{n}") for n in range(12)]  # 4 begin, 8 wait for a thread
    for _ in range(4):
        assert held.begun.acquire(timeout=TIMEOUT_S)
    until_waiting(served, 12)
    drained = pool.submit(served.server.drain)
    until_refused(served.server.address)
    assert not drained.done()
    held.go_on.set()
    assert sorted(call.result(TIMEOUT_S).sku for call in accepted) == sorted(f"accepted-{n}" for n in range(12))
    drained.result(TIMEOUT_S)
    with pytest.raises(grpc.RpcError) as error:
        served.get("later")
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "later" not in served.inventory.calls


def until_waiting(served: Served, count: int) -> None:
    """Wait until so many calls are with the server, running or waiting."""
    end = time.monotonic() + TIMEOUT_S
    while served.server._server._state.active_rpc_count < count:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        time.sleep(0.002)


def until_refused(address: str) -> None:
    """Wait until nobody listens any more."""
    host, port = address.split(":")
    end = time.monotonic() + TIMEOUT_S
    while True:
        with closing(socket.socket()) as probe:
            if probe.connect_ex((host, int(port))):
                return
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_drain_cancels_what_takes_longer_than_the_grace(serve: Serve, held: Held, pool: ThreadPoolExecutor) -> None:
    served = serve(held)
    slow = pool.submit(served.get, "slow")
    assert held.begun.acquire(timeout=TIMEOUT_S)
    drained = pool.submit(served.server.drain, timedelta(seconds=0.2))
    error = slow.exception(TIMEOUT_S)
    assert isinstance(error, grpc.RpcError)
    assert error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    held.go_on.set()
    drained.result(TIMEOUT_S)


def test_a_watcher_of_health_sees_the_end_and_does_not_delay_it(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve()
    watch = health(served).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert next(watch).status == SERVING
    drained = pool.submit(served.server.drain, timedelta(seconds=600))
    assert next(watch).status == NOT_SERVING
    with pytest.raises(grpc.RpcError):
        next(watch)
    drained.result(TIMEOUT_S)


def test_a_server_answers_while_watchers_of_its_health_come_and_go(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve()

    def come_and_go() -> None:
        for _ in range(100):
            with grpc.insecure_channel(served.server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
                assert next(watch).status == SERVING

    watchers = [pool.submit(come_and_go) for _ in range(8)]
    while not all(each.done() for each in watchers):
        assert served.get().sku == "tea"
    for each in watchers:
        each.result()


def test_a_drain_loses_no_call_however_many_are_on_their_way(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve()
    begun, codes = threading.Barrier(17), list[grpc.StatusCode]()

    def call_until_refused(number: int) -> None:
        channel = grpc.insecure_channel(served.server.address, options=(("grpc.use_local_subchannel_pool", 1),))
        get = Served(served.server, served.inventory, channel).get
        get(f"{number}")
        begun.wait(TIMEOUT_S)
        try:
            while True:
                get(f"{number}")
        except grpc.RpcError as error:
            codes.append(error.code())
        channel.close()

    callers = [pool.submit(call_until_refused, number) for number in range(16)]
    begun.wait(TIMEOUT_S)
    served.server.drain()
    for caller in callers:
        caller.result(TIMEOUT_S)
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 16


def test_a_busy_server_is_healthy_at_once(serve: Serve, held: Held, pool: ThreadPoolExecutor) -> None:
    served = serve(held, threads=2)
    busy = [pool.submit(served.get), pool.submit(served.get)]
    for _ in busy:
        assert held.begun.acquire(timeout=TIMEOUT_S)

    answer = health(served).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)

    held.go_on.set()
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert [call.result(TIMEOUT_S).sku for call in busy] == ["tea", "tea"]


def test_more_watchers_than_may_be_are_told_that_health_is_not_watched_here(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.rpc.server.MAX_STREAMS", 2)
    served = serve()
    watches = [health(served).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S) for _ in range(2)]
    for watch in watches:
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

    with pytest.raises(grpc.RpcError) as error:
        next(health(served).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S))

    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for watch in watches:
        watch.cancel()
