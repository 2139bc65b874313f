"""What is refused from memory is short indeed, also while another replica goes on without the lock."""

from pathlib import Path
from typing import Any

import pytest

from common.lock.local import LocalLock
from tests.component.inventory.shop import open_shop, soon
from tests.support.stock_changes import adjust, sell

pytestmark = pytest.mark.usefixtures("engine")


class TriesQuietly(LocalLock):
    """As the Redis lock: whoever only tries does not queue, so its holder does not learn of it."""

    quiet = False

    def acquire(self, keys: Any, deadline: Any, **more: Any) -> Any:
        self.quiet = deadline.passed
        try:
            return super().acquire(keys, deadline, **more)
        finally:
            self.quiet = False

    def _contend_for(self, keys: frozenset[str]) -> None:
        if not self.quiet:
            super()._contend_for(keys)


def test_a_living_holder_does_not_refuse_what_another_replica_put_back(tmp_path: Path) -> None:
    lock = TriesQuietly()
    with open_shop(tmp_path / "inventory.db", lock=lock) as a, open_shop(tmp_path / "inventory.db", lock=lock) as b:
        a.stock_up(tea=1, mug=5)
        with lock.holding(["lock:stock:mug"], soon()):
            b.carry_out(sell("m", ("mug", 1)))  # times out once: from now on b waits for no lock for long
        a.carry_out(sell("o1", ("tea", 1)))
        a.refusal_of("o2", ("tea", 1))  # now it knows the buyers
        b.carry_out(adjust("tea", 5))  # committed and answered
        assert a.units("tea") == (5, 1)
        a.carry_out(sell("o3", ("tea", 1)))
