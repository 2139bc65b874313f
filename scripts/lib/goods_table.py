"""A file of separated values as rows of text: its encoding, what separates cells, where each row begins."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.lib.terminal import quoted

_SEPARATORS: Final = ",;\t"
_SEPARATOR_LINE: Final = "sep="  # Excel's own first line
_SPREADSHEET: Final = b"PK\x03\x04"  # .xlsx and .ods are zip archives


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


class Unreadable(Exception):
    """From this line on nothing can be made out."""

    def __init__(self, line: int, rule: str) -> None:
        self.problem = Problem(line, "", rule)


@dataclass(frozen=True)
class Row:
    """A row that is not empty: the line it begins on, from 1, and its cells as they stand in the file."""

    line: int
    cells: Sequence[str]


def read_table(path: Path, encoding: str, likeness: Callable[[Sequence[str]], int]) -> Iterator[Row]:
    """Every row of the file that is not empty.

    Args:
        path: The file.
        encoding: What it is in; empty: UTF-8, or UTF-16 where that is certain.
        likeness: How much a first row looks like the names of columns; it decides what separates cells.

    Raises:
        Unreadable: While iterating, from the first row on that can't be made out.
    """
    text = _text(path, encoding)
    separator, skipped = _separator(text, likeness)
    return _rows(text, separator, skipped)


def _text(path: Path, encoding: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(0, f"it can't be read: {error.strerror}") from error
    except ValueError as error:  # a path with a NUL
        raise Unreadable(0, f"it can't be read: {error}") from error
    if data.startswith(_SPREADSHEET):
        raise Unreadable(1, "a spreadsheet, not CSV: export it as CSV in UTF-8, and give that file")
    chosen = encoding or _encoding_of(data)
    try:
        return data.decode(chosen).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(chosen, errors="ignore").count("\n") + 1
        if encoding:
            raise Unreadable(line, f"not {encoding}, which ENCODING says it is") from error
        cure = "save the file as UTF-8, or say what it is in, such as ENCODING=windows-1252"
        raise Unreadable(line, f"not {chosen.upper()}: {cure}") from error
    except (LookupError, ValueError) as error:
        raise Unreadable(0, f"ENCODING={quoted(encoding)}: expected the name of an encoding, such as utf-8") from error


def _encoding_of(data: bytes) -> str:
    """UTF-16 has a mark in front, or a NUL beside each letter of the first column's name."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8"


def _separator(text: str, likeness: Callable[[Sequence[str]], int]) -> tuple[str, int]:
    """What separates cells, and how many characters come before the first row."""
    first, line_end, _ = text.partition("\n")
    if first.lower().startswith(_SEPARATOR_LINE) and first.rstrip("\r")[len(_SEPARATOR_LINE) :] in [*_SEPARATORS]:
        return first[len(_SEPARATOR_LINE)], len(first + line_end)

    def looks(separator: str) -> int:
        try:
            return max((likeness(row.cells) for row in _head(text, separator)), default=0)
        except Unreadable:
            return 0

    return max(_SEPARATORS, key=looks), 0  # the first of equals


def _head(text: str, separator: str) -> Iterator[Row]:
    row = next(_rows(text, separator, 0), None)
    return iter([row] if row else [])


def _rows(text: str, separator: str, skipped: int) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text[skipped:], newline=""), strict=True, delimiter=separator)
    before = text.count("\n", 0, skipped)
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(line, f"not CSV: {error}") from error
        if any(cell.strip() for cell in cells):
            yield Row(line, cells)
