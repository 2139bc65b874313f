"""A database that loses its connection at COMMIT."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from common.database import CommitUnknown, Database, DatabaseUnavailable


def _nothing() -> None:
    pass


class LossyDatabase(Database):
    """Loses its connection at the COMMIT that a test picks."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.down = False
        self._picked: Callable[[], bool] | None = None
        self._happens = False
        self._then_down = False
        self._then: Callable[[], object] = _nothing

    def lose_commit(
        self,
        picked: Callable[[], bool],
        *,
        happens: bool,
        then_down: bool = False,
        then: Callable[[], object] = _nothing,
    ) -> None:
        """Lose the connection at one COMMIT.

        Args:
            picked: Asked within each transaction before its COMMIT; the first that it says yes to is lost.
            happens: Whether the COMMIT takes place.
            then_down: Whether the database can't be reached from then on, until `down` is set to False.
            then: What others do before it is tried again.
        """
        self._picked, self._happens, self._then_down, self._then = picked, happens, then_down, then

    @property
    def lost(self) -> bool:
        """Whether the picked COMMIT came."""
        return self._picked is None

    @contextmanager
    def reading(self) -> Iterator[None]:
        if self.down:
            raise DatabaseUnavailable("the database is down")
        with super().reading():
            yield

    def _attempt(self, *args: Any) -> Any:
        if self.lost:
            then, self._then = self._then, _nothing
            then()
        return super()._attempt(*args)

    def _commit(self) -> None:
        if self._picked is None:
            super()._commit()
            return
        last, self._own.at_commit = self._own.at_commit, []
        self.run_all([(statement, values) for statement, values, _ in last])
        if not self._picked():
            super()._commit()
            return
        self.down = self._then_down
        self._picked = None
        if self._happens:
            super()._commit()
        else:
            self.engine.rollback()
        raise CommitUnknown("the connection was lost")
