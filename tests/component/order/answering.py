"""An inventory whose word on some calls a test chooses: every other call goes to the real one behind it."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from tests.support.services import Services, running_inventory, running_order


class Answering(grpc.GenericRpcHandler):
    """Between the order service and inventory.

    Attributes:
        address: Where it serves.
        answers: The code with which each call of a method (`Sell`) ends; of others it is inventory's own answer.
        acts_first: Whether inventory acts before a call ends so.
        seconds_left: What was left of each Sell's deadline when it came here.
        calls: How often each method was called.
    """

    def __init__(self, inventory_address: str) -> None:
        self.answers: dict[str, grpc.StatusCode] = {}
        self.acts_first = False
        self.seconds_left: list[float] = []
        self.calls = Counter[str]()
        self._inventory = grpc.insecure_channel(inventory_address)
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=[self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._inventory.close()

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path.startswith("/grpc.health."):
            return None  # it has no word on how it is: channels take it for well
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._pass_on(path, request, context))

    def _pass_on(self, path: str, request: bytes, context: Any) -> Any:
        method = path.rpartition("/")[2]
        answer = self.answers.get(method)
        self.calls[method] += 1
        if method == "Sell":
            self.seconds_left.append(context.time_remaining())
        if answer is not None and not self.acts_first:
            context.abort(answer, "as the test wants")
        call: Any = self._inventory.unary_unary(path)
        try:
            said = call(request, timeout=context.time_remaining())
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())
        if answer is not None:
            context.abort(answer, "as the test wants")
        return said


@contextmanager
def services_answering(
    folder: Path, settings: dict[str, Any] | None = None, **parts: Any
) -> Iterator[tuple[Services, Answering]]:
    """Both services, with `Answering` between them; a client's calls go to inventory itself."""
    with running_inventory(folder) as inventory:
        answering = Answering(inventory.address)
        try:
            with running_order(folder, answering.address, settings, **parts) as order:
                services = Services(folder, inventory, order)
                yield services, answering
                services.close()
        finally:
            answering.close()
