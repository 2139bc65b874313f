"""The error of a failed call as a client reads it: the code and every detail of its `google.rpc.Status`."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from common.rpc.errors import to_domain_error
from tests.support.waiting import TIMEOUT_S

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class RpcFailure:
    """An error as a client reads it.

    Attributes:
        code: The status code.
        reason, domain, metadata: Of its `ErrorInfo`.
        fields: The paths in its `BadRequest`; None: it has none.
        conditions: (type, subject, description) of its `PreconditionFailure`; None: it has none.
        message: For a person.
    """

    code: grpc.StatusCode
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: list[str] | None
    conditions: list[tuple[str, str, str]] | None
    message: str

    @property
    def subjects(self) -> list[str]:
        """What the conditions are about."""
        return [subject for _, subject, _ in self.conditions or ()]


def rpc_error(call: Callable[[], Any]) -> RpcFailure:
    """Make a call that has to fail, and read its error."""
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return read(failure.value)


def refusal_of(call: Callable[..., Any], request: Any) -> RpcFailure:
    """Send a request that has to be refused, and read the error."""
    return rpc_error(lambda: call(request, timeout=TIMEOUT_S))


def reason_of(call: Future[Any]) -> str:
    """The reason of the error that a call in the background ended with."""
    error = call.exception(TIMEOUT_S)
    assert isinstance(error, grpc.RpcError), f"no error: {call.result()}"
    return to_domain_error(error).reason


def read(error: Any) -> RpcFailure:
    """Read the error of a failed call; every error has to have an `ErrorInfo`."""
    status = rpc_status.from_call(error)
    assert status is not None, f"an error without details: {error!r}"
    assert status.code == error.code().value[0]
    return read_status(status)


def read_status(status: Status) -> RpcFailure:
    """Read an error; every one has to have an `ErrorInfo`."""
    info, bad, failed = ErrorInfo(), BadRequest(), PreconditionFailure()
    kinds = [detail.TypeName() for detail in status.details]
    assert len(set(kinds)) == len(kinds), f"a detail comes twice: {kinds}"
    assert any(detail.Unpack(info) for detail in status.details), f"no ErrorInfo in {kinds}"
    has_bad = any(detail.Unpack(bad) for detail in status.details)
    has_failed = any(detail.Unpack(failed) for detail in status.details)
    return RpcFailure(
        code=_CODES[status.code],
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad.field_violations] if has_bad else None,
        conditions=[(each.type, each.subject, each.description) for each in failed.violations] if has_failed else None,
        message=status.message,
    )
