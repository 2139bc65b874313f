"""Runs a function as a program: its parameters are the options, and wrong usage is one line."""

import sys
from collections.abc import Callable
from typing import Final

import typer
from typer.exceptions import TyperException

_CTRL_C: Final = 130


class WrongUsage(typer.BadParameter):
    """Options that do not go together, or name what is not there; the text is all that is told."""

    def format_message(self) -> str:
        return self.message


def run(command: Callable[..., None]) -> None:
    """Run it with this process's arguments, and exit: with 2, and a line on stderr, when they are wrong."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
    app.command()(command)
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(_CTRL_C)
    except TyperException as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(error.exit_code)
    sys.exit(code)
