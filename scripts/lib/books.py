"""Ask inventory whether its books balance."""

from dataclasses import dataclass, field
from typing import Final

from reback.inventory.v1.inventory_pb2 import AuditStockRequest, StockDifference
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub

_PAGE: Final = 1000
_PAGE_TIMEOUT_S: Final = 60.0  # a page adds up every movement and sale of its skus


@dataclass
class Audited:
    """How many skus were compared, and those whose stock, sales and movements do not say the same."""

    skus: int = 0
    differences: list[StockDifference] = field(default_factory=list)


def audit(inventory: InventoryServiceStub) -> Audited:
    """Compare the books of every sku.

    Raises:
        grpc.RpcError: Inventory does not answer as it should.
    """
    audited, token = Audited(), ""
    while True:
        page = inventory.AuditStock(AuditStockRequest(page_size=_PAGE, page_token=token), timeout=_PAGE_TIMEOUT_S)
        audited.skus += page.skus_checked
        audited.differences.extend(page.differences)
        token = page.next_page_token
        if not token:
            return audited
