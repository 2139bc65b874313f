"""What can be set of the inventory service, by `INVENTORY_…` variables."""

from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common.crash_points import CrashPointName
from common.process.settings import (
    Address,
    DatabaseUrl,
    DiscoveryUrl,
    LockUrl,
    OptionalCacheUrl,
    ServiceSettings,
    url_setting,
)
from common.text_rules import OneOf, WholeNumber
from inventory_srv.crash_points import CrashPoint

Outage = Literal["database", "refuse"]
"""What to do without the lock, its engine down or its holder dead: go on, guarded by the database's rows, or refuse."""


MOST_TOGETHER: Final = 256
"""Changes that one message may bring, and wants to have queued together."""


class InventorySettings(ServiceSettings):
    """The settings of `ServiceSettings`, and how stock is written."""

    model_config = SettingsConfigDict(env_prefix="INVENTORY_")

    listen: Address = "127.0.0.1:50052"
    database_url: DatabaseUrl = url_setting("sqlite:///.run/inventory.db")
    discovery_url: DiscoveryUrl = url_setting("static://", "which registry inventory tells where it is")
    lock_url: LockUrl = url_setting("local://", "which lock keeps replicas from queueing on the same rows")
    lock_outage: Annotated[Outage, OneOf("database", "refuse")] = Field(
        "database",
        description="what to do while the lock's engine is down, or when its holder does not release it within "
        "0.15 s: go on, guarded by the database alone, or refuse",
    )
    cache_url: OptionalCacheUrl = Field(
        None,
        description="where stock that was read is kept for the next reader, the same for all replicas; empty: the "
        "lock's Redis where it has one; else in this process for a SQLite file, and nowhere for a server",
    )
    queue: Annotated[int, WholeNumber(MOST_TOGETHER, 1_000_000)] = Field(
        4096,
        description="how many changes of stock may wait; what comes together, up to 64 sells of a call or 256 orders "
        "of a message, is taken whole or not at all",
    )
    batch: Annotated[int, WholeNumber(1, 10_000)] = Field(
        256, description="how many changes are merged into one transaction at most; 1: no merging"
    )
    crash_at: Annotated[str, CrashPointName(CrashPoint)] = ""
