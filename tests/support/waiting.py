"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import Final

TIMEOUT_S: Final = 30.0
"""How long a test waits for what must come; only a failing test waits so long."""


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for a condition, or fail with `what` was waited for."""
    give_up = time.monotonic() + timeout_s
    pause = 0.005
    while not condition():
        assert time.monotonic() < give_up, f"waited {timeout_s} s in vain: {what}"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.05)  # a long wait must not take the processor from what it waits for
