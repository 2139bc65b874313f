"""A channel to a service by its name: it follows the registry, balances calls and repeats them where that is safe.

Discovery says where the instances are, and says it again when that changes; no call looks anything up. Each list of
addresses is a gRPC channel of its own. When the list changes, new calls go to a new one; the old one is closed when
its last call has ended. gRPC shares connections between channels, so instances on both lists keep theirs. An instance
that takes calls and does not answer is left out of the list until it does (`answer_check.py`).
"""

import json
import socket
import time
from collections.abc import Collection, Iterator
from itertools import count
from threading import Lock
from typing import Any, Final, Self

import grpc
import structlog

from common.addresses import split_address
from common.discovery.port import Addresses, Discovery
from common.rpc.answer_check import AnswerCheck, Probe
from common.rpc.errors import ERROR_BYTES_KEY, LARGEST_MAX_BYTES

_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    # Errors come whole: room for the details that are asked for below, and for what travels beside them.
    ("grpc.max_metadata_size", LARGEST_MAX_BYTES + 4 * 1024),
    ("grpc.absolute_max_metadata_size", 2 * LARGEST_MAX_BYTES),
    # An instance that comes back is used within a second; gRPC alone would let the pauses grow to minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 3_000),  # how long one attempt to connect may take
    # A connection whose other end went without a word is noticed; our servers allow a ping every 5 s.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # While a ping of another kind is unanswered (gRPC measures with them) no keepalive is sent: by default a minute.
    ("grpc.http2.ping_timeout_ms", 6_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

_RETRIES: Final = {
    "maxAttempts": 5,  # gRPC's own limit
    "initialBackoff": "0.1s",
    "backoffMultiplier": 2,
    "maxBackoff": "1s",
    # CANCELLED, unless the caller itself cancelled: gRPC's word for a call that reached a server as it stopped
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}

# Each connection watches its server's health: one that stops says so before it refuses calls. The whole server's, which
# serves until it stops, and not one service's: that one may be unwell without being the wrong instance to call.
_HEALTH: Final = {"serviceName": ""}

_ASK_FOR_ALL_DETAILS: Final = (ERROR_BYTES_KEY, str(LARGEST_MAX_BYTES))

log = structlog.get_logger(__name__)


class NoInstance(grpc.RpcError):
    """No instance of the service is known yet."""

    def __init__(self, service: str) -> None:
        super().__init__(f"no instance of {service} is known")

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return str(self)

    def trailing_metadata(self) -> Any:
        return ()


def open_channel(
    discovery: Discovery, service: str, *, never_repeated: Collection[str] = (), probe: Probe | None = None
) -> grpc.Channel:
    """Make a channel to `service`; give it to generated stubs.

    Every call needs a timeout. One that the server ends UNAVAILABLE, or CANCELLED because it stops, is repeated by
    gRPC within that time, up to four times and at another instance where there is one. Only unary calls. The discovery
    stays the caller's to close.

    Args:
        discovery: Knows where the instances are.
        service: Its name there, e.g. `inventory-srv`.
        never_repeated: Full names of methods (`/package.Service/Method`) that are tried once.
        probe: What instances are asked when a call is slow; new calls pass over those that do not answer it while
            others do, until they answer again. None: nobody is asked.

    Raises:
        OSError: One of several addresses has a host name that can't be resolved.
    """
    return _FollowingChannel(discovery, service, _service_config(never_repeated), probe)


class _Line:
    """A gRPC channel to one list of addresses, and the calls that are on it."""

    def __init__(self, addresses: Addresses, service_config: str) -> None:
        self.addresses = addresses
        options = (*_OPTIONS, ("grpc.service_config", service_config))
        self._channel = grpc.insecure_channel(_target(addresses), options=options)
        self._callables: dict[_Method, Any] = {}
        self._numbers = count()
        self._calls: dict[int, float] = {}  # when each began, the oldest first
        self._retired = False
        self._changing = Lock()

    def enter(self, method: "_Method") -> tuple[int, Any] | None:
        """The call's number, and what calls `method` here, once; `leave` must follow. None: no more calls here."""
        with self._changing:
            if self._retired:
                return None
            number = next(self._numbers)
            self._calls[number] = time.monotonic()
            if method not in self._callables:
                self._callables[method] = self._channel.unary_unary(method.name, **method.how)
            return number, self._callables[method]

    def age(self) -> float:
        """For how many seconds the oldest call has been under way; 0: there is none."""
        with self._changing:
            return time.monotonic() - next(iter(self._calls.values())) if self._calls else 0.0

    def leave(self, number: int) -> None:
        with self._changing:
            del self._calls[number]
            last = self._retired and not self._calls
        if last:
            self._channel.close()

    def retire(self) -> None:
        """Take no more calls; close when the last one has ended."""
        with self._changing:
            self._retired = True
            idle = not self._calls
        if idle:
            self._channel.close()

    def close(self) -> None:
        """Close now, whoever is calling."""
        with self._changing:
            self._retired = True
        self._channel.close()


class _FollowingChannel(grpc.Channel):
    """Puts each call on the line to the instances that there are now."""

    def __init__(self, discovery: Discovery, service: str, service_config: str, probe: Probe | None) -> None:
        self._service = service
        self._service_config = service_config
        self._known: Addresses = ()
        self._silent: frozenset[str] = frozenset()
        self._line: _Line | None = None
        self._closed = False
        self._changing = Lock()
        discovery.watch(service, self._follow)
        self._check = self._start_check(probe) if probe else None

    def enter(self, method: "_Method") -> tuple[_Line, int, Any]:
        """The line in use, the call's number there, and what calls `method` on it.

        Raises:
            NoInstance: None is known yet.
            ValueError: The channel is closed.
        """
        while True:
            line = self._line
            if self._closed:
                raise ValueError("the channel is closed")
            if line is None:
                raise NoInstance(self._service)
            entered = line.enter(method)
            if entered is not None:
                if self._check is not None:
                    self._check.call_began()
                return line, *entered
            # The list changed between the two: the next line is in place already.

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **more: Any
    ) -> "grpc.UnaryUnaryMultiCallable[Any, Any]":
        how = {"request_serializer": request_serializer, "response_deserializer": response_deserializer, **more}
        return _Method(self, method, how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._changing:
            self._closed = True
            line = self._line
        if self._check is not None:
            self._check.close()
        if line is not None:
            line.close()

    def _start_check(self, probe: Probe) -> AnswerCheck:
        return AnswerCheck(
            probe,
            addresses=lambda: self._known,
            connect=_connect,
            age=lambda: self._line.age() if self._line else 0.0,
            tell=self._leave_out,
        )

    def _follow(self, addresses: Addresses) -> None:
        with self._changing:
            if addresses:
                self._known = addresses
        self._change_line()

    def _leave_out(self, silent: frozenset[str]) -> None:
        with self._changing:
            changed, self._silent = silent != self._silent, silent
        if not changed:
            return
        if silent:
            log.warning("instances left out that do not answer", service=self._service, addresses=sorted(silent))
        else:
            log.info("all instances answer again", service=self._service)
        self._change_line()

    def _change_line(self) -> None:
        """Put new calls on a line to all known instances but the silent ones; to all, if none is left."""
        with self._changing:
            old, known = self._line, self._known
            addresses = tuple(each for each in known if each not in self._silent) or known
            if self._closed or not addresses or (old is not None and old.addresses == addresses):
                return
            try:
                self._line = _Line(addresses, self._service_config)
            except OSError as error:
                if old is None:
                    raise
                log.warning("instances not resolved", service=self._service, addresses=addresses, error=str(error))
                return
        log.info("instances", service=self._service, addresses=addresses)
        if old is not None:
            old.retire()

    def unary_stream(self, *_args: Any, **_more: Any) -> Any:
        raise NotImplementedError("no service here has streams")

    stream_unary = stream_stream = unary_stream

    def subscribe(self, *_args: Any, **_more: Any) -> None:
        raise NotImplementedError("there may be several connections; a call tells best whether one works")

    unsubscribe = subscribe


class _Method(grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]  # generic in its stubs alone
    """One method of a stub."""

    def __init__(self, channel: _FollowingChannel, name: str, how: dict[str, Any]) -> None:
        self.name = name
        self.how = how
        self._channel = channel

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, *more: Any, **named: Any
    ) -> Any:
        return self.with_call(request, timeout, metadata, *more, **named)[0]

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: Any = None, *more: Any, **named: Any
    ) -> Any:
        settled = _settled(timeout, metadata)
        line, number, call = self._channel.enter(self)
        try:
            return call.with_call(request, *settled, *more, **named)
        finally:
            line.leave(number)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, *more: Any, **named: Any) -> Any:
        settled = _settled(timeout, metadata)
        line, number, call = self._channel.enter(self)
        future = call.future(request, *settled, *more, **named)
        future.add_done_callback(lambda _: line.leave(number))
        return future


