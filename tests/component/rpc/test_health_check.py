"""What containers and supervisors ask: `python -m common.rpc.health_check`."""

import pytest
from grpc_health.v1 import health_pb2

from common.rpc.health_check import main
from tests.component.rpc.conftest import Serve


def test_a_server_that_serves_is_healthy(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    address = serve().server.address
    assert main([address]) == 0
    assert capsys.readouterr().out == f"{address}: SERVING\n"


def test_the_address_that_it_listens_on_is_good_to_ask(serve: Serve) -> None:
    port = serve().server.address.rpartition(":")[2]
    assert main([f"0.0.0.0:{port}"]) == 0


def test_a_server_that_says_it_does_not_serve_is_not_healthy(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve().server
    server._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert main([server.address]) == 1
    assert capsys.readouterr().out == f"{server.address}: NOT_SERVING\n"


def test_nobody_there_is_not_healthy(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve().server
    server.drain()
    assert main([server.address]) == 1
    assert capsys.readouterr().out == f"{server.address}: UNAVAILABLE\n"


@pytest.mark.parametrize("arguments", [[], ["50052"], ["127.0.0.1:50052", "127.0.0.1:50051"]])
def test_a_wrong_call_says_how_it_is_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "host:port" in capsys.readouterr().err
