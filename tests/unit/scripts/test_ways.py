"""What the books of a way of selling say, and that every way is told of."""

from scripts.bench.strategies.books import Books
from scripts.bench.strategies.choice import CHOICES, REBACK, TITLES


def test_books_balance_when_what_was_put_there_is_left_or_sold() -> None:
    books = Books.of({"cup": 5, "tea": 3}, {"cup": 1, "tea": 3}, {"cup": 4})
    assert (books.written, books.oversold, books.adrift) == (4, 0, 0)
    assert books.balance


def test_oversold_is_what_was_sold_of_a_sku_beyond_what_was_there() -> None:
    books = Books.of({"cup": 5, "tea": 3}, {"cup": 0, "tea": 3}, {"cup": 7})
    assert (books.written, books.oversold, books.adrift) == (7, 2, 2)
    assert not books.balance


def test_a_lost_update_shows_before_anything_is_oversold() -> None:
    books = Books.of({"cup": 100}, {"cup": 98}, {"cup": 3})
    assert (books.oversold, books.adrift) == (0, 1)
    assert not books.balance


def test_too_little_of_one_sku_does_not_make_up_for_too_much_of_another() -> None:
    assert Books.of({"cup": 5, "tea": 5}, {"cup": 4, "tea": 4}, {"cup": 2}).adrift == 2


def test_every_way_has_a_title_and_reback_is_the_last() -> None:
    assert list(TITLES) == [*CHOICES, REBACK]
    assert len(set(TITLES.values())) == len(TITLES)


def test_what_keeps_with_two_processes_keeps_with_one() -> None:
    assert not [name for name, choice in CHOICES.items() if choice.keeps == (False, True)]
