"""How a lock reaches its Redis: connections for calls, messages of its channel, and whether Redis is up.

After a failure every call fails at once, and one thread checks twice a second whether Redis is back. It is back when it
can be reached, accepts a subscription, and accepts writes.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from common.metrics import LOCK_OUTAGES
from common.redis.pool import TRY_EVERY_S, Connection, Script, WatchedPool, command
from common.redis.url import RedisUrl

log = structlog.get_logger(__name__)

_SILENCE_S: Final = 1.0  # after which Redis is sent a PING


class RedisConnections(WatchedPool):
    """Connections to one Redis.

    Args:
        url: Where it is.
        channel: Its channel.
        heard: Called with each message of the channel. Messages can be lost while it reconnects.
        back: Called on the listening thread when Redis is back, before anybody else may call it; it can `run` scripts.
        changed: Called when Redis went down or came back, or messages may have been lost.
        without_it: What happens while Redis is down; for the log.
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
        super().__init__(url, back=back, changed=changed, without_it=without_it, outages=LOCK_OUTAGES)
        self._channel = channel
        self._heard = heard
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
        super().close()

    def _keep_listening(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                connection = self.connect()
                try:
                    self._subscribe(connection)
                    self.came_back()
                    self._listen(connection)
                except (NotConnected, NoAnswer):
                    if not self._up:
                        raise
                    log.debug("the connection that listens to Redis broke: a new one tells whether Redis is there")
                finally:
                    connection.disconnect()
            except (RedisError, OSError) as error:
                self.went_away(error)
            if time.monotonic() - began < TRY_EVERY_S:
                self._closing.wait(TRY_EVERY_S)

    def _wake_listener(self) -> None:
        try:
            self.run(_PUBLISH_NOTHING, (), self._channel)
        except (RedisError, OSError):
            log.debug("the listener finds out by itself that its lock is closed")

    def _subscribe(self, connection: Connection) -> None:
        command(connection, "SUBSCRIBE", self._channel)
        self.check(f"{self._channel}:probe")

    def _listen(self, connection: Connection) -> None:
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


_PUBLISH_NOTHING: Final = Script("return redis.call('PUBLISH', ARGV[1], '')")
