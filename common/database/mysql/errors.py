"""The error numbers of MySQL and MariaDB, and what each means to a transaction.

The numbers: MySQL's Server and Client Error Message References, MariaDB's Error Codes. A number that is not here means
a bug.
"""

from typing import Final

import peewee
import pymysql

from common.database.mysql.url import MysqlUrl
from common.database.port import Trouble

_CONTENDED: Final = frozenset(
    {
        1205,  # waited too long for a row, or for a table that is being altered
        1213,  # deadlock; with Galera also at COMMIT
        1020,  # a row changed since the snapshot (innodb_snapshot_isolation)
    }
)
_LOST: Final = frozenset(
    {
        0,  # PyMySQL: the connection is closed already
        1053,  # the server is shutting down
        1158, 1159, 1160, 1161,  # the server could not read or write packets
        1317,  # the statement was interrupted: a server that stops does so
        1927,  # MariaDB: the connection was killed
        2006, 2013,  # gone; lost in the middle
        2055,  # lost, with the system's own error
        4031,  # MySQL: closed because it was idle
    }
)  # fmt: skip
_NO_ANSWER: Final = frozenset({0, 1158, 1159, 1160, 1161, *range(2000, 3000)})  # the client's own are from 2000
_UNAVAILABLE: Final = frozenset(
    {
        1021, 1030, 1114,  # no room on the disk, an error of the storage, a table that is full
        1037, 1038, 1041,  # no memory
        1040, 1203, 1226,  # too many connections: of all, of this user, in this hour
        1044, 1045, 1049, 1142, 1227, 1698, 3118,  # refused: no right to the database, wrong password, no such database
        1047,  # Galera: this node is not part of the cluster
        1129, 1130,  # this host is blocked, or not allowed
        1180,  # an error during COMMIT
        1290, 1792, 1836,  # only reads are allowed: a replica, a primary that steps down
        1412,  # a table was altered since the snapshot
        1969, 3024,  # took longer than the server allows
        2002, 2003, 2005,  # can't be reached; its name is not known
        2012, 2026,  # the handshake failed; TLS failed
        2059,  # a way to log in that is not there
        3159,  # the server insists on TLS
    }
)  # fmt: skip
_RULE_BROKEN: Final = frozenset({4025, 3819})  # a CHECK: MariaDB's number, MySQL's


def error_number(error: BaseException) -> int | None:
    """The engine's number of an error, also when peewee has wrapped it; None: it has none."""
    if not isinstance(error, (peewee.DatabaseError, peewee.InterfaceError, pymysql.Error)):
        return None
    return next((part for part in error.args if isinstance(part, int)), None)


def is_answer(error: BaseException) -> bool:
    """Whether the server itself reported that a statement failed; otherwise the connection was lost."""
    number = error_number(error)
    return number is not None and number not in _NO_ANSWER


def trouble_of(error: Exception) -> Trouble | None:
    """What an error means; None: it is a bug, or an IntegrityError."""
    number = error_number(error)
    if number is None:
        lost = (peewee.OperationalError, peewee.InterfaceError, pymysql.OperationalError, OSError)
        return Trouble.UNAVAILABLE if isinstance(error, lost) else None
    for numbers, trouble in (
        (_CONTENDED, Trouble.CONTENDED),
        (_LOST, Trouble.LOST),
        (_UNAVAILABLE, Trouble.UNAVAILABLE),
        (_RULE_BROKEN, Trouble.RULE_BROKEN),
    ):
        if number in numbers:
            return trouble
    return None


def explanation(error: Exception, url: MysqlUrl) -> str:
    """The text for a database that can't serve; for operators, who set the URL; without the password."""
    server = f"the database server at {url.place}"
    match error_number(error):
        case 1049:
            text = f"there is no database {url.name!r} on {url.place}: create it first (CREATE DATABASE)"
        case 1044 | 1045 | 1142 | 1227 | 1698 | 3118:
            text = f"the database {url.name!r} on {url.place} refuses its user, or lacks rights that the user needs"
        case 1040 | 1203 | 1226:
            text = f"{server} has too many connections"
        case 1290 | 1792 | 1836:
            text = f"{server} allows only reads"
        case 2026 | 3159:
            text = f"no encrypted connection to {server}: {error.args[-1]}"
        case 2059:
            text = f"{server} needs a login method that is not installed: {error.args[-1]}"
        case _:
            text = "the database can't be used"
    return text
