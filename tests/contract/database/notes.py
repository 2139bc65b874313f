"""Short ways to write and read the suite's table."""

from typing import Any

from common.database import Database, Statement
from tests.contract.database.harness import Note


def insert(database: Database, key: str, number: int, **more: Any) -> None:
    """Within `write`."""
    database.engine.execute(Note.insert(key=key, number=number, **more))


def new_note(key: str, number: int) -> Statement:
    """The same as text."""
    return "INSERT INTO note (word, number) VALUES (?, ?)", [key, number]


def put(database: Database, key: str, number: int, **more: Any) -> None:
    """In a transaction of its own."""
    database.write(lambda: insert(database, key, number, **more))


def numbers(database: Database) -> dict[str, int]:
    """Every note."""
    with database.reading():
        return dict(database.engine.execute(Note.select(Note.key, Note.number)).fetchall())


def add_one(database: Database, key: str) -> int:
    """Within `write`: read, add in Python, write back; the sum."""
    query = database.locking(Note.select(Note.number).where(Note.key == key))
    number: int = database.engine.execute(query).fetchone()[0] + 1
    database.engine.execute(Note.update(number=number).where(Note.key == key))
    return number
