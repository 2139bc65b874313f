"""Load processes: they say when they can't do what they are told, and nobody waits for a dead one."""

import os
import signal

import pytest

from scripts.bench.load import Kind, Plan
from scripts.bench.loaders import Loaders, LoadFailed


def test_a_load_that_can_not_be_made_is_told() -> None:
    with Loaders(1) as loaders, pytest.raises(LoadFailed, match=r"a load process failed: .*StopIteration"):
        loaders.start([Plan(Kind.SELL, skus=(), addresses=())]).result()


def test_nobody_waits_for_a_load_process_that_died() -> None:
    with Loaders(2) as loaders:
        for pid in loaders.pids:
            os.kill(pid, signal.SIGKILL)
        loading = loaders.start([])
        assert loading.result() == []
        with pytest.raises(LoadFailed, match="died"):
            loaders.start([Plan(Kind.EMPTY), Plan(Kind.EMPTY)]).result()
