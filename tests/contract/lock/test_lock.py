"""What every lock does, whatever it stands on."""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from common.deadline import Deadline
from common.lock.port import Lock, LockBusy, LockLost
from tests.support.waiting import TIMEOUT_S

SHORT = 0.05


class Holder:
    """A thread that holds keys until it is told to let go."""

    def __init__(self, lock: Lock, keys: Collection[str], pool: ThreadPoolExecutor, deadline: Deadline) -> None:
        self.has_it = threading.Event()
        self.let_go = threading.Event()
        self.outcome: Future[None] = pool.submit(self._hold, lock, keys, deadline)

    def _hold(self, lock: Lock, keys: Collection[str], deadline: Deadline) -> None:
        with lock.holding(keys, deadline):
            self.has_it.set()
            assert self.let_go.wait(TIMEOUT_S)

    def end(self) -> None:
        self.let_go.set()
        self.outcome.result(TIMEOUT_S)


Hold = Callable[..., Holder]


@pytest.fixture
def hold(lock: Lock) -> Iterator[Hold]:
    """Starts a holder; all are told to let go at the end."""
    holders: list[Holder] = []
    with ThreadPoolExecutor(16) as pool:

        def start(*keys: str, deadline: Deadline | None = None) -> Holder:
            holders.append(Holder(lock, keys, pool, deadline or Deadline.after(TIMEOUT_S)))
            return holders[-1]

        yield start
        for holder in holders:
            holder.let_go.set()


def holding(hold: Hold, *keys: str) -> Holder:
    holder = hold(*keys)
    assert holder.has_it.wait(TIMEOUT_S)
    return holder


def is_free(lock: Lock, *keys: str) -> bool:
    try:
        with lock.holding(keys, Deadline.after(SHORT)):
            return True
    except LockBusy:
        return False


def test_a_key_is_one_holders_at_a_time(lock: Lock) -> None:
    inside, most, total = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, total
        for _ in range(50):
            with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
                inside += 1
                most = max(most, inside)
                seen = total
                time.sleep(0)  # invites another thread in
                total = seen + 1
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(work) for _ in range(8)]:
            each.result(TIMEOUT_S)
    assert (most, total) == (1, 400)


def test_other_keys_do_not_wait(lock: Lock, hold: Hold) -> None:
    holding(hold, "tea", "milk")
    assert is_free(lock, "sugar")
    assert not is_free(lock, "tea")
    assert not is_free(lock, "sugar", "milk")


def test_repeated_keys_count_once_and_no_keys_are_always_free(lock: Lock, hold: Hold) -> None:
    holder = holding(hold, "tea", "tea")
    with lock.holding([], Deadline.after(TIMEOUT_S)) as held:
        assert not held.lost
    holder.end()
    assert is_free(lock, "tea")


def test_pitfall_3_reversed_key_lists_never_wait_for_each_other(lock: Lock) -> None:
    keys = [f"sku-{n}" for n in range(12)]

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(10):
            wanted = chance.sample(keys, chance.randint(2, 8))
            if seed % 2:
                wanted.sort(reverse=True)
            with lock.holding(wanted, Deadline.after(TIMEOUT_S)):
                time.sleep(0)

    with ThreadPoolExecutor(32) as pool:
        for each in [pool.submit(work, seed) for seed in range(32)]:
            each.result(TIMEOUT_S)
    assert is_free(lock, *keys)


def test_pitfall_4_at_the_deadline_it_is_busy_and_nothing_is_held(lock: Lock, hold: Hold) -> None:
    holder = holding(hold, "milk")
    with pytest.raises(LockBusy) as busy, lock.holding(["tea", "milk", "sugar"], Deadline.after(SHORT)):
        pytest.fail("held what another holds")
    assert busy.value.reason == "LOCK_BUSY"
    assert is_free(lock, "tea", "sugar")
    holder.end()
    assert is_free(lock, "tea", "milk", "sugar")


def test_who_gives_up_no_longer_stands_in_the_way_of_others(lock: Lock, hold: Hold) -> None:
    holding(hold, "milk")
    patient = Deadline.after(TIMEOUT_S)
    gives_up = hold("tea", "milk", deadline=patient)
    assert not gives_up.has_it.wait(SHORT)
    wants_tea = hold("tea")
    patient.cancel()
    with pytest.raises(LockBusy):
        gives_up.outcome.result(TIMEOUT_S)
    assert wants_tea.has_it.wait(TIMEOUT_S)


def test_a_caller_that_hangs_up_stops_waiting_at_once(lock: Lock, hold: Hold) -> None:
    holding(hold, "tea")
    deadline = Deadline.after(TIMEOUT_S)
    waiter = hold("tea", deadline=deadline)
    assert not waiter.has_it.wait(SHORT)
    cancelled = time.monotonic()
    deadline.cancel()
    with pytest.raises(LockBusy):
        waiter.outcome.result(TIMEOUT_S)
    assert time.monotonic() - cancelled < TIMEOUT_S / 3


def test_pitfall_4_an_exception_gives_the_keys_back_and_goes_through(lock: Lock) -> None:
    with pytest.raises(ZeroDivisionError), lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
        raise ZeroDivisionError
    assert is_free(lock, "tea")


def test_a_release_wakes_the_waiter(lock: Lock, hold: Hold) -> None:
    pauses = []
    for _ in range(20):
        first = holding(hold, "tea")
        second = hold("tea")
        assert not second.has_it.wait(0.005)
        released = time.monotonic()
        first.let_go.set()
        assert second.has_it.wait(TIMEOUT_S)
        pauses.append(time.monotonic() - released)
        second.end()
    assert sorted(pauses)[5] < 0.02  # most are far quicker than any polling; some are late on a busy machine


def test_a_waiter_for_many_keys_is_not_passed_over_for_ever(lock: Lock) -> None:
    stop = threading.Event()

    def keep_taking(key: str) -> None:
        while not stop.is_set():
            with lock.holding([key], Deadline.after(TIMEOUT_S)):
                time.sleep(0.001)

    with ThreadPoolExecutor(6) as pool, stopping(stop):
        busy = [pool.submit(keep_taking, key) for key in ("tea", "tea", "milk", "milk", "sugar", "sugar")]
        for _ in range(5):
            with lock.holding(["tea", "milk", "sugar"], Deadline.after(TIMEOUT_S)):
                assert not any(each.done() for each in busy)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        stop.set()


def test_one_thread_that_asks_again_for_its_key_waits_for_itself(lock: Lock) -> None:
    with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
        assert not is_free(lock, "tea")
        assert is_free(lock, "milk")
    assert is_free(lock, "tea")


def test_what_is_held_when_the_lock_closes_is_lost_and_nothing_can_be_had(lock: Lock, hold: Hold) -> None:
    with ExitStack() as held_here:
        held = held_here.enter_context(lock.holding(["tea"], Deadline.after(TIMEOUT_S)))
        waiting = hold("tea")
        assert not waiting.has_it.wait(SHORT)
        assert not held.lost
        lock.close()
        assert held.lost
        leave = held_here.pop_all()
    with pytest.raises(LockLost):
        leave.close()
    with pytest.raises(LockBusy):
        waiting.outcome.result(TIMEOUT_S)
    assert not is_free(lock, "milk")


def test_the_holders_own_exception_goes_before_the_lost_lock(lock: Lock) -> None:
    def close_and_fail() -> None:
        lock.close()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
        close_and_fail()
