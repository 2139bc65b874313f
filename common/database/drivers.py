"""Picks the driver that a URL names."""

from urllib.parse import urlsplit

from common.database.mysql.driver import MysqlDriver
from common.database.mysql.url import parse_mysql_url
from common.database.port import Driver
from common.database.sqlite import SqliteDriver


def open_driver(url: str, connections: int, busy_timeout: float) -> Driver:
    """The driver of `sqlite:///…` or `mysql://…`.

    Raises:
        ValueError: It names no driver, or is not of its driver's shape.
    """
    match urlsplit(url).scheme:
        case "sqlite":
            return SqliteDriver(url, connections, busy_timeout)
        case "mysql":
            return MysqlDriver(parse_mysql_url(url), connections, busy_timeout)
        case other:
            raise ValueError(f"a database's URL begins with sqlite:// or mysql://, not {other}://")
