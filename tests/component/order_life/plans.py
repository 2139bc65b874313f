"""What a run may be made of: hypothesis strategies of actions, and of what goes wrong during them."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause
from tests.component.order_life import actions as do
from tests.component.order_life import together
from tests.component.order_life.environment import PRICES
from tests.component.order_life.faults import COMMIT_UNKNOWN, NO_FAULTS, Action, Call, Commit, Faults, Poison
from tests.component.order_life.world import THE_SAME
from tests.support.scripted_broker import Send

T = TypeVar("T")
Plan = SearchStrategy[Action]

_SECONDS: Final = (1, 20, 31, 61, 600, 1801)
"""Below and above each grace, pause and expiry."""

_REQUESTS: Final = (
    (1, (("tea", 1),)),
    (2, (("cup", 1), ("tea", 2))),
    (3, (("cup", 1),)),
    (4, (("tea", 2),)),
    (5, (("cup", 2), ("tea", 1))),
    (6, ()),  # of the cart
    (2, (("tea", 1),)),  # with another content
)

_orders = st.integers(0, 3)
_messages = st.integers(0, 7)
_users = st.integers(1, 2)
_seconds = st.sampled_from(_SECONDS)
_skus = st.sampled_from(sorted(PRICES))
_payments = st.integers(0, 2)
_extensions = st.sampled_from((-600, 600, 3600))


def _one_of(*weighted: tuple[int, SearchStrategy[T]]) -> SearchStrategy[T]:
    """One of some strategies, each as often as its weight says; `st.one_of` takes equal ones for one."""
    each = [strategy for weight, strategy in weighted for _ in range(weight)]

    @st.composite
    def one_of_them(draw: st.DrawFn) -> T:
        return draw(each[draw(st.integers(0, len(each) - 1))])

    return one_of_them()


def _create(user: int, request: tuple[int, tuple[tuple[str, int], ...]], faults: Faults = NO_FAULTS) -> do.Create:
    return do.Create(user, *request, faults=faults)


def _alone(one: T) -> tuple[T, ...]:
    return (one,)


def _several(one: SearchStrategy[T]) -> SearchStrategy[tuple[T, ...]]:
    return st.lists(one, min_size=2, max_size=4).map(tuple)


# What goes without a fault, and may also happen while a call is on its way

times: Plan = st.builds(do.LetTimePass, _seconds)
losses: Plan = st.builds(do.Lose, _messages)
arrivals: Plan = st.builds(do.ArriveLate, _messages)
carts: Plan = st.builds(do.PutInCart, _users, _skus, st.integers(1, 3))
shop: Plan = st.one_of(
    carts,
    st.builds(do.MarkRefunded, _orders, st.integers(1, 2)),
    st.builds(do.CountStock, _skus, st.integers(0, 9)),
    st.builds(do.ChangeStock, _skus, st.integers(-2, 3)),
    st.builds(do.Extend, _orders, _extensions),
)
"""What is beside an order's life: carts, refunds made, stock counted or changed, times to pay that are changed."""


calm_creates: Plan = st.builds(_create, _users, st.sampled_from(_REQUESTS))

# What others may do while a call is on its way: mostly to the same order, and to what was sent last

_same_orders = st.sampled_from((THE_SAME, THE_SAME, 0, 1, 2, 3))
_last_messages = st.just(-1) | _messages

_rival_payments: Plan = st.builds(do.Pay, _same_orders, _payments)
_rival_cancels: Plan = st.builds(do.Cancel, _same_orders)
_rival_refunds: Plan = st.builds(do.Refund, _same_orders)
_rival_finishes: Plan = st.builds(do.Finish, _same_orders)
_rival_questions: Plan = st.builds(do.Ask, _last_messages)
_rival_deliveries: Plan = st.builds(do.Deliver, _last_messages, st.booleans())
_rival_sweeps: Plan = st.builds(do.Sweep)
_rival_extensions: Plan = st.builds(do.Extend, _same_orders, _extensions)
_hang_ups: Plan = st.builds(together.HangUp, st.integers(0, 3))


# What goes wrong


def _after_some(usual: T, unusual: Sequence[T], most: int) -> SearchStrategy[tuple[T, ...]]:
    """One or a few that are out of the usual, after some that are as usual."""
    in_a_row = st.lists(st.sampled_from(unusual), min_size=1, max_size=3)
    return st.builds(lambda before, then: (usual,) * before + tuple(then), st.integers(0, most), in_a_row)


