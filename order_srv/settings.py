"""What the order service can be told, by `ORDER_…` variables."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from common.discovery.static import parse_static_url
from common.process.settings import Address, DatabaseUrl, DiscoveryUrl, PositiveSeconds, Seconds, ServiceSettings
from order_srv.crash_points import CrashPoint

INVENTORY = "inventory-srv"
"""The name under which the registry knows inventory."""


def _names_inventory(url: str) -> str:
    if url.startswith("static:") and INVENTORY not in parse_static_url(url):
        raise ValueError(f"names no {INVENTORY}, which orders need")
    return url


def _crash_point(name: str) -> str:
    if name and name.removeprefix("stop:") not in set(CrashPoint):
        raise ValueError("no such crash point")
    return name


class OrderSettings(ServiceSettings):
    """The settings of `ServiceSettings`, and the times of an order's life.

    Attributes:
        pay_within: How long an order waits for its payment before it is closed.
        creating_grace: How old an order may be that is still CREATING; older ones have failed.
        sweep_every: The pause between two rounds of the sweeper.
        sweep_grace: How long past its expiry the sweeper leaves an order to the timeout message.
        return_after: How long after a dead order owes its stock the sweeper first asks for it.
    """

    model_config = SettingsConfigDict(env_prefix="ORDER_")

    listen: Address = "127.0.0.1:50051"
    database_url: DatabaseUrl = "sqlite:///.run/order.db"
    discovery_url: Annotated[DiscoveryUrl, AfterValidator(_names_inventory)] = f"static://?{INVENTORY}=127.0.0.1:50052"
    pay_within: PositiveSeconds = timedelta(seconds=1800)
    creating_grace: PositiveSeconds = timedelta(seconds=60)
    sweep_every: PositiveSeconds = timedelta(seconds=30)
    sweep_grace: Seconds = timedelta(seconds=30)
    return_after: Seconds = timedelta(seconds=30)
    crash_at: Annotated[str, AfterValidator(_crash_point)] = Field(
        "", description=f"empty, or one of these, `stop:` before it to stop there: {', '.join(CrashPoint)}"
    )

    @property
    def longest_create(self) -> timedelta:
        """The longest deadline of CreateOrder: a create has ended before its order is old enough to be failed."""
        return self.creating_grace / 2
