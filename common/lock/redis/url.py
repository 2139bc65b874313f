"""What the URL of a lock in Redis says; common/redis/url.py has the rest of it."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from common.redis.url import RedisUrl
from common.text_rules import Seconds


class RedisLockUrl(RedisUrl):
    """Where a Redis is, and how a lock uses it."""

    expiry: Annotated[timedelta, Seconds(0.3, 3600)] = Field(
        timedelta(seconds=15), description="after how long a dead holder's lock expires"
    )
