"""Ask inventory whether its books balance."""

from dataclasses import dataclass, field
from typing import Final

from reback.inventory.v1.inventory_pb2 import AuditStockRequest, StockDifference
from scripts.lib.shop import Shop

_PAGE: Final = 1000
_PATIENCE_S: Final = 60.0  # a page adds up every movement and sale of its skus


@dataclass
class Audited:
    """How many skus were compared, and those whose stock, sales and movements do not say the same."""

    skus: int = 0
    differences: list[StockDifference] = field(default_factory=list)


def audit(shop: Shop) -> Audited:
    """Compare the books of every sku."""
    audited, token = Audited(), ""
    while True:
        page = shop.inventory.AuditStock(AuditStockRequest(page_size=_PAGE, page_token=token), timeout=_PATIENCE_S)
        audited.skus += page.skus_checked
        audited.differences.extend(page.differences)
        token = page.next_page_token
        if not token:
            return audited
