"""Puts very many rows straight into the services' databases, such as their own calls would have left there.

The rows are made by the engine itself, a million in well under a minute, and the books balance: each unit that a stock
lacks has its movement, its sale and, where it was ordered, its order. The services may run meanwhile.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from common.database import Database

PLENTY: Final = 2_000_000_000
"""Units that each sku has at first."""

_ROWS_AT_ONCE: Final = 10_000  # a statement each: short of any timeout, and others get their turn
_DIGITS: Final = "({}) {{}}".format(" UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10)))
_NUMBERS: Final = (  # 0 to 9,999
    "(SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS k FROM "  # noqa: S608 our own
    + ", ".join(_DIGITS.format(name) for name in "abce")
    + ") numbers"
)
_DIGITS_OF_ORDER: Final = 10

_STOCK: Final = (
    "INSERT INTO stock (sku, available, sold, version, add_time, update_time)"
    " SELECT {sku}, {plenty}, 0, 1, {now}, {now} FROM {numbers}"
)
_STOCKED_UP: Final = (
    "INSERT INTO movement (sku, kind, delta, available_after, order_sn, request_id, reason, add_time)"
    " SELECT {sku}, 'SET', {plenty}, {plenty}, NULL, NULL, 'bench', {now} FROM {numbers}"
)
_GOODS: Final = (
    "INSERT INTO goods (sku, name, image_url, price_cents, currency, on_sale, delete_time, add_time, update_time)"
    " SELECT {sku}, {sku}, '', 100, 'EUR', 1, NULL, {now}, {now} FROM {numbers}"
)
_SALE: Final = (
    "INSERT INTO sale (order_sn, state, return_time, return_reason, add_time, update_time)"
    " SELECT {order_sn}, 'SOLD', NULL, '', {now} + {n}, {now} + {n} FROM {numbers}"
)
_SALE_LINE: Final = "INSERT INTO sale_line (order_sn, sku, quantity) SELECT {order_sn}, {sku}, 1 FROM {numbers}"
_SOLD: Final = (
    "INSERT INTO movement (sku, kind, delta, available_after, order_sn, request_id, reason, add_time)"
    " SELECT {sku}, 'SELL', -1, {plenty} - 1 - {nth_of_sku}, {order_sn}, NULL, '', {now} + {n} FROM {numbers}"
)
_LESS_STOCK: Final = "UPDATE stock SET available = available - {each}, sold = sold + {each} WHERE sku IN ({skus})"
_ORDER: Final = (
    "INSERT INTO orders (order_sn, user_id, request_id, request_hash, state, total_cents, currency, recipient_name,"
    " recipient_mobile, recipient_address, note, expire_time, close_reason, failure_reason, return_tries, add_time,"
    " update_time) SELECT {order_sn}, {user}, {order_sn}, '', 'UNPAID', 100, 'EUR', 'Bench', '1', '1 Bench Street', '',"
    " {expire}, '', '', 0, {now} + {n}, {now} + {n} FROM {numbers}"
)
_ORDER_LINE: Final = (
    "INSERT INTO order_line (order_sn, sku, name, price_cents, quantity)"
    " SELECT {order_sn}, {sku}, {sku}, 100, 1 FROM {numbers}"
)
_ORDER_EVENT: Final = (
    "INSERT INTO order_event (order_sn, kind, detail, add_time)"
    " SELECT {order_sn}, 'CREATED', '', {now} + {n} FROM {numbers}"
)


def sku_names(count: int, family: str = "sku") -> tuple[str, ...]:
    """The names of the skus that `Prefill.skus` makes."""
    return tuple(f"{family}-{number:07}" for number in range(count))


def order_sns(count: int, family: str = "sku") -> Iterator[str]:
    """The orders whose sales `Prefill.sales` makes."""
    return (f"{_order_prefix(family)}{number:0{_DIGITS_OF_ORDER}}" for number in range(count))


def _order_prefix(family: str) -> str:
    return f"0-{family}-"


class Prefill:
    """What was put into the two databases so far.

    Attributes:
        sold_without_order: Units of the sales that belong to no order.

    Args:
        inventory, order: The services' databases, migrated.
        first_user: Whose orders the waiting ones are: this user's and those of the `users - 1` after.
        users: How many users they are.
        pay_within: How long the waiting orders wait for their payment.
    """

    def __init__(
        self,
        inventory: Database,
        order: Database,
        *,
        first_user: int = 1_000_000,
        users: int = 1000,
        pay_within: timedelta = timedelta(days=1),
    ) -> None:
        self._inventory = inventory
        self._order = order
        self._first_user = first_user
        self._users = users
        self._skus: dict[str, int] = {}
        self._sold: dict[str, int] = {}
        self.sold_without_order = 0
        self._began = time.time_ns() // 1000
        self._expires = self._began + pay_within // timedelta(microseconds=1)

    @property
    def expire_time(self) -> datetime:
        """Until when the waiting orders wait for their payment."""
        return datetime.fromtimestamp(self._expires / 1e6, UTC)

    def skus(self, upto: int, family: str = "sku") -> None:
        """Stock, ledger and price book of the skus of a family, until there are `upto`."""
        first = self._skus.get(family, 0)
        self.stock(upto, family)
        self._insert(self._order, (_GOODS,), first, upto, {"sku": (f"{family}-", "{n}", 7)})

    def stock(self, upto: int, family: str = "sku") -> None:
        """The same without the price book."""
        first = self._skus.get(family, 0)
        self._insert(self._inventory, (_STOCK, _STOCKED_UP), first, upto, {"sku": (f"{family}-", "{n}", 7)})
        self._skus[family] = max(first, upto)

    def sales(self, upto: int, family: str = "sku", *, waiting: bool = False) -> None:
        """Sales of one unit each, spread evenly over the skus of a family, until there are `upto`.

        Args:
            upto: So many times the family's skus as is a whole number.
            family: Of what they are.
            waiting: Each has an order that waits for its payment.
        """
        first, skus = self._sold.get(family, 0), self._skus[family]
        if upto % skus:
            raise ValueError(f"{upto} sales can't be spread evenly over {skus} skus")
        # Before the keys of what is sold from now on, as older orders are.
        keys = {
            "order_sn": (_order_prefix(family), "{n}", _DIGITS_OF_ORDER),
            "sku": (f"{family}-", f"{{n}} % {skus}", 7),
        }
        values = {
            "nth_of_sku": f"({{n}} - {{n}} % {skus}) / {skus}",
            "user": f"{self._first_user} + {{n}} % {self._users}",
        }
        self._insert(self._inventory, (_SALE, _SALE_LINE, _SOLD), first, upto, keys, values)
        self._take(family, (upto - first) // skus)
        if waiting:
            self._insert(self._order, (_ORDER, _ORDER_LINE, _ORDER_EVENT), first, upto, keys, values)
        else:
            self.sold_without_order += upto - first
        self._sold[family] = max(first, upto)

    def _take(self, family: str, each: int) -> None:
        names = sku_names(self._skus[family], family)
        for at in range(0, len(names), 1000):
            some = ", ".join(f"'{name}'" for name in names[at : at + 1000])
            self._run(self._inventory, [_LESS_STOCK.format(each=each, skus=some)])

    def _insert(  # noqa: PLR0917 - what its callers have, in their order
        self,
        database: Database,
        statements: Sequence[str],
        first: int,
        upto: int,
        keys: dict[str, tuple[str, str, int]],
        values: dict[str, str] | None = None,
    ) -> None:
        """Run each statement over the numbers from `first` up to, not with, `upto`.

        Args:
            database: Where.
            statements: INSERTs with names in braces.
            first: The first number.
            upto: The number after the last one.
            keys: What a name stands for: a text, followed by a number of so many digits.
            values: What further names stand for.
        """
        for start in range(first, upto, _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, upto - start)
            n = f"({start} + k)"
            names = {
                name: _keyed(database, text, number.format(n=n), digits)
                for name, (text, number, digits) in keys.items()
            }
            names |= {name: value.format(n=n) for name, value in (values or {}).items()}
            names |= {
                "n": n,
                "now": str(self._began),
                "expire": str(self._expires),
                "plenty": str(PLENTY),
            }
            # Rows in the order of their numbers: ids, and the pages of the tables, grow as they would by calls.
            numbers = f"{_NUMBERS} WHERE k < {rows} ORDER BY k"
            self._run(database, [statement.format(numbers=numbers, **names) for statement in statements])

    @staticmethod
    def _run(database: Database, statements: Sequence[str]) -> None:
        def work() -> None:
            for statement in statements:
                # The driver of a server takes a lone % for the place of a value.
                database.execute(statement.replace("%", "%%") if database.for_update else statement)

        database.write(work)


def _keyed(database: Database, text: str, number: str, digits: int) -> str:
    """SQL for a text followed by a number of so many digits; the engines join texts in two ways."""
    zeros = "0" * digits
    if database.for_update:
        return f"CONCAT('{text}', RIGHT(CONCAT('{zeros}', {number}), {digits}))"
    return f"('{text}' || substr('{zeros}' || ({number}), -{digits}))"
