"""Whatever callers, groups and deadlines do at once, every item is carried out once, and its caller told of its own."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from threading import Lock

from hypothesis import given, settings
from hypothesis import strategies as st

from common.batching import Call, Groups
from common.deadline import Deadline
from common.errors import DeadlineExceeded, Unavailable
from tests.support.long_form import rounds
from tests.support.waiting import TIMEOUT_S


class Does(Enum):
    """What becomes of an item, or of its caller."""

    ANSWER = "is answered"
    FAIL = "fails alone"
    FORGET = "is not settled"
    RAISE = "makes its group fail"
    END = "ends the thread of its leader"
    EXPIRE = "its caller's deadline passes soon"
    HANG_UP = "its caller hangs up"
    AGAIN = "submits another item while it is carried out"


class Failed(Exception):
    pass


class Ended(BaseException):
    pass


@dataclass(frozen=True)
class Item:
    number: int
    does: Does
    key: int


@dataclass(frozen=True)
class Plan:
    callers: Sequence[Sequence[tuple[Does, int]]]
    largest: int
    at_once: int
    next_after: float
    gather: float


LIVELY = st.sampled_from([*[Does.ANSWER] * 8, *Does])

PLANS = st.builds(
    Plan,
    callers=st.lists(st.lists(st.tuples(LIVELY, st.integers(0, 9)), min_size=1, max_size=12), min_size=2, max_size=16),
    largest=st.integers(1, 9),
    at_once=st.integers(1, 3),
    next_after=st.sampled_from([0.0, 0.0005, inf]),
    gather=st.sampled_from([0.0, 0.002]),
)


@dataclass
class Books:
    """What was carried out, and what each caller was told."""

    carried_out: Counter[int] = field(default_factory=Counter)
    group_of: dict[int, Sequence[Item]] = field(default_factory=dict)
    told: dict[int, int | BaseException] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0


class Run:
    """One plan, carried out by a thread for each caller."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.books = Books()
        self.mutex = Lock()
        self.hanging_up: list[Deadline] = []
        self.groups: Groups[Item, int] = Groups(
            self.execute,
            fits=lambda taken, item: all(item.key != each.key for each in taken),
            largest=plan.largest,
            at_once=plan.at_once,
            next_after=plan.next_after,
            gather=plan.gather,
        )

    def items(self) -> list[list[Item]]:
        return [
            [Item(100 * caller + number, does, key) for number, (does, key) in enumerate(wanted)]
            for caller, wanted in enumerate(self.plan.callers)
        ]

    def call_all(self) -> None:
        with ThreadPoolExecutor(len(self.plan.callers)) as pool:
            for future in [pool.submit(self.call_each, items) for items in self.items()]:
                future.result(TIMEOUT_S)

    def call_each(self, items: Sequence[Item]) -> None:
        for item in items:
            deadline = Deadline.after(0.0005 if item.does is Does.EXPIRE else TIMEOUT_S)
            if item.does is Does.HANG_UP:
                self.hanging_up.append(deadline)
            try:
                self.books.told[item.number] = self.groups.submit(item, deadline)
            except (Exception, Ended) as error:  # noqa: BLE001 - whatever it is, the books look at it
                self.books.told[item.number] = error

    def execute(self, calls: Sequence[Call[Item, int]]) -> None:
        group, inner = [call.item for call in calls], calls[0].item.number < 0
        with self.mutex:
            self.books.carried_out.update(item.number for item in group)
            self.books.group_of.update((item.number, group) for item in group)
            self.books.under_way += not inner
            self.books.most_under_way = max(self.books.most_under_way, self.books.under_way)
            hanging_up = [self.hanging_up.pop()] if self.hanging_up else []
        try:
            for deadline in hanging_up:
                deadline.cancel()
            for call in calls:
                self.carry_out(call)
        finally:
            with self.mutex:
                self.books.under_way -= not inner

    def carry_out(self, call: Call[Item, int]) -> None:
        match call.item.does:
            case Does.FAIL:
                call.fail(Failed(call.item.number))
            case Does.FORGET:
                pass
            case Does.RAISE:
                raise Failed(call.item.number)
            case Does.END:
                raise Ended(call.item.number)
            case Does.AGAIN:
                inner = Item(-1 - call.item.number, Does.ANSWER, call.item.key)
                call.answer(-self.groups.submit(inner, Deadline.after(TIMEOUT_S)) - 2)
            case _:
                call.answer(2 * call.item.number)


@given(PLANS)
@settings(max_examples=rounds(60, 2000), deadline=None)
def test_every_item_is_carried_out_once_and_every_caller_told_of_its_own(plan: Plan) -> None:
    run = Run(plan)
    run.call_all()

    books, items = run.books, [item for each in run.items() for item in each]
    assert books.told.keys() == {item.number for item in items}
    for item in items:
        check(item, books)
    errors = [id(told) for told in books.told.values() if isinstance(told, BaseException)]
    assert len(errors) == len(set(errors)), "one error object was raised in several threads"
    assert books.most_under_way <= plan.at_once
    for group in books.group_of.values():
        assert len(group) <= plan.largest
        assert len({item.key for item in group}) == len(group)
    assert len(run.groups) == 0
    assert run.groups.submit(Item(10**6, Does.ANSWER, 0), Deadline.after(TIMEOUT_S)) == 2 * 10**6


def check(item: Item, books: Books) -> None:
    """What an item's caller was told is what became of this item, or of its group."""
    told, carried_out = books.told[item.number], books.carried_out[item.number]
    if isinstance(told, DeadlineExceeded):
        assert item.does in (Does.EXPIRE, Does.HANG_UP)
        assert carried_out <= 1
        return
    assert carried_out == 1
    group = books.group_of[item.number]
    if isinstance(told, Failed):
        culprit = next(each for each in group if each.number == told.args[0])
        assert culprit == item or culprit.does is Does.RAISE
    elif isinstance(told, Unavailable):
        assert any(each.does is Does.END for each in group)
        assert group[0] != item
    elif isinstance(told, Ended):
        assert group[0] == item
    elif isinstance(told, RuntimeError):
        assert item.does is Does.FORGET
    else:
        assert told == 2 * item.number
