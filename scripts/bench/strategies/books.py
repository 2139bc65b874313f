"""What the tables of a strategy hold after its callers were answered."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Books:
    """Units, of all skus together.

    Attributes:
        written: In sales that are in the tables.
        oversold: Of them, those that never were there: more of a sku was sold than was stocked.
        adrift: By how many the rows of the stock are wrong: what was stocked less what is left is not what was sold.
    """

    written: int
    oversold: int
    adrift: int

    @classmethod
    def of(cls, put: Mapping[str, int], available: Mapping[str, int], sold: Mapping[str, int]) -> "Books":
        """Compare what was stocked with what is left and what was sold, by sku."""
        return cls(
            written=sum(sold.values()),
            oversold=sum(max(0, sold.get(sku, 0) - units) for sku, units in put.items()),
            adrift=sum(abs(units - available[sku] - sold.get(sku, 0)) for sku, units in put.items()),
        )

    @property
    def balance(self) -> bool:
        return not self.oversold and not self.adrift
