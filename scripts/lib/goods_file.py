"""The goods file: what a shop sells, as a CSV that a user can replace by their own.

docs/goods-file.md tells people what may stand in it. The limits of the values are the contract's own: they are read
from the protos.
"""

import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.currencies import is_currency, minor_units
from common.errors import InvalidArgument
from common.rpc.validation import check
from reback.inventory.v1.inventory_pb2 import SetStockRequest
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest
from scripts.lib.goods_formats import OWN_COLUMNS, Record, likeness, records
from scripts.lib.goods_table import Problem, Unreadable, read_table
from scripts.lib.story_goods import STORY_SKUS
from scripts.lib.terminal import printable, quoted

# The same sku always makes the same request id, so that loading a file twice sets a stock once.
_NAMESPACE: Final = uuid.UUID("5b9f63c8-9d5c-4f0a-9a57-0f0b6f3f3d43")

_DIGITS: Final = re.compile(r"[0-9]+")  # not \d, which also takes digits of other scripts
_DECIMAL: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_TOO_LARGE: Final = 10**18  # larger than any number that the contract allows, and it fits into 64 bits
_ON_SALE: Final = {"": True, "yes": True, "true": True, "no": False, "false": False}
_ANY_CURRENCY: Final = "EUR"  # in place of a wrong one, so that the contract's other rules are checked all the same


class WrongGoodsFile(Exception):
    """The file can't be used; `problems` names every wrong line."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{printable(str(path))} can't be used, so nothing of it was loaded:\n{lines}")


@dataclass(frozen=True)
class Entry:
    """One line of the file, as the two requests that put it into a shop; both keep the rules of the contract."""

    put_goods: PutGoodsRequest
    set_stock: SetStockRequest

    @property
    def sku(self) -> str:
        return self.set_stock.sku


def read_goods_file(path: Path, *, currency: str = "", encoding: str = "") -> list[Entry]:
    """Read and check the whole file.

    Args:
        path: The file.
        currency: ISO 4217, for all lines of a file that has no column for it.
        encoding: What the file is in, where that can't be seen.

    Raises:
        WrongGoodsFile: With every problem found.
    """
    problems: list[Problem] = []
    entries: list[Entry] = []
    lines_of: dict[str, int] = {}
    if currency and not is_currency(currency):
        rule = f"CURRENCY={quoted(currency)}: expected an ISO 4217 currency code, such as EUR"
        raise WrongGoodsFile(path, [Problem(0, "", rule)])
    try:
        for record in records(read_table(path, encoding, likeness), currency=currency):
            entry = _entry(record)
            sku = record.cells.get("sku", "")
            first = lines_of.setdefault(sku, record.line) if sku else record.line
            if first != record.line:
                rule = f"{quoted(sku)} is on line {first} already"
                record.problems.insert(0, Problem(record.line, record.called["sku"], rule))
            problems += record.problems
            entries.append(entry)
    except Unreadable as unreadable:
        problems.append(unreadable.problem)
    if not entries and not problems:
        problems.append(Problem(2, "", "there are no goods in it"))
    if problems:
        raise WrongGoodsFile(path, problems)
    return entries


def _entry(record: Record) -> Entry:
    """The entry of a record. What is wrong is added to the record's problems, and then the entry is of no use."""
    cells = record.cells
    if not cells:
        return Entry(PutGoodsRequest(), SetStockRequest())
    rules: dict[str, str] = {}
    currency = cells["currency"]
    if not is_currency(currency):
        rules["currency"] = "expected an ISO 4217 currency code, such as EUR"
    stock, rules["stock"] = _whole(cells["stock"], "a whole number, in digits alone, such as 1000")
    if "price_cents" in cells:
        rule = 'a whole number of minor units, in digits alone (for prices with decimals, call the column "price")'
        price, rules["price_cents"] = _whole(cells["price_cents"], rule)
    else:
        price, rules["price"] = _price(cells["price"], currency)
    on_sale = cells.get("on_sale", "").lower()
    if on_sale not in _ON_SALE:
        rules["on_sale"] = "expected yes or no"
    goods = Goods(
        sku=cells["sku"],
        name=cells["name"].strip(),
        image_url=cells.get("image_url", ""),
        price_cents=price,
        currency=_ANY_CURRENCY if rules.get("currency") else currency,
        on_sale=_ON_SALE.get(on_sale, True),
    )
    request_id = f"goods-{uuid.uuid5(_NAMESPACE, goods.sku)}"
    set_stock = SetStockRequest(
        request_id=request_id, sku=goods.sku, quantity=stock, reason="goods file", expected_version=0
    )
    entry = Entry(PutGoodsRequest(goods=goods), set_stock)
    names = {"quantity": "stock", "price_cents": "price" if "price" in cells else "price_cents"}
    for broken, rule in _broken_rules(entry).items():
        column = names.get(broken, broken)
        rules[column] = rules.get(column) or rule
    rules |= {column: rule for column, rule in _text_rules(cells, goods).items() if rule}
    for column in OWN_COLUMNS:
        if rules.get(column):
            record.fault(column, f"{quoted(cells.get(column, ''))}: {rules[column]}")
    return entry


def _whole(text: str, expected: str) -> tuple[int, str]:
    """A number and nothing, or 0 and what is wrong."""
    if not _DIGITS.fullmatch(text):
        return 0, f"expected {expected}"
    return int(text) if len(text) < len(str(_TOO_LARGE)) else _TOO_LARGE, ""


def _price(text: str, currency: str) -> tuple[int, str]:
    """A price in minor units and nothing, or 0 and what is wrong."""
    found = _DECIMAL.fullmatch(text)
    if not found:
        return 0, 'expected digits with at most a "." before the decimals, such as 1290.50'
    if not is_currency(currency):  # reported already; without it nobody knows what a decimal is worth
        return 0, ""
    whole, decimals = found[1], found[2] or ""
    places = minor_units(currency)
    if len(decimals) > places:
        return 0, f"expected {f'at most {places}' if places else 'no'} decimals for {currency}"
    return _whole(whole + decimals.ljust(places, "0"), "")


def _text_rules(cells: Mapping[str, str], goods: Goods) -> dict[str, str]:
    """What is wrong with texts beyond the contract's rules: what a person would not see."""
    rules = dict.fromkeys(("sku", "name", "image_url"), "")
    for column in rules:
        text = goods.name if column == "name" else cells.get(column, "")
        if any(unicodedata.category(each) == "Cc" for each in text):
            rules[column] = "it has a control character"
        elif text != text.strip():
            rules[column] = "it begins or ends with a blank"
    if goods.sku in STORY_SKUS:
        rules["sku"] = "`make run` keeps it for its story; choose another sku"
    return rules


def _broken_rules(entry: Entry) -> dict[str, str]:
    """What the contract has against the values, by its own names."""
    rules: dict[str, str] = {}
    for request in (entry.put_goods, entry.set_stock):
        try:
            check(request)
        except InvalidArgument as refused:
            for violation in refused.violations:
                field = violation.subject.rpartition(".")[2]
                rules.setdefault(field, violation.description)
    return rules
