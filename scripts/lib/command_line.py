"""How the programs of scripts/ are called: `--help` explains them, and wrong usage is one line and exit code 2."""

import sys
from collections.abc import Callable
from typing import Final, NoReturn

import typer
from typer.exceptions import TyperException

_CTRL_C: Final = 130


class WrongUsage(typer.BadParameter):
    """Options that do not go together, or name what is not there; the text is all that is printed."""

    def format_message(self) -> str:
        return self.message


def run(command: Callable[..., None]) -> NoReturn:
    """Run a function as a program: its parameters are the options, its docstring explains it."""
    app = make_app()
    app.command()(command)
    run_app(app)


def make_app(about: str | None = None) -> typer.Typer:
    """A program with several commands."""
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False, help=about)


def run_app(app: typer.Typer) -> NoReturn:
    """Run the program as it was called, and exit: with 2, and a line on stderr, when it was called wrongly."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        code = _CTRL_C
    except WrongUsage as error:
        sys.stderr.write(f"{error.format_message()}\n")
        code = error.exit_code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        message = " ".join(error.format_message().split()).rstrip(".")
        sys.stderr.write(f"{context.command_path if context else sys.argv[0]}: {message}; --help tells more\n")
        code = error.exit_code
    sys.exit(code)
