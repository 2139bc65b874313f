"""The goods file: what a shop sells, as a CSV that a user can replace by their own.

Columns, in any order, named by the first line: sku, name, price_cents, currency, stock; image_url and on_sale (yes or
no) may be left out. UTF-8. The limits of the values are the contract's own: they are read from the protos.
"""

import csv
import io
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError

from common.errors import InvalidArgument
from common.rpc.validation import check
from reback.inventory.v1.inventory_pb2 import SetStockRequest
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest

REQUIRED: Final = ("sku", "name", "price_cents", "currency", "stock")
OPTIONAL: Final = ("image_url", "on_sale")

# The same sku always makes the same request id, so that loading a file twice sets a stock once.
_NAMESPACE: Final = uuid.UUID("5b9f63c8-9d5c-4f0a-9a57-0f0b6f3f3d43")
_SHOWN: Final = 40  # characters of a wrong value that a person gets to see


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the file.

    Attributes:
        line: Its line, from 1; the first line of a row that spans several; 0: the whole file.
        column: The column's name; empty when the whole line is at fault.
        rule: What is wrong, for a person.
    """

    line: int
    column: str
    rule: str

    def __str__(self) -> str:
        where = f"line {self.line}{f', {self.column}' if self.column else ''}: " if self.line else ""
        return f"{where}{self.rule}"


class WrongGoodsFile(Exception):
    """The file can't be used; `problems` names every wrong line."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{path} can't be used, so nothing of it was loaded:\n{lines}")


@dataclass(frozen=True)
class Entry:
    """One line of the file, as the two requests that put it into a shop; both keep the rules of the contract."""

    put_goods: PutGoodsRequest
    set_stock: SetStockRequest

    @property
    def sku(self) -> str:
        return self.set_stock.sku


class _Cells(BaseModel):
    """The cells of one line, by type alone."""

    sku: str
    name: str
    price_cents: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    currency: str
    stock: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    image_url: str = ""
    on_sale: bool = True


def read_goods_file(path: Path) -> list[Entry]:
    """Read and check the whole file.

    Raises:
        WrongGoodsFile: With every problem found.
    """
    problems: list[Problem] = []
    entries: list[Entry] = []
    lines_of: dict[str, int] = {}
    try:
        for line, cells in _rows(_text(path)):
            entry = _entry(line, cells, problems)
            if entry is None:
                continue
            first = lines_of.setdefault(entry.sku, line)
            if first != line:
                problems.append(Problem(line, "sku", f"{_shown(entry.sku)} stands on line {first} already"))
            entries.append(entry)
    except _Unreadable as unreadable:
        problems.append(unreadable.problem)
    if not entries and not problems:
        problems.append(Problem(2, "", "there are no goods in it"))
    if problems:
        raise WrongGoodsFile(path, problems)
    return entries


class _Unreadable(Exception):
    """From this line on nothing can be made out."""

    def __init__(self, line: int, rule: str, column: str = "") -> None:
        self.problem = Problem(line, column, rule)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _Unreadable(0, f"it can't be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(data.count(b"\n", 0, error.start) + 1, "not UTF-8") from error


def _rows(text: str) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Every line that is not empty, as its number and its cells with the names of their columns."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            raise _Unreadable(line, f"not CSV: {error}") from error
        if not any(cells):
            continue
        if not columns:
            columns = _checked_header(line, cells)
        else:
            yield line, _named(line, columns, cells)
    if not columns:
        raise _Unreadable(1, f"the file is empty; its first line names the columns {', '.join(REQUIRED)}")


def _checked_header(line: int, columns: list[str]) -> list[str]:
    missing = [column for column in REQUIRED if column not in columns]
    unknown = [column for column in columns if column not in REQUIRED + OPTIONAL]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    for fault, names in (("lacks", missing), ("has unknown", unknown), ("repeats", repeated)):
        if names:
            raise _Unreadable(
                line,
                f"the first line names the columns, separated by commas, and {fault} {', '.join(map(_shown, names))}; "
                f"there are {', '.join(REQUIRED)}, and if you like {', '.join(OPTIONAL)}",
            )
    return columns


def _named(line: int, columns: list[str], cells: list[str]) -> list[tuple[str, str]]:
    if len(cells) != len(columns):
        raise _Unreadable(line, f"{len(cells)} cells under {len(columns)} columns")
    return list(zip(columns, cells, strict=True))


def _entry(line: int, cells: list[tuple[str, str]], problems: list[Problem]) -> Entry | None:
    """The entry of a line; None when it is wrong, with why added to `problems`."""
    given = {column: cell for column, cell in cells if cell or column in REQUIRED}
    try:
        typed = _Cells.model_validate(given)
    except ValidationError as error:
        for wrong in error.errors():
            column = str(wrong["loc"][0])
            problems.append(Problem(line, column, f"{_shown(given[column])}: {wrong['msg']}"))
        return None
    goods = Goods(**typed.model_dump(exclude={"stock"}))
    request_id = f"goods-{uuid.uuid5(_NAMESPACE, typed.sku)}"
    stock = SetStockRequest(
        request_id=request_id, sku=typed.sku, quantity=typed.stock, reason="goods file", expected_version=0
    )
    entry = Entry(PutGoodsRequest(goods=goods), stock)
    broken = _broken_rules(entry)
    for column, rule in broken.items():
        problems.append(Problem(line, column, f"{_shown(given.get(column, ''))} {rule}"))
    return None if broken else entry


def _broken_rules(entry: Entry) -> dict[str, str]:
    """What the contract has against the values, by column."""
    rules: dict[str, str] = {}
    for request in (entry.put_goods, entry.set_stock):
        try:
            check(request)
        except InvalidArgument as refused:
            for violation in refused.violations:
                field = violation.subject.rpartition(".")[2]
                rules.setdefault("stock" if field == "quantity" else field, violation.description)
    return rules


def _shown(value: str) -> str:
    return f'"{value if len(value) <= _SHOWN else value[:_SHOWN] + "…"}"'
