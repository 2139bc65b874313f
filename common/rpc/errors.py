"""Domain errors on the wire: a `google.rpc.Status` with its details, and back.

    domain error          code                  details
    InvalidArgument       INVALID_ARGUMENT      ErrorInfo, BadRequest with each violation
    any other             the code of its name  ErrorInfo, PreconditionFailure with each violation
    a bug                 INTERNAL              ErrorInfo with the id that the log has

A status travels in the trailers. By default a client accepts 8 KB of trailers and fails the call
above that, so a long list of violations is cut and its length given in the metadata (`violations_total`). A client that
accepts more says so in the request header `reback-error-bytes`.
"""

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any as PackedDetail
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure
from google.rpc.status_pb2 import Status

from common.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Violation,
)
from common.plain_numbers import whole_number

STATUS_KEY: Final = "grpc-status-details-bin"
"""The trailer that carries the status."""

ERROR_BYTES_KEY: Final = "reback-error-bytes"
"""The request header by which a client says how many bytes of error details it takes."""

DEFAULT_MAX_BYTES: Final = 5_400
"""Bytes of status that fit into 8 KB of trailers even in base64, which many peers use for binary values."""

LARGEST_MAX_BYTES: Final = 60_000
"""Bytes of status above which no client gets more."""

TOTAL_KEY: Final = "violations_total"
"""The key in an error's metadata that tells how many violations there are when not all are listed."""

_MESSAGE_BYTES: Final = 480  # bytes of text on the wire, where a byte beyond ASCII takes three
_FRAMING: Final = 160  # bytes at most that the parts of a status need around them: type urls, tags, the total

_CODES: Final[dict[type[DomainError], grpc.StatusCode]] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    Aborted: grpc.StatusCode.ABORTED,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
_CLASSES: Final = {code: kind for kind, code in _CODES.items()}
_STATUS_CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

log = structlog.get_logger(__name__)


def code_of(error: DomainError) -> grpc.StatusCode | None:
    """The code of the nearest class that has one. None: the error should not reach a caller; it is a bug."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)


def to_status(
    error: DomainError, domain: str, *, max_bytes: int = DEFAULT_MAX_BYTES, code: grpc.StatusCode | None = None
) -> Status:
    """Write a domain error as a status.

    Args:
        error: The error.
        domain: Whose error it is: `inventory` or `order`.
        max_bytes: How many bytes the status may have. What does not fit is left out, the last violations first.
        code: Instead of the code of the error's class.

    Raises:
        ValueError: Neither `code` nor the error's class tells a code, or a text is none that UTF-8 can write.
    """
    code = code or code_of(error)
    if code is None:
        raise ValueError(f"{type(error).__name__} has no status code")
    status = Status(code=code.value[0], message=_cut_message(error.message))
    info = ErrorInfo(reason=error.reason, domain=domain)
    max_bytes -= status.ByteSize() + info.ByteSize() + _FRAMING
    max_bytes -= _put_metadata(info, error.metadata, max_bytes)
    violations = _fitting(error.violations, max_bytes)
    if len(violations) < len(error.violations):
        info.metadata[TOTAL_KEY] = str(len(error.violations))
    status.details.add().Pack(info)
    if violations:
        status.details.add().Pack(_details(code, violations))
    return status


def any_to_status(error: Exception, domain: str, *, max_bytes: int = DEFAULT_MAX_BYTES, **about: str) -> Status:
    """Write any exception as a status: a domain error as it is, anything else as a bug. Never raises.

    Args:
        error: The exception.
        domain: Whose error it is.
        max_bytes: How many bytes the status may have.
        about: What the log says of a bug besides its id and the exception.
    """
    try:
        if isinstance(error, DomainError) and code_of(error) is not None:
            return to_status(error, domain, max_bytes=max_bytes)
    except Exception as bug:  # noqa: BLE001 - such as a text that UTF-8 can't write
        return bug_to_status(bug, domain, **about)
    return bug_to_status(error, domain, **about)


def bug_to_status(bug: Exception, domain: str, **about: str) -> Status:
    """INTERNAL and an id that leads to the log, which says `about` too; never the exception's text."""
    error_id = secrets.token_hex(8)
    with contextlib.suppress(Exception):  # a log that can't be written does not change the answer
        log.error("call failed", error_id=error_id, exc_info=bug, **about)
    error = DomainError(f"internal error {error_id}", reason="INTERNAL", metadata={"error_id": error_id})
    return to_status(error, domain, code=grpc.StatusCode.INTERNAL)


