"""The lock's drivers: the local one, and Redis when `TEST_REDIS_URL` names one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from common.lock.drivers import open_lock
from common.lock.port import Lock
from tests.support.engines import REDIS_URL

DRIVERS: Final = ["local", "redis"] if REDIS_URL else ["local"]
"""What a suite for every driver is parametrized with."""


@contextmanager
def own_lock(driver: str) -> Iterator[Lock]:
    """A lock with a key prefix of its own; its timeout is long, as Redis is slow on a busy machine."""
    made = open_lock("local://" if driver == "local" else f"{REDIS_URL}?prefix={uuid4().hex}:&timeout=20")
    try:
        yield made
    finally:
        made.close()
