"""A broker in memory that does nothing by itself: a test tells it what to deliver, to lose, to double and to ask.

It keeps the port's promise and no more. What a real broker may do it does whenever it is told to: deliver in any order
and again after an acknowledgement was lost, ask about half messages that are resolved already, deliver on every COMMIT
that it hears, and keep a message whose sender was told that it could not be sent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from threading import Condition

from common.clock import Clock
from common.messaging.port import (
    Broker,
    BrokerUnavailable,
    Checker,
    DeadLetter,
    Decide,
    Delivery,
    Handler,
    Message,
    Resolution,
)
from common.messaging.retries import pause_before_retry


class Send(Enum):
    """What becomes of sending a message."""

    TAKEN = "taken"
    REFUSED = "refused"
    """The broker does not have it."""
    ANSWER_LOST = "answer lost"
    """The broker has it; its sender is told that it could not be sent."""


@dataclass(eq=False)
class Half:
    """A half message.

    Attributes:
        topic: With its prefix.
        said: What was said of it, in order, whether or not the broker heard it.
        open: Whether the broker is going to ask about it: it heard neither COMMIT nor ROLLBACK, and did not give up.
    """

    topic: str
    message: Message
    sent: datetime
    said: list[Resolution] = field(default_factory=list)
    open: bool = True


@dataclass(eq=False)
class Parcel:
    """A message on its way to one group.

    Attributes:
        topic: With its prefix.
        due: Before this it is not to be delivered by itself.
    """

    id: str
    topic: str
    group: str
    message: Message
    due: datetime
    attempt: int = 0
    being_handled: bool = False


@dataclass(eq=False)
class Member:
    """A started broker's subscription."""

    handler: Handler
    running: int = 0