def to_domain_error(error: grpc.RpcError) -> DomainError:
    """Read what a failed call said.

    The class tells what may be concluded: InvalidArgument, NotFound, FailedPrecondition and AlreadyExists are definite
    refusals; of every other it is not known whether the server acted. A code that no domain error has (CANCELLED,
    UNKNOWN, INTERNAL and their like) is `Unavailable`, its reason that of the server, or else the code's name.
    """
    answered = hasattr(error, "code")
    code = error.code() if answered else grpc.StatusCode.UNKNOWN
    text = error.details() if answered else str(error)
    return _domain_error(code, text, _read_status(error))


def from_status(status: Status) -> DomainError:
    """Read the error of one member of a batch, which travels in the answer; its class as of `to_domain_error`."""
    code = _STATUS_CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _domain_error(code, status.message, status)


def max_bytes_of(headers: Iterable[tuple[str, str | bytes]] | None) -> int:
    """How many bytes of status the client takes that sent `headers`; a value that is no plain number is ignored."""
    asked = next((value for key, value in headers or () if key == ERROR_BYTES_KEY), "")
    try:
        number = whole_number(str(asked))
    except ValueError:
        return DEFAULT_MAX_BYTES
    return min(max(number, DEFAULT_MAX_BYTES), LARGEST_MAX_BYTES)


def _cut_message(message: str) -> str:
    """As much of a message as the trailers have room for."""
    max_bytes = _MESSAGE_BYTES
    for at, character in enumerate(message):
        max_bytes -= 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if max_bytes < 0:
            return message[:at]
    return message


def _put_metadata(info: ErrorInfo, metadata: Mapping[str, str], max_bytes: int) -> int:
    """Put the facts into `info` that fit; the size of what was put."""
    used = 0
    for key, value in metadata.items():
        size = 4 + _size(key) + _size(value)
        if used + size <= max_bytes:
            info.metadata[key] = value
            used += size
    return used


def _fitting(violations: Sequence[Violation], max_bytes: int) -> Sequence[Violation]:
    """As many of the violations as fit, from the first."""
    for kept, violation in enumerate(violations):
        max_bytes -= 4 + _size(violation.subject) + _size(violation.description) + _size(violation.type)
        if max_bytes < 0:
            return violations[:kept]
    return violations


def _size(text: str) -> int:
    """Bytes that a text takes in a message, with its tag and length."""
    length = len(text.encode())
    return length + (2 if length < 128 else 3) if length else 0  # noqa: PLR2004 how protobuf writes a length


def _details(code: grpc.StatusCode, violations: Sequence[Violation]) -> BadRequest | PreconditionFailure:
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        bad = [BadRequest.FieldViolation(field=v.subject, description=v.description) for v in violations]
        return BadRequest(field_violations=bad)
    failed = [
        PreconditionFailure.Violation(type=v.type, subject=v.subject, description=v.description) for v in violations
    ]
    return PreconditionFailure(violations=failed)


def _domain_error(code: grpc.StatusCode, text: str | None, status: Status) -> DomainError:
    info = ErrorInfo()
    has_info = any(_unpack(detail, info) for detail in status.details)
    kind = _CLASSES.get(code, Unavailable)
    reason = info.reason if has_info else None if code in _CLASSES else code.name
    violations = tuple(_read_violations(status))
    error = kind(text or code.name, reason=reason, metadata=info.metadata, violations=violations)
    error.domain = info.domain
    return error


def _read_violations(status: Status) -> Iterator[Violation]:
    bad, failed = BadRequest(), PreconditionFailure()
    for detail in status.details:
        if _unpack(detail, bad):
            yield from (Violation(v.field, v.description) for v in bad.field_violations)
        elif _unpack(detail, failed):
            yield from (Violation(v.subject, v.description, v.type) for v in failed.violations)


def _unpack(detail: PackedDetail, into: Message) -> bool:
    """Read a detail; False: it is of another kind, or nobody can read it."""
    try:
        return bool(detail.Unpack(into))
    except DecodeError:
        return False


def _read_status(error: grpc.RpcError) -> Status:
    """The status that a failed call carries; an empty one when it carries none that can be read."""
    trailers: Any = error.trailing_metadata() if hasattr(error, "code") else ()
    for key, value in trailers or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status()
