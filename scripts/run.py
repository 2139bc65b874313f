"""Both services on embedded defaults under `.run/`: put goods in, play the story, serve until Ctrl-C."""

from common.process.stop_signal import end_quietly_on_ctrl_c

if __name__ == "__main__":
    end_quietly_on_ctrl_c()  # while the rest is imported

import os
import signal
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import grpc
import typer
from rich.console import Console
from rich.progress import Progress

from common.process.settings import read_settings
from order_srv.settings import OrderSettings
from scripts.lib import command_line
from scripts.lib.goods_file import Entry, WrongGoodsFile, read_goods_file
from scripts.lib.goods_table import Problem
from scripts.lib.program import run_program
from scripts.lib.seeding import seed
from scripts.lib.services import Services
from scripts.lib.shop import Shop
from scripts.lib.terminal import make_console, printable
from scripts.story.calls_to_try import calls, python_program, waiting_order
from scripts.story.story import SETTINGS, Story
from scripts.story.view import view_for

_EXAMPLE: Final = Path(__file__).parent / "goods.csv"
_LOOK_EVERY_S: Final = 0.2


class Switch(Enum):
    """A setting that is on or off."""

    ON = "on"
    OFF = "off"


# Not by `envvar`, to which an empty GOODS is none: then the example's goods would get into a user's shop.
GoodsFile = Annotated[
    str | None,
    typer.Option("--goods", help="A CSV of what the shop sells; else GOODS, or the example.", show_default=False),
]
Currency = Annotated[str, typer.Option(envvar="CURRENCY", help="Of a goods file that has no such column, e.g. EUR.")]
Encoding = Annotated[str, typer.Option(envvar="ENCODING", help="Of a goods file that is not UTF-8, e.g. windows-1252.")]
PlayStory = Annotated[Switch, typer.Option(envvar="STORY", case_sensitive=False, help="Whether to play the story.")]


def run(
    goods: GoodsFile = None, currency: Currency = "", encoding: Encoding = "", story: PlayStory = Switch.ON
) -> None:
    """Start both services under .run/, put goods in, play the story, and serve until Ctrl-C."""
    console = make_console()
    services = Services(Path.cwd(), SETTINGS if story is Switch.ON else {})

    def work() -> int:
        entries = read_goods_file(goods_path(goods), currency=currency, encoding=encoding)
        _serve(console, services, entries, play_story=story is Switch.ON)
        return 0

    def farewell(_code: int, by: signal.Signals | None) -> None:
        if by:
            console.print("\nstopped; the shop's data is kept under .run/, and `make run` continues with it")
        if by is signal.SIGINT:
            sys.exit(0)  # it is how one ends it

    run_program(console, work, end=services.close, farewell=farewell)


def goods_path(option: str | None) -> Path:
    """The goods file: what the option says, else the variable GOODS, else the example.

    Raises:
        WrongGoodsFile: One of the two is empty.
    """
    given = os.environ.get("GOODS", str(_EXAMPLE)) if option is None else option
    if not given:
        cure = "it names no file; name one, or leave GOODS out for the goods of the example"
        raise WrongGoodsFile(Path("GOODS="), [Problem(0, "", cure)])
    return Path(given)


def _serve(console: Console, services: Services, entries: list[Entry], *, play_story: bool) -> None:
    story = None
    console.print("starting inventory_srv and order_srv …")
    with services:
        console.print(f"ready: inventory on {services.inventory.address}, order on {services.order.address}")
        try:
            with Shop(services.inventory.address, services.order.address) as shop:
                put_goods_in(console, shop, entries)
                story = play(console, shop) if play_story else None
        except grpc.RpcError:
            time.sleep(_LOOK_EVERY_S)  # a connection ends a moment before its process
            services.check()
            raise
        if story:
            # The story's orders are paid within 3 s; people need longer.
            services.restart_order({name: os.environ.get(name, "") for name in SETTINGS})
        _print_what_to_try(console, services, entries, story)
        while True:
            services.check()
            time.sleep(_LOOK_EVERY_S)


def put_goods_in(console: Console, shop: Shop, entries: list[Entry]) -> None:
    """Seed the shop and print what was done."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("putting goods in", total=len(entries))
        seeded = seed(shop, entries, on_progress=lambda done: progress.update(task, completed=done))
    there = f"; {seeded.left_alone} were there already and are left as they are" if seeded.left_alone else ""
    console.print(f"goods: {seeded.put} put in{there}")


def play(console: Console, shop: Shop) -> Story:
    """Play the story where a person can watch it."""
    with view_for(console) as view:
        story = Story(shop, on_change=view.show)
        story.play()
    return story


def _print_what_to_try(console: Console, services: Services, entries: list[Entry], story: Story | None) -> None:
    if story and not story.held:
        console.print("\nthe story did NOT go as it should", style="bold red")
    sku, order = entries[0].sku, None
    if story:
        sku = story.stocks[0].sku
        with Shop(services.inventory.address, services.order.address) as shop:
            order = waiting_order(shop, sku)
    pay_within = read_settings(OrderSettings).pay_within
    console.print("\nServing until Ctrl-C:", style="bold", end=" ")
    console.print(f"inventory on {services.inventory.address}, order on {services.order.address}.", end=" ")
    console.print(f"From now on an order has {pay_within} to be paid (ORDER_PAY_WITHIN). Logs: {services.logs}/")
    console.print("\nTry, from another terminal in this folder:\n", style="bold")
    console.print(printable(python_program(services, sku)))
    console.print("\nor with grpcurl:", style="bold")
    for call in calls(services, sku, order):
        console.print(f"\n# {call.purpose}", style="dim")
        console.print(printable(call.grpcurl))


if __name__ == "__main__":
    command_line.run(run)
