"""An error that many callers share becomes an object of its own for each."""

from typing import Self

import grpc
import pytest

from common.batching import copy_of
from common.database import CommitUnknown
from common.errors import Aborted, UnusableEngine, Violation
from inventory_srv.domain.errors import QueueFull


class WantsMore(Exception):
    def __init__(self, first: str, *, second: int) -> None:
        super().__init__(f"{first} {second}")
        self.second = second


class NeverMade(Exception):
    def __new__(cls, *args: object) -> Self:
        if args:
            raise RuntimeError("not again")
        return super().__new__(cls)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("key"),
        OSError(2, "no such file", "/a/file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("two", [ValueError("a"), ValueError("b")]),
        WantsMore("a", second=2),
        CommitUnknown("no answer", metadata={"a": "b"}),
        Aborted("lost", reason="LOST", metadata={"sku": "tea"}, violations=[Violation("field", "wrong")]),
        UnusableEngine("DATABASE_URL", ["too old"]),
        QueueFull(7),
        grpc.RpcError("broken"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_copy_is_another_object_that_says_the_same(error: Exception) -> None:
    copy = copy_of(error)
    assert copy is not error
    assert type(copy) is type(error)
    assert (str(copy), repr(copy), copy.args) == (str(error), repr(error), error.args)
    assert copy.__dict__ == error.__dict__


def test_a_copy_shares_nothing_that_its_caller_may_change() -> None:
    error = Aborted("lost", metadata={"a": "b"})
    error.add_note("once")
    copy = copy_of(error)
    assert isinstance(copy, Aborted)
    copy.metadata["c"] = "d"
    copy.add_note("of the copy")
    assert (error.metadata, error.__notes__) == ({"a": "b"}, ["once"])


def where_it_went_wrong() -> None:
    raise ValueError("bad") from KeyError("cause")


def test_a_copy_tells_where_the_original_came_from_and_leaves_its_traceback_alone() -> None:
    with pytest.raises(ValueError, match="bad") as original:
        where_it_went_wrong()
    before = original.value.__traceback__

    with pytest.raises(ValueError, match="bad") as raised_again:
        raise copy_of(original.value)

    assert raised_again.traceback[-1].name == "where_it_went_wrong"
    assert raised_again.value.__cause__ is original.value.__cause__
    assert raised_again.value.__suppress_context__
    assert original.value.__traceback__ is before


def test_a_copy_tells_what_its_original_was_raised_while_handling() -> None:
    def fail_twice() -> None:
        try:
            where_it_went_wrong()
        finally:
            raise Aborted("lost")

    with pytest.raises(Aborted) as original:
        fail_twice()

    copy = copy_of(original.value)

    assert isinstance(copy.__context__, ValueError)
    assert not copy.__suppress_context__


def test_what_can_not_be_copied_is_told_by_its_name() -> None:
    error = NeverMade()
    error.args = ("why",)
    copy = copy_of(error)
    assert type(copy) is RuntimeError
    assert str(copy) == "NeverMade: why"