_LOST_COMMITS: Final = (Commit.LOST_BEFORE, Commit.LOST_AFTER)
_NO_CALLS: Final = (Call.LATE, Call.ANSWER_LOST, Call.NEVER_ARRIVED, Call.BUSY)
_HALF_CALLS: Final = (Call.ONE_LATE, Call.ONE_LEFT_OUT, Call.ONE_DOUBLED, Call.INVALID, Call.FULL)
"""What is likely to become of a call about several orders, besides."""

_answer_lost = st.just(Faults(answer_lost=True))
_sends = st.builds(Faults, sends=_after_some(Send.TAKEN, (Send.REFUSED, Send.ANSWER_LOST), 1))
_sell = st.builds(Faults, calls=_after_some(Call.ANSWERED, _NO_CALLS, 0))
_sells_together = st.builds(Faults, calls=_after_some(Call.ANSWERED, _NO_CALLS + _HALF_CALLS, 0))
_poison = st.builds(
    lambda statement, order: Faults(poison=Poison(statement, order)),
    st.sampled_from(("INSERT INTO orders", "UPDATE orders")),
    st.integers(0, 2),
)
_calls = st.builds(Faults, calls=_after_some(Call.ANSWERED, _NO_CALLS, 2))
_commits_lost = _after_some(Commit.KEPT, _LOST_COMMITS, 1)
_lost_moves = st.builds(Faults, commits=st.sampled_from(_LOST_COMMITS).map(lambda lost: (Commit.KEPT, lost)))
_killed_moves = st.just(Faults(commits=(Commit.KEPT, Commit.KEPT, Commit.KILLED_BEFORE)))
_stock_commits = st.builds(Faults, stock_commits=_commits_lost)


def _faults(
    *at: str, rivals: Sequence[tuple[int, Plan]], more: Sequence[tuple[int, SearchStrategy[Faults]]] = ()
) -> SearchStrategy[Faults]:
    """None, one or two things that go wrong in a call.

    Args:
        at: What the names of the crash points begin with that it passes.
        rivals: What others may do meanwhile.
        more: What else can go wrong than crashes, rivals and connections lost at COMMIT.
    """
    points = sorted(point for point in CrashPoint if point.startswith(at))
    # Nobody else writes while a payment's transaction is open.
    halts = [point for point in points if point is not CrashPoint.PAY_BEFORE_COMMIT]
    rival = _one_of(*rivals)
    rival = _one_of((2, rival), (1, st.builds(do.Later, _seconds, rival)))

    def meanwhile(at: Sequence[str]) -> SearchStrategy[Any]:
        return st.lists(st.tuples(st.sampled_from(at), rival), min_size=1, max_size=2).map(tuple)

    kinds = [
        *more,
        (1, st.builds(Faults, commits=_after_some(Commit.KEPT, list(Commit)[1:], 2))),
        (1, st.builds(Faults, commits=_commits_lost, meanwhile=meanwhile([COMMIT_UNKNOWN]))),
    ]
    if points:
        kinds.append((1, st.builds(Faults, crash_at=st.sampled_from(points))))
        kinds.append((2, st.builds(Faults, meanwhile=meanwhile(halts))))
    one = _one_of(*kinds)
    return _one_of((2, st.just(NO_FAULTS)), (2, one), (1, st.builds(Faults.__or__, one, one)))


