"""Connections and transactions, on SQLite or on a MySQL server, by URL."""

from common.database.database import Database
from common.database.errors import CommitUnknown, DatabaseUnavailable, Overtaken
from common.database.sql import Statement, marks, padded
from common.database.times import TimeField, from_micros, to_micros

__all__ = [
    "CommitUnknown",
    "Database",
    "DatabaseUnavailable",
    "Overtaken",
    "Statement",
    "TimeField",
    "from_micros",
    "marks",
    "padded",
    "to_micros",
]
