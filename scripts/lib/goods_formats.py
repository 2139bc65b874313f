"""The kinds of product files that are understood: our own columns, and what Shopify and WooCommerce export.

A format turns rows into records, which have our columns whatever the file calls them. Records are not checked yet, but
for what only the format knows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scripts.lib.goods_table import Problem, Row, Unreadable
from scripts.lib.terminal import quoted

OWN_COLUMNS: Final = ("sku", "name", "price_cents", "price", "currency", "stock", "image_url", "on_sale")
_OWN_REQUIRED: Final = ("sku", "name", "stock")

_OPTIONS: Final = ("option1 value", "option2 value", "option3 value")
_NO_OPTION: Final = "Default Title"  # Shopify's name for the one variant of a product without options


@dataclass
class Record:
    """One thing to sell.

    Attributes:
        line: Where its row begins.
        cells: What the file says, by our column.
        called: What the file calls each of them.
        problems: What is wrong with the row as a whole.
    """

    line: int
    cells: dict[str, str]
    called: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def fault(self, column: str, rule: str) -> None:
        """Note what is wrong with the cell of one of our columns."""
        self.problems.append(Problem(self.line, self.called.get(column, column), rule))


@dataclass(frozen=True)
class Format:
    """How a kind of file names its columns.

    Attributes:
        marks: The columns by which it is known, in small letters.
        columns: What it calls ours.
        read: Turns one row into a record; None: the row has no goods of its own.
        strict: Whether a column that it does not know is a fault.
    """

    marks: frozenset[str]
    columns: Mapping[str, str]
    read: "Callable[[], Callable[[Record, Mapping[str, str]], Record | None]]"
    strict: bool = False


def likeness(cells: Sequence[str]) -> int:
    """How many of these are names of columns that some format knows."""
    known = {name.casefold() for each in _FORMATS for name in each.columns.values()}
    return len(known.intersection(_key(cell) for cell in cells))


def records(rows: Iterable[Row], *, currency: str) -> Iterator[Record]:
    """The records of a file.

    Args:
        rows: Its rows; the first one names the columns.
        currency: For all lines of a file without such a column; empty: there has to be one.

    Raises:
        Unreadable: While iterating: the columns are not those of any format.
    """
    remaining = iter(rows)
    header = next(remaining, None)
    if header is None:
        raise Unreadable(1, f"the file is empty; its first line names the columns: {', '.join(OWN_COLUMNS)}")
    keys = [_key(cell) for cell in header.cells]
    chosen = next(each for each in _FORMATS if each.marks <= set(keys))
    _check_header(header, keys, chosen, currency)
    written = dict(zip(keys, (cell.strip() for cell in header.cells), strict=True))
    called = {ours: written[theirs.casefold()] for ours, theirs in chosen.columns.items() if theirs.casefold() in keys}
    read = chosen.read()
    for row in remaining:
        if len(row.cells) != len(keys):
            rule = f"{len(row.cells)} cells under {len(keys)} columns"
            yield Record(row.line, {}, {}, [Problem(row.line, "", rule)])
            continue
        theirs = dict(zip(keys, row.cells, strict=True))
        record = Record(row.line, {ours: theirs[_key(name)] for ours, name in called.items()}, called)
        record.cells.setdefault("currency", currency)
        found = read(record, theirs)
        if found:
            yield found


def _key(cell: str) -> str:
    return " ".join(cell.split()).casefold()


def _check_header(header: Row, keys: Sequence[str], chosen: Format, currency: str) -> None:
    known = {theirs.casefold(): ours for ours, theirs in chosen.columns.items()}
    found = {known[key] for key in keys if key in known}
    lacks = [quoted(chosen.columns[ours]) for ours in _OWN_REQUIRED if ours not in found]
    prices = [quoted(chosen.columns[ours]) for ours in ("price_cents", "price") if ours in chosen.columns]
    if not found & {"price_cents", "price"}:
        lacks.append(" or ".join(prices))
    if "currency" not in found and not currency:
        lacks.append('"currency" (or say CURRENCY=EUR, for all lines)')
    repeated = [cell for at, cell in enumerate(header.cells) if keys[at] in known and keys[at] in keys[:at]]
    unknown = [cell for cell, key in zip(header.cells, keys, strict=True) if chosen.strict and key not in known]
    faults = [
        *([f"lacks {', '.join(lacks)}"] if lacks else []),
        *([f"has unknown {', '.join(map(quoted, unknown))}"] if unknown else []),
        *([f"repeats {', '.join(map(quoted, repeated))}"] if repeated else []),
        *(['has both "price" and "price_cents"; keep one of them'] if {"price", "price_cents"} <= found else []),
    ]
    if "currency" in found and currency:
        raise Unreadable(0, f'CURRENCY={quoted(currency)}: the file has a column "currency" already; keep one of them')
    if faults:
        columns = ", ".join(chosen.columns[ours] for ours in chosen.columns)
        raise Unreadable(
            header.line,
            f"the first line names the columns, separated by commas, semicolons or tabs; it {'; it '.join(faults)}"
            f" (columns that are read: {columns})",
        )


def _own() -> "Callable[[Record, Mapping[str, str]], Record | None]":
    return lambda record, _row: record


class _Shopify:
    """A product's title, state and image are in its first line alone; the lines that follow have its other variants."""

    def __init__(self, handle: str, published: str, variant_image: str) -> None:
        self._handle = handle
        self._published = published
        self._variant_image = variant_image
        self._products: dict[str, Record] = {}

    def goods_of(self, record: Record, row: Mapping[str, str]) -> Record | None:
        handle, cells = row[self._handle], record.cells
        first = self._products.setdefault(handle, record)
        options = [row.get(option, "").strip() for option in _OPTIONS]
        if first is not record and not any([*options, cells["sku"], cells["price"], cells["name"]]):
            return None  # a further image of the product
        if first is record:
            cells["title"] = cells["name"].strip()
            cells["on_sale"] = self._on_sale(record, row)
            if not cells["title"]:
                record.fault("name", f"empty, and no line before names the product {quoted(handle)}")
        variant = " / ".join(option for option in options if option and option != _NO_OPTION)
        title = cells["name"].strip() or first.cells["title"] or handle
        cells["name"] = f"{title} - {variant}" if variant else title
        cells["on_sale"] = first.cells["on_sale"]
        cells["image_url"] = row.get(self._variant_image) or cells.get("image_url") or first.cells.get("image_url", "")
        return record

    def _on_sale(self, record: Record, row: Mapping[str, str]) -> str:
        status, published = row.get("status", "").lower(), row.get(self._published, "").lower()
        if status not in {"", "active", "unlisted", "draft", "archived"}:
            rule = f"{quoted(row['status'])}: expected active, unlisted, draft or archived"
            record.problems.append(Problem(record.line, "Status", rule))
        if published not in {"", "true", "false"}:
            rule = f"{quoted(row[self._published])}: expected true or false"
            record.problems.append(Problem(record.line, "Published", rule))
        return "no" if status in {"draft", "archived"} or published == "false" else "yes"


