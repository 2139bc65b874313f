from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedDetail
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
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
from common.lock.port import LockBusy, LockLost
from common.rpc.errors import (
    DEFAULT_MAX_BYTES,
    LARGEST_MAX_BYTES,
    STATUS_KEY,
    code_of,
    from_status,
    max_bytes_of,
    to_domain_error,
    to_status,
)

CLASSES = [
    InvalidArgument,
    NotFound,
    FailedPrecondition,
    AlreadyExists,
    Aborted,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
]


class Failed(grpc.RpcError):
    """A failed call as a client sees it."""

    def __init__(self, code: grpc.StatusCode, details: str | None = "", trailers: Any = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def sent(status: Status) -> Failed:
    code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
    return Failed(code, status.message, ((STATUS_KEY, status.SerializeToString()),))


def there_and_back(error: DomainError) -> DomainError:
    return to_domain_error(sent(to_status(error, "inventory")))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_comes_back_as_it_went(kind: type[DomainError]) -> None:
    subject = "lines[2].sku" if kind is InvalidArgument else "tea"
    violation = Violation(subject, "is wrong", "" if kind is InvalidArgument else "NO_STOCK")
    error = kind("tea is wrong", reason="TEA_IS_WRONG", metadata={"sku": "tea", "茶": "🍵"}, violations=[violation])
    back = there_and_back(error)
    assert type(back) is kind
    assert str(back) == back.message == "tea is wrong"
    assert (back.reason, back.metadata, back.violations) == (error.reason, error.metadata, error.violations)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_inside_an_answer_reads_like_that_of_a_call(kind: type[DomainError]) -> None:
    status = to_status(kind("no", reason="WHY", violations=[Violation("tea", "is wrong")]), "inventory")
    back = from_status(status)
    assert type(back) is kind
    assert (back.message, back.reason, back.violations) == ("no", "WHY", (Violation("tea", "is wrong"),))


@pytest.mark.parametrize("code", [0, 77, -1, Code.INTERNAL])
def test_an_error_inside_an_answer_of_any_other_code_is_unclear(code: int) -> None:
    assert type(from_status(Status(code=code))) is Unavailable


def test_an_error_tells_which_service_it_is_of() -> None:
    assert there_and_back(NotFound("no")).domain == "inventory"
    assert from_status(to_status(NotFound("no"), "order")).domain == "order"
    assert to_domain_error(Failed(grpc.StatusCode.NOT_FOUND)).domain == NotFound("no").domain == ""


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_has_a_reason_of_its_own(kind: type[DomainError]) -> None:
    back = there_and_back(kind("no"))
    assert back.reason == kind("no").reason
    assert back.violations == ()


def test_a_subclass_goes_by_the_code_of_its_class() -> None:
    assert code_of(LockBusy("busy")) is grpc.StatusCode.ABORTED
    assert there_and_back(LockBusy("busy")).reason == "LOCK_BUSY"


def test_an_error_without_a_class_has_no_code() -> None:
    assert code_of(LockLost("lost")) is None
    with pytest.raises(ValueError, match="LockLost"):
        to_status(LockLost("lost"), "inventory")


def test_a_field_error_is_a_bad_request_with_the_domain() -> None:
    status = to_status(InvalidArgument("no", violations=[Violation("lines[2].sku", "too long")]), "order")
    info, bad = ErrorInfo(), BadRequest()
    assert status.code == Code.INVALID_ARGUMENT
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_ARGUMENT", "order")
    assert [(each.field, each.description) for each in bad.field_violations] == [("lines[2].sku", "too long")]


def test_a_condition_that_does_not_hold_is_a_precondition_failure() -> None:
    status = to_status(FailedPrecondition("no", violations=[Violation("tea", "asked 5, available 3", "NO_STOCK")]), "a")
    failure = PreconditionFailure()
    assert status.details[1].Unpack(failure)
    assert [(v.type, v.subject, v.description) for v in failure.violations] == [
        ("NO_STOCK", "tea", "asked 5, available 3")
    ]


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNAVAILABLE, Unavailable, "UNAVAILABLE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (grpc.StatusCode.ABORTED, Aborted, "ABORTED"),
        (grpc.StatusCode.NOT_FOUND, NotFound, "NOT_FOUND"),
        (grpc.StatusCode.CANCELLED, Unavailable, "CANCELLED"),
        (grpc.StatusCode.UNKNOWN, Unavailable, "UNKNOWN"),
        (grpc.StatusCode.INTERNAL, Unavailable, "INTERNAL"),
        (grpc.StatusCode.UNIMPLEMENTED, Unavailable, "UNIMPLEMENTED"),
        (grpc.StatusCode.DATA_LOSS, Unavailable, "DATA_LOSS"),
        (grpc.StatusCode.OUT_OF_RANGE, Unavailable, "OUT_OF_RANGE"),
        (grpc.StatusCode.PERMISSION_DENIED, Unavailable, "PERMISSION_DENIED"),
        (grpc.StatusCode.UNAUTHENTICATED, Unavailable, "UNAUTHENTICATED"),
    ],
)
def test_without_details_the_code_decides(code: grpc.StatusCode, kind: type[DomainError], reason: str) -> None:
    back = to_domain_error(Failed(code, "went wrong"))
    assert type(back) is kind
    assert (back.reason, back.message, back.metadata, back.violations) == (reason, "went wrong", {}, ())


