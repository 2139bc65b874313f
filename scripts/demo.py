"""The story in a folder and on ports of its own, every claim checked; exits with 0 when all hold, else with 1."""

from common.process.stop_signal import end_quietly_on_ctrl_c

if __name__ == "__main__":
    end_quietly_on_ctrl_c()  # while the rest is imported

import shutil
import signal
import tempfile
import uuid
from pathlib import Path
from typing import Final

from rich.console import Console

from scripts.lib import command_line
from scripts.lib.books import audit
from scripts.lib.goods_file import read_goods_file
from scripts.lib.program import FAILED, run_program
from scripts.lib.services import Services, forget_settings
from scripts.lib.shop import Shop
from scripts.lib.terminal import make_console, printable
from scripts.run import Currency, Encoding, GoodsFile, goods_path, play, put_goods_in
from scripts.story.story import SETTINGS

_OWN_PORTS: Final = {"INVENTORY_LISTEN": "127.0.0.1:0", "ORDER_LISTEN": "127.0.0.1:0"}


def demo(goods: GoodsFile = None, currency: Currency = "", encoding: Encoding = "") -> None:
    """Play the story in a folder and on ports of its own, check every claim, and fail when one does not hold."""
    forget_settings()
    console = make_console()
    folder = Path(tempfile.gettempdir()) / f"reback-demo-{uuid.uuid4().hex[:8]}"
    services = Services(folder, {**SETTINGS, **_OWN_PORTS})

    def work() -> int:
        entries = read_goods_file(goods_path(goods), currency=currency, encoding=encoding)
        folder.mkdir(mode=0o700)
        console.print("starting inventory_srv and order_srv …")
        with services, Shop(services.inventory.address, services.order.address) as shop:
            put_goods_in(console, shop, entries)
            story = play(console, shop)
            books_balance = _check_books(console, shop)
        return 0 if story.held and books_balance else FAILED

    def farewell(code: int, by: signal.Signals | None) -> None:
        played = folder.exists()
        if played and code and not by:
            console.print(f"the services' data and logs are kept in {printable(str(folder))}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if by:
            console.print("\nstopped; nothing of it is left")
        elif played:
            console.print(
                "it is NOT as claimed" if code else "every claim holds", style="bold red" if code else "bold green"
            )

    run_program(console, work, end=services.close, farewell=farewell)


def _check_books(console: Console, shop: Shop) -> bool:
    audited = audit(shop.inventory)
    if not audited.differences:
        console.print(f"✓ the books of {audited.skus} skus balance: stock, sales and movements say the same")
    else:
        console.print(f"✗ {len(audited.differences)} of {audited.skus} skus differ", style="red")
    for difference in audited.differences:
        console.print(printable(str(difference)), style="red")
    return audited.skus > 0 and not audited.differences


if __name__ == "__main__":
    command_line.run(demo)
