"""What only a lock in Redis does: tokens, expiry, renewal, hand-over, the line of those who wait."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import redis

from common.deadline import Deadline
from common.lock.drivers import open_lock
from common.lock.port import HeldLock, Lock, LockBusy, LockLost
from common.redis import pool
from tests.support.engines import REDIS_URL
from tests.support.waiting import TIMEOUT_S, wait_until

SHORT_EXPIRY: Final = 1.5


class Replicas:
    """Locks on one Redis, each as a replica of its own, under a prefix that is this test's alone."""

    def __init__(self) -> None:
        self.prefix = f"{uuid4().hex}:"
        self.redis = redis.Redis.from_url(REDIS_URL, decode_responses=True)
        self._closing = ExitStack()
        self._closing.callback(self.redis.close)
        self.pool = self._closing.enter_context(ThreadPoolExecutor(40))
        self._holders: list[Holder] = []

    def url(self, expiry: float = 15, timeout: float = 5) -> str:
        return f"{REDIS_URL}?prefix={self.prefix}&expiry={expiry}&timeout={timeout}"

    def replica(self, expiry: float = 15, timeout: float = 5) -> Lock:
        lock = open_lock(self.url(expiry, timeout))
        self._closing.callback(lock.close)
        return lock

    def close(self) -> None:
        for holder in self._holders:
            holder.let_go.set()
        self._closing.close()

    def value(self, key: str) -> str | None:
        """Whose a key is: the token in Redis."""
        found = self.redis.get(self.prefix + key)
        return None if found is None else str(found)

    def left_ms(self, key: str) -> int:
        return int(self.redis.pttl(self.prefix + key))

    def waiting_for(self, key: str) -> int:
        return int(self.redis.zcard(f"lock-queue:{self.prefix}{key}"))

    def names(self) -> list[str]:
        """Every key of this test that is left in Redis, those of the lines too."""
        return [str(name) for name in self.redis.keys(f"*{self.prefix}*")]

    def hold(self, lock: Lock, *keys: str, deadline: Deadline | None = None) -> "Holder":
        """Begin to take keys on a thread of its own."""
        holder = Holder()
        self._holders.append(holder)
        holder.outcome = self.pool.submit(holder.run, lock, keys, deadline or Deadline.after(TIMEOUT_S))
        return holder

    def stand_in_line(self, lock: Lock, *keys: str) -> "Holder":
        """Begin to take keys that others hold, and wait until the caller is in the queue."""
        before = self.waiting_for(keys[0])
        holder = self.hold(lock, *keys)
        wait_until(lambda: self.waiting_for(keys[0]) > before, "it is in the queue")
        return holder


class Holder:
    """Holds keys from when it has them until it is told to let go."""

    outcome: Future[None]

    def __init__(self) -> None:
        self.has_it = threading.Event()
        self.let_go = threading.Event()
        self.held: HeldLock | None = None
        self.since = 0.0

    def run(self, lock: Lock, keys: tuple[str, ...], deadline: Deadline) -> None:
        with lock.holding(keys, deadline) as self.held:
            self.since = time.monotonic()
            self.has_it.set()
            assert self.let_go.wait(TIMEOUT_S)

    def end(self) -> None:
        self.let_go.set()
        self.outcome.result(TIMEOUT_S)


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    replicas = Replicas()
    try:
        yield replicas
    finally:
        replicas.close()


def soon() -> Deadline:
    return Deadline.after(TIMEOUT_S)