def test_an_error_that_no_server_answered_is_unclear() -> None:
    assert type(to_domain_error(grpc.RpcError("gone"))) is Unavailable
    assert to_domain_error(Failed(grpc.StatusCode.UNAVAILABLE)).message == "UNAVAILABLE"
    assert to_domain_error(Failed(grpc.StatusCode.UNAVAILABLE, None, None)).reason == "UNAVAILABLE"


def test_details_that_nobody_can_read_are_passed_over() -> None:
    garbage = Failed(grpc.StatusCode.NOT_FOUND, "no", ((STATUS_KEY, b"\xff\xff\xff"), ("other", "x")))
    assert to_domain_error(garbage).reason == "NOT_FOUND"


@pytest.mark.parametrize("kind", [ErrorInfo, BadRequest, PreconditionFailure])
def test_a_detail_that_nobody_can_read_is_passed_over(kind: type[Message]) -> None:
    unreadable = PackedDetail(type_url=f"type.googleapis.com/{kind.DESCRIPTOR.full_name}", value=b"\xff\xff\xff")
    status = Status(code=5, details=[unreadable, *to_status(NotFound("no", reason="SKU_NOT_FOUND"), "order").details])
    failed = Failed(grpc.StatusCode.NOT_FOUND, "no", ((STATUS_KEY, status.SerializeToString()),))
    assert to_domain_error(failed).reason == "SKU_NOT_FOUND"


def test_a_bug_of_the_server_keeps_its_id_and_is_unclear() -> None:
    status = to_status(
        DomainError("internal error 7", reason="INTERNAL", metadata={"error_id": "7"}),
        "inventory",
        code=grpc.StatusCode.INTERNAL,
    )
    back = to_domain_error(sent(status))
    assert type(back) is Unavailable
    assert (back.reason, back.metadata) == ("INTERNAL", {"error_id": "7"})


def hundred_short_skus(sku: str) -> list[Violation]:
    return [Violation(f"{sku}{n:02}", "asked 2147483647, available 9", "NO_STOCK") for n in range(100)]


def test_a_hundred_short_skus_fit_where_there_is_room() -> None:
    error = FailedPrecondition("short", violations=hundred_short_skus("😀" * 62))
    status = to_status(error, "inventory", max_bytes=LARGEST_MAX_BYTES)
    assert status.ByteSize() <= LARGEST_MAX_BYTES
    assert to_domain_error(sent(status)).violations == error.violations


@pytest.mark.parametrize("sku", ["t", "tea", "茶" * 20, "😀" * 62])
@pytest.mark.parametrize("max_bytes", [DEFAULT_MAX_BYTES, 20_000])
def test_what_does_not_fit_is_cut_and_the_total_told(sku: str, max_bytes: int) -> None:
    error = FailedPrecondition("short", metadata={"order_sn": "1"}, violations=hundred_short_skus(sku))
    status = to_status(error, "inventory", max_bytes=max_bytes)
    back = to_domain_error(sent(status))
    assert status.ByteSize() <= max_bytes
    assert back.metadata.pop("violations_total", "100") == "100"
    assert back.metadata == {"order_sn": "1"}
    assert back.violations == error.violations[: len(back.violations)]
    if len(back.violations) < 100:
        assert status.ByteSize() > max_bytes - 700  # no more is left out than has to be


@pytest.mark.parametrize("letter", ["x", "%", "é", "茶", "😀", "\n"])
def test_a_message_of_any_length_and_script_leaves_the_trailers_small(letter: str) -> None:
    status = to_status(NotFound(letter * 3000), "inventory")
    assert 0 < len(percent_encoded(status.message)) <= 480
    assert (letter * 3000).startswith(status.message)


def percent_encoded(text: str) -> str:
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in text.encode())


def test_facts_that_do_not_fit_are_omitted() -> None:
    status = to_status(NotFound("no", metadata={"long": "x" * 9000, "sku": "tea"}), "inventory")
    assert to_domain_error(sent(status)).metadata == {"sku": "tea"}


@pytest.mark.parametrize(
    ("asked", "max_bytes"),
    [("", DEFAULT_MAX_BYTES), ("1", DEFAULT_MAX_BYTES), ("x", DEFAULT_MAX_BYTES),
     ("-5", DEFAULT_MAX_BYTES), ("٣٠٠٠٠", DEFAULT_MAX_BYTES),
     ("+20000", DEFAULT_MAX_BYTES), (" 20000", DEFAULT_MAX_BYTES), ("20_000", DEFAULT_MAX_BYTES),
     ("20000\n", DEFAULT_MAX_BYTES), ("9" * 50, DEFAULT_MAX_BYTES), ("9" * 4_301, DEFAULT_MAX_BYTES),
     (b"9", DEFAULT_MAX_BYTES), ("20000", 20_000), ("60001", LARGEST_MAX_BYTES)],
)  # fmt: skip
def test_a_client_gets_the_bytes_it_asks_for_within_bounds(asked: str | bytes, max_bytes: int) -> None:
    assert max_bytes_of([("user-agent", "x"), ("reback-error-bytes", asked)]) == max_bytes
    assert max_bytes_of([]) == DEFAULT_MAX_BYTES
    assert max_bytes_of(None) == DEFAULT_MAX_BYTES


def test_a_status_survives_a_proxy_that_changed_its_text() -> None:
    status = to_status(NotFound("no tea", reason="SKU_NOT_FOUND"), "inventory")
    changed = Failed(grpc.StatusCode.NOT_FOUND, "proxied: no tea", ((STATUS_KEY, status.SerializeToString()),))
    assert to_domain_error(changed).reason == "SKU_NOT_FOUND"
    assert Status.FromString(status.SerializeToString()) == status
