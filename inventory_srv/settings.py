"""What the inventory service can be told, by `INVENTORY_…` variables."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import SettingsConfigDict

from common.process.settings import Address, CacheUrl, DatabaseUrl, LockUrl, ServiceSettings
from inventory_srv.crash_points import CrashPoint

Outage = Literal["database", "refuse"]
"""What to do without the lock, its engine down or its holder dead: go on, guarded by the database's rows, or refuse."""


def _crash_point(name: str) -> str:
    if name and name.removeprefix("stop:") not in set(CrashPoint):
        raise ValueError("no such crash point")
    return name


class InventorySettings(ServiceSettings):
    """The settings of `ServiceSettings`, and how stock is written.

    Attributes:
        lock_url: Which lock keeps replicas from queueing on the same rows.
        lock_outage: What to do while the lock's engine is down, or a holder does not release it: go on, guarded by the
            database alone, or refuse.
        cache_url: Where stock that was read is kept for who asks next; the same for all replicas. Empty: the lock's
            Redis where it has one; else in this process for a file, which one process has, and nowhere for a server.
        queue: How many changes of stock may wait.
        batch: How many changes are merged into one transaction at most; 1: no merging.
    """

    model_config = SettingsConfigDict(env_prefix="INVENTORY_")

    listen: Address = "127.0.0.1:50052"
    database_url: DatabaseUrl = "sqlite:///.run/inventory.db"
    lock_url: LockUrl = "local://"
    lock_outage: Annotated[Outage, BeforeValidator(str.lower)] = Field("database", description="database or refuse")
    cache_url: CacheUrl = ""
    queue: int = Field(4096, ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
    batch: int = Field(256, ge=1, le=10_000, description="a whole number from 1 to 10000")
    crash_at: Annotated[str, AfterValidator(_crash_point)] = Field(
        "", description=f"empty, or one of these, `stop:` before it to stop there: {', '.join(CrashPoint)}"
    )
