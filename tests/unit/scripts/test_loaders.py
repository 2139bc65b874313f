"""Load processes: they say when they can't do what they are told, and nobody waits for a dead one."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from scripts.bench.harness.load import Kind, Plan, drive
from scripts.bench.harness.loaders import Loaders, LoadFailed


def test_a_load_that_can_not_be_made_is_told() -> None:
    with Loaders(1) as loaders, pytest.raises(LoadFailed, match=r"a load process failed: ValueError"):
        loaders.start([Plan(Kind.SELL, skus=(), addresses=())]).result()


def test_nobody_waits_for_a_load_process_that_died() -> None:
    with Loaders(2) as loaders:
        for pid in loaders.pids:
            os.kill(pid, signal.SIGKILL)
        loading = loaders.start([])
        assert loading.result() == []
        with pytest.raises(LoadFailed, match="died"):
            loaders.start([Plan(Kind.EMPTY), Plan(Kind.EMPTY)]).result()


ANSWERED_AFTER_S = 0.2


@contextmanager
def slow_server() -> Iterator[str]:
    """The address of a server that takes its time for an empty call."""

    def answer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        time.sleep(ANSWERED_AFTER_S)
        return b""

    _, service, method = Kind.EMPTY.value.split("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(answer)})
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def test_each_caller_makes_a_measured_call_even_if_one_takes_longer_than_is_measured() -> None:
    with slow_server() as address:
        plan = Plan(Kind.EMPTY, callers=2, connections=1, addresses=(address,), warm_up=0.01, seconds=0.01)
        measured = drive(plan)
    assert (len(measured.latencies), measured.answered) == (2, 4)
    assert min(measured.latencies) >= ANSWERED_AFTER_S
    assert measured.rate <= 2 / ANSWERED_AFTER_S


@pytest.mark.parametrize("asked", [True, False])
def test_when_each_measured_call_was_answered_is_noted_where_it_is_asked_for(asked: bool) -> None:
    with slow_server() as address:
        plan = Plan(Kind.EMPTY, callers=2, connections=1, addresses=(address,), seconds=0.01, moments=asked)
        began = time.time()
        measured = drive(plan)
    assert len(measured.moments) == (2 if asked else 0)
    assert all(began + ANSWERED_AFTER_S <= moment <= time.time() for moment in measured.moments)
