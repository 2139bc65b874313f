"""The checkers of a broker: one a topic, which answers check-backs."""

from collections.abc import Collection

import structlog

from common.messaging.port import Checker, Message, Resolution
from common.messaging.retries import one_line

log = structlog.get_logger(__name__)


class Checkers:
    """Keeps checkers by topic, without the environment's prefix. Add all of them before the broker starts."""

    def __init__(self) -> None:
        self._checkers: dict[str, Checker] = {}

    @property
    def topics(self) -> Collection[str]:
        return self._checkers.keys()

    def add(self, topic: str, checker: Checker) -> None:
        """Let `checker` answer for a topic.

        Raises:
            ValueError: The topic has a checker already.
        """
        if topic in self._checkers:
            raise ValueError(f"{topic!r} has a checker already")
        self._checkers[topic] = checker

    def resolve(self, half: Message) -> Resolution:
        """What the topic's checker says of a half message. Never raises.

        UNKNOWN when the checker raises, returns something else (None must not drop a message), or is missing.
        """
        try:
            resolution: object = self._checkers[half.topic](half)
        except BaseException as error:  # noqa: BLE001 - whatever a checker raises, the broker will ask again
            log.warning("checker failed", topic=half.topic, key=half.key, error=one_line(error))
            return Resolution.UNKNOWN
        return resolution if isinstance(resolution, Resolution) else Resolution.UNKNOWN
