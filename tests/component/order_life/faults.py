"""What can go wrong during one call. Every place where it can asks the `Weather` what happens there now."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from common.crash_points import no_crash
from common.database import CommitUnknown, Database, Statement
from tests.support.scripted_broker import Send

if TYPE_CHECKING:
    from tests.component.order_life.world import World

T = TypeVar("T")

COMMIT_UNKNOWN: Final = "commit_unknown"
"""A point like the crash points: the connection was lost at COMMIT, and nothing was read since."""


class Crash(BaseException):
    """The process was killed here: nothing that it meant to do after this happens."""


class _Fate(Enum):
    def __repr__(self) -> str:  # as it is written in a test
        return f"{type(self).__name__}.{self.name}"


class Commit(_Fate):
    """What becomes of a COMMIT."""

    KEPT = "kept"
    LOST_BEFORE = "connection lost before it"
    LOST_AFTER = "connection lost after it"
    KILLED_BEFORE = "process killed before it"
    KILLED_AFTER = "process killed after it"


class Call(_Fate):
    """What becomes of a call to inventory."""

    ANSWERED = "answered"
    NEVER_ARRIVED = "never arrived"
    BUSY = "inventory could not acquire the lock in time, and says so"
    ANSWER_LOST = "carried out, the answer lost"
    LATE = "arrives when its caller waits no longer"
    ONE_LATE = "of several, one arrives late, and the answer leaves it out"
    ONE_LEFT_OUT = "carried out, the answer leaves one of several out"
    ONE_DOUBLED = "carried out, the answer has one of several twice"
    INVALID = "refused as a whole, nothing is done"
    FULL = "inventory's queue is full, nothing is done, and it says so"


class Poisoned(Exception):
    """What is wrong with one order, and would be with no other."""


@dataclass(frozen=True)
class Poison:
    """An order that can't be written.

    Attributes:
        statement: How the statement begins that fails.
        order: Which of the orders that the call is about.
    """

    statement: str
    order: int


class Action(Protocol):
    """Something that a caller, the broker, an operator or the clock does."""

    @property
    def faults(self) -> "Faults": ...

    def run(self, world: "World") -> None: ...


@dataclass(frozen=True, repr=False)
class Faults:
    """What goes wrong during one call. The first of a tuple meets the first thing of its kind that is done, and so on.

    Attributes:
        crash_at: The point where the process is killed.
        meanwhile: What others do while the call is at a point.
        commits: Of the order service.
        stock_commits: Of inventory.
        calls: From order to inventory.
        sends: To the broker.
        answer_lost: The broker does not hear what became of the half message.
        poison: One of its orders can't be written.
    """

    crash_at: str = ""
    meanwhile: tuple[tuple[str, Action], ...] = ()
    commits: tuple[Commit, ...] = ()
    stock_commits: tuple[Commit, ...] = ()
    calls: tuple[Call, ...] = ()
    sends: tuple[Send, ...] = ()
    answer_lost: bool = False
    poison: Poison | None = None

    def __repr__(self) -> str:
        happens = {each.name: getattr(self, each.name) for each in fields(self)}
        return f"Faults({', '.join(f'{name}={what!r}' for name, what in happens.items() if what)})"

    def __bool__(self) -> bool:
        return self != NO_FAULTS

    def __or__(self, other: "Faults") -> "Faults":
        """Both, as far as they do not speak of the same."""
        return Faults(*(getattr(self, each.name) or getattr(other, each.name) for each in fields(self)))


NO_FAULTS: Final = Faults()


class _Left:
    """What of some faults has not happened yet."""

    def __init__(self, faults: Faults) -> None:
        self.crash_at = faults.crash_at
        self.meanwhile = list(faults.meanwhile)
        self.commits = deque(faults.commits)
        self.stock_commits = deque(faults.stock_commits)
        self.calls = deque(faults.calls)
        self.sends = deque(faults.sends)
        self.answer_lost = faults.answer_lost
        self.poison = faults.poison
        self.orders: list[str] = []
        self.loses_commits = bool(faults.commits)
        self.overtaken = False


class Weather:
    """The faults of the call that is being made; those of a call that waits for it are put aside."""

    def __init__(self) -> None:
        self._calls = [_Left(NO_FAULTS)]

    @contextmanager
    def during(self, faults: Faults) -> Iterator[None]:
        self._calls.append(_Left(faults))
        try:
            yield
        finally:
            self._calls.pop()

    @property
    def _now(self) -> _Left:
        return self._calls[-1]

    def commit(self) -> Commit:
        return _next(self._now.commits, Commit.KEPT)

    def stock_commit(self) -> Commit:
        return _next(self._now.stock_commits, Commit.KEPT)

    def call(self) -> Call:
        return _next(self._now.calls, Call.ANSWERED)

    def send(self) -> Send:
        return _next(self._now.sends, Send.TAKEN)

    def answer_lost(self) -> bool:
        return self._now.answer_lost

    def is_about(self, order_sn: str) -> None:
        """The call is about this order, and those before."""
        self._now.orders.append(order_sn)

    def poisons(self, statement: str, values: Sequence[object]) -> bool:
        poison = self._now.poison
        if poison is None or not statement.startswith(poison.statement):
            return False
        return bool(self._now.orders) and self._now.orders[poison.order % len(self._now.orders)] in values

    @property
    def loses_commits(self) -> bool:
        """Whether the call may not have been able to write what it wanted to."""
        return self._now.loses_commits

    @property
    def overtaken(self) -> bool:
        """Whether others did something between what the call saw last and now."""
        return self._now.overtaken

    def overtake(self) -> None:
        self._now.overtaken = True

    def crashes_at(self, point: str) -> bool:
        return self._now.crash_at == point

    def meanwhile_at(self, point: str) -> Sequence[Action]:
        """What others do at this point; they do it once."""
        here = [action for at, action in self._now.meanwhile if at == point]
        self._now.meanwhile = [(at, action) for at, action in self._now.meanwhile if at != point]
        return here


def _next(fates: deque[T], otherwise: T) -> T:
    return fates.popleft() if fates else otherwise


class FaultyDatabase(Database):
    """A database whose connection can be lost, and whose process can be killed, at COMMIT.

    Args:
        url: As of `Database`.
        fate: Asked what becomes of each COMMIT.
        crash_hook: Called with `COMMIT_UNKNOWN` when a connection was lost.
        poisons: Asked whether a statement with its values fails.

    Attributes:
        unknown: How often one was lost.
    """

    def __init__(
        self,
        url: str,
        fate: Callable[[], Commit],
        crash_hook: Callable[[str], None] = no_crash,
        poisons: Callable[[str, Sequence[object]], bool] = lambda _statement, _values: False,
    ) -> None:
        super().__init__(url)
        self._fate = fate
        self._crash_hook = crash_hook
        self._poisons = poisons
        self.unknown = 0

    def write(self, work: Callable[[], T], **options: Any) -> T:
        try:
            return super().write(work, **options)
        except CommitUnknown:
            self.unknown += 1
            self._crash_hook(COMMIT_UNKNOWN)
            raise

    def at_commit(self, statements: Sequence[Statement], guarded: Sequence[tuple[Statement, int]] = ()) -> None:
        if any(self._poisons(*each) for each in (*statements, *(statement for statement, _ in guarded))):
            raise Poisoned
        super().at_commit(statements, guarded)

    def _commit(self) -> None:
        fate = self._fate()
        if fate in {Commit.KEPT, Commit.LOST_AFTER, Commit.KILLED_AFTER}:
            super()._commit()
        else:
            self._driver.roll_back()
        if fate in {Commit.KILLED_BEFORE, Commit.KILLED_AFTER}:
            raise Crash(fate.value)
        if fate is not Commit.KEPT:
            raise CommitUnknown(fate.value)