def _settled(timeout: float | None, metadata: Any) -> tuple[float, Any]:
    """Timeout and metadata as they go with every call.

    Raises:
        ValueError: There is no timeout.
    """
    if timeout is None:
        raise ValueError("a call needs a timeout: what is left of the caller's deadline")
    return timeout, (*(metadata or ()), _ASK_FOR_ALL_DETAILS)


def _connect(address: str) -> grpc.Channel:
    return grpc.insecure_channel(_target((address,)), options=_OPTIONS)


def _service_config(never_repeated: Collection[str]) -> str:
    """GRPC's own description of what to do with calls: for every method, then for those that are tried once."""
    once = [dict(zip(("service", "method"), name.removeprefix("/").split("/"), strict=True)) for name in never_repeated]
    methods: list[dict[str, Any]] = [{"name": [{}], "retryPolicy": _RETRIES}]
    if once:
        methods.append({"name": once})
    balancing: list[dict[str, Any]] = [{"round_robin": {}}]
    return json.dumps({"loadBalancingConfig": balancing, "methodConfig": methods, "healthCheckConfig": _HEALTH})


def _target(addresses: Addresses) -> str:
    """The addresses as gRPC takes them.

    It resolves one host name itself, time and again. Several addresses it takes as numbers only, all of one kind.
    """
    if len(addresses) == 1:
        return f"dns:///{addresses[0]}"
    found = sorted({number for address in addresses for number in _numbers(address)})
    if all(family is socket.AF_INET for family, *_ in found):
        return "ipv4:" + ",".join(f"{ip}:{port}" for _, ip, port in found)
    return "ipv6:" + ",".join(
        f"[::ffff:{ip}]:{port}" if family is socket.AF_INET else f"[{ip}]:{port}" for family, ip, port in found
    )


def _numbers(address: str) -> Iterator[tuple[socket.AddressFamily, str, int]]:
    host, port = split_address(address)
    for family, *_, found in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        yield family, str(found[0]), port