@contextmanager
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The commands that this thread sends."""
    sent: list[str] = []
    me, send = threading.get_ident(), pool.command

    def spied(connection: Any, *words: Any) -> Any:
        if threading.get_ident() == me:
            sent.append(words[0])
        return send(connection, *words)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "command", spied)
        yield sent


def test_a_key_nobody_wants_costs_two_trips(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = replicas.replica()
    with lock.holding(["tea"], soon()):
        pass
    with commands(monkeypatch) as sent, lock.holding(["tea", "milk", "sugar"], soon()):
        pass
    assert sent == ["EVALSHA", "EVALSHA"]


def test_one_lock_is_exchanged_for_another_in_one_trip(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = replicas.replica()
    held = lock.acquire(["tea"], soon(), replacing=lock.acquire(["milk"], soon()))
    with commands(monkeypatch) as sent:
        held = lock.acquire(["sugar"], soon(), replacing=held)
    assert sent == ["EVALSHA"]
    lock.release(held)


def test_each_holder_has_a_token_of_its_own_and_leaves_nothing_behind(replicas: Replicas) -> None:
    lock = replicas.replica()
    tokens = set()
    for _ in range(3):
        with lock.holding(["tea", "milk"], soon()):
            tokens.add(replicas.value("tea"))
            assert replicas.value("milk") == replicas.value("tea") is not None
            assert 14_000 < replicas.left_ms("tea") <= 15_000
        assert replicas.names() == []
    assert len(tokens) == 3


def test_a_batch_of_very_many_keys_is_one_call(replicas: Replicas) -> None:
    keys = [f"sku-{n}" for n in range(10_000)]
    lock = replicas.replica(timeout=10)
    with lock.holding(keys, soon()):
        waiter = replicas.stand_in_line(replicas.replica(timeout=10), *keys)
    assert waiter.has_it.wait(TIMEOUT_S)
    waiter.end()
    assert replicas.names() == []


def test_a_lock_whose_holder_died_is_had_when_it_expires(replicas: Replicas) -> None:
    replicas.redis.set(f"{replicas.prefix}tea", "of a dead holder", px=700)
    began = time.monotonic()
    with replicas.replica().holding(["tea"], soon()):
        waited = time.monotonic() - began
    assert 0.6 < waited < 1.7 + 1  # a second for a busy machine


def test_what_is_held_for_long_is_renewed(replicas: Replicas) -> None:
    lock = replicas.replica(SHORT_EXPIRY)
    other = replicas.replica(SHORT_EXPIRY)
    until = time.monotonic() + 3 * SHORT_EXPIRY
    with lock.holding(["tea", "milk"], soon()) as held:
        token = replicas.value("tea")
        while time.monotonic() < until:
            with pytest.raises(LockBusy), other.holding(["tea"], Deadline.after(SHORT_EXPIRY / 4)):
                pytest.fail("taken from a living holder")
        assert replicas.value("tea") == replicas.value("milk") == token
        assert not held.lost


def test_what_was_handed_over_is_renewed_as_well(replicas: Replicas) -> None:
    lock, other = replicas.replica(SHORT_EXPIRY), replicas.replica(SHORT_EXPIRY)
    with lock.holding(["tea"], soon()):
        waiter = replicas.stand_in_line(other, "tea")
    assert waiter.has_it.wait(TIMEOUT_S)
    until = waiter.since + 3 * SHORT_EXPIRY
    while time.monotonic() < until:
        with pytest.raises(LockBusy), lock.holding(["tea"], Deadline.after(SHORT_EXPIRY / 4)):
            pytest.fail("taken from a living holder")
    waiter.end()


def test_many_holders_are_renewed_by_one_thread(replicas: Replicas) -> None:
    lock = replicas.replica(SHORT_EXPIRY)
    before = {thread.name for thread in threading.enumerate()}
    holders = [replicas.hold(lock, f"sku-{n}") for n in range(30)]
    for holder in holders:
        assert holder.has_it.wait(TIMEOUT_S)
    end = time.monotonic() + 3 * SHORT_EXPIRY
    wait_until(lambda: time.monotonic() > end, "several expiries pass")
    started = [thread.name for thread in threading.enumerate() if thread.name not in before]
    assert started.count("lock-watchdog") == started.count("lock-listener") == 1
    for holder in holders:
        holder.end()


def test_who_comes_back_after_the_lock_expired_leaves_the_new_owner_alone_and_is_told(replicas: Replicas) -> None:
    lock = replicas.replica()
    with pytest.raises(LockLost), lock.holding(["tea", "milk"], soon()):
        replicas.redis.set(f"{replicas.prefix}tea", "of the next owner", px=60_000)
    assert replicas.value("tea") == "of the next owner"
    assert replicas.value("milk") is None


def test_a_renewal_that_finds_another_owner_tells_the_holder_while_it_holds(replicas: Replicas) -> None:
    lock = replicas.replica(SHORT_EXPIRY)
    holder = replicas.hold(lock, "tea")
    assert holder.has_it.wait(TIMEOUT_S)
    replicas.redis.set(f"{replicas.prefix}tea", "of the next owner", px=60_000)
    wait_until(lambda: holder.held is not None and holder.held.lost, "the watchdog finds out")
    with pytest.raises(LockLost):
        holder.end()
    assert replicas.value("tea") == "of the next owner"
    assert replicas.left_ms("tea") > 1000


def test_the_holders_own_exception_goes_before_the_lost_lock(replicas: Replicas) -> None:
    def lose_it_and_fail() -> None:
        replicas.redis.delete(f"{replicas.prefix}tea")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replicas.replica().holding(["tea"], soon()):
        lose_it_and_fail()


def test_those_who_wait_are_served_in_the_order_they_came_whichever_replica_they_ask(replicas: Replicas) -> None:
    three = [replicas.replica() for _ in range(3)]
    first = replicas.hold(three[0], "tea")
    assert first.has_it.wait(TIMEOUT_S)
    waiters = [replicas.stand_in_line(three[n % 3], "tea") for n in range(9)]
    first.end()
    for waiter in waiters:
        assert waiter.has_it.wait(TIMEOUT_S)
        assert sum(each.has_it.is_set() for each in waiters) == waiters.index(waiter) + 1
        waiter.end()


def test_who_wants_many_keys_is_not_passed_over_by_those_who_want_one(replicas: Replicas) -> None:
    one, other = replicas.replica(), replicas.replica()
    tea, milk = replicas.hold(one, "tea"), replicas.hold(other, "milk")
    assert tea.has_it.wait(TIMEOUT_S)
    assert milk.has_it.wait(TIMEOUT_S)
    both = replicas.stand_in_line(other, "tea", "milk")
    later = replicas.stand_in_line(one, "tea")
    tea.end()
    assert not later.has_it.wait(0.1)
    milk.end()
    assert both.has_it.wait(TIMEOUT_S)
    assert not later.has_it.is_set()
    both.end()
    assert later.has_it.wait(TIMEOUT_S)
    later.end()


def test_a_release_hands_over_without_anybody_asking(replicas: Replicas) -> None:
    lock, other = replicas.replica(), replicas.replica()
    delays = []
    for _ in range(20):
        holder = replicas.hold(lock, "tea")
        assert holder.has_it.wait(TIMEOUT_S)
        waiter = replicas.stand_in_line(other, "tea")
        released = time.monotonic()
        holder.end()
        assert waiter.has_it.wait(TIMEOUT_S)
        delays.append(waiter.since - released)
        waiter.end()
    assert sorted(delays)[10] < 0.2  # half a second would be a poll's average


def test_pitfall_04_a_wait_ends_at_its_deadline_and_leaves_nothing_behind(replicas: Replicas) -> None:
    holder = replicas.hold(replicas.replica(), "milk")
    assert holder.has_it.wait(TIMEOUT_S)
    began = time.monotonic()
    with pytest.raises(LockBusy), replicas.replica().holding(["tea", "milk"], Deadline.after(0.3)):
        pytest.fail("held what another holds")
    assert 0.3 <= time.monotonic() - began < TIMEOUT_S / 3
    assert replicas.value("tea") is None
    holder.end()
    assert replicas.names() == []


def test_pitfall_04_an_error_gives_the_keys_back_at_once(replicas: Replicas) -> None:
    lock = replicas.replica()
    with pytest.raises(ZeroDivisionError), lock.holding(["tea"], soon()):
        raise ZeroDivisionError
    assert replicas.names() == []


def test_who_hangs_up_leaves_the_line_at_once(replicas: Replicas) -> None:
    lock, other = replicas.replica(), replicas.replica()
    holder = replicas.hold(lock, "milk")
    assert holder.has_it.wait(TIMEOUT_S)
    deadline = soon()
    waiter = replicas.hold(other, "tea", "milk", deadline=deadline)
    wait_until(lambda: replicas.waiting_for("milk") == 1, "it is in the queue")
    behind = replicas.stand_in_line(lock, "tea")
    began = time.monotonic()
    deadline.cancel()
    with pytest.raises(LockBusy):
        waiter.outcome.result(TIMEOUT_S)
    assert behind.has_it.wait(TIMEOUT_S)
    assert time.monotonic() - began < TIMEOUT_S / 3
    behind.end()
    holder.end()


def test_a_waiter_that_died_holds_up_nobody_for_long(replicas: Replicas) -> None:
    lock, other = replicas.replica(), replicas.replica()
    holder = replicas.hold(lock, "tea")
    assert holder.has_it.wait(TIMEOUT_S)
    with process(replicas, "tea") as dies:
        wait_until(lambda: replicas.waiting_for("tea") == 1, "the process is in the queue")
        behind = replicas.stand_in_line(other, "tea")
        dies.kill()
        dies.wait()
    killed = time.monotonic()
    holder.end()
    assert behind.has_it.wait(TIMEOUT_S)
    assert behind.since - killed < 3 + 3 + 1 + 1  # alive, handed over, asked again; and a busy machine
    behind.end()


def test_a_holder_that_is_stopped_past_its_expiry_loses_to_a_waiter(replicas: Replicas) -> None:
    with process(replicas, "tea", expiry=SHORT_EXPIRY) as stopped:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == b"held\n"
        stopped.send_signal(signal.SIGSTOP)
        with replicas.replica().holding(["tea"], soon()) as held:
            token = replicas.value("tea")
            stopped.send_signal(signal.SIGCONT)
            _, errors = stopped.communicate(timeout=TIMEOUT_S)
            assert b"LockLost" in errors
            assert replicas.value("tea") == token
            assert not held.lost


@contextmanager
def process(replicas: Replicas, key: str, expiry: float = 15) -> Iterator["subprocess.Popen[bytes]"]:
    """A replica that is a process of its own, holding a key or waiting for it."""
    script = str(Path(__file__).with_name("redis_waiter.py"))
    command = [sys.executable, script, replicas.url(expiry), key]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as started:
        try:
            yield started
        finally:
            started.kill()


def test_two_replicas_under_load_never_hold_one_key_at_once(replicas: Replicas) -> None:
    two = [replicas.replica(), replicas.replica()]
    inside = 0
    seen: list[int] = []

    def work(number: int) -> None:
        nonlocal inside
        keys: Callable[[int], list[str]] = lambda turn: ["tea", f"sku-{turn % 3}"][: 1 + (number + turn) % 2]  # noqa: E731
        for turn in range(25):
            with two[number % 2].holding(keys(turn), soon()):
                inside += 1
                seen.append(inside)
                time.sleep(0)
                inside -= 1

    for each in [replicas.pool.submit(work, number) for number in range(16)]:
        each.result(TIMEOUT_S)
    assert seen == [1] * 400
    assert replicas.names() == []
