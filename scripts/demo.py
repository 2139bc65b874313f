"""The story in a folder and on ports of its own, every claim checked; exits with 0 when all hold, else with 1."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import grpc
import typer
from rich.console import Console

from common.rpc.errors import to_domain_error
from scripts.lib.audit import audit
from scripts.lib.goods_file import Entry, WrongGoodsFile, read_goods_file
from scripts.lib.services import ServiceFailed, Services, forget_settings
from scripts.lib.shop import Shop
from scripts.lib.signals import leave_in_order_on_signals
from scripts.run import GoodsFile, play, put_goods_in
from scripts.story.story import SETTINGS, CannotPlay

_GOODS: Final = Path(__file__).parent / "goods.csv"
_OWN_PORTS: Final = {"INVENTORY_LISTEN": "127.0.0.1:0", "ORDER_LISTEN": "127.0.0.1:0"}


def demo(goods: GoodsFile = _GOODS) -> None:
    """Play the story and check it."""
    leave_in_order_on_signals()
    forget_settings()
    console = Console(highlight=False, soft_wrap=True)
    try:
        entries = read_goods_file(goods)
    except WrongGoodsFile as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
    folder = Path(tempfile.mkdtemp(prefix="reback-demo-"))
    held = False
    try:
        held = _played(console, folder, entries)
    except (ServiceFailed, CannotPlay) as error:
        console.print(str(error), style="red", markup=False)
    except grpc.RpcError as error:
        failure = to_domain_error(error)
        console.print(f"a call failed: {failure.reason}: {failure}", style="red", markup=False)
    finally:
        if held:
            shutil.rmtree(folder)
        else:
            console.print(f"the services' data and logs are kept in {folder}", markup=False)
    console.print("every claim holds" if held else "it is NOT as claimed", style="bold green" if held else "bold red")
    sys.exit(0 if held else 1)


def _played(console: Console, folder: Path, entries: list[Entry]) -> bool:
    console.print("starting inventory_srv and order_srv …")
    with (
        Services(folder, {**SETTINGS, **_OWN_PORTS}) as services,
        Shop(services.inventory.address, services.order.address) as shop,
    ):
        put_goods_in(console, shop, entries)
        story = play(console, shop)
        audited = audit(shop)
        mark = "✗" if audited.differences else "✓"
        console.print(f"{mark} the books of {audited.skus} skus balance: stock, sales and movements say the same")
        for difference in audited.differences:
            console.print(str(difference), style="red", markup=False)
    return story.held and not audited.differences and audited.skus >= len(entries)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(demo)
    app()
