"""Settings from the environment and `.env`: typed, and checked before anything starts.

A service's settings are a subclass of `ServiceSettings` with a prefix of its own. Each field has a rule
(common/text_rules.py), which says what is allowed, and a description, which docs/settings.md shows. Which drivers there
are, and what their URLs may be, each port's `drivers.py` knows.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from common import driver_url, text_rules
from common.cache.drivers import CACHES
from common.database import port as database
from common.database.drivers import DATABASES
from common.discovery import port as discovery
from common.discovery.drivers import REGISTRIES
from common.driver_table import Drivers
from common.driver_url import mask_url
from common.lock.drivers import LOCKS
from common.messaging.drivers import BROKERS
from common.process.cpu_affinity import AUTO, CpuChoice
from common.process.env_file import BrokenEnvFile, read_env_file
from common.text_rules import Matching, OneOf, Switch, WholeNumber, rule_of

ENV_FILE: Final = ".env"

_WRONG_SETTINGS: Final = 2  # the exit code of a program that was called wrongly
_LONGEST_SHOWN: Final = 200

# What Kubernetes sets for a service that is called as our prefix is: ORDER_SRV_SERVICE_HOST, ORDER_PORT_50051_TCP.
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)$")

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "pretty"]

Seconds = Annotated[timedelta, text_rules.Seconds()]
PositiveSeconds = Annotated[timedelta, text_rules.Seconds(above=True)]
Address = Annotated[
    str, text_rules.Address("host:port, such as 127.0.0.1:50051, 0.0.0.0:50051 or [::1]:0 (port 0: a free one)")
]
OptionalAddress = Annotated[
    str, text_rules.Address("host:port, such as 127.0.0.1:9464, or empty: none", may_be_empty=True)
]
AdvertisedAddress = Annotated[str, text_rules.AdvertisedAddress()]
DatabaseUrl = Annotated[database.DatabaseUrl, NoDecode, DATABASES]
BrokerUrl = Annotated[driver_url.DriverUrl, NoDecode, BROKERS]
LockUrl = Annotated[driver_url.DriverUrl, NoDecode, LOCKS]
OptionalCacheUrl = Annotated[driver_url.DriverUrl | None, NoDecode, CACHES]
DiscoveryUrl = Annotated[discovery.DiscoveryUrl, NoDecode, REGISTRIES]


Cpu = Annotated[str, CpuChoice()]


def url_setting(default: str, description: str | None = None) -> Any:
    """A field of a URL; its default is read where the service runs."""
    return Field(default, description=description)


class ServiceSettings(BaseSettings):
    """What can be set of every service; the fields' descriptions say what each is."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    listen: Address = Field(description="where to serve gRPC; the ready line tells which port 0 has taken")
    advertise: AdvertisedAddress = Field(
        "",
        description="the address that others call; for a host alone, with the port of the address that it listens on; "
        "empty: that address, and for 0.0.0.0 the machine's own",
    )
    database_url: DatabaseUrl = Field(description="which database")
    broker_url: BrokerUrl = url_setting(
        "embedded:///.run/broker.db", "which message broker; the same for both services"
    )
    discovery_url: DiscoveryUrl = Field(description="which registry; the same for both services")
    threads: Annotated[int, WholeNumber(1, 1024)] = Field(
        64,
        description="how many calls are handled at once; 1,024 more may wait for a thread, and the next one (a health "
        "check as well) gets RESOURCE_EXHAUSTED from gRPC at once",
    )
    cpu: Cpu = Field(
        AUTO,
        description="on which CPU the process runs: on one that its port and its host's name pick, on the one of this "
        "number, or wherever the system likes",
    )
    metrics_listen: OptionalAddress = Field("", description="where to serve metrics for Prometheus")
    reflection: Annotated[bool, Switch()] = Field(
        default=True, description="whether gRPC clients may ask which services there are, as grpcurl does"
    )
    topic_prefix: Annotated[str, Matching("[A-Za-z0-9_-]{0,64}", "up to 64 of A-Z a-z 0-9 _ -")] = Field(
        "", description="put before each topic's name, one an environment"
    )
    crash_at: str = Field("", description="the crash point at which the process kills itself, for tests; empty: none")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], OneOf("debug", "info", "warning", "error")] = (
        Field("info", description="what is logged at least")
    )
    log_format: Annotated[Literal["auto", "json", "pretty"], OneOf("auto", "json", "pretty")] = Field(
        "auto", description="how logs are written; `auto`: pretty on a terminal and JSON elsewhere"
    )


