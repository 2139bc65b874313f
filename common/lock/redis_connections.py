"""How a lock reaches its Redis: connections lent to threads, word from its channel, and whether it is there at all.

After a failure nobody asks any more: every call fails at once, and one thread tries twice a second whether Redis is
back. Redis is back when it can be reached, lets us listen, and lets us write.
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
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from common.lock.redis_url import RedisUrl
from common.metrics import LOCK_OUTAGES

log = structlog.get_logger(__name__)

_TRY_EVERY_S: Final = 0.5
_SILENCE_S: Final = 1.0  # after that much of it Redis is asked whether it is there
_FRESH_S: Final = 1.0  # a connection that idled longer may have been closed by the other side
_WARN_EVERY: Final = timedelta(seconds=10)


class RedisDown(Exception):
    """Redis gave no proper answer, or did not a moment ago."""


class _Connection(Protocol):
    """What is used of redis-py's connection, which has no types of its own."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_command(self, *words: str | int) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Any: ...


class Script:
    """A Lua script, called by its hash."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 how Redis names scripts

    def run(self, connection: _Connection, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        try:
            return _command(connection, "EVALSHA", self.sha, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis was restarted, or its scripts were flushed
            return _command(connection, "EVAL", self.source, len(keys), *keys, *arguments)


class RedisConnections:
    """Connections to one Redis.

    Args:
        url: Where it is.
        channel: What to listen to.
        heard: Called with each message of the channel. A message can be missed while a connection is made anew.
        back: Called on the listening thread before anybody else may call again; it can `run` scripts.
        changed: Called when Redis went away or came back, or messages may have been missed.
        without_it: What users of this do while Redis is down; for the log.
    """

    def __init__(
        self,
        url: RedisUrl,
        channel: str,
        *,
        heard: Callable[[str], None],
        back: Callable[[], None],
        changed: Callable[[], None],
        without_it: str,
    ) -> None:
        self._pool = _client(url).connection_pool
        self._channel = channel
        self._heard = heard
        self._back = back
        self._changed = changed
        self._without_it = without_it
        self._up = True  # until the first call finds out
        self._why = ""
        self._changing = threading.Lock()
        self._idle: deque[tuple[_Connection, float]] = deque()
        self._warned = float("-inf")
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen. Again is harmless."""
        if self._listener is None:
            with self._changing:
                if self._listener is None and not self._closing.is_set():
                    listener = threading.Thread(target=self._keep_listening, name="lock-listener", daemon=True)
                    listener.start()
                    self._listener = listener

    def close(self) -> None:
        with self._changing:
            self._closing.set()
        if self._up:
            self._wake_listener()
        if self._listener is not None:
            self._listener.join(2 * _SILENCE_S)
        self._drop_idle()
        if isinstance(self._pool, SentinelConnectionPool):
            self._pool.sentinel_manager.close()

    @property
    def up(self) -> bool:
        """Whether Redis was there the last time that anybody looked."""
        return self._up

    def call(self, script: Script, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a script, if Redis is there.

        Raises:
            RedisDown: It is not.
        """
        if not self._up:
            raise RedisDown(self._why)
        try:
            return self.run(script, keys, *arguments)
        except (RedisError, OSError) as error:
            self._went_away(error)
            raise RedisDown(self._why) from error

    def run(self, script: Script, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a script whether Redis was there or not. It may run twice when a connection breaks."""
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._run_on(connection, script, keys, arguments)
            except NotConnected:
                log.debug("a connection to Redis broke: a new one is tried")
        return self._run_on(self._connect(), script, keys, arguments)

    def _run_on(
        self, connection: _Connection, script: Script, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> Any:
        try:
            answer = script.run(connection, keys, arguments)
        except BaseException:
            connection.disconnect()  # an answer may still be on its way; it would be taken for the next one's
            raise
        if self._closing.is_set():
            connection.disconnect()
        else:
            self._idle.append((connection, time.monotonic()))
        return answer

    def _take_idle(self) -> _Connection | None:
        while True:
            try:
                connection, since = self._idle.pop()  # the one used last
            except IndexError:
                return None
            if time.monotonic() - since < _FRESH_S or not _is_broken(connection):
                return connection
            connection.disconnect()

    def _connect(self) -> _Connection:
        connection: _Connection = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()
        return connection

    def _drop_idle(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            connection.disconnect()

    def _keep_listening(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                connection = self._connect()
                try:
                    self._subscribe(connection)
                    self._came_back()
                    self._listen(connection)
                except (NotConnected, NoAnswer):
                    if not self._up:
                        raise
                    log.debug("the connection that listens to Redis broke: a new one tells whether Redis is there")
                finally:
                    connection.disconnect()
            except (RedisError, OSError) as error:
                self._went_away(error)
            if time.monotonic() - began < _TRY_EVERY_S:
                self._closing.wait(_TRY_EVERY_S)

    def _wake_listener(self) -> None:
        try:
            self.run(_PUBLISH_NOTHING, (), self._channel)
        except (RedisError, OSError):
            log.debug("the listener finds out by itself that its lock is closed")

    def _subscribe(self, connection: _Connection) -> None:
        _command(connection, "SUBSCRIBE", self._channel)
        # A replica that is no longer the master, or a Redis whose disk is full, can be reached and takes nothing.
        self.run(_TRY_TO_WRITE, [f"{self._channel}:probe"])

    def _listen(self, connection: _Connection) -> None:
        asked = False
        while self._up and not self._closing.is_set():
            if connection.can_read(timeout=_SILENCE_S):
                kind, *rest = connection.read_response()
                asked = False
                if kind == b"message" and rest[-1]:
                    self._heard(rest[-1].decode())
            elif asked:
                raise NoAnswer("no answer to PING")
            else:
                connection.send_command("PING")
                asked = True

    def _came_back(self) -> None:
        if not self._up:
            self._back()
            with self._changing:
                self._up = True
            log.info("Redis is there again")
        self._changed()

    def _went_away(self, error: Exception) -> None:
        now = time.monotonic()
        with self._changing:
            if not self._up:
                return
            self._up = False
            self._why = f"{type(error).__name__}: {error}"
            warn = now - self._warned >= _WARN_EVERY.total_seconds()
            if warn:
                self._warned = now
        LOCK_OUTAGES.inc()
        tell = log.warning if warn else log.debug  # it may come and go many times a second
        tell(f"Redis is down: {self._without_it}", error=self._why)
        self._drop_idle()
        self._changed()


_TRY_TO_WRITE: Final = Script("return redis.call('SET', KEYS[1], '', 'PX', 1000)")
_PUBLISH_NOTHING: Final = Script("return redis.call('PUBLISH', ARGV[1], '')")


def _command(connection: _Connection, *words: str | int) -> Any:
    connection.send_command(*words)
    return connection.read_response()


def _is_broken(connection: _Connection) -> bool:
    """Whether the other side closed it, or sent what nobody asked for."""
    try:
        return bool(connection.can_read(timeout=0))
    except (RedisError, OSError):
        return True


def _client(url: RedisUrl) -> redis.Redis:
    options: dict[str, Any] = {
        "socket_timeout": url.timeout.total_seconds(),
        "socket_connect_timeout": url.connect_timeout.total_seconds(),
        "retry": Retry(NoBackoff(), 0),  # who calls decides; a lost answer is not asked for again
        "protocol": 2,  # messages of a channel come as plain answers
        "driver_info": None,
    }
    if url.tls:
        options |= {
            "ssl": True,
            "ssl_ca_certs": url.tls_ca,
            "ssl_certfile": url.tls_cert,
            "ssl_keyfile": url.tls_key,
            "ssl_password": url.tls_key_password,
            "ssl_check_hostname": url.tls_check_hostname,
        }
    own: dict[str, Any] = {"db": url.database, "username": url.username, "password": url.password}
    if url.service is None:
        host, port = url.hosts[0]
        return redis.Redis(host=host, port=port, **options, **own)
    asking = {"username": url.sentinel_username, "password": url.sentinel_password}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # it has no types
        url.hosts, sentinel_kwargs={**options, **asking}, **options, **own
    )
    client: redis.Redis = sentinel.master_for(url.service)
    return client
