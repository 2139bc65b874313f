"""A caller that repeats what it may repeat."""

from collections.abc import Callable
from typing import Final, TypeVar

import grpc

from tests.support.waiting import wait_until

T = TypeVar("T")

REPEATABLE: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}  # the server's own limit
)
"""The codes after which a caller may repeat its call, or start over."""


def until_done(call: Callable[[], T]) -> T:
    """Repeat a call while its outcome is unknown or its race was lost; give its answer."""
    answers: list[T] = []

    def done() -> bool:
        try:
            answers.append(call())
        except grpc.RpcError as error:
            if error.code() not in REPEATABLE:
                raise
        return bool(answers)

    wait_until(done, "an answer for good")
    return answers[0]
