"""A server that says nothing any more, though its connection stands: it was stopped, or its machine is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from common.discovery.drivers import open_discovery
from common.rpc.channel import open_channel
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.component.rpc.conftest import GET_STOCK
from tests.support.waiting import TIMEOUT_S

NOTICED_WITHIN: Final = 6.0 + 3.0 + 3.0  # seconds: silence, an answer to a ping, and a busy machine


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("slow_server.py")
    process = subprocess.Popen([sys.executable, str(program), "0", "4"], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_a_call_to_a_server_that_went_silent_under_load_is_given_up_soon(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    address = server.stdout.readline().removeprefix("ready on ").strip()
    discovery = open_discovery(f"static://?inventory-srv={address}")
    with open_channel(discovery, "inventory-srv", never_repeated=[GET_STOCK]) as channel:
        stub = inventory_pb2_grpc.InventoryServiceStub(channel)
        request = inventory_pb2.GetStockRequest(sku="tea")
        for _ in range(100):  # so many that gRPC measures the connection
            stub.GetStock(request, timeout=TIMEOUT_S)
        server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)  # until its last thread stands still, it may answer once more
        begun = time.monotonic()
        with pytest.raises(grpc.RpcError) as error:
            stub.GetStock(request, timeout=TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - begun < NOTICED_WITHIN
