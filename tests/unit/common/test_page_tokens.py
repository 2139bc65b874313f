"""Page tokens that were made by hand."""

import base64

import pytest

from common import paging
from common.errors import InvalidArgument


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def test_a_token_gives_back_its_key() -> None:
    assert paging.decode(paging.encode((7, "cup")), int, str) == (7, "cup")


@pytest.mark.parametrize(
    "number", ["1e400", "NaN", "Infinity", "-Infinity", "true", "null", "7.0", "1e2", '"7"', "1" * 4301, "9" * 19]
)
def test_a_number_that_is_no_whole_number_of_64_bits_is_refused(number: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        paging.decode(token_of(f'[{number},"cup"]'), int, str)


def test_brackets_in_brackets_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        paging.decode(token_of("[" * 100_000), int, str)
