"""Writes docs/settings.md from the settings classes and the drivers' URLs; `--check` only tells whether it is fresh."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from common.cache.drivers import CACHES
from common.database.drivers import DATABASES
from common.discovery.drivers import REGISTRIES
from common.driver_table import Drivers
from common.driver_url import DriverUrl
from common.lock.drivers import LOCKS
from common.messaging.drivers import BROKERS
from common.process.settings import ServiceSettings, variable_of
from common.text_rules import rule_of
from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings
from scripts.lib import command_line

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"

_SERVICES: Final = (InventorySettings, OrderSettings)
_PORTS: Final[dict[str, Drivers[Any]]] = {
    "Databases": DATABASES,
    "Message brokers": BROKERS,
    "Locks": LOCKS,
    "Caches": CACHES,
    "Registries": REGISTRIES,
}
_HEAD: Final = """\
# Settings

Made from the settings classes by `make docs`; change the descriptions there.

Settings come from the environment, or from a `.env` in the current folder where the environment is silent. An empty
variable is as good as none. A wrong one stops the start with exit code 2 and one line that names the variable, its
value without secrets, the part that is wrong and the rule. So does a variable with a service's prefix that is no
setting.

Numbers are plain digits (`1000`, `0.5`), times are seconds, switches are `on` or `off`.

`.env` is UTF-8, a `NAME=value` a line, each name once. A line that begins with `#` is a comment. Quotes around a value
are left out; everything else is meant as it stands, `${…}` too.
"""
_URLS: Final = """\
## URLs

A URL picks a driver. Its parameters stand after `?`, joined by `&`: `?name=value&name=value`. Whatever a driver does
not read is refused. A special character is written in percents: `#` as %23, `?` as %3F, `%` as %25, `@` as %40, `/`
in a password as %2F. No log or error shows a user, a password or a token. What each engine needs is in
[engines.md](engines.md).
"""


def settings_page(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when the page is not fresh.")] = False,  # noqa: FBT002
) -> None:
    """Write docs/settings.md from the settings classes."""
    page = page_of_settings()
    if not check:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        print(f"{PAGE.name} is not what the settings classes say; `make docs` writes it", file=sys.stderr)
        raise typer.Exit(1)


def page_of_settings() -> str:
    """The text of the page."""
    urls = (section for title, drivers in _PORTS.items() for section in _port(title, drivers))
    return "\n".join([_HEAD, "## Of the services", "", *_table_of_services(), "", _URLS, *urls])


def _table_of_services() -> Iterator[str]:
    yield "| variable | default | what it is | allowed |"
    yield "| --- | --- | --- | --- |"
    names = dict.fromkeys(name for service in _SERVICES for name in service.model_fields)
    for name in names:
        services = [service for service in _SERVICES if name in service.model_fields]
        variables = _each(f"`{variable_of(service, name)}`" for service in services)
        defaults = _each(_default(service.model_fields[name]) for service in services)
        descriptions = _each(_description(service, name) for service in services)
        allowed = _each(_allowed(service.model_fields[name]) for service in services)
        yield f"| {variables} | {defaults} | {descriptions} | {allowed} |"


def _port(title: str, drivers: Drivers[Any]) -> Iterator[str]:
    yield f"### {title}\n"
    classes = dict.fromkeys(drivers.url_class(scheme) for scheme in drivers.table)
    for url_class in classes:
        yield from _driver(url_class)


def _driver(url_class: type[DriverUrl]) -> Iterator[str]:
    yield f"`{url_class.form}`\n"
    rules = url_class.rules()
    if rules:
        yield "| parameter | default | what it is | allowed |"
        yield "| --- | --- | --- | --- |"
        for name, rule in rules.items():
            field = url_class.model_fields[name]
            yield f"| `{name}` | {_default(field)} | {_cell(field.description or '')} | {_cell(rule.allowed)} |"
        yield ""


def _each(texts: Iterator[str]) -> str:
    """The texts without repeats."""
    return "<br>".join(dict.fromkeys(texts))


def _description(service: type[ServiceSettings], name: str) -> str:
    """Of the field, or of the field that it takes the place of."""
    found = (base.model_fields[name].description for base in (service, ServiceSettings) if name in base.model_fields)
    return _cell(next(text for text in found if text))


def _allowed(field: FieldInfo) -> str:
    rule = rule_of(field.metadata)
    return _cell(rule.allowed if rule is not None else "a text")


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    return f"`{value}`" if isinstance(value, str) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    command_line.run(settings_page)
