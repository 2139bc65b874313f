"""How this process reaches a Redis: connections lent to threads, and whether it is there at all.

The connections are redis-py's, without its client, which costs more than Redis itself.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import redis
import structlog
from prometheus_client import Counter
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from common.redis.url import RedisUrl

log = structlog.get_logger(__name__)

TRY_EVERY_S: Final = 0.5
"""Seconds between two checks whether a Redis that was down is back."""

_WARN_EVERY: Final = timedelta(seconds=10)
_FRESH_S: Final = 1.0  # a connection that idled longer may have been closed by the other side


class RedisDown(Exception):
    """Redis did not answer properly, now or a moment ago."""


class Connection(Protocol):
    """The part of redis-py's connection that is used here; it has no types of its own."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_command(self, *words: str | int) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Any: ...


class Runnable(Protocol):
    """What a connection can be asked."""

    def run(self, connection: Connection, keys: Sequence[str], arguments: Sequence[str | int]) -> Any: ...


class Get:
    """The value of one key, for less than a script costs."""

    def run(self, connection: Connection, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:  # noqa: ARG002
        return command(connection, "GET", *keys)


class Script:
    """A Lua script, called by its hash."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 how Redis names scripts

    def run(self, connection: Connection, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        try:
            return command(connection, "EVALSHA", self.sha, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis was restarted, or its scripts were flushed
            return command(connection, "EVAL", self.source, len(keys), *keys, *arguments)


class RedisPool:
    """Connections to one Redis. A call raises what went wrong; whether to repeat it is for its caller to decide."""

    def __init__(self, url: RedisUrl) -> None:
        self._pool = _client(url).connection_pool
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closing = threading.Event()

    def close(self) -> None:
        """Close what is idle now, and what becomes idle from now on."""
        self._closing.set()
        self.drop_idle()
        if isinstance(self._pool, SentinelConnectionPool):
            self._pool.sentinel_manager.close()

    def run(self, script: Runnable, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a script, even if Redis is thought to be down. It may run twice when a connection breaks."""
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._run_on(connection, script, keys, arguments)
            except NotConnected:
                log.debug("a connection to Redis broke: a new one is tried")
        return self._run_on(self.connect(), script, keys, arguments)

    def _run_on(
        self, connection: Connection, script: Runnable, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> Any:
        try:
            answer = script.run(connection, keys, arguments)
        except BaseException:
            connection.disconnect()  # its answer may still arrive, and would be taken for the next call's
            raise
        if self._closing.is_set():
            connection.disconnect()
        else:
            self._idle.append((connection, time.monotonic()))
        return answer

    def _take_idle(self) -> Connection | None:
        while True:
            try:
                connection, since = self._idle.pop()  # the one used last
            except IndexError:
                return None
            if time.monotonic() - since < _FRESH_S or not _is_broken(connection):
                return connection
            connection.disconnect()

    def connect(self) -> Connection:
        connection: Connection = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()
        return connection

    def drop_idle(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            connection.disconnect()


class WatchedPool(RedisPool):
    """Connections to a Redis that may go down: after a failure every `call` fails at once, until Redis is back.

    Its user finds out: it calls `check` each `TRY_EVERY_S`, and then `came_back`.

    Args:
        url: Where it is.
        back: Called when Redis is back, before anybody else may call it; it can `run` scripts.
        changed: Called when Redis went down or came back.
        without_it: What happens while Redis is down; for the log.
        outages: Counts how often it went down.
    """

    def __init__(
        self,
        url: RedisUrl,
        *,
        back: Callable[[], None],
        changed: Callable[[], None],
        without_it: str,
        outages: Counter,
    ) -> None:
        super().__init__(url)
        self._back = back
        self._changed = changed
        self._without_it = without_it
        self._outages = outages
        self._up = True  # until the first call finds out
        self._why = ""
        self._warned = float("-inf")
        self._changing = threading.Lock()

    @property
    def up(self) -> bool:
        """Whether Redis answered the last time that it was called."""
        return self._up

    def call(self, script: Runnable, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a script, if Redis is up.

        Raises:
            RedisDown: It is down.
        """
        if not self._up:
            raise RedisDown(self._why)
        try:
            return self.run(script, keys, *arguments)
        except (RedisError, OSError) as error:
            self.went_away(error)
            raise RedisDown(self._why) from error

    def check(self, key: str) -> None:
        """Check that it accepts writes: writes `key`, for a second.

        A former master that is a replica now, or a Redis whose disk is full, answers but accepts none.

        Raises:
            RedisError, OSError: It does not.
        """
        self.run(_TRY_TO_WRITE, [key])

    def came_back(self) -> None:
        """Let everybody call again. Harmless when Redis was not down."""
        if not self._up:
            self._back()
            with self._changing:
                self._up = True
            log.info("Redis is there again")
        self._changed()

    def went_away(self, error: Exception) -> None:
        """Let nobody call any more. Harmless when Redis was down already."""
        now = time.monotonic()
        with self._changing:
            if not self._up:
                return
            self._up = False
            self._why = f"{type(error).__name__}: {error}"
            warn = now - self._warned >= _WARN_EVERY.total_seconds()
            if warn:
                self._warned = now
        self._outages.inc()
        tell = log.warning if warn else log.debug  # it may come and go many times a second
        tell(f"Redis is down: {self._without_it}", error=self._why)
        self.drop_idle()
        self._changed()


_TRY_TO_WRITE: Final = Script("return redis.call('SET', KEYS[1], '', 'PX', 1000)")


def command(connection: Connection, *words: str | int) -> Any:
    """Send one command and read its answer."""
    connection.send_command(*words)
    return connection.read_response()


def _is_broken(connection: Connection) -> bool:
    """Whether the other side closed it, or sent something unasked."""
    try:
        return bool(connection.can_read(timeout=0))
    except (RedisError, OSError):
        return True


def _client(url: RedisUrl) -> redis.Redis:
    options: dict[str, Any] = {
        "socket_timeout": url.timeout.total_seconds(),
        "socket_connect_timeout": url.connect_timeout.total_seconds(),
        "retry": Retry(NoBackoff(), 0),  # its caller decides; a call whose answer was lost is not repeated
        "protocol": 2,  # messages of a channel come as plain answers
        "driver_info": None,
    }
    if url.tls:
        options |= {
            "ssl": True,
            "ssl_ca_certs": url.tls_ca,
            "ssl_certfile": url.tls_cert,
            "ssl_keyfile": url.tls_key,
            "ssl_password": _revealed(url.tls_key_password),
            "ssl_check_hostname": url.tls_check_hostname,
        }
    own: dict[str, Any] = {"db": url.database, "username": url.user, "password": _revealed(url.password)}
    if url.service is None:
        host, port = url.hosts[0]
        return redis.Redis(host=host, port=port, **options, **own)
    asking = {"username": url.sentinel_username, "password": _revealed(url.sentinel_password)}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # it has no types
        url.hosts, sentinel_kwargs={**options, **asking}, **options, **own
    )
    client: redis.Redis = sentinel.master_for(url.service)
    return client


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