S = TypeVar("S", bound=ServiceSettings)


class WrongSettings(Exception):
    """Settings that a service can't start with; `lines` has one for each wrong variable."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


def read_settings(settings_class: type[S]) -> S:
    """Read the settings from the environment, and from `.env` in the current folder where that is silent.

    Raises:
        WrongSettings: A value is not allowed, a variable with the service's prefix is no setting, or `.env` can't be
            read.
    """
    try:
        from_file = read_env_file(Path(ENV_FILE).absolute())
    except BrokenEnvFile as error:
        raise WrongSettings([str(error)]) from None
    lines = [_unknown_line(settings_class, name) for name in _unknown_names(settings_class, {*os.environ, *from_file})]
    from_environment: Callable[..., S] = settings_class
    try:
        settings = from_environment(**_where_the_environment_is_silent(settings_class, from_file))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        lines = [_wrong_line(settings_class, each) for each in wrong] + lines
    if lines:
        raise WrongSettings(lines)
    return settings


def load_settings(settings_class: type[S]) -> S:
    """Read the settings, or say on stderr what is wrong with each and exit with 2."""
    try:
        return read_settings(settings_class)
    except WrongSettings as wrong:
        sys.stderr.write(f"{wrong}\n")
        sys.exit(_WRONG_SETTINGS)


def variable_of(settings_class: type[ServiceSettings], field: str) -> str:
    """The variable that sets a field."""
    return f"{settings_class.model_config['env_prefix']}{field}".upper()


def _where_the_environment_is_silent(settings_class: type[S], from_file: Mapping[str, str]) -> dict[str, str]:
    """What `.env` sets, by field."""
    names = {variable_of(settings_class, field): field for field in settings_class.model_fields}
    set_there = {name.upper() for name, value in os.environ.items() if value}
    return {
        names[name.upper()]: value
        for name, value in from_file.items()
        if value and name.upper() in names and name.upper() not in set_there
    }


def _unknown_names(settings_class: type[S], given: Iterable[str]) -> list[str]:
    """Variables that look like settings of this service and are none: slips that would go unnoticed."""
    known = {variable_of(settings_class, field) for field in settings_class.model_fields}
    prefix = str(settings_class.model_config["env_prefix"])
    return sorted(
        name
        for name in given
        if name.upper().startswith(prefix) and name.upper() not in known and not _OF_KUBERNETES.search(name)
    )


def _unknown_line(settings_class: type[S], name: str) -> str:
    prefix = str(settings_class.model_config["env_prefix"])
    known = [field.upper() for field in settings_class.model_fields]
    alike = difflib.get_close_matches(name.upper().removeprefix(prefix), known, n=1)
    if alike:
        return f"{name}: no such setting; did you mean {prefix}{alike[0]}?"
    return f"{name}: no such setting; there are {', '.join(prefix + each for each in known)}"


def _wrong_line(settings_class: type[S], error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    rule = rule_of(settings_class.model_fields[field].metadata)
    given = str(error["input"])
    shown = rule.mask(given) if isinstance(rule, Drivers) else mask_url(given) if "@" in given else given
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}…"
    why = error.get("ctx", {}).get("error", error["msg"])
    return f"{variable_of(settings_class, field)}={shown!r}: {why}"
