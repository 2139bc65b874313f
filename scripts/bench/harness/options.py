"""What can be chosen for a run of the benchmark."""

from dataclasses import dataclass


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
    slow_rounds: int = 1
    calls: int = 2_000_000
    largest: int = 1_000_000
