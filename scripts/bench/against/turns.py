"""A part of the benchmark on two checkouts, in turns: what else the machine does meets both alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import GeneratorType
from typing import Any

import grpc
from rich.console import Console

from common.rpc.errors import to_domain_error
from scripts.bench.harness.checkout import Checkout
from scripts.bench.harness.loaders import Loaders, LoadFailed
from scripts.bench.harness.options import Options
from scripts.bench.harness.results import Results
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import World
from scripts.bench.parts.catalog import Part
from scripts.lib.services import ServiceFailed


class SideFailed(RuntimeError):
    """A side could not be measured; the text says which, and why."""


class Side:
    """One of the two, and how far it has come with a part.

    Attributes:
        checkout: Whose code its services run.
        testbed: Where they run.
    """

    def __init__(self, checkout: Checkout, testbed: Testbed, run: "GeneratorType[None, None, None]") -> None:
        self.checkout = checkout
        self.testbed = testbed
        self._run = run

    def advance(self) -> bool:
        """Go on until the next round could begin; False: there was none left.

        Raises:
            SideFailed: It can't; also where the cause is a service that died.
        """
        with _blaming(self.checkout, self.testbed):
            try:
                next(self._run)
            except StopIteration:
                return False
            return True


def measure_in_turns(
    part: Part,
    checkouts: Sequence[Checkout],
    world: World,
    folder: Path,
    *,
    loaders: Loaders,
    console: Console,
    options: Options,
) -> Mapping[str, Results]:
    """Measure a part on all checkouts: a round of each makes a turn, and each turn begins with another one.

    Args:
        part: One that takes turns.
        checkouts: The sides, the first of which begins.
        world: The engines of all of them; each side has databases and topics of its own.
        folder: Where data and logs go.
        loaders: The load processes, which load all of them.
        console: For progress.
        options: What was chosen.

    Returns:
        What was found, by the name of the checkout; each load and figure has one value a turn.

    Raises:
        SideFailed: A side could not be measured.
    """
    with ExitStack() as opened:
        new_testbed = partial(  # all sides agree on the rates of open loops
            Testbed, part.name, world, folder, loaders=loaders, console=console, options=options, agreed={}
        )
        sides = [_opened_side(part, each, new_testbed(checkout=each), opened) for each in checkouts]
        for side in sides:
            side.advance()
        turn = 0
        while all([side.advance() for side in in_turn(sides, turn)]):  # noqa: C419 every side has its round
            turn += 1
        for side in sides:
            with _blaming(side.checkout, side.testbed):
                if part.checks_books:
                    side.testbed.check_books("in the end")
                side.testbed.note_memory()
        return {side.checkout.name: side.testbed.results for side in sides}


def _opened_side(part: Part, checkout: Checkout, testbed: Testbed, opened: ExitStack) -> Side:
    with _blaming(checkout):
        opened.enter_context(testbed)
    run = part.run(testbed)
    assert isinstance(run, GeneratorType), f"{part.name} takes no turns"
    return Side(checkout, testbed, opened.enter_context(closing(run)))


def in_turn(sides: Sequence[Any], turn: int) -> list[Any]:
    """The sides in the order of turn 0, 1, …: each begins as often as any other."""
    first = turn % len(sides)
    return [*sides[first:], *sides[:first]]


@contextmanager
def _blaming(checkout: Checkout, testbed: Testbed | None = None) -> Iterator[None]:
    """Put the name of the side before an error. A service that died is reported rather than what followed from it."""
    try:
        yield
    except ServiceFailed as error:
        raise SideFailed(str(error)) from error  # which names the side
    except (LoadFailed, grpc.RpcError, RuntimeError) as error:
        if testbed:
            try:
                testbed.check_services()
            except ServiceFailed as died:
                raise SideFailed(str(died)) from error
        text = str(to_domain_error(error)) if isinstance(error, grpc.RpcError) else str(error)
        raise SideFailed(f"{checkout}: {text}") from error
