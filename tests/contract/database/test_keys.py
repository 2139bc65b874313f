"""Text is kept and compared character by character, by every engine."""

import itertools

import peewee
import pytest

from common.database import Database
from tests.contract.database.harness import Note
from tests.contract.database.notes import numbers, put

UNEQUAL = [
    *("a", "A", "\u00e1", "a\u0301", "à", "\uff41", "ß", "ss", "\u0131", "i", "茶", "🍵", "🍵\ufe0f"),
    *("a ", "a  ", " a", "a\t", "a\x00"),
]


def test_keys_that_differ_in_a_character_are_different_keys(database: Database) -> None:
    database.write(lambda: database.insert_many("note (word, number)", [(key, n) for n, key in enumerate(UNEQUAL)]))

    assert numbers(database) == {key: n for n, key in enumerate(UNEQUAL)}


@pytest.mark.parametrize("key", UNEQUAL)
def test_a_key_finds_only_itself(database: Database, key: str) -> None:
    others = [other for other in UNEQUAL if other != key]
    database.write(lambda: database.insert_many("note (word, number)", [(o, 0) for o in others]))

    with database.reading():
        assert not database.execute("SELECT number FROM note WHERE word = ?", (key,)).fetchall()
        assert not database.engine.execute(Note.select(Note.key).where(Note.key.in_([key]))).fetchall()


def test_the_same_key_twice_is_refused(database: Database) -> None:
    put(database, "a ", 1)

    with pytest.raises(peewee.IntegrityError):
        put(database, "a ", 2)


def test_keys_sort_code_point_by_code_point(database: Database) -> None:
    database.write(lambda: database.insert_many("note (word, number)", [(key, 0) for key in UNEQUAL]))

    with database.reading():
        found = [key for (key,) in database.engine.execute(Note.select(Note.key).order_by(Note.key)).fetchall()]
    assert found == sorted(UNEQUAL)


def test_ranges_of_keys_are_those_of_their_code_points(database: Database) -> None:
    database.write(lambda: database.insert_many("note (word, number)", [(key, 0) for key in UNEQUAL]))

    for low, high in itertools.product(["", "a", "a ", "ß", "茶", "🍵"], ["a", "a!", "b", "\U0001f376"]):
        query = Note.select(Note.key).where((Note.key >= low) & (Note.key < high))
        with database.reading():
            found = {key for (key,) in database.engine.execute(query).fetchall()}
        assert found == {key for key in UNEQUAL if low <= key < high}


@pytest.mark.parametrize("key", ["x" * 64, "茶" * 64, "🍵" * 64, "'\\\"%s%%?`" * 6, "\\", "%", "\n\r\x1a\x08"])
def test_a_key_comes_back_as_it_went(database: Database, key: str) -> None:
    put(database, key, 1)

    assert numbers(database) == {key: 1}
    database.write(lambda: database.execute("UPDATE note SET number = ? WHERE word = ?", (2, key)))
    assert numbers(database) == {key: 2}


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**31, 2**53, 2**63 - 1])
def test_a_number_comes_back_as_it_went(database: Database, number: int) -> None:
    put(database, "a", number)

    assert numbers(database) == {"a": number}
