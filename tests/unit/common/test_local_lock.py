import threading
from collections.abc import Collection

from common.deadline import Deadline
from common.lock.local import LocalLock
from tests.support.waiting import TIMEOUT_S


def take(lock: LocalLock, keys: Collection[str], name: str, order: list[str]) -> threading.Thread:
    """A thread that takes the keys once and notes when."""

    def run() -> None:
        with lock.holding(keys, Deadline.after(TIMEOUT_S)):
            order.append(name)

    thread = threading.Thread(target=run)
    thread.start()
    while len(lock._claims) == 0 or not any(claim.keys == frozenset(keys) for claim in list(lock._claims)):
        if not thread.is_alive():  # it had them at once
            break
    return thread


def test_a_later_caller_does_not_pass_one_that_waits_for_its_key_and_others_do() -> None:
    lock, order = LocalLock(), list[str]()
    with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
        both = take(lock, ["tea", "milk"], "both", order)
        milk = take(lock, ["milk"], "milk", order)  # free, but promised
        take(lock, ["sugar"], "sugar", order).join(TIMEOUT_S)
        assert order == ["sugar"]
    both.join(TIMEOUT_S)
    milk.join(TIMEOUT_S)
    assert order == ["sugar", "both", "milk"]
