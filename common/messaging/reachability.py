"""Whether a broker is reachable; listeners hear of each change once."""

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

Listener = Callable[[bool], None]


class Reachability:
    """Starts as reachable. `report` belongs to one thread; listeners are added before it begins to report.

    Args:
        broker: What logs call the broker, such as "RocketMQ".
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._listeners: list[Listener] = []
        self._reachable = True

    @property
    def is_reachable(self) -> bool:
        """What was reported last."""
        return self._reachable

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def report(self, *, reachable: bool, why: str = "") -> None:
        """Log a change and tell the listeners; what is known already does nothing.

        Args:
            reachable: Whether the broker answers now.
            why: What is wrong, for the log.
        """
        if reachable is self._reachable:
            return
        self._reachable = reachable
        if reachable:
            log.info("broker is reachable again", broker=self._broker)
        else:
            log.error("broker is unreachable", broker=self._broker, error=why)
        for listener in self._listeners:
            listener(reachable)