_create_rivals: Final[Sequence[tuple[int, Plan]]] = [
    (2, _rival_questions),
    (2, _rival_sweeps),
    (1, calm_creates),
    (1, _rival_deliveries),
    (1, _rival_cancels),
    (1, arrivals),
    (1, losses),
    (1, carts),
    (1, _hang_ups),
    (1, _rival_payments),
]
_create_faults = _faults(
    "create",
    rivals=_create_rivals,
    more=[(1, _answer_lost), (1, _sends), (2, _sell), (1, _stock_commits)],
)
_together_faults = _faults(
    "create",
    rivals=_create_rivals,
    more=[(1, _answer_lost), (1, _sends), (3, _sells_together), (1, _stock_commits), (1, _poison)],
)
_close_faults = _faults(
    "close",
    rivals=[
        (4, _rival_payments),
        (1, _rival_cancels),
        (1, _rival_questions),
        (1, _rival_sweeps),
        (1, _rival_deliveries),
        (1, _rival_extensions),
    ],
    more=[(1, _answer_lost), (1, _sends)],
)
_refund_faults = _faults(
    "refund",
    rivals=[(2, _rival_finishes), (1, _rival_refunds), (1, _rival_questions), (1, _rival_deliveries)],
    more=[(1, _answer_lost), (1, _sends)],
)
_delivery_faults = _faults(
    "close",
    "timeout",
    rivals=[(2, _rival_payments), (1, _rival_cancels), (1, _rival_questions), (1, _rival_extensions)],
    more=[(1, _answer_lost), (1, _sends), (1, _stock_commits)],
)
_question_faults = _faults(
    "check_back",
    rivals=[(1, _rival_payments), (1, _rival_cancels), (1, _rival_sweeps), (1, _rival_questions)],
)
_payment_faults = _faults(
    "pay",
    rivals=[(1, _rival_cancels), (1, _rival_refunds), (1, _rival_sweeps), (1, _rival_payments)],
)
_finish_faults = _faults("finish", rivals=[(1, _rival_refunds), (1, _rival_questions)])
_sweep_faults = _faults(
    "sweep",
    rivals=[(1, _rival_sweeps), (1, _rival_deliveries), (1, _rival_payments), (1, arrivals)],
    more=[(2, _calls), (1, _stock_commits)],
)


# What happens

creates: Plan = st.builds(_create, _users, st.sampled_from(_REQUESTS), _create_faults)
creates_together: Plan = st.builds(together.CreateTogether, _several(calm_creates), faults=_together_faults)
payments: Plan = st.builds(do.Pay, _orders, _payments, st.sampled_from((0, 0, 0, 0, -1, 1)), faults=_payment_faults)
cancels: Plan = st.builds(do.Cancel, _orders, faults=_close_faults)
refunds: Plan = st.builds(do.Refund, _orders, faults=_refund_faults)
_each_one = _several(st.tuples(_orders))
closes_together: Plan = _one_of(
    (2, st.builds(together.CloseTogether, st.just(Cause.CANCEL), _each_one, faults=_close_faults)),
    (1, st.builds(together.CloseTogether, st.just(Cause.REFUND), _each_one, faults=_refund_faults)),
    (1, st.builds(together.CloseTogether, st.just(Cause.TIMEOUT), _several(_several(_orders)), faults=_close_faults)),
)
timeouts: Plan = st.builds(together.TimeOut, _several(_orders), faults=_delivery_faults)
finishes: Plan = st.builds(do.Finish, _orders, faults=_finish_faults)
deliveries: Plan = st.builds(do.Deliver, _messages, st.booleans(), faults=_delivery_faults)
questions: Plan = st.builds(do.Ask, _messages, faults=_question_faults)
_sweeps_now: Plan = st.builds(do.Sweep, faults=_sweep_faults)
sweeps: Plan = _one_of((1, _sweeps_now), (1, st.builds(do.Later, _seconds, _sweeps_now)))


# What is most likely to show that one rule is missing

unclear_creates: Plan = st.builds(_create, _users, st.sampled_from(_REQUESTS), _sell)
paid_cancels: Plan = st.builds(do.Cancel, _orders, faults=_faults("close", rivals=[(1, _rival_payments)]))
counts: Plan = st.builds(do.CountStock, _skus, st.sampled_from((0, 1, 5)))
sells_together: Plan = st.builds(
    together.CreateTogether, _several(calm_creates), faults=st.just(NO_FAULTS) | _sells_together
)
late_creates: Plan = st.builds(_create, _users, st.sampled_from(_REQUESTS), st.just(Faults(calls=(Call.LATE,))))
poisoned_creates: Plan = st.builds(
    together.CreateTogether, _several(calm_creates), faults=st.builds(Faults.__or__, _poison, _sells_together)
)
lost_commits_together: Plan = st.builds(
    together.CreateTogether, _several(calm_creates), faults=st.builds(Faults.__or__, _lost_moves, _sells_together)
)
lost_inserts: Plan = st.builds(
    together.CreateTogether,
    _several(calm_creates),
    faults=st.builds(Faults, commits=st.sampled_from(_LOST_COMMITS).map(_alone)),
)
killed_creates: Plan = st.builds(
    _create, _users, st.sampled_from(_REQUESTS), st.builds(Faults.__or__, _killed_moves, _sell)
)