def _woocommerce() -> "Callable[[Record, Mapping[str, str]], Record | None]":
    published = {"1": "yes", "0": "no", "-1": "no"}  # 0: private, -1: a draft

    def read(record: Record, row: Mapping[str, str]) -> Record | None:
        # A product is also virtual or downloadable, or both: "simple, virtual".
        kind = row.get("type", "simple").split(",")[0].strip().lower()
        if kind in {"variable", "grouped"}:
            return None  # what is sold of it stands in other lines
        if kind == "external":
            record.problems.append(Problem(record.line, "Type", "external: it is sold elsewhere; take the line out"))
        elif kind not in {"simple", "variation"}:
            rule = f"{quoted(row['type'])}: expected simple, variable, variation or grouped"
            record.problems.append(Problem(record.line, "Type", rule))
        if row.get("sale price") not in {None, "", record.cells["price"]}:
            rule = f"{quoted(row['sale price'])}: Reback keeps one price; put it under Regular price and empty this"
            record.problems.append(Problem(record.line, "Sale price", rule))
        said = row.get("published", "1")
        if said not in published:
            record.problems.append(Problem(record.line, "Published", f"{quoted(said)}: expected 1, 0 or -1"))
        record.cells["on_sale"] = published.get(said, "yes")
        record.cells["image_url"] = record.cells.get("image_url", "").split(",")[0].strip()
        return record

    return read


# The first one whose marks are all there is taken; ours has none.
_FORMATS: Final = (
    Format(
        marks=frozenset({"handle", "variant price"}),
        columns={
            "sku": "Variant SKU",
            "name": "Title",
            "price": "Variant Price",
            "currency": "Currency",
            "stock": "Variant Inventory Qty",
            "image_url": "Image Src",
        },
        read=lambda: _Shopify("handle", "published", "variant image").goods_of,
    ),
    Format(
        marks=frozenset({"url handle", "price"}),
        columns={
            "sku": "SKU",
            "name": "Title",
            "price": "Price",
            "currency": "Currency",
            "stock": "Inventory quantity",
            "image_url": "Product image URL",
        },
        read=lambda: _Shopify("url handle", "published on online store", "variant image url").goods_of,
    ),
    Format(
        marks=frozenset({"regular price"}),
        columns={
            "sku": "SKU",
            "name": "Name",
            "price": "Regular price",
            "currency": "Currency",
            "stock": "Stock",
            "image_url": "Images",
        },
        read=_woocommerce,
    ),
    Format(marks=frozenset(), columns={name: name for name in OWN_COLUMNS}, read=_own, strict=True),
)
