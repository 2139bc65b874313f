"""What is printed for people: data is text, never markup, and can't steer the terminal."""

import sys
from typing import Final

from rich.console import Console

_LAYOUT: Final = frozenset("\n\t")


def make_console(*, width: int | None = None) -> Console:
    """A console that prints data as it is: `[xl]` and `:tea:` stay text, and so do words such as `[/sale]`.

    What the terminal's encoding lacks is printed as an escape instead of ending the program.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's stream may have none
        if reconfigure:
            reconfigure(errors="backslashreplace")
    return Console(highlight=False, soft_wrap=width is None, width=width, markup=False, emoji=False)


def printable(text: str) -> str:
    r"""The text with escapes (`\x1b`) where it has characters that can't be seen, such as a terminal's commands."""
    return "".join(each if each.isprintable() or each in _LAYOUT else _escape(each) for each in text)


def quoted(value: str, longest: int = 40) -> str:
    r"""A value as an error shows it: in quotes, at most `longest` characters, line breaks as `\n`."""
    shown = value if len(value) <= longest else value[:longest] + "…"
    return '"' + "".join(each if each.isprintable() else _escape(each) for each in shown) + '"'


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
