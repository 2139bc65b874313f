"""Both services on embedded defaults under `.run/`: put goods in, play the story, serve until Ctrl-C."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import grpc
import typer
from rich.console import Console
from rich.progress import Progress

from common.process.settings import read_settings
from common.rpc.errors import to_domain_error
from order_srv.settings import OrderSettings
from scripts.lib.goods_file import Entry, WrongGoodsFile, read_goods_file
from scripts.lib.seeding import seed
from scripts.lib.services import ServiceFailed, Services
from scripts.lib.shop import Shop
from scripts.lib.signals import leave_in_order_on_signals
from scripts.story.calls_to_try import calls, python_program
from scripts.story.story import SETTINGS, CannotPlay, Story
from scripts.story.view import view_for

_GOODS: Final = Path(__file__).parent / "goods.csv"
_LOOK_EVERY_S: Final = 0.2

GoodsFile = Annotated[Path, typer.Option("--goods", help="A CSV of what the shop sells.")]


def run(goods: GoodsFile = _GOODS) -> None:
    """Start both services, play the story, and serve until Ctrl-C."""
    leave_in_order_on_signals()
    console = Console(highlight=False, soft_wrap=True)
    try:
        entries = read_goods_file(goods)
        _serve(console, entries)
    except KeyboardInterrupt:
        console.print("\nstopped; the shop's data is kept under .run/, and `make run` goes on with it")
    except (WrongGoodsFile, ServiceFailed, CannotPlay) as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
    except grpc.RpcError as error:
        failure = to_domain_error(error)
        console.print(f"a call failed: {failure.reason}: {failure}", style="red", markup=False)
        sys.exit(1)


def _serve(console: Console, entries: list[Entry]) -> None:
    console.print("starting inventory_srv and order_srv …")
    with Services(Path.cwd(), SETTINGS) as services:
        console.print(f"ready: inventory on {services.inventory.address}, order on {services.order.address}")
        try:
            with Shop(services.inventory.address, services.order.address) as shop:
                put_goods_in(console, shop, entries)
                story = play(console, shop)
        except grpc.RpcError:
            time.sleep(_LOOK_EVERY_S)  # a connection ends a moment before its process
            services.check()
            raise
        # The story's orders are paid within 3 s; people need longer.
        services.stop_order()
        services.start_order({name: os.environ.get(name, "") for name in SETTINGS})
        _tell_what_to_try(console, services, story)
        while True:
            services.check()
            time.sleep(_LOOK_EVERY_S)


def put_goods_in(console: Console, shop: Shop, entries: list[Entry]) -> None:
    """Seed the shop and say what was done."""
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


def _tell_what_to_try(console: Console, services: Services, story: Story) -> None:
    sku = max(story.stocks, key=lambda stock: stock.available).sku
    if not story.held:
        console.print("\nthe story did NOT go as it should", style="bold red")
    pay_within = read_settings(OrderSettings).pay_within
    console.print("\n[bold]Serving until Ctrl-C:[/bold]", end=" ")
    console.print(f"inventory on {services.inventory.address}, order on {services.order.address}.", end=" ")
    console.print(f"From now on an order has {pay_within} to be paid (ORDER_PAY_WITHIN). Logs: {services.logs}/")
    console.print("\n[bold]Try, from another terminal in this folder:[/bold]\n")
    console.print(python_program(services, sku), markup=False)
    console.print("\n[bold]or with grpcurl:[/bold]")
    for call in calls(services, sku, story.acts[0].order_sn):
        console.print(f"\n# {call.purpose}", style="dim", markup=False)
        console.print(call.grpcurl, markup=False)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(run)
    app()
