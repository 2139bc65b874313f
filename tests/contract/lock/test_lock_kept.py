"""What every lock does for who keeps it from one piece of work to the next."""

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.deadline import Deadline
from common.lock.port import HeldLock, Lock, LockBusy
from tests.support.waiting import TIMEOUT_S

SHORT = 0.05


def take(lock: Lock, *keys: str, replacing: HeldLock | None = None) -> HeldLock:
    return lock.acquire(keys, Deadline.after(TIMEOUT_S), replacing=replacing)


def is_free(lock: Lock, keys: Collection[str]) -> bool:
    try:
        with lock.holding(keys, Deadline.after(SHORT)):
            return True
    except LockBusy:
        return False


def test_what_is_taken_is_held_until_it_is_given_back(lock: Lock) -> None:
    held = take(lock, "tea")
    assert not held.lost
    assert not is_free(lock, ["tea"])
    lock.release(held)
    assert is_free(lock, ["tea"])


def test_a_holder_is_told_once_somebody_waits_for_one_of_its_keys(lock: Lock) -> None:
    answer = threading.Event()
    held = lock.acquire(["mug", "tea"], Deadline.after(TIMEOUT_S), on_contended=answer.set)
    assert not held.contended
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(take, lock, "tea")
        assert answer.wait(TIMEOUT_S)
        assert held.contended
        lock.release(held)
        lock.release(waiter.result(TIMEOUT_S))


def test_who_waits_for_other_keys_is_no_reason_to_release(lock: Lock) -> None:
    held, other = take(lock, "tea"), take(lock, "mug")
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(take, lock, "mug", "pot")
        wait_for_wanted(other)
        assert not held.contended
        lock.release(other)
        lock.release(waiter.result(TIMEOUT_S))
    lock.release(held)


def test_who_is_handed_keys_that_others_wait_for_too_is_told(lock: Lock) -> None:
    first = take(lock, "tea")
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(take, lock, "tea")
        wait_for_wanted(first)
        third = pool.submit(take, lock, "tea")
        assert not third.done()
        lock.release(first)
        turn = second.result(TIMEOUT_S)
        wait_for_wanted(turn)
        lock.release(turn)
        lock.release(third.result(TIMEOUT_S))


def test_one_lock_is_exchanged_for_another(lock: Lock) -> None:
    held = take(lock, "mug", "tea")
    held = take(lock, "pot", "tea", replacing=held)
    assert not held.lost
    assert is_free(lock, ["mug"])
    assert not is_free(lock, ["tea"])
    assert not is_free(lock, ["pot"])
    lock.release(held)


def test_who_exchanges_a_lock_that_others_wait_for_goes_behind_them(lock: Lock) -> None:
    held = take(lock, "tea")
    with ThreadPoolExecutor(2) as pool:
        waiter = pool.submit(take, lock, "tea")
        wait_for_wanted(held)
        again = pool.submit(take, lock, "tea", replacing=held)
        turn = waiter.result(TIMEOUT_S)
        wait_for_wanted(turn)
        assert not again.done()
        lock.release(turn)
        lock.release(again.result(TIMEOUT_S))


def test_an_exchange_that_is_in_vain_gives_back_all_the_same(lock: Lock) -> None:
    other, held = take(lock, "pot"), take(lock, "tea")
    with pytest.raises(LockBusy):
        lock.acquire(["pot"], Deadline.after(SHORT), replacing=held)
    assert is_free(lock, ["tea"])
    lock.release(other)


def test_a_lock_is_exchanged_for_none(lock: Lock) -> None:
    held = take(lock, "tea")
    lock.release(take(lock, replacing=held))
    assert is_free(lock, ["tea"])


def wait_for_wanted(held: HeldLock) -> None:
    give_up = Deadline.after(TIMEOUT_S)
    pause = threading.Event()
    while not held.contended:
        assert not give_up.passed, "nobody wants it"
        pause.wait(0.002)
