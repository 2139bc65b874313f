"""What happens around every call before and after its handler: one interceptor, for its speed.

arrival  →  too late? drop it  →  read the request  →  field rules  →  handler  →  write the response
                                                        any error  →  a status with details
"""

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, InvalidArgument, Violation
from common.rpc.errors import bug_to_status, code_of, max_bytes_of, to_status
from common.rpc.gate import Gate
from common.rpc.streams import OpenStreams
from common.rpc.validation import check

DEFAULT_DEADLINE: Final = timedelta(seconds=10)
"""What a call gets that comes without a deadline, from its arrival on."""

_NO_DEADLINE: Final = 1e9  # seconds left above which a call has none: gRPC tells an absent one as the end of time

_STATUSES_KEPT: Final = 256
_FEW_VIOLATIONS: Final = 16  # of an error whose status is kept; a request may break any number of rules

_arrived: ContextVar[float] = ContextVar("arrived")
_deadline: ContextVar[Deadline] = ContextVar("deadline")


def current_deadline() -> Deadline:
    """The deadline of the call that this thread handles; it is cancelled when the caller hangs up.

    Raises:
        LookupError: No call is being handled here. A thread that a handler starts has to be handed the deadline.
    """
    return _deadline.get()


class Interceptor(grpc.ServerInterceptor):
    """Deadlines, field rules and errors of every unary call. Streams pass; they are only known, to be ended.

    Args:
        domain: Whose errors these are: `inventory` or `order`.
        longest: The longest deadline of a method by its full name (`/package.Service/Method`); a call that asks for
            more gets that.
        max_streams: How many streams may be open.
    """

    def __init__(self, domain: str, longest: Mapping[str, timedelta] | None = None, *, max_streams: int = 256) -> None:
        self.gate = Gate()
        self.streams = OpenStreams(max_streams)
        self._domain = domain
        self._longest = {method: limit.total_seconds() for method, limit in (longest or {}).items()}
        self._handlers: dict[str, Any] = {}

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Runs as a call arrives, on gRPC's one serving thread; its handler runs later, in the same context."""
        _arrived.set(self.gate.arrive())
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is None:
            found = continuation(handler_call_details)
            if found is None:
                return None
            handler = self._handlers[method] = self._around(method, found)
        return handler

    def _around(self, method: str, handler: Any) -> Any:
        if handler.request_streaming or handler.response_streaming:
            return self.streams.counting(handler)
        call = _UnaryCall(self._domain, method, handler, self._longest.get(method), self.gate)
        # The call reads and writes the messages itself, so that a failure in that is an error like any other.
        return handler._replace(unary_unary=call, request_deserializer=None, response_serializer=None)


class _UnaryCall:
    """One unary method with everything around its handler; called with the request's bytes."""

    def __init__(self, domain: str, method: str, handler: Any, longest: float | None, gate: Gate) -> None:
        self._domain = domain
        self._method = method
        self._gate = gate
        self._behavior = handler.unary_unary
        self.experimental_thread_pool = getattr(handler.unary_unary, "experimental_thread_pool", None)
        self._read = handler.request_deserializer
        self._write = handler.response_serializer
        self._without_deadline = min(longest or DEFAULT_DEADLINE.total_seconds(), DEFAULT_DEADLINE.total_seconds())
        self._with_deadline = longest
        self._response_class = _response_class(method)

    def __call__(self, request: bytes, context: Any) -> bytes:
        if self._gate.closed:
            self._gate.wait()
        try:
            return self._answer(request, context)
        except Exception as error:
            if _is_abort(error, context):
                raise
            context.abort_with_status(self._status_of(error, context))
            raise AssertionError("abort raises") from error
        finally:
            if self._gate.closed:
                self._gate.wait()

    def _answer(self, request: bytes, context: Any) -> bytes:
        deadline = self._deadline_of(context)
        if deadline.passed or not context.add_callback(deadline.cancel):
            raise DeadlineExceeded("the deadline passed before the call had its turn")
        _deadline.set(deadline)
        response = self._behavior(self._checked(request), context)
        # Writing alone would not do: a message of another class can be written as well.
        if type(response) is not self._response_class:
            raise TypeError(f"{self._method} returned a {type(response).__name__}")
        written: bytes = self._write(response)
        return written

    def _deadline_of(self, context: Any) -> Deadline:
        left, now = context.time_remaining(), time.monotonic()
        limit = self._without_deadline if left > _NO_DEADLINE else self._with_deadline
        return Deadline(now + left if limit is None else min(now + left, _arrived.get() + limit))

    def _checked(self, request: bytes) -> Message:
        try:
            message: Message = self._read(request)
        except DecodeError:
            raise InvalidArgument("the request is not a message of its type", reason="MALFORMED_REQUEST") from None
        check(message)
        return message

    def _status_of(self, error: Exception, context: Any) -> grpc.Status:
        """What the caller gets for any exception. Never raises: what goes wrong here is a bug like any other."""
        try:
            code = code_of(error) if isinstance(error, DomainError) else None
            if isinstance(error, DomainError) and code is not None:
                return _status_in_details(error, code, self._domain, max_bytes_of(context.invocation_metadata()))
        except Exception as bug:  # noqa: BLE001 - such as a text that UTF-8 can't write
            return self._internal(bug)
        return self._internal(error)

    def _internal(self, bug: Exception) -> grpc.Status:
        status: grpc.Status = rpc_status.to_status(bug_to_status(bug, self._domain, method=self._method))
        return status


def _is_abort(error: Exception, context: Any) -> bool:
    """Whether a handler ended the call by `context.abort()`: the status is set, and the exception says nothing."""
    return type(error) is Exception and not error.args and context.code() is not None


def _status_in_details(error: DomainError, code: grpc.StatusCode, domain: str, max_bytes: int) -> grpc.Status:
    """A domain error in as many details as the client takes."""
    facts = tuple(error.metadata.items())
    build = _status if len(error.violations) <= _FEW_VIOLATIONS else _status.__wrapped__
    return build(code, error.message, error.reason, facts, error.violations, domain, max_bytes)


@lru_cache(maxsize=_STATUSES_KEPT)
def _status(  # noqa: PLR0917 what an error says, as a key
    code: grpc.StatusCode,
    message: str,
    reason: str,
    facts: tuple[tuple[str, str], ...],
    violations: tuple[Violation, ...],
    domain: str,
    max_bytes: int,
) -> grpc.Status:
    """Kept, because callers in a rush get one error thousands of times a second."""
    error = DomainError(message, reason=reason, metadata=dict(facts), violations=violations)
    status: grpc.Status = rpc_status.to_status(to_status(error, domain, max_bytes=max_bytes, code=code))
    return status


def _response_class(method: str) -> type[Message]:
    """The class of what a method returns, by its full name."""
    descriptor = descriptor_pool.Default().FindMethodByName(method.removeprefix("/").replace("/", "."))
    response_class: type[Message] = GetMessageClass(descriptor.output_type)
    return response_class
