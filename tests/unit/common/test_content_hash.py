"""Hashes that tell a repeat from another request."""

import pytest

from common.content_hash import LONGEST, content_hash


def test_the_same_content_in_the_same_form_has_the_same_hash() -> None:
    assert content_hash(1, "tea", 2, None) == content_hash(1, "tea", 2, None)


@pytest.mark.parametrize(
    "other", [("tea", 3, None), ("tea", "2", None), ("tea", 2), ("tea", 2, ""), ("te", "a2", None)]
)
def test_other_content_has_another_hash(other: tuple[object, ...]) -> None:
    assert content_hash(1, *other) != content_hash(1, "tea", 2, None)


def test_a_hash_says_in_which_form_it_was_made() -> None:
    first, second = content_hash(1, "tea"), content_hash(2, "tea")
    assert (first.partition(":")[0], second.partition(":")[0]) == ("1", "2")
    assert first.partition(":")[2] == second.partition(":")[2]


def test_a_hash_fits_into_its_column_for_a_long_time() -> None:
    assert len(content_hash(9_999_999, "tea")) == LONGEST


def test_stored_hashes_keep_their_value() -> None:
    # Rows of an earlier version hold it: who changes this value has to make a form of its own.
    assert content_hash(1, "tea", 2) == "1:b5d61e726c8a6628be06a904f8b1f02504afa1902d3a14d2f417a57dd777ac3b"
