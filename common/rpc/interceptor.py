"""What happens around every call before and after its handler: one interceptor, for its speed.

arrival  →  too late? drop it  →  read the request  →  field rules  →  handler  →  write the response
                                                        any error  →  a status with details
"""

import secrets
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, InvalidArgument, Violation
from common.rpc.errors import code_of, max_bytes_of, to_status
from common.rpc.gate import Gate
from common.rpc.streams import OpenStreams
from common.rpc.validation import check, compile_rules

DEFAULT_DEADLINE: Final = timedelta(seconds=10)
"""What a call gets that comes without a deadline, from its arrival on."""

_NO_DEADLINE: Final = 1e9  # seconds left above which a call has none: gRPC tells an absent one as the end of time

_REFUSALS_KEPT: Final = 256
_FEW_VIOLATIONS: Final = 16  # of a refusal that is kept; a request may break any number of rules

_arrived: ContextVar[float] = ContextVar("arrived")
_deadline: ContextVar[Deadline] = ContextVar("deadline")

_log = structlog.get_logger(__name__)


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
        request_class, self._response_class = _message_classes(method)
        compile_rules(request_class)

    def __call__(self, request: bytes, context: Any) -> bytes:
        if self._gate.closed:
            self._gate.wait()
        try:
            return self._answer(request, context)
        except DomainError as error:
            self._refuse(error, context)
        except Exception as bug:  # a caller gets an id, never the exception's text
            if context.code() is not None and type(bug) is Exception and not bug.args:
                raise  # context.abort() speaks so; the status is set
            self._fail(bug, context)
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

    def _refuse(self, error: DomainError, context: Any) -> NoReturn:
        """End the call with a domain error, in as many details as the client takes."""
        code = code_of(error)
        if code is None:  # an error that no caller should see
            self._fail(error, context)
        max_bytes = max_bytes_of(context.invocation_metadata())
        facts = tuple(error.metadata.items())
        write = _refusal if len(error.violations) <= _FEW_VIOLATIONS else _refusal.__wrapped__
        try:
            status = write(code, error.message, error.reason, facts, error.violations, self._domain, max_bytes)
        except ValueError as bug:  # a text that UTF-8 can't write
            self._fail(bug, context)
        context.abort_with_status(status)
        raise AssertionError  # abort raises

    def _fail(self, bug: Exception, context: Any) -> NoReturn:
        """End the call with INTERNAL and an id that leads to the log."""
        error_id = secrets.token_hex(8)
        _log.error("call failed", method=self._method, error_id=error_id, exc_info=bug)
        told = DomainError(f"internal error {error_id}", reason="INTERNAL", metadata={"error_id": error_id})
        context.abort_with_status(rpc_status.to_status(to_status(told, self._domain, code=grpc.StatusCode.INTERNAL)))
        raise AssertionError  # abort raises


@lru_cache(maxsize=_REFUSALS_KEPT)
def _refusal(  # noqa: PLR0917 what an error says, as a key
    code: grpc.StatusCode,
    message: str,
    reason: str,
    facts: tuple[tuple[str, str], ...],
    violations: tuple[Violation, ...],
    domain: str,
    max_bytes: int,
) -> grpc.Status:
    """An error as it is told; kept, for a flash sale refuses thousands a second in the same words."""
    error = DomainError(message, reason=reason, metadata=dict(facts), violations=violations)
    status: grpc.Status = rpc_status.to_status(to_status(error, domain, max_bytes=max_bytes, code=code))
    return status


def _message_classes(method: str) -> tuple[type[Message], type[Message]]:
    """The classes of a method's request and response, by its full name."""
    descriptor = descriptor_pool.Default().FindMethodByName(method.removeprefix("/").replace("/", "."))
    return GetMessageClass(descriptor.input_type), GetMessageClass(descriptor.output_type)
