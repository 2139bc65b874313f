"""Until when a caller waits, and whether it still does."""

import time
from dataclasses import dataclass, field
from threading import Event


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a caller's patience: a point on the monotonic clock, and a flag that it hung up.

    It travels from the RPC through use cases to remote calls and waits, so that nobody works for a caller that is
    gone.
    """

    at: float
    _cancelled: Event = field(default_factory=Event)

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def earlier_by(self, seconds: float) -> "Deadline":
        """The same caller, with `seconds` kept back for what comes after."""
        return Deadline(self.at - seconds, self._cancelled)

    def remaining(self) -> float:
        """Seconds left, never below zero; zero when cancelled."""
        return 0.0 if self._cancelled.is_set() else max(0.0, self.at - time.monotonic())

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def passed(self) -> bool:
        return self._cancelled.is_set() or time.monotonic() >= self.at
