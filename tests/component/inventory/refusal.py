"""What a failed call says, read as a client without this project's code would."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure
from grpc_status import rpc_status

from tests.support.waiting import TIMEOUT_S


@dataclass(frozen=True)
class Refusal:
    """A status with its details; `failed` has (type, subject, description) of every condition that does not hold."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    bad_fields: list[str]
    failed: list[tuple[str, str, str]]


def refusal_of(call: Callable[..., Any], request: Any) -> Refusal:
    """Call and be refused."""
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=TIMEOUT_S)
    return read_refusal(error.value)


def read_refusal(error: Any) -> Refusal:
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error.code()} {error.details()}"
    info, bad, failed = ErrorInfo(), BadRequest(), PreconditionFailure()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(failed)
    return Refusal(
        error.code(),
        error.details(),
        info.reason,
        info.domain,
        dict(info.metadata),
        [violation.field for violation in bad.field_violations],
        [(violation.type, violation.subject, violation.description) for violation in failed.violations],
    )
