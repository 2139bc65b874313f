"""Which databases there are, by the schemes of their URLs."""

from typing import Final

from common.database.port import DatabaseUrl
from common.database.port import Driver as DatabaseDriver
from common.driver_table import Driver, Drivers

DATABASES: Final = Drivers[DatabaseDriver](
    {
        "sqlite": Driver("common.database.sqlite:SqliteUrl", "common.database.sqlite:SqliteDriver"),
        "mysql": Driver("common.database.mysql.url:MysqlUrl", "common.database.mysql.driver:MysqlDriver"),
    }
)


def open_driver(url: str | DatabaseUrl, connections: int, busy_timeout: float) -> DatabaseDriver:
    """Make the driver that `url` names.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed, and has no secret.
    """
    return DATABASES.open(url, connections, busy_timeout)
