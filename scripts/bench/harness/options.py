"""What can be chosen for a run of the benchmark."""

from dataclasses import dataclass
from typing import Final

AT_CALLERS: Final = (1, 8, 32, 64, 128)
AT_RATES: Final = (100.0, 200.0, 400.0)


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        seconds: How long each load is measured.
        rounds: How often all loads of a part are repeated, in turns.
        callers: How many sell at once.
        create_callers: How many create orders at once.
        connections: Over how many connections.
        processes: From how many load processes.
        replicas: How many of each service.
        skus: How many skus there are beside the hot one.
        due_orders: How many orders are due at once.
        at_callers: By how many callers `create` creates orders at once.
        at_rates: At how many orders a second `paced` creates them.
        warm_up: Seconds for which orders are created before parts that measure creating them.
        slow_rounds: How often a part is repeated that otherwise happens once.
        calls: How many calls each service gets in `memory`.
        largest: How many skus, orders or movements the curves of growth go up to.
    """

    seconds: float
    rounds: int
    callers: int
    create_callers: int
    connections: int
    processes: int
    replicas: int
    skus: int
    due_orders: int
    warm_up: float = 20.0
    slow_rounds: int = 1
    calls: int = 2_000_000
    largest: int = 1_000_000
    at_callers: tuple[int, ...] = AT_CALLERS
    at_rates: tuple[float, ...] = AT_RATES
