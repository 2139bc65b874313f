"""Whether the books of a running shop balance: each sku's stock, sales and movements say the same."""

import sys
from typing import Annotated, Final, NoReturn

import grpc
import typer

from common.addresses import split_address
from common.process.settings import WrongSettings, read_settings
from common.rpc.errors import to_domain_error
from inventory_srv.settings import InventorySettings
from reback.inventory.v1.inventory_pb2 import StockDifference
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from scripts.lib import command_line
from scripts.lib.books import audit
from scripts.lib.terminal import quoted

_DIFFERENT: Final = 1
_CANNOT_TELL: Final = 2

Inventory = Annotated[str, typer.Option(help="host:port of the inventory service; else that of INVENTORY_LISTEN.")]


def audit_books(inventory: Inventory = "") -> None:
    """Ask the inventory service of a running shop whether its books balance, and print every difference.

    Exits with 1 when there is one, and with 2 when the service does not answer.
    """
    try:
        address = inventory or read_settings(InventorySettings).listen
        split_address(address)
    except (ValueError, WrongSettings) as error:
        _cannot_tell(f"--inventory {inventory}: {error}" if inventory else str(error))
    try:
        with grpc.insecure_channel(address) as channel:
            audited = audit(InventoryServiceStub(channel))
    except grpc.RpcError as error:
        failure = to_domain_error(error)
        _cannot_tell(f"inventory at {address} does not answer: {failure.reason}: {failure}")
    for difference in audited.differences:
        print(_line(difference))
    if audited.differences:
        print(f"the books do NOT balance: {len(audited.differences)} of {audited.skus} skus differ")
        sys.exit(_DIFFERENT)
    print(f"the books balance: stock, sales and movements of {audited.skus} skus say the same")


def _line(difference: StockDifference) -> str:
    return (
        f"{quoted(difference.sku)}: stock {difference.available} available and {difference.sold} sold;"
        f" by movements {difference.available_by_movements} and {difference.sold_by_movements};"
        f" by sales {difference.sold_by_sales} sold"
    )


def _cannot_tell(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(_CANNOT_TELL)


if __name__ == "__main__":
    command_line.run(audit_books)
