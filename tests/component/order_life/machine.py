"""The machine that hypothesis drives: one rule for each thing that can happen, the promises after each."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from order_srv.domain.order_state import State
from tests.component.order_life import plans
from tests.component.order_life.actions import CountStock, PutInCart
from tests.component.order_life.environment import PRICES, Ground
from tests.component.order_life.faults import Action
from tests.component.order_life.plans import Plan
from tests.component.order_life.world import World

_USERS: Final = (1, 2)
_UNITS_AT_FIRST: Final = 6


class OrderLife(RuleBasedStateMachine):
    """A run of both services from empty books on.

    Attributes:
        happened: How often what happened, in all runs together.
        states: Those in which orders are now.
    """

    happened: ClassVar[Counter[str]]

    @staticmethod
    def new_world() -> World:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.world = self.new_world()
        self.broker_loses_its_disk = False
        self.states: frozenset[State] = frozenset()
        for sku in PRICES:
            self.world.run(CountStock(sku, _UNITS_AT_FIRST))
        for user in _USERS:
            self.world.run(PutInCart(user, "cup", 1))

    @initialize(action=plans.creates_together, loses_its_disk=st.booleans())
    def begins(self, action: Action, loses_its_disk: bool) -> None:
        self.broker_loses_its_disk = loses_its_disk
        self.world.run(action)

    @invariant()
    def the_books_keep_their_promises(self) -> None:
        self.states = frozenset(order.state for order in self.world.check().orders.values())

    def teardown(self) -> None:
        """Perhaps lose the broker's disk, come to rest, look for leaks; unless the run was broken before."""
        try:
            if sys.exc_info()[0] is None:
                if self.broker_loses_its_disk:
                    self.world.engine.lose_everything()
                self.world.come_to_rest()
                self.world.check_at_rest()
        finally:
            type(self).happened.update(self.world.happened)
            self.world.close()


When = Callable[[OrderLife], bool]
Rule = tuple[int, Plan, When]
"""Something that can happen: how much more often than the rest, how, and when it makes sense."""

RULES: Final[Mapping[str, Rule]] = {
    "create": (3, plans.creates, lambda life: True),
    "create together": (3, plans.creates_together, lambda life: True),
    "pay": (2, plans.payments, lambda life: bool(life.states & {State.UNPAID, State.PAID})),
    "cancel": (2, plans.cancels, lambda life: State.UNPAID in life.states),
    "close together": (1, plans.closes_together, lambda life: bool(life.states & {State.UNPAID, State.PAID})),
    "time out": (1, plans.timeouts, lambda life: State.UNPAID in life.states),
    "refund": (1, plans.refunds, lambda life: State.PAID in life.states),
    "finish": (1, plans.finishes, lambda life: State.PAID in life.states),
    "deliver": (2, plans.deliveries, lambda life: bool(life.world.engine.parcels)),
    "lose": (1, plans.losses, lambda life: bool(life.world.engine.parcels or life.world.engine.open_halves())),
    "ask": (1, plans.questions, lambda life: bool(life.world.engine.halves)),
    "arrive late": (1, plans.arrivals, lambda life: bool(life.world.inventory.late)),
    "sweep": (1, plans.sweeps, lambda life: bool(life.states)),
    "time passes": (1, plans.times, lambda life: bool(life.states)),
    "shop": (1, plans.shop, lambda life: bool(life.states)),
}


def order_life(
    folder: Path, *, rules: Mapping[str, Rule] = RULES, statement: str = "", **parts: Any
) -> type[OrderLife]:
    """A machine whose worlds live in a folder.

    Args:
        folder: An empty one.
        rules: What can happen.
        statement: SQL that changes the order service's tables.
        parts: What a `World` is to be made with.
    """
    ground = Ground(folder, statement=statement)

    class OrderLifeInFolder(OrderLife):
        happened: ClassVar[Counter[str]] = Counter()

        @staticmethod
        def new_world() -> World:
            return World(ground, **parts)

    for name, (weight, plan, when) in rules.items():
        for number in range(weight):
            setattr(OrderLifeInFolder, f"{name} {number}", _happens(plan, when))
    return OrderLifeInFolder


def _happens(plan: Plan, when: When) -> Callable[..., None]:
    @precondition(when)
    @rule(action=plan)
    def happens(self: OrderLife, action: Action) -> None:
        self.world.run(action)

    return happens
