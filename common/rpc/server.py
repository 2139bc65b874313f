"""A gRPC server with what both services need: health, reflection, the interceptor, an orderly end."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from common.rpc.interceptor import Interceptor
from common.rpc.validation import compile_rules

MAX_WAITING: Final = 1024
"""How many calls may wait for a thread; the next one gets RESOURCE_EXHAUSTED at once."""

MAX_STREAMS: Final = 256
"""How many clients may watch health. One more gets UNIMPLEMENTED, and calls all the same."""

BROKER: Final = "broker"
"""The name to ask health checking for: whether this process reaches its message broker."""

GRACE: Final = timedelta(seconds=60)
"""How long calls that were accepted may take to finish when the server stops."""

_MEGABYTE: Final = 1024 * 1024

_OPTIONS: Final = (
    # Two servers on one port would share its connections in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * _MEGABYTE),
    ("grpc.max_send_message_length", 4 * _MEGABYTE),  # no answer is larger, for clients take no more by default
    # A client may ping this often, calls or none, and keep its connection; the default is five minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Ask whether a silent client is still there, so that a half-open connection does not hold its calls.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

# Who watches health keeps a thread, of these. The library can do without, but then it holds a lock while it sends, and
# sending waits for gRPC's serving thread, which waits for that lock when a watcher leaves: the server stands still.
_WATCHERS: Final = ThreadPoolExecutor(MAX_STREAMS + 16, thread_name_prefix="health-watch")

# A server whose threads are all busy is not dead: if it were reported so, its calls would overload the next one.
_CHECKS: Final = ThreadPoolExecutor(4, thread_name_prefix="health-check")

log = structlog.get_logger(__name__)


class _Health(health.HealthServicer):  # type: ignore[misc]  # the library has no types
    """The library's; health checks bypass the request queue."""

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 the RPC's name
        return super().Check(request, context)


_Health.Check.experimental_thread_pool = _CHECKS  # type: ignore[attr-defined]  # how grpc takes it


class CannotListen(Exception):
    """The address is taken, or not this machine's."""


class Server:
    """A threaded gRPC server.

    Args:
        domain: Whose errors these are: `inventory` or `order`.
        listen: `host:port`; port 0 takes a free one, which `address` tells once started.
        threads: How many calls are handled at once.
        max_waiting: How many calls may wait for a thread.
        reflection: Whether clients can ask what services there are.
        longest: The longest deadline of a method by its full name (`/package.Service/Method`).
    """

    def __init__(
        self,
        domain: str,
        listen: str,
        *,
        threads: int = 64,
        max_waiting: int = MAX_WAITING,
        reflection: bool = True,
        longest: Mapping[str, timedelta] | None = None,
    ) -> None:
        self.address = listen
        self._reflection = reflection
        self._services: list[str] = []
        self._interceptor = Interceptor(domain, longest, max_streams=MAX_STREAMS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rpc")
        self._server = grpc.server(
            self._pool,
            interceptors=[self._interceptor],
            options=_OPTIONS,
            maximum_concurrent_rpcs=threads + max_waiting,
        )
        self._health = _Health(experimental_non_blocking=False, experimental_thread_pool=_WATCHERS)
        self.add(health.SERVICE_NAME, health_pb2_grpc.add_HealthServicer_to_server, self._health)

    def add(self, service: str, register: Callable[[Any, grpc.Server], None], servicer: object) -> None:
        """Serve `servicer`.

        Args:
            service: The service's full name: `reback.order.v1.OrderService`.
            register: The generated `add_…Servicer_to_server`.
            servicer: What implements it.
        """
        compile_rules(service)
        register(servicer, self._server)
        self._services.append(service)
        self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def tell_health(self, name: str, *, serving: bool) -> None:
        """Answer who asks for the health of `name`, a service or something that services stand on.

        The health of the whole server (no name) is not touched: it serves until it drains.
        """
        status = health_pb2.HealthCheckResponse
        self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    def start(self) -> None:
        """Listen and serve.

        Raises:
            CannotListen: The address is taken, or not this machine's.
        """
        if self._reflection:
            reflection.enable_server_reflection((*self._services, reflection.SERVICE_NAME), self._server)
        host = self.address.rpartition(":")[0]
        try:
            port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise CannotListen(
                f"can't listen on {self.address}: the port is taken, or this machine has no such address; "
                "choose another, or port 0 for a free one"
            ) from error
        self.address = f"{host}:{port}"
        self._server.start()

    def drain(self, grace: timedelta = GRACE) -> None:
        """Stop in order: NOT_SERVING, no new calls (UNAVAILABLE), finish what was accepted, return when it is done.

        What takes longer than `grace` is cancelled. Leave the registry first. Streams are ended at once.
        """
        self._health.enter_graceful_shutdown()
        self._interceptor.gate.close_until_quiet()
        stopped = self._server.stop(grace.total_seconds())
        self._interceptor.gate.open()
        self._interceptor.streams.end_all()
        stopped.wait()
        self._pool.shutdown()
