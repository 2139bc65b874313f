"""A proxy before inventory, which loses, delays and changes answers, and holds requests back."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf.message_factory import GetMessageClass

from reback.inventory.v1 import inventory_pb2 as pb

# As our own servers do: clients may ping.
_SERVER_OPTIONS: Final = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class InventoryProxy(grpc.GenericRpcHandler):
    """Forwards calls to inventory; chosen methods (`BatchSell`) have their requests or answers disturbed.

    Attributes:
        address: Where it serves.
        calls: How often each method (`Sell`) was called.
        before: What to do first when a method is called: a request that is kept back arrives late, and whole.
        after: What to do when inventory has answered: an answer that is kept back comes late, and whole.
        codes: What inventory answered, by method, in the order of its answers.
    """

    def __init__(self, inventory_address: str) -> None:
        self.calls = Counter[str]()
        self.before: dict[str, Callable[[], object]] = {}
        self.codes = defaultdict[str, list[grpc.StatusCode]](list)
        self.after: dict[str, Callable[[], object]] = {}
        self._changed: dict[str, Callable[[Any], object]] = {}
        self._lost: set[str] = set()
        self._channel = grpc.insecure_channel(inventory_address)
        self._server = grpc.server(ThreadPoolExecutor(16), options=_SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def lose_answers(self, *methods: str) -> None:
        """From now on inventory acts on these methods, and its answers do not arrive."""
        self._lost.update(methods)

    def change_answers(self, method: str, change: Callable[[Any], object]) -> None:
        """From now on the answers of `method` are those that `change` makes of them, in place."""
        self._changed[method] = change

    def leave_out(self, sku: str) -> None:
        """From now on the answers about several orders say nothing of those that bought this sku."""

        def without(answered: Any, sale_of: Callable[[Any], pb.Sale]) -> None:
            kept = [each for each in answered if not any(line.sku == sku for line in sale_of(each).lines)]
            del answered[:]
            answered.extend(kept)

        self.change_answers("BatchSell", lambda answer: without(answer.results, lambda result: result.sale))
        self.change_answers("BatchGetSales", lambda answer: without(answer.sales, lambda sale: sale))

    def heal(self) -> None:
        self._lost.clear()
        self._changed.clear()
        self.before.clear()
        self.after.clear()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path.startswith("/grpc.health."):
            return None  # a stream; who serves none counts as healthy
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._pass_on(path, request, context))

    def _pass_on(self, path: str, request: bytes, context: Any) -> Any:
        method = path.rpartition("/")[2]
        self.calls[method] += 1
        time_left = context.time_remaining()  # counts from the arrival, as on the wire
        self.before.get(method, _nothing)()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        try:
            answer = call(request, timeout=time_left, metadata=context.invocation_metadata())
        except grpc.RpcError as error:
            self.codes[method].append(error.code())
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())
        self.codes[method].append(grpc.StatusCode.OK)
        self.after.get(method, _nothing)()
        if method in self._lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost before the answer")
        return _changed(method, answer, self._changed[method]) if method in self._changed else answer


def _changed(method: str, answer: bytes, change: Callable[[Any], object]) -> bytes:
    service = pb.DESCRIPTOR.services_by_name["InventoryService"]
    message = GetMessageClass(service.methods_by_name[method].output_type).FromString(answer)
    change(message)
    return bytes(message.SerializeToString())


@contextmanager
def proxied(inventory_address: str) -> Iterator[InventoryProxy]:
    proxy = InventoryProxy(inventory_address)
    try:
        yield proxy
    finally:
        proxy.close()


def _nothing() -> None:
    pass