class Engine:
    """What the broker keeps: it outlives the `ScriptedBroker`s that speak to it, as a real one does.

    Args:
        clock: Tells what is due.
        tries: After how many a message is a dead letter.
        retry_after: The pause after the first failed try.
        told: Called with everything that is said of half messages, whether or not the broker hears it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        tries: int = 16,
        retry_after: timedelta = timedelta(seconds=1),
        told: Callable[["Half", Resolution], None] = lambda _half, _resolution: None,
    ) -> None:
        self.halves: list[Half] = []
        self.parcels: list[Parcel] = []
        self.changing = Condition()
        self._clock = clock
        self._tries = tries
        self._retry_after = retry_after
        self._told = told
        self._ids = 0
        self._members: dict[tuple[str, str], list[Member]] = {}
        self._checkers: dict[str, list[Checker]] = {}
        self._unclaimed: dict[str, list[tuple[Message, datetime]]] = {}
        self._dead: dict[str, tuple[Parcel, DeadLetter]] = {}

    # What senders and consumers do

    def take(self, topic: str, message: Message, delay: timedelta = timedelta()) -> None:
        """Keep a message for every group of its topic; for the first one to come, when there is none yet."""
        due = self._clock.now() + max(delay, timedelta())
        with self.changing:
            groups = [group for other, group in self._members if other == topic]
            if not groups:
                self._unclaimed.setdefault(topic, []).append((message, due))
            for group in groups:
                self._add(topic, group, message, due)

    def hold(self, topic: str, message: Message) -> Half:
        half = Half(topic, message, self._clock.now())
        with self.changing:
            self.halves.append(half)
        return half

    def say(self, half: Half, resolution: Resolution) -> None:
        """Say what became of a half message."""
        half.said.append(resolution)
        self._told(half, resolution)

    def resolve(self, half: Half, resolution: Resolution) -> None:
        """Hear what became of a half message. Every COMMIT delivers it, whatever was heard before."""
        if resolution is Resolution.UNKNOWN:
            return
        half.open = False
        if resolution is Resolution.COMMIT:
            self.take(half.topic, half.message)

    def join(self, topic: str, group: str, handler: Handler) -> Member:
        member = Member(handler)
        with self.changing:
            self._members.setdefault((topic, group), []).append(member)
            for message, due in self._unclaimed.pop(topic, []):
                self._add(topic, group, message, due)
        return member

    def leave(self, members: Sequence[Member]) -> None:
        """Deliver nothing more to these, and wait until they have handled what they have."""
        with self.changing:
            for group in self._members.values():
                group[:] = [member for member in group if member not in members]
            self.changing.wait_for(lambda: not any(member.running for member in members))

    def answer(self, topic: str, checker: Checker) -> None:
        self._checkers.setdefault(topic, []).append(checker)

    def no_longer_answer(self, checkers: Sequence[Checker]) -> None:
        for others in self._checkers.values():
            others[:] = [checker for checker in others if checker not in checkers]

    # What a test tells it to do

    def due(self, at_once: int) -> list[Parcel]:
        """What may be delivered by now, to members that have fewer than `at_once` messages in hand."""
        now = self._clock.now()
        with self.changing:
            return [
                parcel
                for parcel in self.parcels
                if parcel.due <= now and not parcel.being_handled and self._has_room(parcel, at_once)
            ]

    def deliver(self, parcel: Parcel, *, acknowledged: bool = True) -> Exception | None:
        """Hand a parcel to the member with the least to do, due or not; one that is not acknowledged stays.

        Returns:
            What the handler raised: the parcel comes again later, or is a dead letter.
        """
        return self.hand_over(parcel, self.begin(parcel), acknowledged=acknowledged)

    def begin(self, parcel: Parcel) -> Member:
        """Choose who gets a parcel."""
        with self.changing:
            member = self._idlest(parcel)
            member.running += 1
            parcel.being_handled = True
            parcel.attempt += 1
            return member

    def hand_over(self, parcel: Parcel, member: Member, *, acknowledged: bool = True) -> Exception | None:
        """Let a member that was chosen handle its parcel; returns as `deliver` does."""
        error: Exception | None = None
        handled = False
        try:
            member.handler(Delivery(parcel.message, parcel.id, parcel.attempt))
            handled = True
        except Exception as raised:  # noqa: BLE001 - whatever a handler raises means: again, later
            error = raised
        finally:
            with self.changing:
                member.running -= 1
                parcel.being_handled = False
                if error is not None:
                    self._put_off(parcel, error)
                elif handled and acknowledged:
                    self.lose(parcel)
                self.changing.notify_all()
        return error

    def lose(self, parcel: Parcel) -> None:
        """Forget a parcel; one that is not there any more is passed over."""
        with self.changing:
            if parcel in self.parcels:
                self.parcels.remove(parcel)

    def lose_everything(self) -> None:
        """Forget every message and every question, as when the disk is lost."""
        with self.changing:
            self.parcels.clear()
            for half in self.halves:
                half.open = False

    def ask(self, half: Half) -> Resolution:
        """Ask what became of a half message, resolved or not, and do as the answer says."""
        try:
            resolution = self._checkers[half.topic][0](half.message)
        except Exception:  # noqa: BLE001 - whatever a checker raises means UNKNOWN
            resolution = Resolution.UNKNOWN
        self.say(half, resolution)
        self.resolve(half, resolution)
        return resolution

    def open_halves(self) -> list[Half]:
        return [half for half in self.halves if half.open]

    def can_ask(self, half: Half) -> bool:
        return bool(self._checkers.get(half.topic))

    # Dead letters

    def dead_letters(self, topic: str, group: str) -> list[DeadLetter]:
        with self.changing:
            return [letter for parcel, letter in self._dead.values() if (parcel.topic, parcel.group) == (topic, group)]

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        with self.changing:
            if dead_letter_id not in {letter.id for letter in self.dead_letters(topic, group)}:
                raise KeyError(dead_letter_id)
            _, letter = self._dead.pop(dead_letter_id)
            self._add(topic, group, letter.message, self._clock.now())

    def _add(self, topic: str, group: str, message: Message, due: datetime) -> None:
        self._ids += 1
        self.parcels.append(Parcel(str(self._ids), topic, group, message, due))
        self.changing.notify_all()

    def _has_room(self, parcel: Parcel, at_once: int) -> bool:
        return any(member.running < at_once for member in self._members[parcel.topic, parcel.group])

    def _idlest(self, parcel: Parcel) -> Member:
        return min(self._members[parcel.topic, parcel.group], key=lambda member: member.running)

    def _put_off(self, parcel: Parcel, error: Exception) -> None:
        with self.changing:
            if parcel.attempt < self._tries:
                parcel.due = self._clock.now() + pause_before_retry(parcel.attempt, self._retry_after)
                return
            self.lose(parcel)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            now = self._clock.now()
            self._dead[parcel.id] = (
                parcel,
                DeadLetter(parcel.id, parcel.message, parcel.group, parcel.attempt, text, now),
            )


class ScriptedBroker(Broker):
    """A client of an `Engine`.

    Args:
        engine: Keeps the messages.
        topic_prefix: One an environment.
        sending: Asked what becomes of each message that is sent.
        answer_lost: Asked whether a resolution gets lost on its way to the broker.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        topic_prefix: str = "",
        sending: Callable[[], Send] = lambda: Send.TAKEN,
        answer_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._prefix = topic_prefix
        self._sending = sending
        self._answer_lost = answer_lost
        self._handlers: list[tuple[str, str, Handler]] = []
        self._checkers: list[tuple[str, Checker]] = []
        self._members: list[Member] = []
        self._closed = False

    def publish(self, message: Message) -> None:
        self.publish_later(message, timedelta())

    def publish_later(self, message: Message, delay: timedelta) -> None:
        self._send(lambda: self._engine.take(self._prefix + message.topic, message, delay))

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        half: list[Half] = []
        self._send(lambda: half.append(self._engine.hold(self._prefix + message.topic, message)))
        resolution = decide()
        self._engine.say(half[0], resolution)
        if not self._answer_lost():
            self._engine.resolve(half[0], resolution)
        return resolution

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        self._handlers.append((self._prefix + topic, group, handler))

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self._checkers.append((self._prefix + topic, checker))

    def start(self) -> None:
        for topic, checker in self._checkers:
            self._engine.answer(topic, checker)
        self._members = [self._engine.join(*subscription) for subscription in self._handlers]

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        return self._engine.dead_letters(self._prefix + topic, group)[:limit]

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        self._engine.replay(self._prefix + topic, group, dead_letter_id)

    def close(self) -> None:
        self._engine.no_longer_answer([checker for _, checker in self._checkers])
        self._engine.leave(self._members)
        self._closed = True

    def _send(self, take: Callable[[], object]) -> None:
        fate = Send.REFUSED if self._closed else self._sending()
        if fate is not Send.REFUSED:
            take()
        if fate is not Send.TAKEN:
            raise BrokerUnavailable(f"not sent: {fate.value}")
