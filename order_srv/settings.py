"""What can be set of the order service, by `ORDER_…` variables."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from common.crash_points import CrashPointName
from common.discovery import port as discovery
from common.process.settings import (
    Address,
    DatabaseUrl,
    DiscoveryUrl,
    PositiveSeconds,
    Seconds,
    ServiceSettings,
    url_setting,
)
from order_srv.crash_points import CrashPoint

INVENTORY = "inventory-srv"
"""The name under which the registry knows inventory."""


def _may_know_inventory(url: discovery.DiscoveryUrl) -> discovery.DiscoveryUrl:
    if not url.may_know(INVENTORY):
        raise ValueError(f"must name {INVENTORY}, which orders need")
    return url


class OrderSettings(ServiceSettings):
    """The settings of `ServiceSettings`, and the times of an order's life."""

    model_config = SettingsConfigDict(env_prefix="ORDER_")

    listen: Address = "127.0.0.1:50051"
    database_url: DatabaseUrl = url_setting("sqlite:///.run/order.db")
    discovery_url: Annotated[DiscoveryUrl, AfterValidator(_may_know_inventory)] = url_setting(
        f"static://?{INVENTORY}=127.0.0.1:50052", "which registry tells where inventory is"
    )
    pay_within: PositiveSeconds = Field(
        timedelta(seconds=1800), description="how long an order waits for its payment before it is closed"
    )
    creating_grace: PositiveSeconds = Field(
        timedelta(seconds=60),
        description="how old an order may be that is still being created; older ones have failed",
    )
    sweep_every: PositiveSeconds = Field(
        timedelta(seconds=30), description="the pause between two rounds of the sweeper"
    )
    sweep_grace: Seconds = Field(
        timedelta(seconds=30),
        description="how long past its expiry the sweeper leaves an order to the timeout message",
    )
    return_after: Seconds = Field(
        timedelta(seconds=30),
        description="how long after a dead order owes its stock the sweeper first checks that it is back",
    )
    crash_at: Annotated[str, CrashPointName(CrashPoint)] = ""

    @property
    def longest_create(self) -> timedelta:
        """The longest deadline of CreateOrder: a create has ended before its order is old enough to be failed."""
        return self.creating_grace / 2
