"""Headers that no decent client sends. Whatever they hold, a call ends as it would without them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
import structlog

from common.errors import NotFound
from common.rpc.errors import STATUS_KEY
from common.rpc.server import Server
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from reback.order.v1 import order_pb2, order_pb2_grpc
from tests.support.http2 import Headers, raw_call

INVENTORY = inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"]
ORDER = order_pb2.DESCRIPTOR.services_by_name["OrderService"]
METHODS: Final = [
    f"/{method.containing_service.full_name}/{method.name}" for method in (*INVENTORY.methods, *ORDER.methods)
]

BYTES: Final = b"reback-error-bytes"
TIMEOUT: Final = b"grpc-timeout"

HOSTILE: Final[dict[str, Headers]] = {
    "4301 digits": [(BYTES, b"9" * 4_301)],
    "a sign": [(BYTES, b"-1")],
    "a blank": [(BYTES, b" 60000 ")],
    "an underscore": [(BYTES, b"60_000")],
    "a fraction": [(BYTES, b"6e4")],
    "another script's digits": [(BYTES, "٦٠٠٠٠".encode())],
    "no text": [(BYTES, b"\xff\xfe")],
    "nothing": [(BYTES, b"")],
    "two answers": [(BYTES, b"x"), (BYTES, b"9" * 5_000)],
    "repeated": [(BYTES, b"1")] * 100,
    "binary": [(b"reback-error-bytes-bin", b"/////w"), (b"x-odd-bin", b"AAECAw")],
    "control characters": [(b"x-odd", bytes(range(1, 32)))],
    "large": [(b"x-odd", b"x" * 6_000)],
    "many": [(b"x-%d" % number, b"1") for number in range(200)],
    "the end of time": [(TIMEOUT, b"99999999H")],
    "beyond the end of time": [(TIMEOUT, b"999999999999H")],
    "two timeouts": [(TIMEOUT, b"20S"), (TIMEOUT, b"10S")],
    "blanks in a timeout": [(TIMEOUT, b" 20 S")],
}

BROKEN: Final[dict[str, Headers]] = {
    "a timeout without a unit": [(TIMEOUT, b"10")],
    "a fraction of a timeout": [(TIMEOUT, b"1.5S")],
    "a negative timeout": [(TIMEOUT, b"-1S")],
    "a timeout that is no text": [(TIMEOUT, b"\xff")],
    "no base64": [(b"x-odd-bin", b"!")],
    "a key in capitals": [(b"X-Odd", b"1")],
    "no integer": [(b"grpc-previous-rpc-attempts", b"9" * 30)],
}


def refuse(*_: Any) -> None:
    raise NotFound("none", reason="SKU_NOT_FOUND")


def refusing(servicer: type) -> object:
    """A servicer whose every method answers NOT_FOUND."""
    methods = {name: refuse for name, value in vars(servicer).items() if callable(value)}
    return type("Refusing", (servicer,), methods)()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = Server("order", "127.0.0.1:0", threads=4)
    register_inventory = inventory_pb2_grpc.add_InventoryServiceServicer_to_server
    server.add(INVENTORY.full_name, register_inventory, refusing(inventory_pb2_grpc.InventoryServiceServicer))
    register_order = order_pb2_grpc.add_OrderServiceServicer_to_server
    server.add(ORDER.full_name, register_order, refusing(order_pb2_grpc.OrderServiceServicer))
    server.start()
    yield server.address
    server.drain(timedelta(seconds=5))


def status_of(address: str, method: str, headers: Headers = ()) -> tuple[bytes, bytes]:
    answered = raw_call(address, method, b"", headers)
    return answered[b"grpc-status"], answered[STATUS_KEY.encode()]


@pytest.mark.parametrize("method", METHODS)
def test_no_header_changes_how_a_call_ends(address: str, method: str, capfd: pytest.CaptureFixture[str]) -> None:
    expected = status_of(address, method)
    with structlog.testing.capture_logs() as logs:
        differing = {
            name: answer
            for name, headers in HOSTILE.items()
            if (answer := status_of(address, method, headers)) != expected
        }
    assert not differing
    assert expected[0] in {b"3", b"5"}  # INVALID_ARGUMENT, NOT_FOUND
    assert not logs
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("broken", BROKEN)
def test_calls_go_on_after_headers_that_grpc_itself_refuses(
    address: str, broken: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answered = raw_call(address, METHODS[0], b"", BROKEN[broken])
    assert answered[b"grpc-status"] != b"0"
    assert status_of(address, METHODS[0])[0] == b"3"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("timeout", [b"0n", b"1n", b"0S", b"00000001m"])
def test_a_timeout_that_is_over_ends_the_call_and_nothing_else(address: str, timeout: bytes) -> None:
    answered = raw_call(address, METHODS[0], b"", [(TIMEOUT, timeout)])
    assert answered[b"grpc-status"] in {b"3", b"4"}  # done in time, or DEADLINE_EXCEEDED
