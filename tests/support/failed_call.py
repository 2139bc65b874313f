"""A failed call as a stub raises it."""

from typing import Any

import grpc

from common.errors import DomainError
from common.rpc.errors import STATUS_KEY, code_of, to_status


class FailedCall(grpc.RpcError):
    """A code, and an error's details in the trailers where a service answered with one."""

    def __init__(self, code: grpc.StatusCode, answered: DomainError | None = None, domain: str = "inventory") -> None:
        super().__init__(str(answered or code.name))
        self._code = code
        self._trailers: tuple[Any, ...] = ()
        if answered is not None:
            self._trailers = ((STATUS_KEY, to_status(answered, domain, code=code).SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return str(self)

    def trailing_metadata(self) -> Any:
        return self._trailers


def answered(error: DomainError, domain: str = "inventory") -> FailedCall:
    """The call that a service ends with this error."""
    code = code_of(error)
    assert code is not None, f"{error!r} should not reach a caller"
    return FailedCall(code, error, domain)
