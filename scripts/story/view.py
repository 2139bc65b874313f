"""Shows the story: a live table in a terminal, plain lines everywhere else."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reback.order.v1.order_pb2 import OrderEvent, OrderEventKind
from scripts.lib.terminal import printable
from scripts.story.story import Act, Claim, Progress, Story

_MARKS: Final = {
    Progress.WAITING: Text("·", "dim"),
    Progress.PLAYING: Text("▸", "bold yellow"),
    Progress.HELD: Text("✓", "bold green"),
    Progress.BROKEN: Text("✗", "bold red"),
}


class View(AbstractContextManager["View"], Protocol):
    """Shows the story as it goes on."""

    def show(self, story: Story) -> None:
        """Show what is new."""


def view_for(console: Console) -> View:
    """The view that fits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView()


class LiveView:
    """A table that changes while one looks at it, and stays when the story is over."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, story: Story) -> None:
        self._live.update(Group(_acts(story), _stocks(story)))


class PlainView:
    """One line for each thing that happens, when it happens."""

    def __init__(self) -> None:
        self._titles = 0
        self._claims: dict[str, int] = {}
        self._ended: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()

    def show(self, story: Story) -> None:
        for number, act in enumerate(story.acts, start=1):
            if act.progress is not Progress.WAITING and number > self._titles:
                self._titles = number
                _say(f"{number}. {act.title}")
            for claim in act.claims[self._claims.get(act.title, 0) :]:
                _say(f"   {_mark(claim)} {claim.text}")
            self._claims[act.title] = len(act.claims)
            if act.progress in (Progress.HELD, Progress.BROKEN) and act.title not in self._ended:
                self._ended.add(act.title)
                _say(f"     {_headline(act)}")
                if act.timeline:
                    _say(f"     {_steps(act)}")
        if len(self._ended) == len(story.acts):
            for stock in story.stocks:
                _say(
                    f"   stock of {stock.sku}: available {stock.available_first} → {stock.available},"
                    f" sold {stock.sold_first} → {stock.sold}"
                )


def _say(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def _acts(story: Story) -> Table:
    table = Table(title="What Reback does", title_justify="left", expand=False, show_lines=True)
    table.add_column()
    table.add_column("What happens", overflow="fold")
    table.add_column("Order", overflow="fold", min_width=14)
    for act in story.acts:
        parts: list[RenderableType] = [Text(act.title, "bold" if act.progress is not Progress.WAITING else "dim")]
        parts += [
            Text(printable(f"{_mark(claim)} {claim.text}"), "green" if claim.holds else "bold red")
            for claim in act.claims
        ]
        if act.timeline:
            parts.append(Text(_steps(act), "dim"))
        table.add_row(
            _MARKS[act.progress], Group(*parts), Group(Text(printable(act.state), "bold"), Text(act.order_sn, "dim"))
        )
    return table


def _stocks(story: Story) -> Table:
    table = Table(title="Stock", title_justify="left")
    table.add_column("Sku")
    for heading in ("available before", "now", "sold before", "now"):
        table.add_column(heading, justify="right")
    for stock in story.stocks:
        changed = (stock.available, stock.sold) != (stock.available_first, stock.sold_first)
        table.add_row(
            Text(printable(stock.sku)),
            str(stock.available_first),
            Text(str(stock.available), "bold yellow" if changed else ""),
            str(stock.sold_first),
            Text(str(stock.sold), "bold yellow" if changed else ""),
        )
    return table


def _headline(act: Act) -> str:
    return f"{act.state}{f', order {act.order_sn}' if act.order_sn else ''}"


def _steps(act: Act) -> str:
    """The order's steps, each with the time since the first."""
    first = act.timeline[0].time.ToNanoseconds()
    return " → ".join(_step(event, (event.time.ToNanoseconds() - first) / 1e9) for event in act.timeline)


def _step(event: OrderEvent, after_s: float) -> str:
    name = OrderEventKind.Name(event.kind).removeprefix("ORDER_EVENT_KIND_").replace("_", " ").lower()
    return f"{name} +{after_s:.2f} s" if after_s else name


def _mark(claim: Claim) -> str:
    return "✓" if claim.holds else "✗"
