"""`python -m common.rpc.health_check HOST:PORT` asks a server whether it serves; for what watches a process.

Exits with 0 when the answer is SERVING, with 1 when it is anything else or there is none in time, with 2 when called
wrongly. An address to listen on is good for it too: 0.0.0.0 and [::] are then this machine.
"""

import sys
from datetime import timedelta
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.addresses import split_address

_TIMEOUT: Final = timedelta(seconds=3)
_THIS_MACHINE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 nothing listens here


def ask(address: str, timeout: timedelta = _TIMEOUT) -> str:
    """The server's answer, `SERVING` or `NOT_SERVING`; or why there is none, such as `UNAVAILABLE`.

    Raises:
        ValueError: `address` is not host:port.
    """
    host, port = split_address(address)
    with grpc.insecure_channel(f"{_THIS_MACHINE.get(host, host)}:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout.total_seconds())
        except grpc.RpcError as error:
            return str(error.code().name)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(f"{__doc__}")
        return 0
    try:
        (address,) = arguments
        answer = ask(address)
    except ValueError as error:
        why = f"{error}; " if len(arguments) == 1 else ""
        sys.stderr.write(f"health_check: {why}it is called with one host:port, and --help explains it\n")
        return 2
    sys.stdout.write(f"{address}: {answer}\n")
    return 0 if answer == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
