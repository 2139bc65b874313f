"""How a transaction is repeated that others were in the way of."""

import random
import time
from typing import Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from common.database.errors import Contended
from common.metrics import DATABASE_REPEATS

_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.5
_MOST_TRIES: Final = 10  # for an error that the work itself asked to be repeated for


def pause_before_first_repeat() -> None:
    time.sleep(random.uniform(0, _FIRST_PAUSE_S))  # noqa: S311 no secret


def retrying(timeout: float) -> Retrying:
    """Repeats what raises `Contended`, for so many seconds.

    What is repeated takes as its second argument the errors that its work asked to be repeated for.
    """
    return Retrying(
        retry=retry_if_exception_type(Contended),
        # The whole pause is random: with a fixed part, those who met once meet again.
        wait=wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        stop=stop_before_delay(timeout) | _TriedOftenEnough(),
        before=lambda _: DATABASE_REPEATS.inc(),
        reraise=True,
    )


class _TriedOftenEnough(stop_base):
    """Stops after `_MOST_TRIES` of an error that the work asked to be repeated for."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        repeat_on = retry_state.args[1]
        return (
            error is not None and isinstance(error.__cause__, repeat_on) and retry_state.attempt_number >= _MOST_TRIES
        )
