"""How a service is called: without arguments. `--help` explains it; anything else is refused."""

import argparse
from datetime import timedelta
from typing import NoReturn

from common.process.settings import ServiceSettings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; it takes no arguments, and --help explains it\n")


def refuse_arguments(program: str, about: str, settings: type[ServiceSettings]) -> None:
    """Return when there are no arguments; else print what the service is, or one line of what is wrong, and exit.

    Args:
        program: As it is called: `python -m order_srv`.
        about: What it does, a sentence or two.
        settings: Its settings.
    """
    _Parser(
        prog=program,
        description=f"{about}\n\nIt is set by environment variables, or by .env in the current folder.",
        epilog=f"variables and their defaults (docs/settings.md explains them):\n{_variables(settings)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def _variables(settings: type[ServiceSettings]) -> str:
    prefix = str(settings.model_config["env_prefix"])
    defaults = {f"{prefix}{name}".upper(): field.default for name, field in settings.model_fields.items()}
    width = max(map(len, defaults))
    return "\n".join(f"  {name:{width}}  {_shown(default)}".rstrip() for name, default in defaults.items())


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default.total_seconds():g}" if isinstance(default, timedelta) else str(default)
