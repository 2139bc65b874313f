"""The parts of the benchmark by name, in the order in which they run."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from inspect import isgeneratorfunction
from typing import Final

from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, WORLDS
from scripts.bench.parts.callers import callers
from scripts.bench.parts.commits import commits
from scripts.bench.parts.costs import costs
from scripts.bench.parts.create import create, order_replicas, paced
from scripts.bench.parts.due_messages import due_singly, due_together
from scripts.bench.parts.flash import flash
from scripts.bench.parts.growth import growth_ledger, growth_lines, growth_replicas, growth_skus, growth_waiting
from scripts.bench.parts.hang import hang
from scripts.bench.parts.idle import idle
from scripts.bench.parts.memory import memory
from scripts.bench.parts.messages import messages
from scripts.bench.parts.reads import get_stock, reads
from scripts.bench.parts.stock import alone, replicas, stock
from scripts.bench.parts.unpaid import due_at_once, lateness
from scripts.bench.strategies.parts import strategies_hot, strategies_killed, strategies_many, strategies_two


@dataclass(frozen=True)
class Part:
    """One part. It has services on new databases to itself, and its books are checked when it is done.

    Attributes:
        name: By which it is chosen; letters and digits alone: databases and topics are named after it.
        run: Measures, and notes what was found; the first line of its docstring is printed. One that yields
            before each of its rounds can be measured in turns with another commit.
        worlds: Where it can be measured.
        by_default: Whether it runs when no part is chosen.
        checks_books: Whether the benchmark checks its books in the end; else it does so by itself.
    """

    name: str
    run: Callable[[Testbed], Iterator[None] | None]
    worlds: Collection[str] = WORLDS
    by_default: bool = True
    checks_books: bool = True

    @property
    def about(self) -> str:
        return (self.run.__doc__ or "").partition("\n")[0]

    @property
    def takes_turns(self) -> bool:
        """Whether it can be measured in turns with another commit."""
        return isgeneratorfunction(self.run)


PARTS: Final = (
    Part("idle", idle),
    Part("commits", commits),
    Part("stock", stock),
    Part("alone", alone),
    Part("replicas", replicas, worlds=[CLUSTER]),
    Part("create", create),
    Part("paced", paced),
    Part("messages", messages),
    Part("flash", flash),
    Part("hang", hang, worlds=[CLUSTER]),
    Part("orderreplicas", order_replicas, worlds=[CLUSTER]),
    Part("callers", callers),
    Part("lateness", lateness),
    Part("due", due_at_once),
    Part("duesingly", due_singly, by_default=False),
    Part("duetogether", due_together, by_default=False),
    Part("costs", costs, worlds=[CLUSTER]),
    Part("getstock", get_stock, by_default=False),
    Part("reads", reads, by_default=False),
    Part("memory", memory, by_default=False),
    Part("growthskus", growth_skus, by_default=False),
    Part("growthwaiting", growth_waiting, by_default=False),
    Part("growthlines", growth_lines, by_default=False),
    Part("growthreplicas", growth_replicas, worlds=[CLUSTER], by_default=False),
    Part("growthledger", growth_ledger, by_default=False),
    Part("wayshot", strategies_hot, worlds=[CLUSTER], by_default=False),
    Part("waysmany", strategies_many, worlds=[CLUSTER], by_default=False),
    Part("waystwo", strategies_two, worlds=[CLUSTER], by_default=False),
    Part("wayskilled", strategies_killed, worlds=[CLUSTER], by_default=False),
)
